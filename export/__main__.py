"""`python -m export`: networks to verified ONNX files."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import Artifact, ExportError
from export.pipeline import STEPS, export_model
from export.to_onnx import DEFAULT_OPSET, HIGHEST_OPSET, LOWEST_OPSET
from models import registry
from models.spec import ModelError, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2


class UsageError(click.ClickException):
    """A one-line error about what the user asked for."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Row:
    """What became of one network."""

    model: str
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
    "--opset",
    type=click.IntRange(LOWEST_OPSET, HIGHEST_OPSET),
    default=DEFAULT_OPSET,
    show_default=True,
    help="Version of the ONNX operators.",
)
@click.option("--force", is_flag=True, help="Export also what is up to date.")
def main(models: str, weights: tuple[str, ...], out: Path, opset: int, force: bool) -> None:
    """Export networks from PyTorch to ONNX, simplify them, and verify the files against PyTorch."""
    try:
        specs = [registry.get(name.strip()) for name in dict.fromkeys(models.split(","))]
    except ModelError as error:
        raise UsageError(str(error)) from None
    checkpoints = parse_weights(weights, [spec.name for spec in specs])
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --out {str(out)!r}: {error.strerror}") from None

    def export(spec: ModelSpec, on_step: Callable[[str], None]) -> Artifact:
        return export_model(spec, out, checkpoints.get(spec.name), opset=opset, force=force, on_step=on_step)

    rows = export_all(specs, export)
    click.echo(table(rows))
    sys.exit(max(row.exit_code for row in rows))


def parse_weights(values: Iterable[str], names: Sequence[str]) -> dict[str, Path]:
    """The checkpoint of each model, from `FILE` or `NAME=FILE`. Raises UsageError."""
    checkpoints: dict[str, Path] = {}
    for value in values:
        name, equals, file = value.partition("=")
        if not equals or Path(value).is_file():  # a file's own name may hold a "="
            if len(names) != 1:
                raise UsageError(f"--weights {value}: of which model? Give NAME=FILE, or one name in --models")
            name, file = names[0], value
        if name not in names:
            raise UsageError(f"--weights {value}: {name!r} is not among --models {','.join(names)}")
        if name in checkpoints:
            raise UsageError(f"--weights {value}: {name} is given a checkpoint twice")
        if not Path(file).is_file():
            raise UsageError(f"--weights {value}: there is no file {file!r}")
        checkpoints[name] = Path(file)
    return checkpoints


def export_all(specs: Sequence[ModelSpec], export: Callable[[ModelSpec, Callable[[str], None]], Artifact]) -> list[Row]:
    """Exports all `specs`, with progress on stderr; one that fails is reported there and stops no other."""
    from rich.console import Console
    from rich.progress import Progress

    rows = []
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(specs) * len(STEPS))
        for done, spec in enumerate(specs):

            def show(name: str, step: int, before: int = done) -> None:
                progress.update(task, description=name, completed=before * len(STEPS) + step)

            rows.append(export_one(spec, export, show))
    return rows


def export_one(
    spec: ModelSpec,
    export: Callable[[ModelSpec, Callable[[str], None]], Artifact],
    show: Callable[[str, int], None],
) -> Row:
    """Exports `spec`. `show` is told what is being done, and how many steps are behind."""
    begin = time.monotonic()
    steps: list[str] = []

    def on_step(step: str) -> None:
        show(f"{spec.name}: {step}", len(steps))
        steps.append(step)

    try:
        artifact = export(spec, on_step)
    except (ModelError, ExportError) as error:
        click.echo(f"Error: {error}", err=True)
        exit_code = EXIT_USAGE if isinstance(error, ModelError) else EXIT_FAILED
        return Row(spec.name, "failed", time.monotonic() - begin, exit_code=exit_code)
    return Row(spec.name, "exported" if steps else "up to date", time.monotonic() - begin, artifact)


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
        return [row.model, *found, row.state, f"{row.seconds:.1f}"]

    headers = ["model", "MB", "opset", "nodes", "max abs error", "spread", "state", "seconds"]
    text: str = tabulate(
        map(cells, rows), headers, disable_numparse=True, colalign=["left", *["right"] * 5, "left", "right"]
    )
    return text


if __name__ == "__main__":
    main(prog_name="python -m export")
