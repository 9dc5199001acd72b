"""Every table and plot of a run, remade from its records alone: `tenpass report RUN`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.records import Clock, DeviceInfo
from harness.analyse import counts, fleet, gains, groups, profile, ranking, scaling, sizes
from harness.analyse.ranking import AGREES_WITHIN
from harness.analyse.rows import BASELINE, Row, by_device, table_rows
from harness.record import journal, titles
from harness.record.plan import Plan, missing_cases, sequential
from harness.record.plan import read as read_plan
from harness.record.record import Record
from harness.record.units import NOTHING, milliseconds
from harness.report import conditions, html, plots, render, table, versions
from harness.report.render import writing
from models.paper import table6_device

REPORT_NAME = "report.md"
PAGE_NAME = "report.html"

MOST_IN_TITLE = 4  # a choice: of more devices the title says how many

#: What has to be said of times that are not hardware's.
NOT_HARDWARE: dict[Clock, str] = {
    "instructions": "**The times are modelled, not a phone's**: the emulated board's clock advances one nanosecond "
    "per executed instruction; it knows no caches, no pipeline and one core. They repeat to a few parts in "
    "100,000, and compare networks by the instructions they take, on this board only.",
    "emulated": "**The times are meaningless**: an emulator's wall time, here to exercise threads and affinity. "
    "Nothing is compared by them.",
}


#: What is said of a case that the run's end has left out.
NOT_MEASURED = "not measured: the run ended before it"


@dataclass(frozen=True)
class Written:
    """A report: what it was made from, and its files."""

    records: tuple[Record, ...]
    rows: tuple[Row, ...]
    files: tuple[Path, ...]


def write(folder: Path) -> Written:
    """Makes the report of the run in `folder`.

    Raises UsageError when the folder holds no run, or cannot be written.
    """
    plan = read_plan(folder)
    places = {case.id: place for place, case in enumerate(plan.cases)}
    devices = {plan.serial(name): place for place, name in enumerate(plan.devices)}

    def place(record: Record) -> tuple[int, int, int]:
        return devices.get(record.device.serial, len(devices)), places.get(record.id, len(places)), record.round

    records = sorted(journal.read(folder), key=place)
    rows = table_rows(records, plan.limits)
    rows_in_full, records_in_full = fleet.in_full(rows, records)
    table6 = table.markdown(rows) if rows else ""
    report = _markdown(plan, records, rows, table6)
    texts = {REPORT_NAME: report}
    if profile.profiled(records):
        texts["profile.csv"] = profile.csv(records)
    if rows:
        texts |= {
            "table6.md": table6,
            "table6.csv": table.csv(rows),
            "table6.tex": table.latex(rows),
        }
    with writing(folder):
        written = [folder / name for name in texts]
        for path, text in zip(written, texts.values(), strict=True):
            path.write_text(text)
        written += plots.write(rows_in_full, folder)
        if fleet.is_one(rows):
            written += plots.write_fleet(fleet.spreads(rows), folder)
        for draw in (plots.write_samples, plots.write_scaling, plots.write_profile):
            written += draw(records_in_full, folder)
        figures = {path.stem: path.read_text() for path in written if path.suffix == ".svg"}
        page = folder / PAGE_NAME
        page.write_text(html.page(plan, records, rows, report, figures), encoding="utf-8")
        return Written(tuple(records), tuple(rows), (*written, page))


def title(plan: Plan) -> str:
    devices = plan.devices if len(plan.devices) <= MOST_IN_TITLE else [f"{len(plan.devices)} devices"]
    return f"Table 6, measured again: {', '.join(map(render.plain, devices))}"


def _markdown(plan: Plan, records: Sequence[Record], rows: Sequence[Row], table6: str) -> str:
    """Of a fleet what concerns all devices is told of all, what fills pages of some."""
    everything = rows
    failures = _failures(plan, records)
    rows, records = fleet.in_full(rows, records)
    parts = [f"# {title(plan)}", ""]
    parts += _what_was_measured(plan, records)
    parts += _in_short(rows, everything)
    if table6:
        parts += ["", "## Table 6", "", table6]
    parts += failures
    parts += _warnings(everything)
    parts += _against_the_paper(rows)
    parts += _gains(rows)
    for heading, text in (
        ("Where the time goes", profile.markdown(records)),
        ("What more threads gain", scaling.markdown(records)),
        ("Counts of each pass", counts.markdown(records)),
        ("Sizes", sizes.markdown(rows)),
    ):
        parts += [f"## {heading}", "", text] if text else []
    parts += _statistics(rows)
    parts += _builds(records)
    parts += _conditions(records)
    parts += _cost_of_the_harness(records)
    parts += _notes(rows)
    parts += versions.markdown(plan, records)
    parts += ["## Run it again", "", f"    {' '.join(plan.command.split())}", ""]
    return "\n".join(parts)


def _what_was_measured(plan: Plan, records: Sequence[Record]) -> list[str]:
    lines = [f"Run `{plan.run}`, commit `{plan.commit or 'unknown'}`."]
    of_devices = groups.by_device(records)
    for device in [of_device[0].device for of_device in of_devices]:
        which = f" {render.plain(device.serial)}" if len(of_devices) > 1 else ""
        lines.append(f"Device{which}: {described(device)}.")
        if device.clock in NOT_HARDWARE:
            lines.append(NOT_HARDWARE[device.clock])
    lines.append(
        f"{_order(plan)} Mean of the timed passes is the paper's figure (section 5.3); spread is the median absolute "
        "deviation; the output check compares the device's output with PyTorch's (largest difference over the output's "
        f"spread). Paper figures are those of its Table 6 ({table6_device().title})."
    )
    return ["\n".join(lines)]


def described(device: DeviceInfo) -> str:
    """What a device is, in a line: "QEMU virt, cortex-a7 (armeabi-v7a; Cortex-A7; 995 MiB; Linux 6.1)"."""
    runs = [(part or "unknown core", len(list(of))) for part, of in itertools.groupby(it.part for it in device.cores)]
    cores = ", ".join(part if count == 1 else f"{count} x {part}" for part, count in runs)
    ram = f"{device.ram_bytes / 2**20:.0f} MiB" if device.ram_bytes else "memory unknown"
    return render.plain(f"{device.model} ({device.abi}; {cores}; {ram}; {device.os})")


def _in_short(rows: Sequence[Row], everything: Sequence[Row]) -> list[str]:
    lines = [*(f"- {render.plain(line)}" for line in fleet.sentences(everything)), *ranking.markdown(rows)]
    return ["", "## In short", "", *lines] if lines else []


def _order(plan: Plan) -> str:
    if plan.rounds == 1:
        return "Each case was measured once, in a process of its own, in the order of the table."
    shuffled = len(plan.cases) > 1 and plan.order != sequential(plan.cases, plan.rounds)
    how = f"in an order shuffled for each round (seed {plan.seed})" if shuffled else "all rounds of a case in a row"
    return (
        f"Each case was measured in {plan.rounds} rounds, each a fresh process, {how}. Relative times are the "
        "geometric mean over the rounds of the ratio of medians within one round; in brackets their 95 % interval (a "
        "bootstrap over the rounds; Student's t for fewer than six)."
    )


def _failures(plan: Plan, records: Sequence[Record]) -> list[str]:
    failed = [f"- {line}" for line in failures(plan, records)]
    return ["## What failed", "", *failed, ""] if failed else []


def failures(plan: Plan, records: Sequence[Record]) -> list[str]:
    """A line for each case round of each device that did not end well, with its reason."""
    lines = []
    for missing in missing_cases(plan, records):
        where = f" on {render.plain(missing.device)}" if len(plan.devices) > 1 else ""
        failed = missing.record
        why = f"{failed.status}: {render.plain(failed.error or 'no reason was given')}" if failed else NOT_MEASURED
        lines.append(f"{missing.case_round.id}{where}: {why}")
    return lines


def _against_the_paper(rows: Sequence[Row]) -> list[str]:
    """In words: where the ratios agree with Table 6 and where not, and what the sizes have to say."""
    lines = []
    for row in rows:
        if row.relative is None or row.paper_relative is None or row.record.case.model == BASELINE:
            continue
        difference = row.relative / row.paper_relative - 1
        verdict = "agrees" if abs(difference) <= AGREES_WITHIN else "does not agree"
        lines.append(
            f"- {row.title} takes {row.relative:.3f} of MobileNet's time {_here(row, rows)}, "
            f"{row.paper_relative:.3f} in the paper: {difference:+.1%}, it {verdict} within {AGREES_WITHIN:.0%}."
        )
    if not lines:
        return []
    counts_instructions = any(row.record.device.clock == "instructions" for row in rows)
    clock = (
        "hardware pays for memory that is not in the cache, where this board's clock counts instructions alone "
        "(channel shuffles, concatenations and average pools are few instructions and much memory)"
        if counts_instructions
        else "this is another processor, with other caches and other vector units"
    )
    explanation = (
        f"What may explain a difference: the paper measured one phone and prints no spread; {clock}; "
        "and each version of a runtime has kernels of its own."
    )
    return ["## Against the paper", "", *lines, "", explanation, ""]


def _here(row: Row, rows: Sequence[Row]) -> str:
    """Which of the rows of a network it is."""
    device = f" on {row.record.device.serial}" if len(by_device(rows)) > 1 else ""
    return f"here ({titles.case_runtime_title(row.record)}{device})"


def _gains(rows: Sequence[Row]) -> list[str]:
    lines = gains.explained(rows)
    return ["## What is the network's, and what the kernel's", "", *lines, ""] if lines else []


def _warnings(rows: Sequence[Row]) -> list[str]:
    lines = table.warnings(rows)
    return ["## Warnings", "", *(f"- {line.removeprefix('warning: ')}" for line in lines), ""] if lines else []


def _statistics(rows: Sequence[Row]) -> list[str]:
    """What the table has no room for: fastest and slowest pass, coefficient of variation, interval, outliers."""
    head = ["Case", "Passes", "Mean", "Median", "95 % interval of the median", "MAD", "Min", "Max", "CV", "Outliers"]
    lines = []
    where = _naming_devices([row.record for row in rows])
    for row in rows:
        if (found := row.summary) is None:
            continue
        low_high = [milliseconds(ns) for ns in found.interval_ns or ()]
        times = [found.mean_ns, found.median_ns, found.mad_ns, found.min_ns, found.max_ns]
        mean, median, mad, least, most = (milliseconds(ns) for ns in times)
        cells = [str(found.count), mean, median, " to ".join(low_high) or NOTHING, mad, least, most]
        cells += [NOTHING if found.cv is None else f"{found.cv:.2%}", str(len(found.outliers))]
        lines.append(f"| {where(row.record)}{render.plain(titles.case_title(row.record))} | {' | '.join(cells)} |")
    if not lines:
        return []
    words = (
        "Times in ms, over the timed passes of all rounds. The interval is a bootstrap's, where there are six passes "
        "and more. Outliers have a modified z-score above 3.5 (Iglewicz and Hoaglin 1993) and are 1 % and more off the "
        "median; they are marked, and count like all others."
    )
    return ["## Statistics", "", words, "", f"| {' | '.join(head)} |", "|---" + "|--:" * 9 + "|", *lines, ""]


def _builds(records: Sequence[Record]) -> list[str]:
    """What ran, and which vector instructions the CPU has and the runtime's library has code for."""
    lines: dict[str, None] = {}
    for record in records:
        measured, bundle = record.measurement, record.bundle
        if measured is None or bundle is None:
            continue
        used = [name for name in bundle.simd if name in measured.cpu_features]
        cells = [
            f"{measured.runtime} {measured.runtime_version}",
            f"{measured.abi} on {measured.machine}",
            ", ".join(measured.providers),
            ", ".join(measured.cpu_features) or "none",
            ", ".join(bundle.simd) or "none",
            ", ".join(used) or "none",
        ]
        lines[f"| {' | '.join(cells)} |"] = None
    if not lines:
        return []
    head = "| Runtime | ABI | Providers | The CPU has | The library has code for | Both |"
    return ["## Build", "", head, "|---" * 6 + "|", *lines, ""]


