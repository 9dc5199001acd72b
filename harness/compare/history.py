"""Runs in the order of their time, as a line for each case and device, and as tables of those."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.records import DeviceInfo
from harness.analyse import groups
from harness.analyse.slower import EXACT_FACTOR, FACTOR, WORDS
from harness.compare import formats, two_runs
from harness.compare.two_runs import ComparedCase, Run
from harness.record import plan
from harness.record.differences import device_differences
from harness.record.errors import UsageError
from harness.record.record import Record
from harness.record.titles import how_measured, model_title
from harness.record.units import NOTHING, milliseconds
from harness.report.document import Data, Document, Section, Value, emphasis, paragraph, table_of


@dataclass(frozen=True)
class Point:
    """One case in one run. `median_ns` is over all rounds that ended well, None where none did.

    `step` is the comparison with the newest point before it that ended well, None for the first of a line. `changed`
    says what is no longer as it was then: where `is_new_line`, device or model files, and nothing is compared.
    """

    run: Run
    rounds: tuple[Record, ...]
    median_ns: float | None
    step: ComparedCase | None
    changed: tuple[str, ...]
    is_new_line: bool

    @property
    def record(self) -> Record:
        return next((record for record in self.rounds if record.status == "ok"), self.rounds[0])


@dataclass(frozen=True)
class Line:
    """One case on one device, by one clock, of one chip, in the order of time."""

    points: tuple[Point, ...]

    @property
    def newest(self) -> Point:
        return self.points[-1]

    @property
    def device(self) -> DeviceInfo:
        return self.newest.record.device

    @property
    def panel(self) -> tuple[object, ...]:
        """Where its points may stand beside another line's."""
        return (self.device.serial, *self.device.timed_by)

    @property
    def title(self) -> str:
        """Without the runtime's version, which moves along the line."""
        case = self.newest.record.case
        threads = f", {case.threads} threads" if case.threads > 1 else ""
        place = "".join(f", {part}" for part in (case.cpus and f"CPUs {case.cpus}", case.abi) if part)
        return f"{model_title(self.newest.record)}; {case.runtime}{threads}{place}"


def read(folders: Iterable[Path], on_skipped: Callable[[str], None] = lambda _: None) -> list[Run]:
    """The runs in these folders, each once, the oldest first.

    Raises UsageError for a folder that neither is a run nor has one in it, and for a run that was named and cannot be
    read; of one that was merely found, `on_skipped` hears in words.
    """
    runs: dict[Path, Run] = {}
    for folder in folders:
        if (folder / plan.FILE_NAME).exists():
            runs[folder.resolve()] = two_runs.read(folder)
            continue
        found = [path.parent for path in sorted(folder.rglob(plan.FILE_NAME))]
        if not found:
            raise UsageError(f"{folder}: no run there, nor in a folder below it; name folders such as results/")
        for one in found:
            try:
                runs.setdefault(one.resolve(), two_runs.read(one))
            except UsageError as error:
                on_skipped(f"left out: {error}")
    return sorted(runs.values(), key=lambda run: (run.plan.utc, str(run.folder)))


def lines(runs: Sequence[Run], factor: float = FACTOR, exact_factor: float = EXACT_FACTOR) -> list[Line]:
    """A line for each case, device, clock and chip, as they are first met; `runs` in the order of time."""
    met: dict[tuple[object, ...], list[tuple[Run, tuple[Record, ...]]]] = {}
    for run in runs:
        for (serial, id_), rounds in two_runs.by_case(run.records).items():
            met.setdefault((serial, *rounds[0].device.timed_by, id_), []).append((run, rounds))
    return [Line(tuple(_points(of, factor, exact_factor))) for of in met.values()]


def panels(of: Sequence[Line]) -> list[list[Line]]:
    """The lines of each device and clock: times of several are never put side by side."""
    found: dict[tuple[object, ...], list[Line]] = {}
    for line in of:
        found.setdefault(line.panel, []).append(line)
    return list(found.values())


