"""What more threads gain: speed-up and efficiency of every case that was measured with several counts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse import groups
from harness.record.record import Record
from harness.record.titles import model_title


@dataclass(frozen=True)
class Point:
    """One case with so many threads; `median_ns` is over all rounds.

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
        rounds[0].case.threads: median_ns
        for rounds in groups.by_case(network)
        if (median_ns := groups.median_ns(rounds)) is not None
    }
    one_ns = medians_ns.get(1) if network[0].device.clock != "emulated" else None
    points = [
        Point(threads, median_ns, one_ns / median_ns if one_ns and median_ns else None)
        for threads, median_ns in sorted(medians_ns.items())
    ]
    return Sweep(network[0], tuple(points))


def cautions_beside(first: Record, records: Sequence[Record]) -> list[str]:
    """The cautions about those of the records that were measured as this one was."""
    return cautions([record for record in records if len(groups.by_runtime([first, record])) == 1])


def cautions(records: Sequence[Record]) -> list[str]:
    """What threads cannot show on the device of these records, in sentences; the records are of one device."""
    device = records[0].device
    if device.clock == "emulated":
        return ["Times mean nothing here, so that no speed-up is shown."]
    if device.is_exact:
        clock = "times are estimated for" if device.chip else "clock counts the instructions executed on"
        return [
            f"This board's {clock} its one core: the threads share it. What is above "
            "the time of one thread is what dividing the work costs; what threads gain on a device with several cores "
            "cannot be seen here."
        ]
    said = []
    crowded = [it for it in groups.measured(records) if it.measurement and 0 < _cpus(it) < it.case.threads]
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
    """On how many CPUs the kernel let the runner run; 0 is unknown."""
    return record.measurement.cpu_mask.bit_count() if record.measurement else 0