def _conditions(records: Sequence[Record]) -> list[str]:
    """What the device said of itself before and after each case; what it never told has no column."""
    shown: list[dict[str, str]] = []
    where = _naming_devices(records)
    for record in sorted(records, key=lambda record: record.order):
        for moment, state in (("before", record.before), ("after", record.after)):
            if state is not None:
                in_round = f", round {record.round + 1}" if record.round else ""
                cells = {name: render.plain(text) for name, text in conditions.shown(state).items()}
                shown.append({"Case": f"{where(record)}{record.id}{in_round}", "When": moment, **cells})
    if not shown:
        return []
    names = list(dict.fromkeys(name for cells in shown for name in cells))
    told = [name for name in names if any(cells.get(name, NOTHING) != NOTHING for cells in shown)]
    lines = [f"| {' | '.join(told)} |", "|---" * len(told) + "|"]
    lines += [f"| {' | '.join(cells.get(name, NOTHING) for name in told)} |" for cells in shown]
    return [
        "## Conditions",
        "",
        "In the order of measurement; what the device cannot tell is left out.",
        "",
        *lines,
        "",
    ]


def _cost_of_the_harness(records: Sequence[Record]) -> list[str]:
    """Host time outside the passes, per case: what the harness itself takes."""
    ran = [record for record in records if record.phases_ns]
    if not ran:
        return []
    where = _naming_devices(records)
    names = list(dict.fromkeys(name for record in ran for name in record.phases_ns if name != "passes"))
    head = ["Case", *names, "outside passes", "passes", "pushed"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for record in ran:
        seconds = [record.phases_ns.get(name, 0) / 1e9 for name in names]
        cells = [f"{value:.2f} s" for value in (*seconds, record.outside_passes_ns / 1e9)]
        cells += [f"{record.phases_ns.get('passes', 0) / 1e9:.1f} s", f"{record.pushed_bytes / 1e6:.1f} MB"]
        lines.append(f"| {where(record)}{record.id} | {' | '.join(cells)} |")
    return ["## What the harness itself took", "", "Host time, per case.", "", *lines, ""]


def _naming_devices(records: Sequence[Record]) -> Callable[[Record], str]:
    """What stands before a case's name: its device, where there are several."""
    if len(groups.by_device(records)) <= 1:
        return lambda _: ""
    return lambda record: f"{render.plain(record.device.serial)}: "


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = {row.title: row.spec.note for row in rows if row.spec and row.spec.note}
    return ["## Notes", "", *(f"- {title}: {note}" for title, note in notes.items()), ""] if notes else []
