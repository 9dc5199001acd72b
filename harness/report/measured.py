"""Sections of a run's report that are a table of what was measured each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device.records import CountsFrom
from harness.analyse import counts as counting
from harness.analyse import groups
from harness.analyse.counts import Count, CountedCase
from harness.analyse.rows import Row
from harness.analyse.sizes import Size, file_sizes
from harness.analyse.statistics import Summary
from harness.record import units
from harness.record.record import Record
from harness.record.runtimes import files_titles
from harness.record.titles import case_runtime_title, case_title, group_title, how_measured, loss_heading, sentence
from harness.record.units import NOTHING, milliseconds
from harness.report.conditions import shown
from harness.report.document import Block, Group, Line, Table, emphasis, paragraph, table_of, text_table
from toolchain.figures import significant

#: Spreads below this are shown in parts per million. A choice: 0.0 % would say nothing of them.
IN_PPM_BELOW = 1e-3

_SOURCE: dict[CountsFrom, str] = {
    "perf": "Counted by the CPU's own counters (perf events); cache misses are what its kernel calls so, as a rule "
    "those of the last level.",
    "emulator": "Counted by the emulator, which sees every instruction; cache misses are those of caches that it "
    "simulates{caches}.",
}


# --- counts -------------------------------------------------------------------------------------------


def counts(records: Sequence[Record]) -> list[Block]:
    """A table for each group of comparable cases, and why others have no counts; empty where none were asked for."""
    found = counting.counted(records)
    beside_mobilenet = (
        *(emphasis("Relative to MobileNet"), " is the ratio of the instructions, on the same device, in the same "),
        "runtime, with the same number of threads.",
    )
    has_ratios = any(counting.relative(case, cases) for cases in found for case in cases)
    introduction = paragraph(
        "Counts of one pass, all threads of the runner together: the median over the timed passes of all rounds, and "
        "in brackets the spread, which is the largest less the smallest over the median. ",
        *(beside_mobilenet if has_ratios else ()),
    )
    reasons = counting.reasons_for_none(records).items()
    return [
        *([introduction] if found else []),
        *map(_counts_group, found),
        *(paragraph(f"No counters on {', '.join(serials)}: {reason}") for reason, serials in reasons),
    ]


def cycles(records: Sequence[Record]) -> list[Block]:
    """A table for each device whose times are estimates: what the cycles of each case go to."""
    return [_cycles_group(cases) for cases in counting.of_estimates(records)]


def _cycles_group(cases: Sequence[CountedCase]) -> Group:
    device = cases[0].record.device
    lines = [_cycles(case) for case in cases]
    said = paragraph(f"Mcycles a timed pass, and the share of each. {sentence(how_measured(device))}")
    return Group(device.serial, (said, table_of(lines, left=("Model", "Runtime"))))


def _cycles(case: CountedCase) -> Line:
    by_loss = case.cycles_by_loss
    whole = sum(by_loss.values())
    return {
        "Model": case.title,
        "Runtime": case_runtime_title(case.record),
        "Cycles": units.millions(whole / 1e6),
        **{
            loss_heading(loss): f"{units.millions(of / 1e6)} ({units.percent(of / whole)})"
            for loss, of in by_loss.items()
        },
    }


def _counts_group(cases: Sequence[CountedCase]) -> Group:
    device, source = cases[0].record.device, cases[0].passes[0].source
    caches = f": {device.cache_model}" if device.cache_model else ""
    found: list[Block] = [paragraph(_SOURCE[source].replace("{caches}", caches)), counts_table(cases)]
    shares = [counters.share for case in cases for counters in case.passes]
    if min(shares) < 1:
        scaled = (
            "~: the CPU shared its few counters out among more than it has; such a count is made of what was seen "
            f"while they were on ({units.percent(min(shares), decimals=0)} of the time at least), and is an estimate."
        )
        found.append(paragraph(scaled))
    return Group(group_title(cases[0].record), tuple(found))


def counts_table(cases: Sequence[CountedCase]) -> Table:
    """A row for each case; columns that no case of the group has are left out."""
    return table_of([_counts(case, cases) for case in cases], drops_empty=True)


def _counts(case: CountedCase, beside: Sequence[CountedCase]) -> Line:
    return {
        "Model": case.title,
        "Instructions": _count(case.count("instructions")),
        "Relative to MobileNet": _ratio(counting.relative(case, beside), units.ratio),
        "SIMD share": _ratio(case.ratio("simd_instructions", "instructions"), units.percent),
        "Cycles": _count(case.count("cycles")),
        "Instructions per cycle": _ratio(case.ratio("instructions", "cycles"), units.factor),
        "L1I misses": _count(case.count("l1i_misses")),
        "L1D misses": _count(case.count("l1d_misses")),
        "L2 misses": _count(case.count("l2_misses")),
        "Cache references": _count(case.count("cache_references")),
        "Cache misses": _count(case.count("cache_misses")),
        "Passes": str(len(case.passes)),
    }


def _ratio(found: Count | None, shown: Callable[[float], str]) -> str:
    return NOTHING if found is None else f"{'~' if found.is_estimate else ''}{shown(found.median)}"


def _count(found: Count | None) -> str:
    """In millions, or in thousands where there are few, with its spread: 498.12M (5 ppm), 12.30k (0.4%), ~17."""
    if found is None:
        return NOTHING
    spread = "" if found.spread is None else f" ({_spread(found.spread)})"
    return f"{'~' if found.is_estimate else ''}{units.count(found.median, decimals=2)}{spread}"


def _spread(spread: float) -> str:
    return f"{significant(spread * 1e6, 1)} ppm" if spread < IN_PPM_BELOW else units.percent(spread)


# --- files --------------------------------------------------------------------------------------------


def sizes(rows: Sequence[Row]) -> list[Block]:
    """A row for each network and precision; empty where nothing was exported."""
    found = file_sizes(rows)
    if not found:
        return []
    larger = [
        size.title
        for size in found
        if size.paper_megabytes and size.paper_params and size.paper_megabytes * 1e6 > 1.05 * 4 * size.paper_params
    ]
    papers = (
        f" The paper's files of {', '.join(larger)} are larger than its own parameter counts fill." if larger else ""
    )
    introduction = f"A megabyte is 1,000,000 bytes. A parameter is 4 bytes in fp32.{papers}"
    return [paragraph(introduction), table_of([_size(size) for size in found], drops_empty=True)]


def _size(size: Size) -> Line:
    paper, paper_params = size.paper_megabytes, size.paper_params
    return {
        "Model": size.title,
        "Params, here": units.count(size.params),
        "ONNX, here": _megabytes(size.onnx_megabytes),
        **{f"{title}, here": _megabytes(size.files_megabytes.get(title)) for title in files_titles().values()},
        "ONNX, paper": _megabytes(paper),
        "Params, paper": units.count(paper_params) if paper_params else NOTHING,
        "at 4 bytes": _megabytes(paper_params * 4 / 1e6 if paper_params else None),
        "bytes a parameter": units.factor(paper * 1e6 / paper_params) if paper and paper_params else NOTHING,
    }


def _megabytes(megabytes: float | None) -> str:
    return NOTHING if megabytes is None else units.size(1e6 * megabytes)


# --- passes, programs, device, host -------------------------------------------------------------------


def statistics(rows: Sequence[Row]) -> list[Block]:
    """What Table 6 has no room for: fastest and slowest pass, coefficient of variation, interval, outliers."""
    where = _naming_devices([row.record for row in rows])
    lines = [
        {"Case": f"{where(row.record)}{case_title(row.record)}", **_statistics(row.summary)}
        for row in rows
        if row.summary
    ]
    estimates = dict.fromkeys(row.record.device.serial for row in rows if row.record.device.chip)
    introduction = (
        "Times in ms, over the timed passes of all rounds; of several rounds the median is the geometric mean of "
        "theirs. Its interval is over the rounds, where there are three and more, and of a single round over its "
        "passes, where there are six and more. Outliers have a modified z-score above 3.5 (Iglewicz and Hoaglin 1993) "
        "and are 1 % and more off the median; they are marked, and count like all others."
        + (f" Those of {', '.join(estimates)} are estimates." if estimates else "")
    )
    return [paragraph(introduction), table_of(lines)] if lines else []


def _statistics(found: Summary) -> Line:
    return {
        "Passes": str(found.count),
        "Median": milliseconds(found.median_ns),
        "95 % interval of the median": " to ".join(map(milliseconds, found.interval_ns or ())) or NOTHING,
        "Mean": milliseconds(found.mean_ns),
        "MAD": milliseconds(found.mad_ns, 3),
        "Min": milliseconds(found.min_ns),
        "Max": milliseconds(found.max_ns),
        "CV": NOTHING if found.cv is None else units.percent(found.cv, decimals=2),
        "Outliers": str(len(found.outliers)),
    }


def builds(records: Sequence[Record]) -> list[Block]:
    """What ran, and which vector instructions the CPU has and the runtime's library has code for."""
    lines: list[Line] = []
    for record in records:
        run, bundle = record.measurement, record.bundle
        if run is None or bundle is None:
            continue
        used = [name for name in bundle.simd if name in run.cpu_features]
        lines.append(
            {
                "Runtime": f"{run.runtime} {run.runtime_version}",
                "ABI": f"{run.abi} on {run.machine}",
                "Providers": ", ".join(run.providers),
                "The CPU has": ", ".join(run.cpu_features) or "none",
                "The library has code for": ", ".join(bundle.simd) or "none",
                "Both": ", ".join(used) or "none",
            }
        )
    different = [line for place, line in enumerate(lines) if line not in lines[:place]]
    return [text_table(different)] if different else []


