"""Which network is the fastest on which device under which runtime, by how much, how sure that is, what the paper said.

Pure functions of rows. Only rows that differ in nothing but the network and how it is computed are ever ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device.board.accuracy import accuracy
from device.records import Clock, DeviceInfo
from harness.analyse import groups, warnings
from harness.analyse.rows import BASELINE, Row, is_as_in_paper, over
from harness.analyse.slower import EXACT_FACTOR
from harness.analyse.statistics import Ratio, shown_ratio
from harness.record import units
from harness.record.runtimes import is_papers
from harness.record.titles import group_title, meaning_of_time
from harness.record.units import milliseconds, percent
from models import paper, registry

#: Ratios this near to the paper's are said to agree. A choice: the paper prints four digits and no spread.
AGREES_WITHIN = 0.05

#: What is said of how modelled times repeat, wherever it is said.
MODELLED_REPEAT = f"Modelled times less than {EXACT_FACTOR - 1:.1%} apart count as the same"

#: What the first of a ranking is told by, where that is no time of hardware.
FEWEST: dict[Clock, str] = {"instructions": "fewest instructions", "estimated": "fewest cycles, by the estimate,"}


@dataclass(frozen=True)
class Ranking:
    """The rows that were measured of one device, runtime and number of threads, the lowest median first.

    `over_first` is each other row's time over the first's, 1 or more; None where no round has both, or times mean
    nothing. `failed` rows have no time.
    """

    ranked: tuple[Row, ...]
    over_first: tuple[Ratio | None, ...]
    failed: int

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
    def device(self) -> DeviceInfo:
        return self.fastest.record.device

    @property
    def clock(self) -> Clock:
        return self.device.clock

    @property
    def measured_on(self) -> str:
        is_computer = self.device.kind in ("host", "linux") and not self.device.abi.startswith("arm")
        return meaning_of_time(self.device) + (", of a computer" if is_computer and self.clock == "wall" else "")


def rankings(table: Sequence[Row]) -> list[Ranking]:
    """One for each device, runtime and number of threads where anything was measured, in the order of the rows."""
    by_record = {id(row.record): row for row in table}
    found = [[by_record[id(it)] for it in group] for group in groups.comparable([row.record for row in table])]
    return [_ranking(group) for group in found if any(row.summary for row in group)]


def _ranking(rows: Sequence[Row]) -> Ranking:
    first, *others = sorted((row for row in rows if row.summary is not None), key=_median_ns)
    return Ranking((first, *others), tuple(over(it, first) for it in others), len(rows) - len(others) - 1)


def _median_ns(row: Row) -> float:
    return row.summary.median_ns if row.summary else 0.0


def can_tell(ranking: Ranking) -> bool | None:
    """Whether the first is surely faster than all others; None where there is nothing to compare it with."""
    return _rival(ranking) is None and not _kept_waiting(ranking) if any(ranking.over_first) else None


def _rival(ranking: Ranking) -> int | None:
    """The place of the first row that the fastest can't be told apart from; None: it can be from all."""
    return next((place for place in range(1, len(ranking.ranked)) if not _is_told(ranking, place)), None)


def _is_told(ranking: Ranking, place: int) -> bool:
    """Whether the row in that place is surely slower than the first.

    With an interval: whether that is above 1 as a whole. Without one: whether the first's slowest pass took less than
    the other's fastest, which says nothing of how processes differ. Modelled times must differ as those of two runs.
    """
    found = ranking.over_first[place - 1]
    if found is None or _is_as_good_as_equal(ranking, found):
        return False
    if found.low is not None:
        return found.low > 1
    own, others = ranking.ranked[0].summary, ranking.ranked[place].summary
    return bool(own and others and own.max_ns < others.min_ns)


def _is_as_good_as_equal(ranking: Ranking, found: Ratio) -> bool:
    """Whether these are modelled times or estimates that may be in another order in another run."""
    return ranking.device.is_exact and found.value <= EXACT_FACTOR