def _points(measured: Sequence[tuple[Run, tuple[Record, ...]]], factor: float, exact_factor: float) -> Iterator[Point]:
    before: tuple[Record, ...] | None = None
    for run, rounds in measured:
        well = groups.measured(rounds)
        other = _other(before, well) if before and well else []
        changed = [*other, *(_other_runtime(before, well) if before and well else [])]
        step = two_runs.compare_case(before, rounds, factor, exact_factor) if before and not other else None
        is_new = bool(other) or before is None
        yield Point(run, rounds, groups.median_ns(well), step, tuple(changed), is_new_line=is_new)
        before = tuple(well) or before


def _other(then: Sequence[Record], now: Sequence[Record]) -> list[str]:
    """What makes two points no points of one line."""
    device = device_differences(then[0].device, now[0].device)
    files = two_runs.changed_network(then, now)
    return [*(["device"] if device else []), *(["model files"] if files and not files.is_rounding else [])]


def _other_runtime(then: Sequence[Record], now: Sequence[Record]) -> list[str]:
    versions = two_runs.runtime_version(then[0]), two_runs.runtime_version(now[0])
    return [f"runtime ({versions[0]})"] if versions[0] != versions[1] else []


# --- tables -------------------------------------------------------------------------------------------


def data(of: Sequence[Line]) -> Data:
    """A row for each point, for programs: unrounded, units in the names; a line's rows together, in order of time."""
    rows = [_plain(line, point) for line in of for point in line.points]
    return Data(tuple(rows[0]) if rows else (), tuple(tuple(row.values()) for row in rows))


def _plain(line: Line, point: Point) -> dict[str, Value]:
    step = point.step
    difference = step.difference if step else None
    ends_well = groups.measured(point.rounds)
    return {
        "device": line.device.serial,
        "clock": line.device.clock,
        "chip": str(line.device.chip) if line.device.chip else None,
        "case": point.record.id,
        "utc": point.run.plan.utc,
        "run": point.run.plan.run,
        "commit": point.run.plan.commit,
        "runtime": two_runs.runtime_version(point.record),
        "status": point.record.status,
        "rounds": len(point.rounds),
        "rounds_ok": len(ends_well),
        "median_ns": point.median_ns,
        "compared_before": difference.base if difference else None,
        "compared": difference.new if difference else None,
        "outcome": step.outcome if step else None,
        "figure": step.figure if step and difference else None,
        "ratio": difference.ratio if difference else None,
        "ratio_low": difference.low if difference else None,
        "ratio_high": difference.high if difference else None,
        "changed": "; ".join(point.changed) or None,
        "folder": str(point.run.folder),
    }


def document(of: Sequence[Line]) -> Document:
    """For each device and clock a section."""
    sections = []
    for lines_ in panels(of):
        device = lines_[0].device
        rows = [_shown(line, point) for line in lines_ for point in line.points]
        left = ("Case", "Time (UTC)", "Commit", "Runtime", "Outcome", "Changed")
        sections.append(Section(f"{device.serial}: {how_measured(device)}", (table_of(rows, left),)))
    lead = paragraph(
        emphasis("Compared"),
        " is what tenpass compare looks at, in the run before and in this one: on hardware not the median, but the "
        "time of the quick passes. ",
        emphasis("To the one before"),
        " is its ratio, with its interval. ",
        emphasis("Changed"),
        " says what is other than it was then; with other model files, or on another device of that name, nothing is "
        "compared.",
    )
    return Document("History", (lead,), tuple(sections))


def _shown(line: Line, point: Point) -> dict[str, str]:
    step = point.step
    difference = step.difference if step else None
    compared = [formats.figure(step, it) for it in (difference.base, difference.new)] if step and difference else []
    return {
        "Case": line.title if point is line.points[0] else "",
        "Time (UTC)": point.run.plan.utc[:16].replace("T", " "),
        "Commit": point.run.plan.commit or "unknown",
        "Runtime": two_runs.runtime_version(point.record),
        "Median (ms)": milliseconds(point.median_ns) if point.median_ns is not None else point.record.status,
        "Compared: before, now": ", ".join(compared) or NOTHING,
        "To the one before": formats.ratio(step) if step else NOTHING,
        "Outcome": WORDS[step.outcome] if step else NOTHING,
        "Changed": "; ".join(point.changed) or NOTHING,
    }
