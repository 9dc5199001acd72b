"""How should an interlaced grouped convolution be computed? All ways, on each device, beside MobileNet and ShuffleNet.

Measures through harness.run, a folder for each device below --out, and on this machine also pass by pass in turn; then
writes igc-study.md, igc-study.csv and plots from the records there. With --from FOLDER it measures nothing and remakes
them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from export.artifact import IGC
from harness.cli.command import guarded
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE, UsageError
from models import registry
from toolchain.paths import REPOSITORY, RESULTS

if TYPE_CHECKING:
    from export.artifact import Artifact
    from harness.analyse.rows import Row
    from harness.study.interleaved import Interleaved

REPORT_NAME, SUMMARY_NAME = "igc-study.md", "igc-summary.md"
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
    from export.pipeline import ExportOptions, export_model
    from toolchain.paths import EXPORTS

    return export_model(registry.get(model), EXPORTS, ExportOptions(igc=igc))


# --- the report ---------------------------------------------------------------------------------------


def _report(folder: Path) -> int:
    """Remakes the report of the study in `folder` from its records. Raises UsageError where there is none."""
    from harness.analyse.rows import table_rows
    from harness.record import journal
    from harness.record import plan as plans
    from harness.report import plots, table
    from harness.study import interleaved

    runs = sorted(path.parent for path in folder.glob(f"*/{journal.FILE_NAME}"))
    if not runs:
        raise UsageError(f"{folder}: no study there; name a folder that holds the runs of one")
    by_device = {
        rows[0].record.device.serial: rows
        for run in runs
        if (rows := table_rows(journal.read(run), plans.read(run).limits))
    }
    measured = interleaved.read(folder)
    try:
        (folder / REPORT_NAME).write_text(_markdown(by_device, measured))
        (folder / SUMMARY_NAME).write_text(_summary(by_device) + "\n")
        (folder / "igc-study.csv").write_text(table.csv([row for rows in by_device.values() for row in rows]))
        written = plots.write_igc_study(by_device, folder)
    except OSError as error:
        raise UsageError(f"{folder}: the report could not be written ({error.strerror})") from None
    click.echo(_markdown(by_device, measured))
    for path in [folder / REPORT_NAME, *written]:
        click.echo(str(path), err=True)
    failed = any(row.record.status != "ok" for rows in by_device.values() for row in rows)
    return EXIT_CASE_FAILED if failed else EXIT_OK


def _markdown(by_device: dict[str, list[Row]], measured: Sequence[Interleaved]) -> str:
    from harness.analyse import gains

    parts = ["# Interlaced grouped convolution, three ways", "", *_INTRODUCTION, ""]
    parts += ["Median time over MobileNet's, one thread:", "", _summary(by_device), ""]
    for serial, rows in by_device.items():
        parts += [f"## {serial}", "", *_device(rows), "", _table(rows), ""]
    if measured:
        parts += ["## This machine, pass by pass in turn", "", *_IN_TURN, ""]
        parts += [_interleaved_table(measured), ""]
    parts += ["## What is the network's, and what the kernel's", ""]
    single = [row for rows in by_device.values() for row in rows if row.record.case.threads == 1]
    parts += [*gains.explained(single), ""]
    return "\n".join(parts)


_INTRODUCTION = (
    "`grouped`: grouped convolutions whose channels are interlaced afterwards, as the paper ran them. `depthwise`:",
    "sums of depthwise convolutions, in standard operators (section 4.2). `fused`: one operator for the chain of",
    "blocks. All in ONNX Runtime. The line to reach is the ratio of the mult-adds to MobileNet's, as if nothing but",
    "arithmetic took time.",
)

_IN_TURN = (
    "ONNX Runtime's Python API, one thread, one process, each network in turn with MobileNet; the ratio is the median",
    "over the turns of its time over MobileNet's in the same turn, with a 95 % bootstrap interval.",
    "",
)


def _summary(by_device: dict[str, list[Row]]) -> str:
    """A row for each network and way, a column for each device: its time over MobileNet's on one thread."""
    from harness.analyse.gains import promise
    from harness.analyse.rows import BASELINE

    lines: dict[tuple[str, str | None], dict[str, str]] = {}
    for serial, rows in by_device.items():
        single = [row for row in rows if row.record.case.threads == 1]
        baseline = next((row for row in single if row.record.case.model == BASELINE), None)
        for row in single:
            cells = lines.setdefault((row.record.case.model, row.record.case.igc), {"Network": row.title})
            promised, relative = promise(row, baseline), row.relative
            cells["Line (mult-adds)"] = f"{promised:.3f}" if promised else "–"
            cells[serial] = f"{relative:.3f}" if relative is not None else row.record.status
    return _markdown_table(list(lines.values()))


