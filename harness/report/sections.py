"""A run's report as a document, made from its plan and records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from device.board.accuracy import accuracy
from device.records import Chip, Clock, DeviceInfo
from harness.analyse import fleet, gains, groups, ranking
from harness.analyse.ranking import AGREES_WITHIN, MODELLED_REPEAT, Ranking, agrees_with_paper, has_papers_core
from harness.analyse.rows import BASELINE, MOST_SIDE_BY_SIDE, Row, by_device, is_baseline, is_of_table6
from harness.analyse.statistics import shown_ratio
from harness.record.command import command
from harness.record.plan import Plan, missing_cases, sequential
from harness.record.record import Record
from harness.record.titles import case_runtime_title, how_measured, reference_title, runtime_title
from harness.record.units import milliseconds, ratio
from harness.report import columns, measured, plots, time_spent
from harness.report import document as doc
from harness.report.versions import versions
from models.paper import table6_device
from toolchain.figures import significant

MOST_IN_TITLE = 4  # a choice: of more devices the title says how many

#: A choice: with more answers the bars below each are folded away, so that Table 6 is not far.
MOST_OPEN_CARDS = 4

_USUAL_PAGE_BYTES = 4096  # nothing is said of them

#: What has to be said of times that are not hardware's.
NOT_HARDWARE: dict[Clock, doc.Text] = {
    "instructions": doc.words(
        doc.strong("The times are modelled, not a phone's"),
        ": the emulated board's clock advances one nanosecond per executed instruction; it knows no caches, no "
        f"pipeline and one core. {MODELLED_REPEAT}. They compare networks by the instructions they take, on one board "
        "only.",
    ),
    "emulated": doc.words(
        doc.strong("The times are meaningless"),
        ": an emulator's wall time, here to exercise threads and affinity. Nothing is compared by them.",
    ),
}


def run_document(
    plan: Plan, records: Sequence[Record], rows: Sequence[Row], figures: Sequence[doc.Figure]
) -> doc.Document:
    """The report of a run, with these plots of it. Of a fleet what concerns all devices is told of all, what fills
    pages of some."""
    some_rows, some = fleet.in_full(rows, records)
    figure = {one.title: [one] for one in figures}
    found: list[tuple[str, Sequence[doc.Block]]] = [
        ("In short", _in_short(rows, some_rows)),
        ("Table 6" if any(map(is_of_table6, rows)) else "Times", [*table6(rows), _what_was_measured(plan, rows, some)]),
        ("What failed", _bullets(failures(plan, records))),
        ("Warnings", _bullets(warning_lines(rows))),
        *((title, figure.get(title, [])) for title in (plots.DEVICES.title, plots.LATENCY.title, plots.SPEED.title)),
        ("Against the paper", _against_the_paper(some_rows)),
        (plots.SAMPLES.title, figure.get(plots.SAMPLES.title, [])),
        (plots.CYCLES.title, [*figure.get(plots.CYCLES.title, []), *measured.cycles(some)]),
        (plots.PROFILE.title, [*figure.get(plots.PROFILE.title, []), *time_spent.profile(some)]),
        (plots.SCALING.title, [*figure.get(plots.SCALING.title, []), *time_spent.scaling(some)]),
        (plots.SIZES.title, [*figure.get(plots.SIZES.title, []), *measured.sizes(some_rows)]),
        ("What is the network's, and what the kernel's", gains_explained(some_rows)),
        ("Counts of each pass", measured.counts(some)),
        ("Statistics", measured.statistics(some_rows)),
        ("Build", measured.builds(some)),
        ("Conditions", measured.conditions(some)),
        ("What the harness itself took", measured.cost_of_the_harness(some)),
        ("Notes", _notes(some_rows)),
        ("Versions and hashes", versions(plan, some)),
        ("Run it again", [doc.Code(plan.script or command(plan))]),
    ]
    sections = tuple(doc.Section(title, tuple(blocks)) for title, blocks in found if blocks)
    return doc.Document(_title(plan, rows), tuple(_lead(plan, records, rows)), sections)


def _title(plan: Plan, rows: Sequence[Row]) -> str:
    devices = plan.devices if len(plan.devices) <= MOST_IN_TITLE else [f"{len(plan.devices)} devices"]
    of_paper = [is_of_table6(row) for row in rows]
    others = "" if all(of_paper) else ", with other networks"
    what = f"Table 6, measured again{others}" if any(of_paper) else "Time of a pass, measured"
    return f"{what}: {', '.join(devices)}"


def _bullets(lines: Sequence[str | doc.Text]) -> list[doc.Block]:
    return [doc.bullets(lines)] if lines else []


def _lead(plan: Plan, records: Sequence[Record], rows: Sequence[Row]) -> list[doc.Block]:
    failed = sum(record.status != "ok" for record in records)
    well, intended = len(records) - failed, len(plan.order) * max(len(plan.devices), 1)
    missing = doc.Span(f"{failed} failed, {intended - well - failed} were not made", "link", "What failed")
    outcome: list[str | doc.Span] = ["; ", missing] if well < intended else []
    clocks = {record.device.clock for record in records}
    what = "How fast these networks really run" if clocks == {"wall"} else "What was measured of these networks"
    beside = ", beside what the clcNet paper measured (arXiv 1712.06145, Table 6)"
    return [
        doc.paragraph(
            f"{what}{beside if any(row.paper_ms is not None for row in rows) else ''}. Run ",
            doc.code(plan.run),
            f", {plan.utc[:16].replace('T', ' ')} UTC, commit ",
            doc.code(plan.commit or "unknown"),
            f": {well} of {intended} measurements ended well",
            *outcome,
            ".",
        ),
        *(doc.Paragraph(text) for clock, text in NOT_HARDWARE.items() if clock in clocks),
        *map(_is_estimated, dict.fromkeys(record.device.chip for record in records if record.device.chip)),
    ]


def _is_estimated(chip: Chip) -> doc.Block:
    ranges = (
        f" How fast its memory is nobody has published: of {len(chip.memory)} settings the first is taken, and in "
        "brackets stands from which time to which they lead."
    )
    return doc.paragraph(
        doc.strong(f"The times are estimated for {chip}, not measured"),
        f": the emulated board executes the instructions, and a model of a {chip.core} says how many cycles its "
        "pipeline, branches, caches, TLBs and memory take for them, on one core that nothing else uses; "
        f"{accuracy(chip)}. They compare networks on this chip only, never with a measured time. {MODELLED_REPEAT}."
        f"{ranges if len(chip.memory) > 1 else ''}",
    )


# --- in short -----------------------------------------------------------------------------------------


def _in_short(rows: Sequence[Row], some: Sequence[Row]) -> list[doc.Block]:
    """Of a device whose times mean nothing there is one card alone, which says so."""
    cards = {(one.title if one.is_ranked else one.fastest.record.device.serial): one for one in ranking.rankings(some)}
    if not cards:
        return [doc.paragraph("Nothing was measured, so that there is nothing to say of speed.")]
    made = tuple(_card(title, one) for title, one in cards.items())
    return [*_bullets(fleet.sentences(rows)), doc.Cards(made, is_open=len(made) <= MOST_OPEN_CARDS)]


def _card(title: str, one: Ranking) -> doc.Card:
    slowest_ns = max((row.summary.median_ns for row in one.ranked if row.summary), default=0) or 1
    best = one.fastest if ranking.can_tell(one) else None
    bars = [
        doc.Bar(
            row.title,
            f"{milliseconds(row.summary.median_ns)} ms{' estimated' if row.record.device.chip else ''}",
            _beside_bar(row),
            round(100 * row.summary.median_ns / slowest_ns, 1),
            is_best=row is best,
        )
        for row in one.ranked
        if row.summary and one.is_ranked
    ]
    summary = f"All {len(bars)}, the lowest median first"
    return doc.Card(title, one.clock, one.measured_on, tuple(ranking.sentences(one)), summary, tuple(bars))


def _beside_bar(row: Row) -> str:
    relative = shown_ratio(row.ratio, is_base=is_baseline(row.record))
    paper = "" if row.paper_relative is None else f" (paper: {ratio(row.paper_relative)})"
    return ("" if row.relative is None else f", {relative} of MobileNet's") + paper


# --- Table 6 ------------------------------------------------------------------------------------------


def table6(rows: Sequence[Row]) -> list[doc.Block]:
    """The table; of a few devices, a case a row and a device a column first, and then a table for each device."""
    if not rows:
        return [doc.paragraph("No case was begun.")]
    devices = by_device(rows)
    if len(devices) > MOST_SIDE_BY_SIDE:
        return [columns.table6(rows, f"All {len(devices)} devices")]  # it names each row's
    tables = [columns.table6(of_device, _device_caption(of_device[0].record.device)) for of_device in devices]
    if len(devices) == 1:
        return list(tables)
    in_groups = [doc.Group(of[0].record.device.serial, (one,)) for of, one in zip(devices, tables, strict=True)]
    has_ratios = any(row.ratio for row in rows)
    what = "median in ms" + (", and in brackets relative to MobileNet on the same device" if has_ratios else "")
    means = "Each device has a column of its own: times may be compared down a column, never across devices or clocks."
    return [doc.paragraph(means), columns.overview(rows, f"All devices: {what}"), *in_groups]


def _device_caption(device: DeviceInfo) -> str:
    return f"{device.serial} ({device.model}): {how_measured(device)}"


def brief_table(rows: Sequence[Row]) -> doc.Table:
    """The columns that a terminal has room for; the reports have them all."""
    return columns.table6(rows, is_brief=True)


def _what_was_measured(plan: Plan, rows: Sequence[Row], records: Sequence[Record]) -> doc.Group:
    of_devices = [of_device[0].device for of_device in groups.by_device(records)]
    several = len(of_devices) > 1
    lines = [f"Device{f' {it.serial}' if several else ''}: {_described(it)}." for it in of_devices]
    how = [_order(plan), *_ratios(rows)]
    if plan.rounds == 1:
        how.append("Spread is the median absolute deviation.")
    if any(row.paper_ms is not None for row in rows):
        how.append(
            "The mean of the timed passes is the paper's figure (section 5.3), to be held against its own, which are "
            f"those of its Table 6 ({table6_device().title})"
            + ("; an estimate is not to be, only its ratios." if any(it.chip for it in of_devices) else "."),
        )
    return doc.Group("What was measured, and how", (*_bullets(lines), doc.paragraph(" ".join([*how, *_checks(rows)]))))


def _ratios(rows: Sequence[Row]) -> list[str]:
    """What relative times are, and their brackets, where there are some."""
    to_fp32 = [row.fp32_ratio for row in rows if row.record.case.precision != "fp32"]
    found = [one for one in (*(row.ratio for row in rows), *to_fp32) if one is not None]
    if not found:
        return []
    rounds = max(one.rounds for one in found)
    how = "Relative times are the ratios of the medians"
    how += "; over several rounds a median is the geometric mean of theirs" if rounds > 1 else ""
    brackets = "; in brackets are 95 % intervals over the rounds (a bootstrap; Student's t for fewer than six)"
    return [f"{how}{brackets if any(one.low is not None for one in found) else ''}."]


def _checks(rows: Sequence[Row]) -> list[str]:
    """What the outputs were held against, by the networks."""
    by_reference: dict[str, list[str]] = {}
    for row in rows:
        if any(record.check for record in row.records):
            by_reference.setdefault(reference_title(row.record), []).append(row.title)
    if not by_reference:
        return []
    of = [f"{it} ({', '.join(dict.fromkeys(titles))})" for it, titles in by_reference.items()]
    against = next(iter(by_reference)) if len(of) == 1 else ", or ".join(of)
    return [f"The output check has the largest difference from {against}, over the output's spread."]


def _described(device: DeviceInfo) -> str:
    """What a device is, in a line: "QEMU virt, cortex-a7 (armeabi-v7a; Cortex-A7; 995 MiB; Linux 6.1)"."""
    runs = [(part or "unknown core", len(list(of))) for part, of in itertools.groupby(it.part for it in device.cores)]
    cores = ", ".join(part if count == 1 else f"{count} x {part}" for part, count in runs)
    ram = f"{significant(device.ram_bytes / 2**20)} MiB" if device.ram_bytes else "memory unknown"
    pages = f"; pages of {device.page_bytes >> 10} KB" if device.page_bytes not in (None, _USUAL_PAGE_BYTES) else ""
    return f"{device.model} ({device.abi}; {cores}; {ram}; {device.os}{pages})"


def _order(plan: Plan) -> str:
    if plan.rounds == 1:
        return "The plan was each case once, in a process of its own, in the order of the table."
    shuffled = len(plan.cases) > 1 and plan.order != sequential(plan.cases, plan.rounds)
    how = f"in an order shuffled for each round (seed {plan.seed})" if shuffled else "all rounds of a case in a row"
    return f"The plan was each case in {plan.rounds} rounds, each a fresh process, {how}."


# --- what went wrong ----------------------------------------------------------------------------------


#: What is said of a case that the run's end has left out.
NOT_MEASURED = "not measured: the run ended before it"


def failures(plan: Plan, records: Sequence[Record]) -> list[str]:
    """A line for each case and round of each device that did not end well, with its reason."""
    lines = []
    for missing in missing_cases(plan, records):
        where = f" on {missing.device}" if len(plan.devices) > 1 else ""
        failed = missing.record
        why = f"{failed.status}: {failed.error or 'no reason was given'}" if failed else NOT_MEASURED
        lines.append(f"{missing.case_round.id}{where}: {why}")
    return lines


def warning_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each warning, in words; what holds for all rows in the same words is said once."""
    by_message: dict[str, list[str]] = {}
    several = len(by_device(rows)) > 1
    for row in rows:
        where = f" on {row.record.device.serial}" if several else ""
        for one in row.warnings:
            by_message.setdefault(one.message, []).append(f"{row.title}, {runtime_title(row.record)}{where}")
    return [
        f"{'all cases' if 1 < len(rows) == len(who) else '; '.join(who)}: {message}"
        for message, who in by_message.items()
    ]


