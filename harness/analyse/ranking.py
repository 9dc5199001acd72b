"""Which network is the fastest on which device under which runtime, by how much, how sure that is, what the paper said.

Pure functions of rows. Only rows that differ in nothing but the network and how it is computed are ever ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device.records import Clock
from harness.analyse import groups, warnings
from harness.analyse.rows import BASELINE, Row, over
from harness.analyse.statistics import Ratio, shown_ratio
from harness.record.runtimes import is_papers
from harness.record.titles import MEANING_OF_TIME, group_title
from harness.record.units import milliseconds
from models import paper, registry

#: Ratios this near to the paper's are said to agree. A choice: the paper prints four digits and no spread.
AGREES_WITHIN = 0.05


@dataclass(frozen=True)
class Ranking:
    """The rows that were measured of one device, runtime and number of threads, the fastest first.

    `over_next` is the next row's time over the fastest's: above 1. None where there is no other row, or times mean
    nothing.
    """

    ranked: tuple[Row, ...]
    over_next: Ratio | None

    @property
    def fastest(self) -> Row:
        return self.ranked[0]

    @property
    def title(self) -> str:
        """Device, runtime and threads."""
        return group_title(self.fastest.record)

    @property
    def is_ranked(self) -> bool:
        """Whether times mean anything there."""
        return self.clock != "emulated"

    @property
    def clock(self) -> Clock:
        return self.fastest.record.device.clock

    @property
    def measured_on(self) -> str:
        device = self.fastest.record.device
        return "hardware, of a computer" if device.kind == "host" else MEANING_OF_TIME[device.clock]


def rankings(table: Sequence[Row]) -> list[Ranking]:
    """One for each device, runtime and number of threads where anything was measured, in the order of the rows."""
    by_record = {id(row.record): row for row in table if row.summary is not None}
    records = [row.record for row in table if row.summary is not None]
    return [_ranking([by_record[id(record)] for record in group]) for group in groups.comparable(records)]


def _ranking(rows: Sequence[Row]) -> Ranking:
    ranked = tuple(sorted(rows, key=lambda row: row.summary.median_ns if row.summary else 0.0))
    over_next = over(ranked[1], ranked[0]) if len(ranked) > 1 else None
    return Ranking(ranked, over_next)


def _median_ns(row: Row) -> float:
    return row.summary.median_ns if row.summary else 0.0


def can_tell(ranking: Ranking) -> bool | None:
    """Whether the fastest is surely faster than the next; None where there is nothing to compare it with.

    With an interval: whether that is above 1 as a whole. Without one: whether its slowest pass took less than the next
    one's fastest, which says nothing of how processes differ.
    """
    if ranking.over_next is None:
        return None
    if ranking.over_next.low is not None:
        return ranking.over_next.low > 1
    own, others = ranking.ranked[0].summary, ranking.ranked[1].summary
    return bool(own and others and own.max_ns < others.min_ns)


def who(ranking: Ranking) -> str:
    """Which is the fastest, and by how much, in a sentence or two."""
    row, count = ranking.fastest, len(ranking.ranked)
    time = f"{milliseconds(_median_ns(row))} ms (median)"
    if not ranking.is_ranked:
        return "Nothing is ranked here: an emulator's wall time means nothing."
    if count == 1:
        return f"{row.title} alone was measured: {time}{_of_baseline(row)}."
    next_ = ranking.ranked[1]
    if ranking.over_next is None:
        return f"{row.title}: {time}{_of_baseline(row)}. No round has it and {next_.title}, the next."
    if not can_tell(ranking):
        beside = "the only other" if count == 2 else "the next"  # noqa: PLR2004
        return (
            f"{row.title} took {time}{_of_baseline(row)}, but it can't be told apart from {next_.title}, {beside} "
            f"({milliseconds(_median_ns(next_))} ms)."
        )
    does = "takes the fewest instructions" if row.record.device.clock == "instructions" else "is the fastest"
    factor = _times(ranking.over_next)
    text = f"{row.title} {does} of {count}: {time}{_of_baseline(row)}, {factor} as fast as {next_.title}, the next."
    in_fp32 = next((one for one in ranking.ranked if one.record.case.precision == "fp32"), None)
    if in_fp32 is None or in_fp32 is row:
        return text
    return (
        f"{text} In fp32 the first is {in_fp32.title}: {milliseconds(_median_ns(in_fp32))} ms{_of_baseline(in_fp32)}."
    )


def _of_baseline(row: Row) -> str:
    if row.ratio is None or (row.record.case.model == BASELINE and row.ratio.value == 1):
        return ""
    return f", {shown_ratio(row.ratio)} of MobileNet's time ({1 / row.ratio.value:.2f} times as fast)"


def _times(over: Ratio) -> str:
    interval = "" if over.low is None or over.high is None else f" [{over.low:.2f}, {over.high:.2f}]"
    return f"{over.value:.2f}{interval} times"


def how_sure(ranking: Ranking) -> str:
    """What is known of the spread, in a sentence or two; the warnings about the fastest two."""
    if not ranking.is_ranked:
        return "Such a board is there to try threads and affinity."
    row = ranking.fastest
    if ranking.over_next is not None and ranking.over_next.low is not None:
        text = f"In brackets are 95 % intervals, over {ranking.over_next.rounds} rounds of fresh processes."
    elif row.record.device.clock == "instructions":
        text = "Modelled times repeat to a few parts in 10,000, so that the order is sure, on this board alone."
    else:
        rounds = len(groups.measured(row.records))
        processes = "one process" if rounds == 1 else f"{rounds} processes"
        within = "" if row.spread is None else f"; its passes differ by {row.spread.within:.2%} there"
        text = f"Measured in {processes}{within}. That makes no interval: --rounds 5 does."
    if row.fp32_deviation is not None:
        text += f" Its output differs from fp32's by up to {row.fp32_deviation:.1%} of that one's spread."
    told = [f"{one.title}: {said}" for one in ranking.ranked[:2] if (said := warnings_in_short(one))]
    return text + (f" Warnings: {'; '.join(told)}." if told else "")


def warnings_in_short(row: Row) -> str:
    """The row's warnings in a few words, but for emulation, which "measured on" says everywhere."""
    return warnings.summary(one for one in row.warnings if one.kind != "emulated")


