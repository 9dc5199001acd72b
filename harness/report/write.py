"""Every table and plot of a run, remade from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.analyse import fleet
from harness.analyse.profile import profiled
from harness.analyse.rows import Row, table_rows
from harness.record import journal
from harness.record.plan import in_order
from harness.record.plan import read as read_plan
from harness.record.record import Record
from harness.record.titles import how_measured, sentence
from harness.report import columns, csv, html, latex, markdown, plots, sections, time_spent
from harness.report.document import Figure
from harness.report.files import write_figures, writing

REPORT_NAME = "report.md"
PAGE_NAME = "report.html"


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
    records = in_order(plan, journal.read(folder))
    rows = table_rows(records, plan.limits)
    figures = drawn(rows, records)
    document = sections.run_document(plan, records, rows, figures)
    texts = {REPORT_NAME: markdown.rendered(document), PAGE_NAME: html.rendered(document)}
    if profiled(records):
        texts["profile.csv"] = csv.rendered(time_spent.profile_data(records))
    if rows:
        texts["table6.md"] = markdown.blocks(sections.table6(rows)) + "\n"
        texts["table6.csv"] = csv.rendered(columns.data(rows))
        texts["table6.tex"] = table6_in_latex(rows)
    with writing(folder):
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        files = [*(folder / name for name in texts), *write_figures(figures, folder)]
    return Written(tuple(records), tuple(rows), tuple(files))


def drawn(rows: Sequence[Row], records: Sequence[Record]) -> list[Figure]:
    """Every plot that these can fill."""
    some_rows, some = fleet.in_full(rows, records)
    made = [it.made(rows, records) if it is plots.DEVICES else it.made(some_rows, some) for it in plots.PLOTS]
    return [figure for figure in made if figure is not None]


def table6_in_latex(rows: Sequence[Row]) -> str:
    meanings = " ".join(sorted({sentence(how_measured(row.record.device)) for row in rows}))
    return latex.rendered(columns.table6(rows), f"Time of a pass, in ms. {meanings}", "tab:speed")
