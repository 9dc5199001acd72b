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
from export.formats import ONNX
from export.onnx.to_onnx import DEFAULT_OPSET, HIGHEST_OPSET, LOWEST_OPSET
from export.pipeline import STEPS, ExportOptions, export_model
from harness.cli.command import CONTEXT, guarded
from harness.cli.options import Names
from harness.record import runtimes
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE, UsageError
from harness.record.units import size
from models import registry
from models.spec import ModelError, ModelSpec
from toolchain.figures import significant
from toolchain.paths import EXPORTS, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Row:
    """What became of a network in one format: exported, up to date or failed."""

    spec: ModelSpec
    options: ExportOptions
    state: str
    seconds: float
    artifact: Artifact | None = None
    exit_code: int = EXIT_OK


@click.command(help=__doc__, context_settings=CONTEXT)
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
    default=",".join(
        next(iter(runtime.formats.values())).name for runtime in runtimes.offered() if not runtime.is_made
    ),
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
    help=f"What to compute in: {', '.join(PRECISIONS)}, in the formats that can (onnx all); int8 is calibrated on "
    "random data.",
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
    wanted = [
        (spec, ExportOptions(checkpoints.get(spec.name), form, way, precision, None, opset if form is ONNX else None))
        for spec in specs
        for form in (runtimes.formats()[name] for name in formats)
        for way in (igc if spec.has_clc_blocks else [None])
        for precision in precisions
    ]
    refusals = [options.form.refusal(options.igc, options.precision) for _, options in wanted]
    if all(refusals):
        raise UsageError("; ".join(dict.fromkeys(str(reason) for reason in refusals)))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to --out {str(out)!r}: {error.strerror}") from None
    rows = _export([one for one, reason in zip(wanted, refusals, strict=True) if not reason], out, force=force)
    click.echo(table(rows))
    return max(row.exit_code for row in rows)


def _export(wanted: Sequence[tuple[ModelSpec, ExportOptions]], out: Path, *, force: bool) -> list[Row]:
    """Exports all, with progress on stderr; one that fails is reported there and stops no other."""
    from rich.console import Console
    from rich.progress import Progress

    rows: list[Row] = []
    failures: set[str] = set()  # what is wrong with a network is wrong in each format: one line is enough
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=len(wanted) * len(STEPS))
        for spec, options in wanted:
            begin = time.monotonic()
            steps: list[str] = []
            title = ", ".join(part for part in (spec.name, options.igc, options.precision, options.form.name) if part)

            def on_step(step: str, steps: list[str] = steps, title: str = title) -> None:
                progress.update(task, description=f"{title}: {step}", completed=len(rows) * len(STEPS) + len(steps))
                steps.append(step)

            artifact, state, exit_code = None, "failed", EXIT_OK
            try:
                artifact = export_model(spec, out, options, force=force, on_step=on_step)
                state = "exported" if steps else "up to date"
            except (ModelError, ExportError) as error:
                exit_code = EXIT_USAGE if isinstance(error, ModelError) else EXIT_CASE_FAILED
                if str(error) not in failures:
                    click.echo(f"error: {error}", err=True)
                failures.add(str(error))
            rows.append(Row(spec, options, state, time.monotonic() - begin, artifact, exit_code))
    return rows


def table(rows: Iterable[Row]) -> str:
    """What became of each network, for a person to read."""
    from tabulate import tabulate

    left, right = ["left"] * 4, ["right"] * 5
    return str(tabulate(map(_cells, rows), "keys", disable_numparse=True, colalign=[*left, *right, "left", "right"]))


def _cells(row: Row) -> dict[str, str]:
    artifact, options = row.artifact, row.options
    return {
        "model": row.spec.name,
        "format": options.form.name,
        "igc": options.igc or "",
        "precision": options.precision,
        "size": size(artifact.model_size_bytes) if artifact else "",
        "opset": str(artifact.opset) if artifact else "",
        "nodes": str(artifact.nodes) if artifact else "",
        "max abs error": f"{artifact.max_abs_error:.1e}" if artifact else "",
        "spread": f"{artifact.output_spread:.3g}" if artifact else "",
        "state": row.state,
        "seconds": significant(row.seconds, 2, decimals=1),
    }


if __name__ == "__main__":
    main()
