"""The self-check in words: what the harness costs, and whether it is little enough. Pure functions of a `Selfcheck`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from harness.record import units
from harness.record.titles import how_measured, meaning_of_time
from harness.record.units import NOTHING, milliseconds
from harness.report import markdown as as_markdown
from harness.report.document import Block, Document, Line, Section, Table, paragraph, table_of, text_table
from harness.study import agreement
from toolchain.figures import significant

if TYPE_CHECKING:
    from harness.study.agreement import Agreement
    from harness.study.nullcase import NullCase
    from harness.study.selfcheck import Selfcheck

#: Choices: what may be added to a sample at the median. In nanoseconds for a pass that keeps the CPU, as a network's
#: does; as a part of a pass of 10 ms for any, also one that gives the CPU, and with it the caches, to others.
MOST_ADDED_NS, MOST_ADDED_SHARE, PASS_NS = 1_000, 0.001, 10_000_000
#: A choice: passes that keep the CPU and take so much longer than their time at the median were not alone with it.
MOST_INTERRUPTED = 0.01
#: Choices: what a case may take beyond its passes, in seconds; over adb it goes back and forth some times.
MOST_OUTSIDE_S_ON_HOST, MOST_OUTSIDE_S_OVER_ADB = 0.5, 2.0
#: A choice: how far the runner may be from Python, as a part.
MOST_APART = 0.02


@dataclass(frozen=True)
class Target:
    """One target: what was found and what was wanted, in words; `met` is None where it cannot be told."""

    what: str
    found: str
    wanted: str
    met: bool | None


def targets(checked: Selfcheck) -> list[Target]:
    found = [_added(checked), _share_added(checked), _outside(checked)]
    return [*found, _agrees(checked.agreement)] if checked.agreement else found


def document(checked: Selfcheck) -> Document:
    device = checked.device
    found = targets(checked)
    lead: list[Block] = [
        paragraph(f"{device.serial}: {device.model}, {device.abi}, {device.os}; {how_measured(device)}."),
        _targets(found),
    ]
    if device.clock != "emulated" and any(it.met is None for it in found):
        why = "What cannot be told was disturbed, or its interval reaches beyond what is wanted: repeat it when idle."
        lead.append(paragraph(why))
    errors = [case.counters_error for case in checked.samples if case.counters_error]
    sample: list[Block] = [
        paragraph(
            "A runtime that computes nothing looks at the clock itself, inside a pass. A sample, less that time, is "
            "what the harness adds: its way into the pass and out of it, which is longest where others had the caches "
            f"meanwhile. The clock's resolution is {checked.clock_resolution_ns} ns (clock_getres); the smallest step "
            f"seen, {checked.clock_step_ns} ns."
        ),
        table_of([_sample(case) for case in checked.samples]),
        *(paragraph(f"There are no counters here: {error}.") for error in errors[:1]),
    ]
    case = (
        paragraph(
            "Host time of a whole case that computes nothing, by phase, in milliseconds. On a board the passes hold "
            "also the rests between them. The first case pushes what the device does not have yet."
        ),
        _cases(checked.cases),
    )
    sections = [Section("In a sample", tuple(sample)), Section("In a case", case)]
    if checked.agreement is not None:
        sections.append(Section("Against ONNX Runtime's Python API", _agreement(checked.agreement)))
    return Document("What the harness itself costs", tuple(lead), tuple(sections))


def markdown(checked: Selfcheck) -> str:
    return as_markdown.rendered(document(checked))


def _clock(checked: Selfcheck) -> str:
    return meaning_of_time(checked.device)


def _targets(all_of_them: Sequence[Target]) -> Table:
    words = {True: "yes", False: "no", None: "cannot be told"}
    return text_table(
        [{"": it.what, "Found": it.found, "Wanted": it.wanted, "Met": words[it.met]} for it in all_of_them]
    )


def _added(checked: Selfcheck) -> Target:
    busy = [case for case in checked.samples if not case.model.startswith("sleep")]
    worst_ns = max(median(case.added_ns) for case in busy)
    return Target(
        "added to a sample whose pass keeps the CPU (median)",
        f"{significant(worst_ns)} ns",
        f"< {MOST_ADDED_NS} ns",
        None if checked.device.clock == "emulated" or _interrupted(busy) else worst_ns < MOST_ADDED_NS,
    )


def _interrupted(busy: Sequence[NullCase]) -> bool:
    return any(median(case.told_ns) > MOST_INTERRUPTED * case.nominal_ns for case in busy if case.nominal_ns)


def _share_added(checked: Selfcheck) -> Target:
    share = max(median(case.added_ns) for case in checked.samples) / PASS_NS
    return Target(
        f"added to any sample (median), of a pass of {PASS_NS / 1e6:.0f} ms",
        units.percent(share, decimals=4),
        f"< {MOST_ADDED_SHARE:.1%}",
        None if checked.device.clock == "emulated" else share < MOST_ADDED_SHARE,
    )


def _outside(checked: Selfcheck) -> Target:
    most_s = MOST_OUTSIDE_S_ON_HOST if checked.device.kind == "host" else MOST_OUTSIDE_S_OVER_ADB
    outside_s = median(case.outside_passes_ns for case in checked.cases if not case.pushed_bytes) / 1e9
    return Target(
        "a case beyond its passes (median of those that push nothing)",
        units.seconds(1e9 * outside_s),
        f"<= {most_s} s",
        outside_s <= most_s,
    )


def _agrees(both: Agreement) -> Target:
    found = agreement.ratio(both)
    low, high = (found.low, found.high) if found.low is not None and found.high is not None else (0.0, float("inf"))
    inside = low >= 1 - MOST_APART and high <= 1 + MOST_APART
    outside = high < 1 - MOST_APART or low > 1 + MOST_APART
    return Target(
        f"{both.model} in the runner over Python",
        units.with_interval(lambda one: units.ratio(one, decimals=4), found.value, found.low, found.high),
        f"within {MOST_APART:.0%}",
        True if inside else False if outside else None,
    )


def _sample(case: NullCase) -> Line:
    added_ns = median(case.added_ns)
    own_ns = case.nominal_ns + median(case.told_ns)
    return {
        "A pass": case.model + (", counted" if case.counted else ""),
        "Passes": str(len(case.samples_ns)),
        "Sample (median, ns)": significant(median(case.samples_ns)),
        "Sample (max, ns)": str(max(case.samples_ns)),
        "Added (median, ns)": significant(added_ns),
        "Added (max, ns)": str(max(case.added_ns)),
        f"Added, of {PASS_NS / 1e6:.0f} ms": units.percent(added_ns / PASS_NS, decimals=4),
        "Added, of this pass": units.percent(added_ns / own_ns, decimals=4) if case.nominal_ns else NOTHING,
    }


def _cases(cases: Sequence[NullCase]) -> Table:
    names = dict.fromkeys(name for case in cases for name in case.phases_ns)
    return table_of(
        [
            {
                "Case": str(number),
                "Pushed": units.size(case.pushed_bytes),
                **{name: milliseconds(case.phases_ns.get(name, 0), digits=2) for name in names},
                "beyond the passes": milliseconds(case.outside_passes_ns, digits=2),
            }
            for number, case in enumerate(cases, start=1)
        ]
    )


def _agreement(both: Agreement) -> tuple[Block, ...]:
    same = both.runner_version == both.python_version
    blocks = [
        {
            "Block": str(number),
            "First": "runner" if block.runner_first else "Python",
            "Runner (median, ms)": milliseconds(median(block.runner_ns)),
            "Python (median, ms)": milliseconds(median(block.python_ns)),
            "Ratio": units.ratio(median(block.runner_ns) / median(block.python_ns)),
        }
        for number, block in enumerate(both.blocks, start=1)
    ]
    how = (
        f"{both.model} on one thread, {len(both.blocks)} blocks of {len(both.blocks[0].runner_ns)} passes, each in a "
        f"process of its own after {both.warmup} passes to warm up, in alternating order. Each block has the ratio of "
        "its two medians; the target is held against the median of these ratios, and its 95 % interval. "
        f"ONNX Runtime is {both.runner_version}{'' if same else f' in the runner, {both.python_version} in Python'}."
    )
    return paragraph(how), table_of(blocks, left=("Block", "First"))