def who(ranking: Ranking) -> str:
    """Which is the fastest, and by how much, in a sentence or two."""
    row, count = ranking.fastest, len(ranking.ranked)
    well = " that ended well" if ranking.failed else ""
    time = f"{milliseconds(_median_ns(row))} ms ({'estimated, ' if ranking.device.chip else ''}median)"
    if not ranking.is_ranked:
        return "Nothing is ranked here: an emulator's wall time means nothing."
    if count > 1 and (kept := _kept_waiting(ranking)):
        others = f"others had the CPUs while {' and '.join(kept)} ran"
        return f"{row.title} took {time}, but {others}: which is faster can't be told."
    time += _of_baseline(row)
    if count == 1:
        return f"{row.title} {'is the only one' if ranking.failed else 'alone was measured'}{well}: {time}."
    if (place := _rival(ranking)) is not None:
        rival, found = ranking.ranked[place], ranking.over_first[place - 1]
        beside = ("the only other" if count == 2 else "the next" if place == 1 else "another") + well  # noqa: PLR2004
        if found is None:
            return f"{row.title}: {time}. No round has it and {rival.title}, {beside}."
        by = units.with_interval(units.ratio, found.value, found.low, found.high)
        return (
            f"{row.title} took {time}, but it can't be told apart from {rival.title}, {beside} "
            f"({milliseconds(_median_ns(rival))} ms, {by} of that)."
        )
    next_, over_next = ranking.ranked[1], ranking.over_first[0]
    assert over_next is not None  # noqa: S101 (it was told from the first)
    does = f"takes the {fewest}" if (fewest := FEWEST.get(ranking.clock)) else "is the fastest"
    by = f"{units.with_interval(units.factor, over_next.value, over_next.low, over_next.high)} times as fast as"
    if over_next.is_loose:
        by = "faster by a factor that can't be told (its interval covers two) than"
    return f"{row.title} {does} of {count}{well}: {time}, {by} {next_.title}, the next.{_in_fp32(ranking)}"


def _in_fp32(ranking: Ranking) -> str:
    """Where the first is not in fp32, which has the lowest median of those that are."""
    row = next((one for one in ranking.ranked if one.record.case.precision == "fp32"), None)
    if row is None or row is ranking.fastest:
        return ""
    return f" In fp32 the lowest median is that of {row.title}: {milliseconds(_median_ns(row))} ms{_of_baseline(row)}."


def _kept_waiting(ranking: Ranking) -> list[str]:
    """Those of the fastest two and MobileNet that mostly waited for a CPU: no ratio with them says anything."""
    concerned = [*ranking.ranked[:2], *(row for row in ranking.ranked[2:] if row.record.case.model == BASELINE)]
    return [row.title for row in concerned if any(one.kind == "kept_waiting" for one in row.warnings)]


def _of_baseline(row: Row) -> str:
    if row.ratio is None or row.ratio.is_loose or (row.record.case.model == BASELINE and row.ratio.value == 1):
        return ""
    return f", {shown_ratio(row.ratio)} of MobileNet's time ({units.factor(1 / row.ratio.value)} times as fast)"


def how_sure(ranking: Ranking) -> str:
    """What is known of the spread, in a sentence or two; the warnings about the fastest two."""
    if not ranking.is_ranked:
        return "Such a board is there to try threads and affinity."
    row = ranking.fastest
    said = [_from_what(ranking), _of_the_order(ranking)]
    if row.fp32_deviation is not None:
        said.append(f"Its output differs from fp32's by up to {percent(row.fp32_deviation)} of that one's spread.")
    told = [f"{one.title}: {words}" for one in ranking.ranked[:2] if (words := warnings_in_short(one))]
    if told:
        said.append(f"Warnings: {'; '.join(told)}.")
    return " ".join(filter(None, said))


def _from_what(ranking: Ranking) -> str:
    """What the figures are made of, and what the brackets are, where there are some."""
    row, place = ranking.fastest, (_rival(ranking) or 1) - 1
    shown = [row.ratio, *ranking.over_first[place : place + 1]]
    if rounds := sorted({found.rounds for found in shown if found is not None and found.low is not None}):
        return f"In brackets are 95 % intervals, over {' or '.join(map(str, rounds))} rounds of fresh processes."
    count = len(groups.measured(row.records))
    differ = f"; its passes differ by {percent(row.spread.within)}" if row.spread and row.spread.within else ""
    how = "Estimated" if ranking.device.chip else "Measured"
    return f"{how} in {'one process' if count == 1 else f'{count} processes'}{differ}."


