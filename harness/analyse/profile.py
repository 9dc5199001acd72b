"""Where the time goes: the profiled passes of each case by operator type and by node, as Markdown and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from device.records import NodeTime, Profile
from harness.analyse import groups
from harness.analyse.rows import is_baseline
from harness.record.record import Record
from harness.record.titles import MEANING_OF_TIME, group_title, model_title
from harness.record.units import NOTHING, milliseconds
from harness.report import render

#: The part of a profiled pass that no node accounts for.
OUTSIDE = "outside the nodes"

#: How many nodes of a case the report lists, and how many operator types it names where two cases are compared.
#: Choices: the first ones hold most of the time, and the CSV has all nodes.
SLOWEST_NODES, NAMED_DIFFERENCES = 10, 3

#: A node's name as the report shows it, and an operator type's, at most; the CSV has them whole. Choices: paths of
#: modules fit.
LONGEST_NODE, LONGEST_OPERATOR = 60, 30

_INTRODUCTION = (
    "Time of the nodes as the runtime's own profiler tells it. **Profiled passes are passes of their own, never the "
    "timed ones**: they run after those, with the profiler on, which costs time itself. *Profiled over timed* says "
    "how much: a profiled pass over the median of the timed passes. A node is what the runtime runs; operators that it "
    f"has fused are one. *{OUTSIDE.capitalize()}* is what the nodes do not account for: the runtime's own work, and "
    "the profiler's. Cases are compared only on one device, in one runtime, with one number of threads."
)


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one operator type, or OUTSIDE, which has none; `share` is of the profiled pass."""

    op: str
    nodes: int
    ns_per_pass: float
    share: float


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
    def pass_ns(self) -> float:
        """Time of one profiled pass."""
        return self.profile.total_ns / self.profile.passes


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
    totals_ns = {op: sum(node.total_ns for node in nodes) for op, nodes in by_op.items()}
    times = [
        OperatorTime(op, len(by_op[op]), total_ns / profile.passes, total_ns / whole_ns)
        for op, total_ns in sorted(totals_ns.items(), key=lambda item: (-item[1], item[0]))
    ]
    outside_ns = whole_ns - sum(totals_ns.values())
    return [*times, OperatorTime(OUTSIDE, 0, outside_ns / profile.passes, outside_ns / whole_ns)]


def profiled(records: Sequence[Record]) -> list[ProfiledCase]:
    """Every case that was profiled and computed the right output, in the records' order."""
    cases = []
    for rounds in groups.by_case(groups.measured(records)):
        profiles = [it.measurement.profile for it in rounds if it.measurement and it.measurement.profile]
        samples = groups.timed_passes(rounds)
        whole = _together(profiles)
        if by_operator(whole) and samples:
            cases.append(ProfiledCase(rounds[0], whole, groups.median_ns(samples)))
    return cases


def comparable(records: Sequence[Record]) -> list[list[ProfiledCase]]:
    """The profiled cases by device, runtime and number of threads."""
    return [cases for group in groups.comparable(records) if (cases := profiled(group))]


def _whole_ns(profile: Profile) -> int:
    return max(profile.total_ns, sum(node.total_ns for node in profile.nodes))


def _together(profiles: Sequence[Profile]) -> Profile:
    """The profiles of a case's rounds as one, over the passes of all: a node is known by place, name and operator."""
    total_ns: dict[tuple[int, str, str], int] = {}
    for profile in profiles:
        for index, node in enumerate(profile.nodes):
            key = (index, node.name, node.op)
            total_ns[key] = total_ns.get(key, 0) + node.total_ns
    nodes = tuple(NodeTime(name, op, ns) for (_, name, op), ns in sorted(total_ns.items()))
    return Profile(sum(it.passes for it in profiles), sum(it.total_ns for it in profiles), nodes)


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(records: Sequence[Record]) -> str:
    """A section for each group of comparable cases: time by operator type side by side, then each case's slowest nodes.

    Empty where nothing was profiled.
    """
    sections = [_section(cases) for cases in comparable(records)]
    return "\n\n".join([_INTRODUCTION, *sections]) + "\n" if sections else ""


def _section(cases: Sequence[ProfiledCase]) -> str:
    clock = cases[0].record.device.clock
    lines = [f"### {group_title(cases[0].record)}", ""]
    lines += [f"ms a pass, and the share of the profiled pass. Time is {MEANING_OF_TIME[clock]}.", ""]
    lines += [_side_by_side(cases), *_side_by_side_notes(cases)]
    if clock != "emulated":
        lines += _against_the_baseline(cases)
    for case in cases:
        lines += _slowest(case)
    return "\n".join(lines)


def _side_by_side(cases: Sequence[ProfiledCase]) -> str:
    """A column for each case, a row for each operator type, then what the whole pass took."""
    import pandas as pd

    columns = [{time.op: time for time in by_operator(case.profile)} for case in cases]
    rows = [[_cell(shown_op(op)), *(_time(column.get(op)) for column in columns)] for op in _by_most_time(columns)]
    rows += [
        ["**profiled pass**", *(milliseconds(case.pass_ns) for case in cases)],
        ["**timed pass (median)**", *(milliseconds(case.timed_median_ns) for case in cases)],
        ["**profiled over timed**", *(_ratio(case) for case in cases)],
        ["**nodes**", *(str(len(case.profile.nodes)) for case in cases)],
        ["**profiled passes**", *(str(case.profile.passes) for case in cases)],
    ]
    titles = [case.title for case in cases]
    return render.markdown(pd.DataFrame(rows, columns=["Operator type", *titles]), set(titles)).rstrip()