# --- what it means ------------------------------------------------------------------------------------


def _against_the_paper(rows: Sequence[Row]) -> list[doc.Block]:
    """In words: where the ratios agree with Table 6 and where not."""
    several = len(by_device(rows)) > 1
    compared = [
        row for row in rows if row.ratio and row.paper_relative is not None and row.record.case.model != BASELINE
    ]
    lines = []
    for row in compared:
        assert row.ratio is not None  # noqa: S101
        assert row.paper_relative is not None  # noqa: S101
        difference = row.ratio.value / row.paper_relative - 1
        agrees = {True: "it agrees", False: "it does not agree", None: "whether it agrees can't be told"}
        where = f" on {row.record.device.serial}" if several else ""
        lines.append(
            f"{row.title} takes {shown_ratio(row.ratio)} of MobileNet's time here ({case_runtime_title(row.record)}"
            f"{where}), {ratio(row.paper_relative)} in the paper: {difference:+z.1%}, "
            f"{agrees[agrees_with_paper(row)]} within {AGREES_WITHIN:.0%}."
        )
    others = [row.record.device for row in compared if not agrees_with_paper(row)]
    return [*_bullets(lines), *([_may_explain(others)] if others else [])]


def _may_explain(devices: Sequence[DeviceInfo]) -> doc.Block:
    """Why ratios on these devices may not be the paper's."""
    reasons = ["the paper measured one phone and prints no spread"]
    if any(device.clock == "instructions" for device in devices):
        reasons.append(
            "hardware pays for memory that is not in the cache, where a board's clock counts instructions alone "
            "(channel shuffles, concatenations and average pools are few instructions and much memory)"
        )
    if any(device.chip for device in devices):
        reasons.append("the times here are estimates of a model, of one core that nothing else uses")
    if any(device.clock == "wall" and not has_papers_core(device) for device in devices):
        reasons.append("another processor has other caches and other vector units")
    return doc.paragraph(
        f"What may explain a difference: {'; '.join(reasons)}; and each version of a runtime has kernels of its own."
    )


