"""`python -m export`: networks to verified ONNX files and Caffe2 nets."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import Artifact, ExportError
from export.checkpoints import parse_weights
from export.formats import FORMATS
from export.pipeline import STEPS, export_model
from export.to_onnx import DEFAULT_OPSET, HIGHEST_OPSET, LOWEST_OPSET
from models import registry
from models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2


#: A network, and the name of the format to make of it.
Order = tuple[ModelSpec, str]


class UsageError(click.ClickException):
    """A one-line error about what the user asked for."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Row:
    """What became of one network."""

    model: str
    format_name: str
    state: str  # exported, up to date, failed
    seconds: float
    artifact: Artifact | None = None
    exit_code: int = 0


@click.command()
@click.option(
    "--models",
    default=",".join(registry.names()),
    show_default=True,
    metavar="NAME,...",
    help="What to export.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[NAME=]FILE",
    help="A checkpoint; with NAME= when several models are exported. Without one, weights are seeded.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/export"),
    show_default=True,
    help="The folder of the artifacts.",
)
@click.option(
    "--formats",
    default="onnx,caffe2",
    show_default=True,
    metavar="FORMAT,...",
    help=f"What to make of each: {', '.join(FORMATS)}.",
)
@click.option(
    "--opset",
    type=click.IntRange(LOWEST_OPSET, HIGHEST_OPSET),
    help=f"Version of the ONNX operators in the onnx format.  [default: {DEFAULT_OPSET}]",
)
@click.option("--force", is_flag=True, help="Export also what is up to date.")
def main(models: str, weights: tuple[str, ...], out: Path, formats: str, opset: int | None, force: bool) -> None:
    """Export networks from PyTorch to ONNX and Caffe2, simplified, and verify the files against PyTorch."""
    try:
        specs = [registry.get(name.strip()) for name in dict.fromkeys(models.split(","))]
        checkpoints = parse_weights(weights, [spec.name for spec in specs])
    except ModelError as error:
        raise UsageError(str(error)) from None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --out {str(out)!r}: {error.strerror}") from None

    wanted = [name.strip() for name in dict.fromkeys(formats.split(","))]
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}: known are {', '.join(FORMATS)}")

    def export(order: Order, on_step: Callable[[str], None]) -> Artifact:
        spec, format_name = order
        return export_model(
            spec,
            out,
            checkpoints.get(spec.name),
            format_name=format_name,
            opset=opset if format_name == "onnx" else None,
            force=force,
            on_step=on_step,
        )

    rows = export_all([(spec, format_name) for spec in specs for format_name in wanted], export)
    click.echo(table(rows))
    sys.exit(max(row.exit_code for row in rows))


def export_all(orders: Sequence[Order], export: Callable[[Order, Callable[[str], None]], Artifact]) -> list[Row]:
    """Exports all that is ordered, with progress on stderr; one that fails is reported there and stops no other."""
    from rich.console import Console
    from rich.progress import Progress

    rows: list[Row] = []
    told: set[str] = set()  # what is wrong with a network is wrong in each format: one line is enough

    def tell(message: str) -> None:
        if message not in told:
            click.echo(f"Error: {message}", err=True)
            told.add(message)

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(orders) * len(STEPS))
        for done, order in enumerate(orders):

            def show(name: str, step: int, before: int = done) -> None:
                progress.update(task, description=name, completed=before * len(STEPS) + step)

            rows.append(export_one(order, export, show, tell))
    return rows


def export_one(
    order: Order,
    export: Callable[[Order, Callable[[str], None]], Artifact],
    show: Callable[[str, int], None],
    tell: Callable[[str], None],
) -> Row:
    """Exports one network in one format. `show` is told what is being done, and how many steps are behind.

    `tell` gets the reason of a failure.
    """
    spec, format_name = order
    begin = time.monotonic()
    steps: list[str] = []

    def on_step(step: str) -> None:
        show(f"{spec.name}, {format_name}: {step}", len(steps))
        steps.append(step)

    try:
        artifact = export(order, on_step)
    except (ModelError, ExportError) as error:
        tell(str(error))
        exit_code = EXIT_USAGE if isinstance(error, ModelError) else EXIT_FAILED
        return Row(spec.name, format_name, "failed", time.monotonic() - begin, exit_code=exit_code)
    return Row(spec.name, format_name, "exported" if steps else "up to date", time.monotonic() - begin, artifact)


def table(rows: Iterable[Row]) -> str:
    """What became of each network, for a person to read."""
    from tabulate import tabulate

    def cells(row: Row) -> list[str]:
        artifact = row.artifact
        found = ["", "", "", "", ""]
        if artifact:
            found = [
                f"{artifact.model_size_bytes / 1e6:.2f}",
                str(artifact.opset),
                str(artifact.nodes),
                f"{artifact.max_abs_error:.1e}",
                f"{artifact.output_spread:.3g}",
            ]
        return [row.model, row.format_name, *found, row.state, f"{row.seconds:.1f}"]

    headers = ["model", "format", "MB", "opset", "nodes", "max abs error", "spread", "state", "seconds"]
    text: str = tabulate(
        map(cells, rows), headers, disable_numparse=True, colalign=["left", "left", *["right"] * 5, "left", "right"]
    )
    return text


if __name__ == "__main__":
    main(prog_name="python -m export")
