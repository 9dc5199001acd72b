"""What the CPU, or the emulator in its place, counted in a pass: instructions, cycles, cache misses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from device.records import LOSSES, Counters, CountName, CountsFrom, Loss
from harness.analyse import groups
from harness.analyse.rows import is_baseline
from harness.record.record import Record
from harness.record.titles import model_title


@dataclass(frozen=True)
class Count:
    """A count, or a ratio of two, of one pass: median over the passes, (max - min) / median; None of a single pass.

    `is_estimate`: it was scaled up in some pass.
    """

    median: float
    spread: float | None
    is_estimate: bool


@dataclass(frozen=True)
class CountedCase:
    """One case over all its rounds; `passes` are the counters of each timed pass that has some."""

    record: Record
    passes: tuple[Counters, ...]

    @property
    def title(self) -> str:
        return model_title(self.record)

    @property
    def cycles_by_loss(self) -> dict[Loss, float]:
        """What the cycles of a pass go to, the mean over the passes; empty but for estimates."""
        return _mean_by_loss(self.passes)

    def count(self, name: CountName) -> Count | None:
        """None where it could not be counted."""
        return self._count(lambda counters: counters.scaled(name), scales=True)

    def ratio(self, name: CountName, over: CountName) -> Count | None:
        """One count over another of the same pass: both were on at the same time, so that scaling falls out."""
        return self._count(lambda counters: _ratio(counters, name, over), scales=False)

    def _count(self, per_pass: Callable[[Counters], float | None], *, scales: bool) -> Count | None:
        values = [value for counters in self.passes if (value := per_pass(counters)) is not None]
        if not values:
            return None
        middle = median(values)
        spread = (max(values) - min(values)) / middle if len(values) > 1 and middle else None
        return Count(middle, spread, scales and any(counters.share < 1 for counters in self.passes))


def _ratio(counters: Counters, name: CountName, over: CountName) -> float | None:
    above, below = counters.counts.get(name), counters.counts.get(over)
    return above / below if above is not None and below else None


def _mean_by_loss(passes: Sequence[Counters]) -> dict[Loss, float]:
    known = [it.cycles_by_loss for it in passes if it.cycles_by_loss]
    return {loss: sum(it[loss] for it in known) / len(known) for loss in LOSSES if known}


def cycles_by_loss(rounds: Sequence[Record]) -> dict[Loss, float]:
    """What the cycles of a timed pass of these rounds go to, on average; empty but for estimates."""
    passes = groups.timed_passes(groups.measured(rounds))
    return _mean_by_loss([it.counters for it in passes if it.counters is not None])


def of_estimates(records: Sequence[Record]) -> list[list[CountedCase]]:
    """The cases of which it is known what their cycles go to, by device: a cycle is the same in each runtime."""
    by_device: dict[tuple[str, object], list[CountedCase]] = {}
    for cases in counted(records):
        for case in cases:
            if case.cycles_by_loss:
                device = case.record.device
                by_device.setdefault((device.serial, device.timed_by), []).append(case)
    return list(by_device.values())


def counted(records: Sequence[Record]) -> list[list[CountedCase]]:
    """The cases that have counts, by source, device, runtime and number of threads."""
    found: dict[tuple[int, CountsFrom], list[CountedCase]] = {}
    for place, group in enumerate(groups.comparable(groups.measured(records))):
        for rounds in groups.by_case(group):
            counters = [it.counters for it in groups.timed_passes(rounds) if it.counters is not None]
            for source in dict.fromkeys(it.source for it in counters):
                case = CountedCase(rounds[0], tuple(it for it in counters if it.source == source))
                found.setdefault((place, source), []).append(case)
    return list(found.values())


def relative(case: CountedCase, beside: Sequence[CountedCase]) -> Count | None:
    """The instructions of a pass over MobileNet's; None where either is not known."""
    baseline = next((it for it in beside if is_baseline(it.record)), None)
    own, base = case.count("instructions"), baseline.count("instructions") if baseline else None
    if own is None or base is None or not base.median:
        return None
    return Count(own.median / base.median, None, case is not baseline and (own.is_estimate or base.is_estimate))


def reasons_for_none(records: Sequence[Record]) -> dict[str, list[str]]:
    """Why there are no counters, with the devices that gave each reason."""
    reasons: dict[str, dict[str, None]] = {}
    for record in records:
        if record.measurement is not None and record.measurement.counters_error is not None:
            reasons.setdefault(record.measurement.counters_error, {})[record.device.serial] = None
    return {reason: list(serials) for reason, serials in reasons.items()}