def gains_explained(rows: Sequence[Row]) -> list[doc.Block]:
    """What the fused rows gained over MobileNet and why; nothing where there are none."""
    fused = gains.fused_gains(rows)
    if not fused:
        return []
    said: list[doc.Block] = [
        doc.bullets([_gain(one) for one in fused]),
        doc.paragraph(
            "MobileNet runs on ONNX Runtime's general kernels, unless a row says fused: a ratio of a fused clcNet to "
            "it holds what the network saves and what a kernel written for its blocks saves."
        ),
    ]
    if not gains.fuses_baseline(rows):
        said.append(
            doc.paragraph(
                doc.code("--fuse-separable"), " measures MobileNet in our kernel too, and so tells the two apart."
            )
        )
    if any(one.row.record.device.clock == "instructions" for one in fused):
        said.append(
            doc.paragraph(
                "Modelled time counts instructions, each as one nanosecond. On an in-order core such as Cortex-A7 or "
                "A53 a 128-bit vector multiply-add takes several cycles where a scalar instruction takes one: the "
                "fewer, wider instructions of a fused kernel gain less there than they do here."
            )
        )
    return said


def _gain(one: gains.Gain) -> doc.Text:
    record = one.row.record
    threads = f", {record.case.threads} threads" if record.case.threads > 1 else ""
    promised = "" if one.promised is None else f" (the mult-adds promise {ratio(one.promised)})"
    said: list[str | doc.Span] = [
        f"{one.row.title} on {record.device.serial}{threads} takes {ratio(one.relative)} of MobileNet's time{promised}"
        ", MobileNet on the runtime's own kernels."
    ]
    if one.network is not None and one.kernel is not None:
        said += [
            " Of that the ",
            doc.strong("network"),
            f": {ratio(one.network)}, its time over MobileNet's when both run in our kernel. The ",
            doc.strong("kernel"),
            f": {ratio(one.kernel)}, MobileNet in our kernel over MobileNet on the runtime's. "
            f"{ratio(one.network)} x {ratio(one.kernel)} = {ratio(one.relative)}.",
        ]
    if one.over_grouped is not None:
        said.append(
            " Against the same network as grouped convolutions on the runtime's own kernels it takes "
            f"{ratio(one.over_grouped)} of the time: that is the kernel alone."
        )
    return doc.words(*said)


def _notes(rows: Sequence[Row]) -> list[doc.Block]:
    notes = {row.title: row.spec.note for row in rows if row.spec and row.spec.note}
    return _bullets([f"{title}: {note}" for title, note in notes.items()])
