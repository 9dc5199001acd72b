"""A comparison of two runs as people and programs read it: terminal, Markdown, JUnit XML, JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from harness.analyse.slower import WORDS
from harness.analyse.warnings import warnings_of
from harness.compare.two_runs import TIME, ComparedCase, Comparison, Run, runtime_version
from harness.record import units
from harness.record.titles import case_title, meaning_of_time
from harness.record.units import NOTHING
from harness.report import markdown as as_markdown
from harness.report import terminal
from harness.report.document import Block, Document, Table, bullets, paragraph, table_of
from harness.report.layout import one_line

#: Of what `as_json` writes, described in results/README.md; another number when a field changes.
JSON_VERSION = 1


def summary(comparison: Comparison) -> str:
    """The outcome in a sentence: what a gate shows first."""
    if comparison.refusals:
        return f"These runs may not be compared: {'; '.join(comparison.refusals)}."
    count = len(comparison.regressions)
    outcomes = Counter(case.outcome for case in comparison.cases)
    found = ", ".join(f"{number} {WORDS[outcome]}" for outcome, number in outcomes.items())
    return f"{count or 'No'} regression{'' if count == 1 else 's'} in {len(comparison.cases)} cases: {found}."


def for_terminal(comparison: Comparison) -> str:
    """The table and the outcome; without cases the outcome alone."""
    said = terminal.escaped(summary(comparison))
    return f"{terminal.table(_table(comparison))}\n\n{said}" if comparison.cases else said


def document(comparison: Comparison) -> Document:
    """For a job's summary: the outcome, the table, what else differs, and how it was judged."""
    mark = "🟡" if comparison.refusals else "🔴" if comparison.regressions else "🟢"
    runs = [f"BASE: {_one_line(comparison.base)}", f"NEW: {_one_line(comparison.new)}"]
    blocks: list[Block] = [bullets([*runs, *comparison.remarks])]
    if comparison.cases:
        blocks += [_table(comparison), *map(paragraph, _legend(comparison))]
    return Document(f"{mark} tenpass: {summary(comparison)}", tuple(blocks), ())


def markdown(comparison: Comparison) -> str:
    return as_markdown.rendered(document(comparison), level=2)


def _legend(comparison: Comparison) -> list[str]:
    compared = [case for case in comparison.cases if case.difference is not None]
    timed = [case for case in compared if not case.is_exact]
    lines = []
    if timed:
        lines.append(
            "Times of hardware are those of the quick passes (a tenth is quicker), without what other programs took of "
            f"them, where that is known; a difference counts from a factor of {comparison.factor:g} on, where a test "
            "over the rounds says so, too."
        )
    if any(case.difference and case.difference.low is None for case in timed):
        lines.append("~: there are too few rounds for an interval and a test.")
    if len(timed) < len(compared):
        lines.append(
            "Modelled times, counted instructions and the cycles of an estimate are exact, medians over all passes; a "
            f"difference counts from a factor of {comparison.exact_factor:g} on."
        )
    return lines


def _table(comparison: Comparison) -> Table:
    """A row a case; the device has a column where there are several."""
    lines = [_row(comparison, case) for case in comparison.cases]
    if len({line["Device"] for line in lines}) == 1:
        lines = [{name: text for name, text in line.items() if name != "Device"} for line in lines]
    return table_of(lines, left=("Device", "Case", "Outcome", "Why", "Warnings", "Measured on"))


def _row(comparison: Comparison, case: ComparedCase) -> dict[str, str]:
    difference, record = case.difference, case.record
    of_both = comparison.warnings(case)
    warnings = [f"{name}: {text}" for name, text in zip(("BASE", "NEW"), of_both, strict=True) if text]
    same = of_both[0] == of_both[1] and of_both[0]
    return {
        "Device": record.device.serial,
        "Case": case_title(record),
        "BASE": figure(case, difference.base) if difference else NOTHING,
        "NEW": figure(case, difference.new) if difference else NOTHING,
        "NEW / BASE": ratio(case),
        "Outcome": WORDS[case.outcome],
        "Why": case.reason,
        "Warnings": f"both: {same}" if same else "; ".join(warnings) or NOTHING,
        "Measured on": meaning_of_time(record.device),
    }


def figure(case: ComparedCase, value: float) -> str:
    """With as many digits as its ratio needs, so that whoever divides the two gets that."""
    digits = 6 if case.is_exact else 5
    if case.figure != TIME:
        return f"{units.count(value, digits)} {case.figure}"
    return f"{units.milliseconds(value, digits)} ms"


def ratio(case: ComparedCase) -> str:
    """NEW over BASE with its interval, 0.956 [0.950, 0.963]; of exact figures 0.9560; ~0.956 where nothing is sure."""
    difference = case.difference
    if difference is None:
        return NOTHING
    if case.is_exact:
        return units.ratio(difference.ratio, decimals=4)
    about = "" if difference.low is not None else "~"
    return about + units.with_interval(units.ratio, difference.ratio, difference.low, difference.high)


