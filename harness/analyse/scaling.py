"""What more threads gain: speed-up and efficiency of every case that was measured with several counts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse import groups
from harness.record.record import Record
from harness.record.titles import MEANING_OF_TIME, group_title, model_title
from harness.record.units import NOTHING, milliseconds
from harness.report import render

_INTRODUCTION = (
    "*Speed-up* is the median time on one thread over the median on several; *efficiency* is the speed-up over the "
    "number of threads, 100% where each of them does as much as one did alone."
)


@dataclass(frozen=True)
class Point:
    """One case with so many threads; `median_ns` is over the timed passes of all rounds.

    `speed_up` is over one thread, None where that was not measured, or times mean nothing.
    """

    threads: int
    median_ns: float
    speed_up: float | None

    @property
    def efficiency(self) -> float | None:
        return None if self.speed_up is None else self.speed_up / self.threads


@dataclass(frozen=True)
class Sweep:
    """One network, computed in one way, with several counts of threads, the fewest first; `record` is one of them."""

    record: Record
    points: tuple[Point, ...]

    @property
    def title(self) -> str:
        return model_title(self.record)


def sweeps(records: Sequence[Record]) -> list[list[Sweep]]:
    """The sweeps of each device and runtime; none of a case that was measured with one count alone."""
    found = [
        [sweep for network in groups.by_network(group) if len((sweep := _sweep(network)).points) > 1]
        for group in groups.by_runtime(groups.measured(records))
    ]
    return [group for group in found if group]


def _sweep(network: Sequence[Record]) -> Sweep:
    medians_ns = {
        rounds[0].case.threads: groups.median_ns(samples)
        for rounds in groups.by_case(network)
        if (samples := groups.timed_passes(rounds))
    }
    one_ns = medians_ns.get(1) if network[0].device.clock != "emulated" else None
    points = [
        Point(threads, median_ns, one_ns / median_ns if one_ns and median_ns else None)
        for threads, median_ns in sorted(medians_ns.items())
    ]
    return Sweep(network[0], tuple(points))


def markdown(records: Sequence[Record]) -> str:
    """A table for each device and runtime, with words where threads cannot show there what they gain.

    Empty where nothing was measured with more than one count of threads.
    """
    sections = []
    for group in sweeps(records):
        first = group[0].record
        title = f"### {group_title(first, with_threads=False)}"
        time_is = f"Time is {MEANING_OF_TIME[first.device.clock]}."
        words = " ".join([time_is, *cautions([record for record in records if _beside(first, record)])])
        sections.append(f"{title}\n\n{words}\n\n{_table(group)}")
    return "\n".join([_INTRODUCTION, "", *sections]) if sections else ""


def _beside(first: Record, record: Record) -> bool:
    return len(groups.by_runtime([first, record])) == 1


def cautions(records: Sequence[Record]) -> list[str]:
    """What threads cannot show on the device of these records, in sentences; the records are of one device."""
    device = records[0].device
    if device.clock == "emulated":
        return ["Times mean nothing here, so that no speed-up is shown."]
    if device.clock == "instructions":
        return [
            "This board has one core, and its clock counts the instructions executed there: the threads share the one "
            "core. What is above the time of one thread is what dividing the work costs; what threads gain on a "
            "device with several cores cannot be seen here."
        ]
    said = []
    crowded = [it for it in groups.measured(records) if it.measurement and it.case.threads > _cpus(it)]
    if crowded:
        least = min(map(_cpus, crowded))
        cpus = "1 CPU" if least == 1 else f"{least} CPUs"
        said.append(f"The runner was let run on {cpus} only: of more threads than that, some wait for others.")
    kinds = list(dict.fromkeys((core.part or "unknown part", core.max_khz) for core in device.cores))
    if len(kinds) > 1:
        names = ", ".join(part if khz is None else f"{part} at {khz / 1e6:.2f} GHz" for part, khz in kinds)
        said.append(f"The cores differ ({names}): a thread on a slower one lowers the efficiency.")
    return said


def _cpus(record: Record) -> int:
    """On how many CPUs the kernel let the runner run."""
    return record.measurement.cpu_mask.bit_count() if record.measurement else 0


def _table(group: Sequence[Sweep]) -> str:
    import pandas as pd

    counts = sorted({point.threads for sweep in group for point in sweep.points})
    with_speed_up = any(point.speed_up is not None for sweep in group for point in sweep.points)
    rows = []
    for sweep in group:
        by_threads = {point.threads: point for point in sweep.points}
        cells = {"Model": sweep.title}
        for count in counts:
            point = by_threads.get(count)
            head = f"{count} thread{'s' if count > 1 else ''}"
            cells[f"{head} (median, ms)"] = milliseconds(point.median_ns) if point else NOTHING
            if with_speed_up and count > 1:
                speed_up, efficiency = (point.speed_up, point.efficiency) if point else (None, None)
                cells[f"{head}: speed-up"] = NOTHING if speed_up is None else f"{speed_up:.2f}"
                cells[f"{head}: efficiency"] = NOTHING if efficiency is None else f"{efficiency:.0%}"
        rows.append(cells)
    frame = pd.DataFrame(rows)
    return render.markdown(frame, set(frame.columns[1:]))
