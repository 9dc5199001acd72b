"""Sections of a run's report about where the time goes: node by node, and on how many threads."""

from __future__ import annotations

from collections.abc import Sequence

from device.records import LOSSES, NodeTime
from harness.analyse import profile as profiles
from harness.analyse import scaling as threads
from harness.analyse.profile import OUTSIDE, OperatorTime, ProfiledCase, short, short_op
from harness.analyse.scaling import Sweep
from harness.record.record import Record
from harness.record.titles import LOSS_TITLES, group_title, how_measured, loss_heading, sentence
from harness.record.units import NOTHING, TimeUnit, factor, millions, milliseconds, percent, ratio
from harness.report import document as doc

#: How many nodes of a case the report lists, and how many operator types it names where two cases are compared.
#: Choices: the first ones hold most of the time, and the CSV has all nodes.
SLOWEST_NODES, NAMED_DIFFERENCES = 10, 3

#: A node's name as the report shows it, at most. A choice: paths of modules fit; the CSV has them whole.
LONGEST_NODE = 60

# --- node by node -------------------------------------------------------------------------------------

_INTRODUCTION = doc.paragraph(
    "Time of the nodes as the runtime's own profiler tells it. ",
    doc.strong("Profiled passes are passes of their own, never the timed ones"),
    ": they run after those, with the profiler on, which costs time itself. ",
    doc.emphasis("Profiled over timed"),
    " says how much: a profiled pass over the median of the timed passes. A node is what the runtime runs; operators "
    "that it has fused are one. ",
    doc.emphasis(OUTSIDE.capitalize()),
    " is what the nodes do not account for: the runtime's own work, and the profiler's. Cases are compared only on one "
    "device, in one runtime, with one number of threads.",
)


def profile(records: Sequence[Record]) -> list[doc.Block]:
    """For each group of comparable cases time by operator type side by side, then each case's slowest nodes.

    Empty where nothing was profiled.
    """
    found = [_profile_group(cases) for cases in profiles.comparable(records)]
    return [_INTRODUCTION, *found] if found else []


def _profile_group(cases: Sequence[ProfiledCase]) -> doc.Group:
    device = cases[0].record.device
    beside = [case.title for case in cases if case.whole_ns > case.profile.total_ns]
    blocks: list[doc.Block] = [
        doc.paragraph(
            f"{cases[0].unit.name} a pass, and the share of the profiled pass. {sentence(how_measured(device))}"
        ),
        _side_by_side(cases),
    ]
    if beside:
        what = f"The nodes of {', '.join(beside)} add up to more than the passes took: shares are of their sum."
        blocks.append(doc.paragraph(what))
    if device.clock != "emulated":
        blocks += _against_the_baseline(cases)
    blocks += [_by_loss(case) for case in cases if case.profile.cycles_by_loss]
    blocks += [_slowest(case) for case in cases if case.profile.nodes]
    return doc.Group(group_title(cases[0].record), tuple(blocks))


def _side_by_side(cases: Sequence[ProfiledCase]) -> doc.Table:
    """A column for each case, a row for each operator type, then what the whole pass took."""
    columns = [{time.op: time for time in profiles.by_operator(case.profile)} for case in cases]
    operators, unit = profiles.by_most_time(columns), cases[0].unit
    rows: list[list[str | doc.Cell]] = [
        [doc.Cell(short_op(op)), *(_time(column.get(op), unit) for column in columns)] for op in operators
    ]
    rows += [
        [doc.Cell("profiled pass", "strong"), *(unit.text(case.pass_ns) for case in cases)],
        [doc.Cell("timed pass (median)", "strong"), *(unit.text(case.timed_median_ns) for case in cases)],
        [doc.Cell("profiled over timed", "strong"), *(_over_timed(case) for case in cases)],
        [doc.Cell("nodes", "strong"), *(str(len(case.profile.nodes)) for case in cases)],
        [doc.Cell("profiled passes", "strong"), *(str(case.profile.passes) for case in cases)],
    ]
    return doc.table(["Operator type", *(case.title for case in cases)], rows)


def _over_timed(case: ProfiledCase) -> str:
    return NOTHING if case.over_timed is None else ratio(case.over_timed)


def _time(time: OperatorTime | None, unit: TimeUnit) -> str:
    return NOTHING if time is None else f"{unit.text(time.ns_per_pass)} ({percent(time.share)})"


def _against_the_baseline(cases: Sequence[ProfiledCase]) -> list[doc.Block]:
    """In words: which operator types make up the difference between each case and MobileNet, and what cycles go to."""
    baseline = profiles.baseline_of(cases)
    if baseline is None or len(cases) == 1:
        return []
    lines, unit = [], baseline.unit
    for case in cases:
        if case is baseline:
            continue
        by_op = [(op, unit.value(ns)) for op, ns in profiles.differences_ns(case, baseline).items()]
        named = [f"{short_op(op)} {_signed(more)}" for op, more in by_op[:NAMED_DIFFERENCES]]
        if rest := by_op[NAMED_DIFFERENCES:]:
            named.append(f"all else {_signed(sum(more for _, more in rest))}")
        line = f"{case.title}: {_signed(sum(more for _, more in by_op))}: {', '.join(named)}."
        if by_loss := profiles.differences_by_loss(case, baseline):
            lost = (f"{LOSS_TITLES[loss]} {_signed(cycles / 1e6)}" for loss, cycles in by_loss.items() if cycles)
            line = f"{line} Of these go to {', '.join(lost)}."
        lines.append(line)
    return [doc.paragraph(f"Against {baseline.title}, {unit.name} a profiled pass:"), doc.bullets(lines)]