# --- for programs -------------------------------------------------------------------------------------


def junit(comparison: Comparison) -> str:
    """JUnit XML: a suite for each device, a test case for each case.

    A regression is a failure; what could not be told, or is missing or failed without being a regression, is skipped.
    Runs that may not be compared are an error. `time` is that of a pass in NEW, in seconds.
    """
    root = ElementTree.Element("testsuites", {"name": "tenpass compare"})
    by_device: dict[str, list[ComparedCase]] = {}
    for case in comparison.cases:
        by_device.setdefault(case.record.device.serial, []).append(case)
    for serial, cases in by_device.items():
        _suite(root, comparison, serial, [_test_case(comparison, case) for case in cases])
    if comparison.refusals:
        refused = ElementTree.Element("testcase", classname="tenpass", name="the runs may be compared")
        error = ElementTree.SubElement(refused, "error", message=one_line(summary(comparison)), type="refused")
        error.text = "\n".join(map(one_line, comparison.refusals))
        _suite(root, comparison, "tenpass", [refused])
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, comparison: Comparison, name: str, cases: Sequence[ElementTree.Element]) -> None:
    counts = {
        counted: str(sum(case.find(tag) is not None for case in cases))
        for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    named = {"name": one_line(name), "timestamp": one_line(comparison.new.plan.utc), "tests": str(len(cases))}
    suite = ElementTree.SubElement(root, "testsuite", named | counts)
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in (("base", _one_line(comparison.base)), ("new", _one_line(comparison.new))):
        ElementTree.SubElement(properties, "property", name=key, value=one_line(value))
    for number, remark in enumerate(comparison.remarks, start=1):
        ElementTree.SubElement(properties, "property", name=f"remark {number}", value=one_line(remark))
    suite.extend(cases)


def _test_case(comparison: Comparison, case: ComparedCase) -> ElementTree.Element:
    record = case.record
    seconds = (
        {"time": f"{case.difference.new / 1e9:.9f}"} if case.difference is not None and case.figure == TIME else {}
    )
    names = {"classname": one_line(record.device.serial), "name": one_line(record.id)}
    element = ElementTree.Element("testcase", names | seconds)
    message = f"{WORDS[case.outcome]}: {case.reason}"
    if case.difference is not None:
        message = f"{WORDS[case.outcome]}, NEW / BASE {ratio(case)}: {case.reason}"
    if case.regression:
        ElementTree.SubElement(element, "failure", message=one_line(message), type=case.outcome)
    elif case.outcome in ("cant_tell", "missing", "failed"):
        ElementTree.SubElement(element, "skipped", message=one_line(message))
    output = ElementTree.SubElement(element, "system-out")
    output.text = "\n".join(f"{name}: {one_line(value)}" for name, value in _row(comparison, case).items())
    return element


def _one_line(run: Run) -> str:
    return f"{run.folder} (run {run.plan.run}, commit {run.plan.commit or 'unknown'}, {run.plan.utc})"


def as_json(comparison: Comparison) -> str:
    """For programs; described in results/README.md."""
    content = {
        "schema_version": JSON_VERSION,
        "base": _run_in_json(comparison.base),
        "new": _run_in_json(comparison.new),
        "refusals": comparison.refusals,
        "remarks": comparison.remarks,
        "factor": comparison.factor,
        "exact_factor": comparison.exact_factor,
        "regressions": len(comparison.regressions),
        "cases": [_case_in_json(comparison, case) for case in comparison.cases],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _run_in_json(run: Run) -> dict[str, Any]:
    plan = run.plan
    return {"folder": str(run.folder), "run": plan.run, "utc": plan.utc, "commit": plan.commit}


def _case_in_json(comparison: Comparison, case: ComparedCase) -> dict[str, Any]:
    difference, record = case.difference, case.record
    return {
        "device": record.device.serial,
        "clock": record.device.clock,
        "chip": str(record.device.chip) if record.device.chip else None,
        "id": record.id,
        "title": case_title(record),
        "outcome": case.outcome,
        "regression": case.regression,
        "reason": case.reason,
        "figure": case.figure if difference else None,
        "base": difference.base if difference else None,
        "new": difference.new if difference else None,
        "ratio": difference.ratio if difference else None,
        "low": difference.low if difference else None,
        "high": difference.high if difference else None,
        "p_value": difference.p_value if difference else None,
        "sides": {
            name: {
                "rounds": len(rounds),
                "rounds_ok": sum(one.status == "ok" for one in rounds),
                "runtime": runtime_version(rounds[-1]) if rounds else None,
                "warnings": sorted({one.kind for record in rounds for one in warnings_of(record, run.plan.limits)}),
            }
            for name, run, rounds in (("base", comparison.base, case.base), ("new", comparison.new, case.new))
        },
    }
