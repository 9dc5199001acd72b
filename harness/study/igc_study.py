"""How should an interlaced grouped convolution be computed? All ways, on each device, beside MobileNet and ShuffleNet.

Measures on each device in a folder of its own, and on this machine also pass by pass in turn; igc-study.md,
igc-study.csv and plots are made from the records there.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.open import opener_of
from export.artifact import IGC
from harness.measure.cases import Choices
from harness.measure.device import Attachment
from harness.measure.planning import plan_of
from harness.measure.progress import Progress
from harness.measure.run import measure_plan, sessions_here
from harness.record import journal
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXPECTED, UsageError, exit_code
from harness.record.plan import missing_cases
from harness.record.run_folder import new_folder
from models import registry

if TYPE_CHECKING:
    from export.artifact import Artifact

REPORT_NAME, SUMMARY_NAME = "igc-study.md", "igc-summary.md"
HOST = "host"

#: Boards repeat, and take seconds for a pass.
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
    from harness.report.write import write

    worst = EXIT_OK
    for device in devices:
        progress.say(f"igc study: {device}")
        passes = PASSES_ON_BOARDS if opener_of(device).kind == "board" else PASSES_ON_HARDWARE
        choices = Choices(tuple(models), igc=IGC, fuse_separable=True, threads=tuple(threads), passes=passes)
        out = new_folder(folder / device.replace(":", "-"), (device,))
        plan = plan_of(choices, partial(tuple, (device,)), out.name, shlex.join(["tenpass", "study", "kernel"]))
        try:
            result = measure_plan(plan, out, progress, sessions_here(Attachment()), is_resumed=False)
        except UsageError:
            raise
        except EXPECTED as error:
            progress.say(f"failed: {device}: {error}")
            worst = max(worst, exit_code(error))
        else:
            write(out)
            is_whole = not missing_cases(result.plan, journal.read(out))
            worst = max(worst, EXIT_OK if is_whole else EXIT_CASE_FAILED)
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


def write_report(folder: Path) -> Report:
    """Remakes the report of the study in `folder` from its records. Raises UsageError where there is none."""
    from harness.report import markdown
    from harness.study import igc_report, interleaved

    by_device = igc_report.read(folder)
    files = igc_report.write(by_device, folder)
    failed = any(row.record.status != "ok" for rows in by_device.values() for row in rows)
    return Report(markdown.rendered(igc_report.document(by_device, interleaved.read(folder))), tuple(files), failed)
