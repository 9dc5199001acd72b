"""Exports networks from PyTorch to ONNX and Caffe2, simplified, and verifies the files against PyTorch."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import IGC, PRECISIONS, Artifact, ExportError
from export.checkpoints import parse_weights
from export.formats import ONNX, Format
from export.onnx.to_onnx import DEFAULT_OPSET, HIGHEST_OPSET, LOWEST_OPSET
from export.pipeline import STEPS, ExportOptions, export_model
from harness import runtimes
from harness.cli.command import guarded
from harness.cli.options import Names
from harness.record.errors import EXIT_CASE_FAILED, EXIT_USAGE, UsageError
from models import registry
from models.spec import ModelError, ModelSpec
from toolchain.paths import EXPORTS, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True)
class Order:
    """A network, the format to make of it, how its channel local convolutions are written, and its precision."""

    spec: ModelSpec
    form: Format
    igc: str | None
    precision: str

    @property
    def title(self) -> str:
        return ", ".join(part for part in (self.spec.name, self.igc, self.precision, self.form.name) if part)

    @property
    def refusal(self) -> str | None:
        return self.form.refusal(self.igc, self.precision)


@dataclass(frozen=True)
class Row:
    """What became of one network."""

    order: Order
    state: str  # exported, up to date, failed
    seconds: float
    artifact: Artifact | None = None
    exit_code: int = 0


@click.command(help=__doc__)
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
    default=EXPORTS.relative_to(REPOSITORY),
    show_default=True,
    help="The folder of the artifacts.",
)
@click.option(
    "--formats",
    type=Names(lambda: list(runtimes.formats())),
    default=",".join(next(iter(runtime.formats.values())).name for runtime in runtimes.offered()),
    show_default=True,
    metavar="FORMAT,...",
    help=f"What to make of each: {', '.join(runtimes.formats())}.",
)
@click.option(
    "--igc",
    type=Names(IGC),
    default=IGC[0],
    show_default=True,
    metavar="IGC,...",
    help=f"How to write channel local convolutions: {', '.join(IGC)}. fused is for the onnx format alone.",
)
@click.option(
    "--precision",
    "precisions",
    type=Names(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    metavar="PRECISION,...",
    help=f"What to compute in: {', '.join(PRECISIONS)}, for the onnx format alone; int8 is calibrated on random data.",
)
@click.option(
    "--opset",
    type=click.IntRange(LOWEST_OPSET, HIGHEST_OPSET),
    help=f"Version of the ONNX operators in the onnx format.  [default: {DEFAULT_OPSET}]",
)
@click.option("--force", is_flag=True, help="Export also what is up to date.")
@guarded
def main(
    models: str,
    weights: tuple[str, ...],
    out: Path,
    formats: tuple[str, ...],
    igc: tuple[str, ...],
    precisions: tuple[str, ...],
    opset: int | None,
    force: bool,
) -> int:
    specs = [registry.get(name.strip()) for name in dict.fromkeys(models.split(","))]
    checkpoints = parse_weights(weights, [spec.name for spec in specs])
    orders = _orders(specs, formats, igc, precisions)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --out {str(out)!r}: {error.strerror}") from None

    def export(order: Order, on_step: Callable[[str], None]) -> Artifact:
        options = ExportOptions(
            weights=checkpoints.get(order.spec.name),
            form=order.form,
            igc=order.igc,
            precision=order.precision,
            opset=opset if order.form is ONNX else None,
        )
        return export_model(order.spec, out, options, force=force, on_step=on_step)

    rows = export_all(orders, export)
    click.echo(table(rows))
    return max(row.exit_code for row in rows)


def _orders(
    specs: Sequence[ModelSpec], formats: Sequence[str], ways: Sequence[str], precisions: Sequence[str]
) -> list[Order]:
    """All combinations that can be had. Raises UsageError, saying why, where there is none."""
    wanted = [
        Order(spec, runtimes.formats()[name], way, precision)
        for spec in specs
        for name in formats
        for way in (ways if spec.has_clc_blocks else [None])
        for precision in precisions
    ]
    orders = [order for order in wanted if order.refusal is None]
    if not orders:
        raise UsageError("; ".join(dict.fromkeys(str(order.refusal) for order in wanted)))
    return orders


def export_all(orders: Sequence[Order], export: Callable[[Order, Callable[[str], None]], Artifact]) -> list[Row]:
    """Exports all that is ordered, with progress on stderr; one that fails is reported there and stops no other."""
    from rich.console import Console
    from rich.progress import Progress

    rows: list[Row] = []
    told: set[str] = set()  # what is wrong with a network is wrong in each format: one line is enough

    def tell(message: str) -> None:
        if message not in told:
            click.echo(f"error: {message}", err=True)
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
    begin = time.monotonic()
    steps: list[str] = []

    def on_step(step: str) -> None:
        show(f"{order.title}: {step}", len(steps))
        steps.append(step)

    try:
        artifact = export(order, on_step)
    except (ModelError, ExportError) as error:
        tell(str(error))
        exit_code = EXIT_USAGE if isinstance(error, ModelError) else EXIT_CASE_FAILED
        return Row(order, "failed", time.monotonic() - begin, exit_code=exit_code)
    return Row(order, "exported" if steps else "up to date", time.monotonic() - begin, artifact)


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
        return [
            row.order.spec.name,
            row.order.form.name,
            row.order.igc or "",
            row.order.precision,
            *found,
            row.state,
            f"{row.seconds:.1f}",
        ]

    headers = [
        "model",
        "format",
        "igc",
        "precision",
        "MB",
        "opset",
        "nodes",
        "max abs error",
        "spread",
        "state",
        "seconds",
    ]
    text: str = tabulate(
        map(cells, rows), headers, disable_numparse=True, colalign=[*["left"] * 4, *["right"] * 5, "left", "right"]
    )
    return text


if __name__ == "__main__":
    main()
