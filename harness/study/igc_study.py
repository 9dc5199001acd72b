"""How should an interlaced grouped convolution be computed? All ways, on each device, beside MobileNet and ShuffleNet.

Measures on each device in a folder of its own, and on this machine also pass by pass in turn; igc-study.md,
igc-study.csv and plots are made from the records there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from device.open import opener_of
from export.artifact import IGC
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXPECTED, UsageError, exit_code
from models import registry

if TYPE_CHECKING:
    from export.artifact import Artifact
    from harness.analyse.rows import Row
    from harness.measure.progress import Progress
    from harness.study.interleaved import Interleaved

REPORT_NAME, SUMMARY_NAME = "igc-study.md", "igc-summary.md"
HOST = "host"

#: Boards repeat to a few parts in 100,000, and take seconds for a pass.
PASSES_ON_BOARDS, PASSES_ON_HARDWARE, TURNS_ON_HOST = 3, 30, 60


@dataclass(frozen=True)
class Report:
    """The study in words, the files that were written, and whether some case of it failed."""

    text: str
    files: tuple[Path, ...]
    has_failures: bool


def measure(
    devices: Iterable[str], models: Sequence[str], threads: Sequence[int], folder: Path, progress: Progress
) -> int:
    """Measures on each device, with its records and report in a folder of its own; the worst exit code.

    Raises UsageError for what makes no sense; a device that cannot be had holds up no other.
    """
    from harness.api import benchmark
    from harness.report import sections

    worst = EXIT_OK
    for device in devices:
        progress.say(f"igc study: {device}")
        out = folder / device.replace(":", "-")
        passes = PASSES_ON_BOARDS if opener_of(device).kind == "board" else PASSES_ON_HARDWARE
        try:
            results = benchmark(
                list(models),
                device=device,
                out=out,
                progress=progress,
                igc=IGC,
                fuse_separable=True,
                threads=tuple(threads),
                passes=passes,
            )
        except UsageError:
            raise
        except EXPECTED as error:
            progress.say(f"failed: {device}: {error}")
            worst = max(worst, exit_code(error))
        else:
            sections.write(out)
            worst = max(worst, EXIT_CASE_FAILED if results.missing else EXIT_OK)
        if device == HOST:
            progress.say("igc study: this machine, pass by pass in turn")
            _interleave([registry.get(name).name for name in models], folder)
    return worst


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


def write_report(folder: Path) -> Report:
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
    failed = any(row.record.status != "ok" for rows in by_device.values() for row in rows)
    return Report(_markdown(by_device, measured), (folder / REPORT_NAME, *written), failed)


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
