"""How should an interlaced grouped convolution be computed? All ways, on each device, beside MobileNet and ShuffleNet.

Measures through harness.run, a folder for each device below --out, and on this machine also pass by pass in turn; then
writes igc-study.md, igc-study.csv and plots from the records there. With --from FOLDER it measures nothing and remakes
them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import IGC
from harness.cli.command import guarded
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from models import registry
from toolchain.paths import REPOSITORY, RESULTS

if TYPE_CHECKING:
    from export.artifact import Artifact


HOST = "host"

#: Boards repeat to a few parts in 100,000, and take seconds for a pass.
PASSES_ON_BOARDS, PASSES_ON_HARDWARE, TURNS_ON_HOST = 3, 30, 60


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.option(
    "--devices",
    default=f"{HOST},board:cortex-a7,board:cortex-a53",
    show_default=True,
    metavar="NAMES",
    help="Where to measure, separated by commas: adb serials, board:NAME, host.",
)
@click.option(
    "--models",
    default=",".join(registry.PAPER_TABLE6),
    show_default=True,
    metavar="NAMES",
    help="Networks, separated by commas.",
)
@click.option("--threads", default="1,2", show_default=True, metavar="NUMBERS", help="Counts of threads.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: results/<time>-igc-study.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="The folder of an earlier study to report on.")
@guarded
def main(devices: str, models: str, threads: str, out: Path | None, source: Path | None) -> int:
    if source is not None:
        return _report(source)
    folder = out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-igc-study"
    worst = EXIT_OK
    for device in dict.fromkeys(devices.split(",")):
        click.echo(f"igc study: {device}", err=True)
        worst = max(worst, _measure(device.strip(), models, threads, folder))
        if worst == EXIT_USAGE:
            return worst
    if HOST in devices.split(","):
        click.echo("igc study: this machine, pass by pass in turn", err=True)
        _interleave([registry.get(name.strip()).name for name in models.split(",")], folder)
    return max(worst, _report(folder))


def _measure(device: str, models: str, threads: str, folder: Path) -> int:
    from device.open import opener_of

    passes = PASSES_ON_BOARDS if opener_of(device).kind == "board" else PASSES_ON_HARDWARE
    command = [sys.executable, "-m", "harness.run", "--device", device, "--models", models]
    command += ["--igc", ",".join(IGC), "--fuse-separable", "--threads", threads, "--passes", str(passes)]
    out = (folder / device.replace(":", "-")).resolve()
    command += ["--out", str(out.relative_to(REPOSITORY) if out.is_relative_to(REPOSITORY) else out)]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def _interleave(models: Sequence[str], folder: Path) -> None:
    """Each network in turn with MobileNet and no other: more would push each other's weights out of the cache.

    On one thread: with several, those of the one network's session would spin beside the other's. Each pair in a
    process of its own, so that none finds the memory as another left it.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from harness.analyse.rows import BASELINE
    from harness.study import interleaved

    baseline, measured = _artifact(BASELINE, None), []
    for model in models:
        spec = registry.get(model)
        for igc in IGC if spec.has_clc_blocks else (None, "fused") if spec.has_separable_blocks else (None,):
            if (model, igc) != (BASELINE, None):
                pair = {BASELINE: baseline, _name(model, igc): _artifact(model, igc)}
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    turns = pool.submit(interleaved.measure, pair, threads=1, passes=TURNS_ON_HOST)
                    measured.append(turns.result())
    interleaved.write(measured, folder)


def _name(model: str, igc: str | None) -> str:
    return f"{model}, {igc}" if igc else model


def _artifact(model: str, igc: str | None) -> Artifact:
    from export.pipeline import export_model
    from toolchain.paths import EXPORTS

    return export_model(registry.get(model), EXPORTS, igc=igc)


def _report(folder: Path) -> int:
    """Remakes the report of the study in `folder` from its records. Raises UsageError where there is none."""
    from harness.report import markdown
    from harness.study import igc_report, interleaved

    by_device = igc_report.read(folder)
    files = igc_report.write(by_device, folder)
    click.echo(markdown.rendered(igc_report.document(by_device, interleaved.read(folder))))
    for path in files:
        click.echo(str(path), err=True)
    failed = any(row.record.status != "ok" for rows in by_device.values() for row in rows)
    return EXIT_CASE_FAILED if failed else EXIT_OK


if __name__ == "__main__":
    main()