def _markdown_table(lines: Sequence[Mapping[str, str]], *, last_left: bool = False) -> str:
    """The first column to the left, the others to the right, but for a last one of words."""
    import pandas as pd

    frame = pd.DataFrame(lines).fillna("–")
    align = ["left", *["right"] * (len(frame.columns) - 1)]
    if last_left:
        align[-1] = "left"
    return str(frame.to_markdown(index=False, disable_numparse=True, colalign=align))


def _device(rows: Sequence[Row]) -> list[str]:
    from harness.record.titles import MEANING_OF_TIME

    device = rows[0].record.device
    cores = len(device.cores)
    text = f"{device.model}, {device.abi}, {cores} core{'s' if cores != 1 else ''}; time is "
    lines = [text + MEANING_OF_TIME[device.clock] + "."]
    if device.clock == "instructions":
        lines.append(
            "It has one core: two threads share it, so that their row shows what they cost, not what they gain."
        )
    return lines


def _table(rows: Sequence[Row]) -> str:
    """A row for each network and way; for each count of threads its time, and against MobileNet and one thread."""
    from harness.analyse.gains import promise
    from harness.analyse.rows import BASELINE
    from harness.record.units import milliseconds

    counts = sorted({row.record.case.threads for row in rows})
    baseline = next((row for row in rows if row.record.case.model == BASELINE), None)
    cases = dict.fromkeys((row.record.case.model, row.record.case.igc) for row in rows)
    lines = []
    for model, igc in cases:
        of_case = {row.record.case.threads: row for row in rows if _is(row, model, igc)}
        first = next(iter(of_case.values()))
        promised = promise(first, baseline)
        cells = {"Network": first.title, "Line (mult-adds)": f"{promised:.3f}" if promised else "–"}
        for count in counts:
            row = of_case.get(count)
            head = f"{count} thread{'s' if count > 1 else ''}"
            known = row is not None and row.summary is not None
            cells[f"{head} (median, ms)"] = milliseconds(row.summary.median_ns) if row and row.summary else "–"
            relative = row.relative if row is not None and known else None
            cells[f"{head}: over MobileNet"] = f"{relative:.3f}" if relative is not None else "–"
        cells["Output check"] = (
            "ok" if all(row.record.status == "ok" for row in of_case.values()) else first.record.status
        )
        lines.append(cells)
    return _markdown_table(lines, last_left=True)


def _is(row: Row, model: str, igc: str | None) -> bool:
    return (row.record.case.model, row.record.case.igc) == (model, igc)


def _interleaved_table(measured: Sequence[Interleaved]) -> str:
    import numpy as np

    from harness.analyse.rows import BASELINE
    from harness.record.units import milliseconds
    from harness.study.interleaved import ratio

    lines = []
    for pair in measured:
        [name] = [name for name in pair.samples_ns if name != BASELINE]
        found = ratio(pair, name, BASELINE)
        interval = f" [{found.low:.3f}, {found.high:.3f}]" if found.low is not None else ""
        medians = {it: milliseconds(float(np.median(samples))) for it, samples in pair.samples_ns.items()}
        lines.append(
            {
                "Network": name,
                "Turns": str(found.rounds),
                "Median (ms)": medians[name],
                "MobileNet's (ms)": medians[BASELINE],
                "Over MobileNet": f"{found.value:.3f}{interval}",
            }
        )
    return _markdown_table(lines)


if __name__ == "__main__":
    main()