def _ratio(case: ProfiledCase) -> str:
    return f"{case.pass_ns / case.timed_median_ns:.3f}" if case.timed_median_ns else NOTHING


def _by_most_time(columns: Sequence[Mapping[str, OperatorTime]]) -> list[str]:
    """The operator types of all columns, by the most that each takes in any of them; OUTSIDE last."""
    most: dict[str, float] = {}
    for column in columns:
        for op, time in column.items():
            most[op] = max(most.get(op, 0.0), time.ns_per_pass)
    return sorted(most, key=lambda op: (op == OUTSIDE, -most[op], op))


def _time(time: OperatorTime | None) -> str:
    return NOTHING if time is None else f"{milliseconds(time.ns_per_pass)} ({time.share:.1%})"


def _side_by_side_notes(cases: Sequence[ProfiledCase]) -> list[str]:
    beside = [case.title for case in cases if _whole_ns(case.profile) > case.profile.total_ns]
    if not beside:
        return []
    return ["", f"The nodes of {', '.join(beside)} add up to more than the passes took: shares are of their sum."]


def _against_the_baseline(cases: Sequence[ProfiledCase]) -> list[str]:
    """In words: which operator types make up the difference between each case and MobileNet."""
    baseline = next((it for it in cases if is_baseline(it.record)), None)
    if baseline is None or len(cases) == 1:
        return []
    lines = ["", f"Against {baseline.title}, ms a profiled pass:", ""]
    base_ns = {time.op: time.ns_per_pass for time in by_operator(baseline.profile)}
    for case in cases:
        if case is baseline:
            continue
        own_ns = {time.op: time.ns_per_pass for time in by_operator(case.profile)}
        by_op = {op: own_ns.get(op, 0.0) - base_ns.get(op, 0.0) for op in {*own_ns, *base_ns}}
        largest = sorted(by_op.items(), key=lambda item: (-abs(item[1]), item[0]))
        named = [f"{_cell(shown_op(op))} {_signed(ns)}" for op, ns in largest[:NAMED_DIFFERENCES]]
        if rest := largest[NAMED_DIFFERENCES:]:
            named.append(f"all else {_signed(sum(ns for _, ns in rest))}")
        lines.append(f"- {case.title}: {_signed(sum(by_op.values()))}: {', '.join(named)}.")
    return lines


def _signed(ns: float) -> str:
    return ("-" if ns < 0 else "+") + milliseconds(abs(ns))


def _slowest(case: ProfiledCase) -> list[str]:
    import pandas as pd

    profile, whole_ns = case.profile, _whole_ns(case.profile)
    slowest = sorted(enumerate(profile.nodes), key=lambda item: (-item[1].total_ns, item[0]))[:SLOWEST_NODES]
    if not slowest:
        return []
    together = sum(node.total_ns for _, node in slowest) / whole_ns
    rows = [
        {
            "#": str(index),
            "Node": _code(node.name),
            "Operator type": _cell(shown_op(node.op)),
            "ms a pass": milliseconds(node.total_ns / profile.passes),
            "Share": f"{node.total_ns / whole_ns:.1%}",
        }
        for index, node in slowest
    ]
    title = f"**{case.title}**: the {len(slowest)} slowest of {len(profile.nodes)} nodes, {together:.1%} of the pass."
    return ["", title, "", render.markdown(pd.DataFrame(rows), {"#", "ms a pass", "Share"}).rstrip()]


def shown_op(op: str) -> str:
    """An operator type as it is shown: on one line that is not too long."""
    return _short(op, LONGEST_OPERATOR) or NOTHING


def _short(name: str, longest: int) -> str:
    line = " ".join(name.split())
    return line if len(line) <= longest else f"{line[: longest // 2]}…{line[-longest // 2 :]}"


def _cell(text: str) -> str:
    """Text that the runtime gave, in a cell of a Markdown table."""
    return text.replace("|", r"\|")


def _code(name: str) -> str:
    """A node's name in a cell, so that Markdown leaves its underscores alone."""
    short = _short(name, LONGEST_NODE).replace("`", "'")
    return f"`{_cell(short)}`" if short else NOTHING


# --- CSV ----------------------------------------------------------------------------------------------

_CASE_COLUMNS = ["device", "model", "igc", "precision", "runtime", "format", "provider", "threads", "cpus", "abi"]
_NODE_COLUMNS = ["index", "node", "op", "ns_per_pass", "share"]


def csv(records: Sequence[Record]) -> str:
    """A line for each node of each profiled case, unrounded; the heading alone where nothing was profiled."""
    import pandas as pd

    lines = []
    for profiled_case in profiled(records):
        device, case, profile = profiled_case.record.device, profiled_case.record.case, profiled_case.profile
        network, runtime = [case.model, case.igc, case.precision], [case.runtime, case.format, case.provider]
        is_of = [device.serial, *network, *runtime, case.threads, case.cpus, case.abi]
        for index, node in enumerate(profile.nodes):
            ns_per_pass, share = node.total_ns / profile.passes, node.total_ns / _whole_ns(profile)
            lines.append([*is_of, index, node.name, node.op, ns_per_pass, share])
    frame = pd.DataFrame(lines, columns=[*_CASE_COLUMNS, *_NODE_COLUMNS])
    return str(frame.to_csv(index=False, lineterminator="\n"))