def the_paper(ranking: Ranking) -> str:
    """What Table 6 of the paper says of the same; empty where it has none of these networks beside another."""
    in_paper: dict[str, tuple[str, float]] = {}
    for row in ranking.ranked:
        if row.spec and row.spec.paper and row.spec.paper.speed_ms:
            in_paper.setdefault(row.spec.name, (row.spec.title, row.spec.paper.speed_ms))
    baseline = registry.get(BASELINE).paper
    if not ranking.is_ranked or in_paper.keys() <= {BASELINE} or baseline is None or not baseline.speed_ms:
        return ""
    name, (title, ms) = min(in_paper.items(), key=lambda item: item[1][1])
    device = paper.table6_device()
    source = f"The paper (Table 6: {device.runtime}, a phone with {device.core_part})"
    text = f"{source} has {ms / baseline.speed_ms:.3f} of MobileNet's time for {title}"
    if len(in_paper) > 1:
        fastest = ranking.fastest.spec.name if ranking.fastest.spec else None
        text += ", its fastest of these, too" if name == fastest else ", its fastest of these"
    row = ranking.fastest
    same = row.relative is not None and row.paper_relative is not None and row.record.case.model == name
    if same and row.relative is not None and row.paper_relative is not None and name != BASELINE:
        agrees = abs(row.relative / row.paper_relative - 1) <= AGREES_WITHIN
        word = "agrees" if agrees else "does not agree"
        text += f": that {word} with {row.relative:.3f} here, within {AGREES_WITHIN:.0%}"
    elif not is_papers(row.record.case.runtime):
        text += "; another runtime and processor than here"
    return text + "."


def sentences(ranking: Ranking) -> list[str]:
    """Who, how surely, and what the paper said of it."""
    return [said for said in (who(ranking), how_sure(ranking), the_paper(ranking)) if said]
