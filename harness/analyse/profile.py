"""Where the time goes: the profiled passes of each case by operator type and by node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from device.records import LOSSES, Loss, NodeTime, Profile
from harness.analyse import groups
from harness.analyse.rows import is_baseline
from harness.record.record import Record
from harness.record.titles import model_title
from harness.record.units import NOTHING, TimeUnit

#: The part of a profiled pass that no node accounts for.
OUTSIDE = "outside the nodes"

#: An operator type's name where it is shown, at most. A choice: paths of modules fit; the CSV has them whole.
LONGEST_OPERATOR = 30


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one operator type, or OUTSIDE, which has none; `share` is of the profiled pass.

    `cycles_by_loss` are those of a pass, of an estimate.
    """

    op: str
    nodes: int
    ns_per_pass: float
    share: float
    cycles_by_loss: Mapping[Loss, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfiledCase:
    """A case's profile, of all its rounds together, and the median of its timed passes. `record` is its first round."""

    record: Record
    profile: Profile
    timed_median_ns: float

    @property
    def title(self) -> str:
        return model_title(self.record)

    @property
    def unit(self) -> TimeUnit:
        """What its times are shown in."""
        return TimeUnit.of(self.record.device.chip)

    @property
    def pass_ns(self) -> float:
        """Time of one profiled pass."""
        return self.profile.total_ns / self.profile.passes

    @property
    def whole_ns(self) -> int:
        """What shares are of: the time of all profiled passes, or of their nodes where those add up to more."""
        return _whole_ns(self.profile)

    @property
    def over_timed(self) -> float | None:
        """A profiled pass over a timed one."""
        return self.pass_ns / self.timed_median_ns if self.timed_median_ns else None

    @property
    def slowest(self) -> list[tuple[int, NodeTime]]:
        """The nodes with their places, the slowest first."""
        return sorted(enumerate(self.profile.nodes), key=lambda item: (-item[1].total_ns, item[0]))


def by_operator(profile: Profile) -> list[OperatorTime]:
    """The operator types, the slowest first, and OUTSIDE last; the shares add up to one.

    Where nodes run side by side they can add up to more than the passes took: then shares are of their sum, and nothing
    is outside. Empty for a profile without passes or without any time.
    """
    whole_ns = _whole_ns(profile)
    if not profile.passes or not whole_ns:
        return []
    by_op: dict[str, list[NodeTime]] = {}
    for node in profile.nodes:
        by_op.setdefault(node.op, []).append(node)

    def of(op: str, nodes: int, total_ns: int, cycles: Mapping[Loss, int]) -> OperatorTime:
        per_pass = {loss: count / profile.passes for loss, count in cycles.items()}
        return OperatorTime(op, nodes, total_ns / profile.passes, total_ns / whole_ns, per_pass)

    times = [
        of(op, len(nodes), sum(node.total_ns for node in nodes), _by_loss(node.cycles_by_loss for node in nodes))
        for op, nodes in by_op.items()
    ]
    inside = _by_loss(node.cycles_by_loss for node in profile.nodes)
    outside = {loss: count - inside.get(loss, 0) for loss, count in profile.cycles_by_loss.items()}
    outside_ns = whole_ns - sum(node.total_ns for node in profile.nodes)
    return [*sorted(times, key=lambda it: (-it.ns_per_pass, it.op)), of(OUTSIDE, 0, outside_ns, outside)]


def profiled(records: Sequence[Record]) -> list[ProfiledCase]:
    """Every case that was profiled and computed the right output, in the records' order."""
    cases = []
    for rounds in groups.by_case(groups.measured(records)):
        profiles = [it.measurement.profile for it in rounds if it.measurement and it.measurement.profile]
        median_ns = groups.median_ns(rounds)
        whole = _together(profiles)
        if by_operator(whole) and median_ns is not None:
            cases.append(ProfiledCase(rounds[0], whole, median_ns))
    return cases


def comparable(records: Sequence[Record]) -> list[list[ProfiledCase]]:
    """The profiled cases by device, runtime and number of threads."""
    return [cases for group in groups.comparable(records) if (cases := profiled(group))]


def _whole_ns(profile: Profile) -> int:
    return max(profile.total_ns, sum(node.total_ns for node in profile.nodes))


def _together(profiles: Sequence[Profile]) -> Profile:
    """The profiles of a case's rounds as one, over the passes of all: a node is known by place, name and operator."""
    of_node: dict[tuple[int, str, str], list[NodeTime]] = {}
    for profile in profiles:
        for index, node in enumerate(profile.nodes):
            of_node.setdefault((index, node.name, node.op), []).append(node)
    nodes = tuple(
        NodeTime(name, op, sum(it.total_ns for it in of), cycles_by_loss=_by_loss(it.cycles_by_loss for it in of))
        for (_, name, op), of in sorted(of_node.items())
    )
    whole = _by_loss(it.cycles_by_loss for it in profiles)
    return Profile(sum(it.passes for it in profiles), sum(it.total_ns for it in profiles), nodes, whole)


def _by_loss(parts: Iterable[Mapping[Loss, int]]) -> dict[Loss, int]:
    """Their sums; empty where nothing is known of what cycles go to."""
    known = [part for part in parts if part]
    return {loss: sum(part[loss] for part in known) for loss in LOSSES if known}


def by_most_time(columns: Sequence[Mapping[str, OperatorTime]]) -> list[str]:
    """The operator types of all columns, by the most that each takes in any of them; OUTSIDE last."""
    most: dict[str, float] = {}
    for column in columns:
        for op, time in column.items():
            most[op] = max(most.get(op, 0.0), time.ns_per_pass)
    return sorted(most, key=lambda op: (op == OUTSIDE, -most[op], op))


def differences_ns(case: ProfiledCase, baseline: ProfiledCase) -> dict[str, float]:
    """How much longer each operator type takes than in the other, in a profiled pass; the largest differences first."""
    own, base = ({time.op: time.ns_per_pass for time in by_operator(it.profile)} for it in (case, baseline))
    by_op = {op: own.get(op, 0.0) - base.get(op, 0.0) for op in {*own, *base}}
    return dict(sorted(by_op.items(), key=lambda item: (-abs(item[1]), item[0])))


def differences_by_loss(case: ProfiledCase, baseline: ProfiledCase) -> dict[Loss, float]:
    """How many more cycles a profiled pass loses to each than the other's; empty where these are not known."""
    own, base = (
        {loss: n / it.profile.passes for loss, n in it.profile.cycles_by_loss.items()} for it in (case, baseline)
    )
    return {loss: count - base.get(loss, 0.0) for loss, count in own.items() if base}


def baseline_of(cases: Sequence[ProfiledCase]) -> ProfiledCase | None:
    return next((it for it in cases if is_baseline(it.record)), None)


def short_op(op: str) -> str:
    """An operator type as it is shown: on one line that is not too long."""
    return short(op, LONGEST_OPERATOR) or NOTHING


def short(name: str, longest: int) -> str:
    line = " ".join(name.split())
    return line if len(line) <= longest else f"{line[: longest // 2]}…{line[-longest // 2 :]}"