def _of_the_order(ranking: Ranking) -> str:
    """Why the first is that, or may not be; empty where an interval shows it, or there is no other."""
    rival = _rival(ranking)
    place = rival or 1
    found = ranking.over_first[place - 1] if len(ranking.ranked) > 1 else None
    own, others = ranking.fastest.summary, ranking.ranked[min(place, len(ranking.ranked) - 1)].summary
    if found is None or own is None or others is None:
        return ""
    if ranking.device.is_exact and (rival is None or _is_as_good_as_equal(ranking, found)):
        apart = f"{percent(found.value - 1)} more" if found.value > 1 else "as much"
        chip, title = ranking.device.chip, ranking.fastest.title
        takes = f"{title} takes the fewest by this model" if chip else f"{title} surely takes the fewest, on this board"
        sure = f", so that {takes}" + (f"; {accuracy(chip)}" if chip else "") if rival is None else ""
        return f"{MODELLED_REPEAT}; {ranking.ranked[place].title} takes {apart}{sure}."
    if found.low is not None:
        return ""
    slowest, quickest = milliseconds(own.max_ns), milliseconds(others.min_ns)
    passes = f"Its slowest pass took {slowest} ms, the quickest of {ranking.ranked[place].title} {quickest} ms."
    return f"{passes} How processes differ is not known: --rounds 5 tells."


def warnings_in_short(row: Row) -> str:
    """The row's warnings in a few words, but for emulation and estimates, of which "measured on" tells everywhere."""
    return warnings.summary(one for one in row.warnings if one.kind not in ("emulated", "estimated"))


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
    text = f"{source} has {units.ratio(ms / baseline.speed_ms)} of MobileNet's time for {title}"
    row = ranking.fastest
    is_first_here = can_tell(ranking) and row.spec is not None and row.spec.name == name and is_as_in_paper(row.record)
    if len(in_paper) > 1:
        text += ", its fastest of these, too" if is_first_here else ", its fastest of these"
    has_both = row.ratio is not None and row.paper_relative is not None and not _kept_waiting(ranking)
    if has_both and row.record.case.model == name != BASELINE:
        here = f"{shown_ratio(row.ratio)} here, within {AGREES_WITHIN:.0%}"
        agrees = agrees_with_paper(row)
        return (
            f"{text}; whether that agrees with {here}, can't be told."
            if agrees is None
            else (f"{text}: that {'agrees' if agrees else 'does not agree'} with {here}.")
        )
    others = [
        *([] if is_papers(row.record.case.runtime) else ["runtime"]),
        *([] if has_papers_core(row.record.device) else ["processor"]),
    ]
    return text + (f"; another {' and '.join(others)} than here." if others else ".")


def agrees_with_paper(row: Row) -> bool | None:
    """Whether its ratio is near the paper's; None where its interval leaves that open. Both must be there."""
    assert row.ratio is not None  # noqa: S101
    assert row.paper_relative is not None  # noqa: S101
    ends = [row.ratio.value if end is None else end for end in (row.ratio.low, row.ratio.high)]
    low, high = (end / row.paper_relative - 1 for end in ends)
    if low >= -AGREES_WITHIN and high <= AGREES_WITHIN:
        return True
    return False if high < -AGREES_WITHIN or low > AGREES_WITHIN else None


def has_papers_core(device: DeviceInfo) -> bool:
    """Whether it may be the processor that the paper's phone has; also where the device does not say what it has."""
    parts = {core.part for core in device.cores}
    return not parts or None in parts or paper.table6_device().core_part in parts


def sentences(ranking: Ranking) -> list[str]:
    """Who, how surely, and what the paper said of it."""
    return [said for said in (who(ranking), how_sure(ranking), the_paper(ranking)) if said]