def conditions(records: Sequence[Record]) -> list[Block]:
    """What the device said of itself before and after each case; what it never said has no column."""
    where = _naming_devices(records)
    lines: list[Line] = []
    for record in sorted(records, key=lambda record: record.order):
        in_round = f", round {record.round + 1}" if record.round else ""
        for moment, state in (("before", record.before), ("after", record.after)):
            if state is not None:
                lines.append({"Case": f"{where(record)}{record.id}{in_round}", "When": moment, **shown(state)})
    introduction = "In the order of measurement; what the device cannot tell is left out."
    return [paragraph(introduction), text_table(lines, drops_empty=True)] if lines else []


def cost_of_the_harness(records: Sequence[Record]) -> list[Block]:
    """Host time outside the passes, per case: what the harness itself takes."""
    ran = [record for record in records if record.phases_ns]
    where = _naming_devices(records)
    names = dict.fromkeys(name for record in ran for name in record.phases_ns if name != "passes")
    lines = [
        {
            "Case": f"{where(record)}{record.id}",
            **{name: units.seconds(record.phases_ns.get(name, 0)) for name in names},
            "outside passes": units.seconds(record.outside_passes_ns),
            "passes": units.seconds(record.phases_ns.get("passes", 0)),
            "pushed": units.size(record.pushed_bytes),
        }
        for record in ran
    ]
    return [paragraph("Host time, per case."), table_of(lines)] if lines else []


def _naming_devices(records: Sequence[Record]) -> Callable[[Record], str]:
    """What stands before a case's name: its device, where there are several."""
    if len(groups.by_device(records)) <= 1:
        return lambda _: ""
    return lambda record: f"{record.device.serial}: "
