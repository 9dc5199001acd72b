"""Every table and plot of a run, remade from its records alone: `python -m harness.report RUN`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import click

from harness import conditions, counts, gains, plots, profile, render, scaling, table, titles
from harness import records as journal
from harness.command import guarded
from harness.errors import EXIT_CASE_FAILED
from harness.plan import Plan, sequential
from harness.plan import read as read_plan
from harness.records import Record
from harness.render import writing
from harness.table import Row

REPORT_NAME = "report.md"

#: Ratios this near to the paper's are said to agree. A choice: the paper prints four digits and no spread.
AGREES_WITHIN = 0.05


def write(folder: Path) -> tuple[list[Record], list[Path]]:
    """Makes the report of the run in `folder`; returns its records and the files written.

    Raises UsageError when the folder holds no run, or cannot be written.
    """
    plan = read_plan(folder)
    places = {case.id: place for place, case in enumerate(plan.cases)}
    records = sorted(journal.read(folder), key=lambda record: (places.get(record.id, len(places)), record.round))
    rows = table.rows(records)
    texts = {REPORT_NAME: _markdown(plan, records, rows)}
    if profile.profiled(records):
        texts["profile.csv"] = profile.csv(records)
    if rows:
        texts |= {
            "table6.md": table.markdown(rows),
            "table6.csv": table.csv(rows),
            "table6.tex": table.latex(rows),
        }
    with writing(folder):
        written = [folder / name for name in texts]
        for path, text in zip(written, texts.values(), strict=True):
            path.write_text(text)
        written += plots.write(rows, folder)
        for draw in (plots.write_samples, plots.write_scaling, plots.write_profile):
            written += draw(records, folder)
        return records, written


def _markdown(plan: Plan, records: Sequence[Record], rows: Sequence[Row]) -> str:
    parts = [f"# Table 6, measured again: {', '.join(plan.devices)}", ""]
    parts += _what_was_measured(plan, records)
    if rows:
        parts += ["", table.markdown(rows)]
    parts += _warnings(rows)
    parts += _failures(plan, records)
    parts += _against_the_paper(rows)
    parts += _gains(rows)
    for heading, text in (
        ("Where the time goes", profile.markdown(records)),
        ("What more threads gain", scaling.markdown(records)),
        ("Counts of each pass", counts.markdown(records)),
    ):
        parts += [f"## {heading}", "", text] if text else []
    parts += _statistics(rows)
    parts += _builds(records)
    parts += _conditions(records)
    parts += _cost_of_the_harness(records)
    parts += _notes(rows)
    parts += ["## Run it again", "", f"    {plan.command}", ""]
    return "\n".join(parts)


def _what_was_measured(plan: Plan, records: Sequence[Record]) -> list[str]:
    lines = [f"Run `{plan.run}`, commit `{plan.commit or 'unknown'}`."]
    if records:
        device = records[0].device
        cores = ", ".join(core.part or "unknown core" for core in device.cores)
        ram = f"{device.ram_bytes / 2**20:.0f} MiB" if device.ram_bytes else "memory unknown"
        lines.append(f"Device: {device.model} ({device.abi}; {cores}; {ram}; {device.os}).")
        if device.clock == "instructions":
            lines.append(
                "**The times are modelled, not a phone's**: the emulated board's clock advances one nanosecond "
                "per executed instruction; it knows no caches, no pipeline and one core. They repeat to a few parts in "
                "100,000, and compare networks by the instructions they take, on this board only."
            )
        elif device.clock == "emulated":
            lines.append(
                "**The times are meaningless**: an emulator's wall time, here to exercise threads and affinity. "
                "Nothing is compared by them."
            )
    lines.append(
        f"{_order(plan)} Mean of the timed passes is the paper's figure (section 5.3); spread is the median absolute "
        "deviation; the output check compares the device's output with PyTorch's (largest difference over the output's "
        "spread). Paper figures are those of its Table 6 (BLU Advance 5.2, Cortex-A7 at 1.3 GHz, Caffe2)."
    )
    return ["\n".join(lines)]


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
    measured = {(record.round, record.id): record for record in records}
    failed = []
    for turn in plan.turns():
        record = measured.get((turn.round, turn.case.id))
        if record is None:
            failed.append(f"- {turn.id}: not measured: the run ended before it")
        elif record.status != "ok":
            failed.append(f"- {turn.id}: {record.status}: {record.error}")
    return ["## What failed", "", *failed, ""] if failed else []


def _against_the_paper(rows: Sequence[Row]) -> list[str]:
    """In words: where the ratios agree with Table 6 and where not, and what the sizes have to say."""
    lines = []
    for row in rows:
        if row.relative is None or row.paper_relative is None or row.record.case.model == table.BASELINE:
            continue
        difference = row.relative / row.paper_relative - 1
        verdict = "agrees" if abs(difference) <= AGREES_WITHIN else "does not agree"
        lines.append(
            f"- {row.title} takes {row.relative:.3f} of MobileNet's time here ({row.record.case.runtime}), "
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
    return ["## Against the paper", "", *lines, "", explanation, "", *_sizes(rows)]


def _sizes(rows: Sequence[Row]) -> list[str]:
    """The sizes of the paper's ONNX files against its own parameter counts, beside the files made here."""
    lines = []
    for title, group in itertools.groupby(sorted(rows, key=lambda row: row.title), key=lambda row: row.title):
        found = list(group)
        paper = found[0].spec.paper if found[0].spec else None
        artifacts = {row.record.case.runtime: row.record.artifact for row in found if row.record.artifact}
        if paper is None or paper.onnx_size_megabytes is None or paper.params is None or not artifacts:
            continue
        onnx = next(iter(artifacts.values())).onnx_size_bytes / 1e6
        nets = f"{artifacts['caffe2'].size_bytes / 1e6:.1f} MB" if "caffe2" in artifacts else "–"
        lines.append(
            f"| {title} | {paper.params / 1e6:.2f}M | {paper.params * 4 / 1e6:.1f} MB "
            f"| {paper.onnx_size_megabytes:.1f} MB | {paper.onnx_size_megabytes * 1e6 / paper.params:.2f} "
            f"| {onnx:.1f} MB | {nets} |"
        )
    head = [
        "Sizes: a parameter is 4 bytes. The paper's clcNet files are larger than its own parameter counts fill.",
        "",
        "| Model | Params, paper | at 4 bytes | ONNX, paper | bytes a parameter | ONNX, here | Caffe2 nets, here |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    return [*head, *lines, ""] if lines else []


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
    for row in rows:
        if (found := row.summary) is None:
            continue
        low_high = [table.milliseconds(ns) for ns in found.interval_ns or ()]
        times = [found.mean_ns, found.median_ns, found.mad_ns, found.min_ns, found.max_ns]
        mean, median, mad, least, most = (table.milliseconds(ns) for ns in times)
        cells = [str(found.count), mean, median, " to ".join(low_high) or render.NOTHING, mad, least, most]
        cells += [render.NOTHING if found.cv is None else f"{found.cv:.2%}", str(len(found.outliers))]
        lines.append(f"| {titles.case_title(row.record)} | {' | '.join(cells)} |")
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
    for record in sorted(records, key=lambda record: record.order):
        for moment, state in (("before", record.before), ("after", record.after)):
            if state is not None:
                in_round = f", round {record.round + 1}" if record.round else ""
                shown.append({"Case": f"{record.id}{in_round}", "": moment, **conditions.shown(state)})
    if not shown:
        return []
    names = list(dict.fromkeys(name for cells in shown for name in cells))
    told = [name for name in names if any(cells.get(name, render.NOTHING) != render.NOTHING for cells in shown)]
    lines = [f"| {' | '.join(told)} |", "|---" * len(told) + "|"]
    lines += [f"| {' | '.join(cells.get(name, render.NOTHING) for name in told)} |" for cells in shown]
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
    names = list(dict.fromkeys(name for record in ran for name in record.phases_ns if name != "passes"))
    head = ["Case", *names, "outside passes", "passes", "pushed"]
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for record in ran:
        seconds = [record.phases_ns.get(name, 0) / 1e9 for name in names]
        cells = [f"{value:.2f} s" for value in (*seconds, record.outside_passes_ns / 1e9)]
        cells += [f"{record.phases_ns.get('passes', 0) / 1e9:.1f} s", f"{record.pushed_bytes / 1e6:.1f} MB"]
        lines.append(f"| {record.id} | {' | '.join(cells)} |")
    return ["## What the harness itself took", "", "Host time, per case.", "", *lines, ""]


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = {row.title: row.spec.note for row in rows if row.spec and row.spec.note}
    return ["## Notes", "", *(f"- {title}: {note}" for title, note in notes.items()), ""] if notes else []


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path))
@guarded
def main(run: Path) -> int:
    records, written = write(run)
    for path in written:
        click.echo(str(path))
    return EXIT_CASE_FAILED if any(record.status != "ok" for record in records) else 0


if __name__ == "__main__":
    main()
