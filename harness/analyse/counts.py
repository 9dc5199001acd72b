"""What the CPU, or the emulator in its place, counted in a pass: instructions, cycles, cache misses; as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from device.records import Counters, CountName, CountsFrom
from harness.analyse import groups
from harness.analyse.rows import is_baseline
from harness.record.record import Record
from harness.record.titles import group_title, model_title
from harness.record.units import NOTHING
from harness.report import render

#: Spreads below this are shown in parts per million. A choice: 0.0 % would say nothing of them.
IN_PPM_BELOW = 1e-3

_INTRODUCTION = (
    "Counts of one pass, all threads of the runner together: the median over the timed passes of all rounds, and in "
    "brackets the spread, which is the largest less the smallest over the median. *Relative to MobileNet* is the ratio "
    "of the instructions, on the same device, in the same runtime, with the same number of threads."
)

_SCALED = (
    "~: the CPU shared its few counters out among more than it has; such a count is made of what was seen while they "
    "were on ({least:.0%} of the time at least), and is an estimate."
)

_SOURCE: dict[CountsFrom, str] = {
    "perf": "Counted by the CPU's own counters (perf events); cache misses are what its kernel calls so, as a rule "
    "those of the last level.",
    "emulator": "Counted by the emulator, which sees every instruction; cache misses are those of caches that it "
    "simulates{caches}.",
}


@dataclass(frozen=True)
class Figure:
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

    def count(self, name: CountName) -> Figure | None:
        """None where it could not be counted."""
        return self._figure(lambda counters: counters.scaled(name), scales=True)

    def ratio(self, name: CountName, over: CountName) -> Figure | None:
        """One count over another of the same pass: both were on at the same time, so that scaling falls out."""
        return self._figure(lambda counters: _ratio(counters, name, over), scales=False)

    def _figure(self, per_pass: Callable[[Counters], float | None], *, scales: bool) -> Figure | None:
        values = [value for counters in self.passes if (value := per_pass(counters)) is not None]
        if not values:
            return None
        middle = median(values)
        spread = (max(values) - min(values)) / middle if len(values) > 1 and middle else None
        return Figure(middle, spread, scales and any(counters.share < 1 for counters in self.passes))


def _ratio(counters: Counters, name: CountName, over: CountName) -> float | None:
    above, below = counters.counts.get(name), counters.counts.get(over)
    return above / below if above is not None and below else None


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


def markdown(records: Sequence[Record]) -> str:
    """A table for each group of comparable cases, and why others have no counts; empty where none were asked for."""
    sections = [_section(cases) for cases in counted(records)]
    text = "\n".join([_INTRODUCTION, "", *sections]) if sections else ""
    return "\n".join([part for part in (text, *_without(records)) if part])


def _without(records: Sequence[Record]) -> list[str]:
    """A line for each reason why there are no counters, with the devices that gave it."""
    reasons: dict[str, dict[str, None]] = {}
    for record in records:
        if record.measurement is not None and record.measurement.counters_error is not None:
            reason = " ".join(record.measurement.counters_error.split())
            reasons.setdefault(reason, {})[record.device.serial] = None
    return [f"No counters on {', '.join(serials)}: {reason}\n" for reason, serials in reasons.items()]


def _section(cases: Sequence[CountedCase]) -> str:
    device, source = cases[0].record.device, cases[0].passes[0].source
    caches = f": {device.cache_model}" if device.cache_model else ""
    lines = [f"### {group_title(cases[0].record)}", "", _SOURCE[source].format(caches=caches), "", _table(cases)]
    shares = [counters.share for case in cases for counters in case.passes]
    if min(shares) < 1:
        lines += [_SCALED.format(least=min(shares)), ""]
    return "\n".join(lines)


def _table(cases: Sequence[CountedCase]) -> str:
    """A row for each case; columns that no case of the group has are left out."""
    import pandas as pd

    frame = pd.DataFrame([_row(case, cases) for case in cases])
    shown = [name for name in frame.columns if (frame[name] != NOTHING).any()]
    return render.markdown(frame[shown], set(shown) - {"Model"})


def _row(case: CountedCase, beside: Sequence[CountedCase]) -> dict[str, str]:
    relative = _relative(case, beside)
    return {
        "Model": case.title,
        "Instructions": _shown(case.count("instructions")),
        "Relative to MobileNet": relative or NOTHING,
        "SIMD share": _shown(case.ratio("simd_instructions", "instructions"), "{:.1%}"),
        "Cycles": _shown(case.count("cycles")),
        "Instructions per cycle": _shown(case.ratio("instructions", "cycles"), "{:.2f}"),
        "L1I misses": _shown(case.count("l1i_misses")),
        "L1D misses": _shown(case.count("l1d_misses")),
        "L2 misses": _shown(case.count("l2_misses")),
        "Cache references": _shown(case.count("cache_references")),
        "Cache misses": _shown(case.count("cache_misses")),
        "Passes": str(len(case.passes)),
    }


def _relative(case: CountedCase, beside: Sequence[CountedCase]) -> str | None:
    """The instructions of a pass over MobileNet's."""
    baseline = next((it for it in beside if is_baseline(it.record)), None)
    own, base = case.count("instructions"), baseline.count("instructions") if baseline else None
    if own is None or base is None or not base.median:
        return None
    is_estimate = case is not baseline and (own.is_estimate or base.is_estimate)
    return f"{'~' if is_estimate else ''}{own.median / base.median:.3f}"


def _shown(figure: Figure | None, ratio: str | None = None) -> str:
    """A count in millions with its spread, "~498.12M (5 ppm)"; a ratio without, in the given format."""
    if figure is None:
        return NOTHING
    if ratio is not None:
        return ratio.format(figure.median)
    spread = "" if figure.spread is None else f" ({_spread(figure.spread)})"
    return f"{'~' if figure.is_estimate else ''}{_count(figure.median)}{spread}"


def _spread(spread: float) -> str:
    return f"{spread * 1e6:.0f} ppm" if spread < IN_PPM_BELOW else f"{spread:.1%}"


def _count(count: float) -> str:
    """In millions, or in thousands where there are few: 498.12M, 12.30k, 17."""
    if count >= 1e6:  # noqa: PLR2004
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.2f}k" if count >= 1e3 else f"{count:.0f}"  # noqa: PLR2004