def _signed(more: float) -> str:
    return ("-" if more < 0 else "+") + millions(abs(more))


def _by_loss(case: ProfiledCase) -> doc.Details:
    """A row for each operator type: its cycles, and what they go to."""
    lines: list[doc.Line] = [
        {
            "Operator type": short_op(time.op),
            "Mcycles a pass": millions(sum(time.cycles_by_loss.values()) / 1e6),
            **{loss_heading(loss): millions(cycles / 1e6) for loss, cycles in time.cycles_by_loss.items()},
        }
        for time in profiles.by_operator(case.profile)
    ]
    summary = doc.words(doc.strong(case.title), ": what the cycles of each operator type go to.")
    return doc.Details(summary, (doc.table_of(lines, left=("Operator type",)),))


def _slowest(case: ProfiledCase) -> doc.Details:
    slowest = case.slowest[:SLOWEST_NODES]
    together = sum(node.total_ns for _, node in slowest) / case.whole_ns
    summary = f": the {len(slowest)} slowest of {len(case.profile.nodes)} nodes, {percent(together)} of the pass."
    nodes = doc.table_of([_node(case, index, node) for index, node in slowest], left=("Node", "Operator type"))
    return doc.Details(doc.words(doc.strong(case.title), summary), (nodes,))


def _node(case: ProfiledCase, index: int, node: NodeTime) -> doc.Line:
    name = short(node.name, LONGEST_NODE)
    return {
        "#": str(index),
        "Node": doc.Cell(name, "code") if name else NOTHING,
        "Operator type": short_op(node.op),
        f"{case.unit.name} a pass": case.unit.text(node.total_ns / case.profile.passes),
        "Share": percent(node.total_ns / case.whole_ns),
    }


def profile_data(records: Sequence[Record]) -> doc.Data:
    """A line for each node of each profiled case; none where nothing was profiled."""
    names = ["device", "model", "igc", "precision", "runtime", "format", "provider", "threads", "cpus", "abi"]
    lines = []
    found = profiles.profiled(records)
    losses = LOSSES if any(one.profile.cycles_by_loss for one in found) else ()
    for one in found:
        case = one.record.case
        of_case = (one.record.device.serial, *(getattr(case, name) for name in names[1:]))
        for index, node in enumerate(one.profile.nodes):
            times = (node.total_ns / one.profile.passes, node.total_ns / one.whole_ns)
            cycles = [node.cycles_by_loss[it] / one.profile.passes if node.cycles_by_loss else None for it in losses]
            lines.append((*of_case, index, node.name, node.op, *times, *cycles))
    by_loss = (f"{loss}_cycles_per_pass" for loss in losses)
    return doc.Data((*names, "index", "node", "op", "ns_per_pass", "share", *by_loss), tuple(lines))


# --- on how many threads ------------------------------------------------------------------------------


def scaling(records: Sequence[Record]) -> list[doc.Block]:
    """A table for each device and runtime, with words where threads cannot show there what they gain.

    Empty where nothing was measured with more than one count of threads.
    """
    found = []
    for group in threads.sweeps(records):
        first = group[0].record
        measured_on = sentence(how_measured(first.device))
        said = doc.paragraph(" ".join([measured_on, *threads.cautions_beside(first, records)]))
        found.append(doc.Group(group_title(first, with_threads=False), (said, _scaling_table(group))))
    introduction = doc.paragraph(
        doc.emphasis("Speed-up"),
        " is the median time on one thread over the median on several; ",
        doc.emphasis("efficiency"),
        " is the speed-up over the number of threads, 100% where each of them does as much as one did alone.",
    )
    return [introduction, *found] if found else []


def _scaling_table(group: Sequence[Sweep]) -> doc.Table:
    counts = sorted({point.threads for sweep in group for point in sweep.points})
    with_speed_up = any(point.speed_up is not None for sweep in group for point in sweep.points)
    lines = []
    for sweep in group:
        by_threads = {point.threads: point for point in sweep.points}
        cells: dict[str, str | doc.Cell] = {"Model": sweep.title}
        for count in counts:
            point = by_threads.get(count)
            head = f"{count} thread{'s' if count > 1 else ''}"
            cells[f"{head} (median, ms)"] = milliseconds(point.median_ns) if point else NOTHING
            if with_speed_up and count > 1:
                speed_up, efficiency = (point.speed_up, point.efficiency) if point else (None, None)
                cells[f"{head}: speed-up"] = NOTHING if speed_up is None else factor(speed_up)
                cells[f"{head}: efficiency"] = NOTHING if efficiency is None else percent(efficiency, decimals=0)
        lines.append(cells)
    return doc.table_of(lines)
