"""Whatever a device, a model or a file says, in whichever field: reports keep their structure, only text changes."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE, everywhere, harmless, hostile
from markdown_it import MarkdownIt
from pages import own_model, run_of, three_devices
from synthetic import STATE, estimated, record, table6, throttled
from synthetic_runs import PHONE, profiled, with_counters

from device.records import DeviceInfo
from harness.analyse.rows import Row, table_rows
from harness.compare import formats, history
from harness.compare.two_runs import Comparison, Run, compare
from harness.record.plan import Limits, Plan
from harness.record.record import Record
from harness.report import columns, html, latex, markdown, plots, sections, terminal, time_spent
from harness.report import csv as as_csv
from harness.report.document import Block, Data, Details, Document, Figure, Group, Table
from harness.report.layout import one_line
from harness.report.write import drawn
from harness.study import igc_report

#: Which fields stay as they are: what decides whether there is a figure, and what says which network it is.
KEPT = {
    "all but what ended well": frozenset({"status"}),
    "all but what was asked for": frozenset({"status", "case"}),
    "all": frozenset[str](),
}
Change = Callable[[str], str]


@cache
def records() -> tuple[Record, ...]:
    """Every kind of section has something to say of these."""
    odd = replace(
        STATE,
        temperatures_celsius={"cpu": 45.0},
        governors=("schedutil",),
        clocks_khz=(1_800_000,),
        foreground_app="com.android.launcher",
        screen_on=True,
    )
    one = record("mobilenet", [500.0, 501.0, 502.0])
    fused = [record("mobilenet", [450.0], igc="fused"), record("clcnet-a", [200.0], igc="fused")]
    assert one.measurement is not None
    uncounted = replace(one, measurement=replace(one.measurement, counters_error="perf_event_paranoid is 3"))
    assert one.check is not None
    return (
        throttled(replace(uncounted, before=odd), 1),
        *table6()[1:],
        *fused,
        with_counters(record("mobilenet", [500.0], runtime="caffe2"), {"instructions": 500_000_000}),
        record("clcnet-b", status="crashed", error="signal 11", threads=2),
        profiled("mobilenet", 60.0, on=PHONE),
        profiled("clcnet-a", 50.0, on=PHONE, igc="grouped"),
        record("mobilenet", [33.0], on=PHONE, threads=2),
        own_model("mine", [50.0, 50.1]),
        estimated(profiled("clcnet-a", 1100.0, igc="grouped")),
    )


def changed(found: Sequence[Record], change: Change, kept: frozenset[str]) -> list[Record]:
    made = [everywhere(one, change, kept) for one in found]
    return [replace(one, id=one.case.id) for one in made]


def planned(found: Sequence[Record], change: Change) -> Plan:
    own = run_of(found)
    return replace(everywhere(run_of(()), change), devices=own.devices, cases=own.cases, order=own.order)


@cache
def made(name: str, kept: str) -> tuple[Document, Table, Data, Sequence[Row]]:
    """The report of the run, Table 6 in one piece, and for programs; `name` is of a hostile string, or "harmless"."""
    change = harmless if name == "harmless" else hostile(name)
    found = changed(records(), change, KEPT[kept])
    rows = table_rows(found, Limits())
    return (
        sections.run_document(planned(found, change), found, rows, []),
        columns.table6(rows),
        columns.data(rows),
        rows,
    )


every_string = pytest.mark.parametrize("name", HOSTILE)
every_kept = pytest.mark.parametrize(
    "kept", [pytest.param(it, marks=pytest.mark.long) if it.endswith("well") else it for it in KEPT]
)


def tables(document: Document) -> Iterator[Table]:
    for block in (*document.lead, *(block for section in document.sections for block in section.blocks)):
        yield from _tables(block)


def _tables(block: Block) -> Iterator[Table]:
    if isinstance(block, Table):
        yield block
    elif isinstance(block, Group | Details):
        for inner in block.blocks:
            yield from _tables(inner)


def cells(table: Table) -> list[list[str]]:
    """What a reader of a table must find."""
    return [[one_line(it) for it in row] for row in (table.headings, *([it.text for it in row] for row in table.rows))]


# --- readers ------------------------------------------------------------------------------------------


def read_markdown(text: str) -> tuple[list[str], list[list[list[str]]]]:
    """The tree of a Markdown document, and the cells of its tables."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tree: list[str] = []
    found: list[list[list[str]]] = []
    tokens = reader.parse(text)
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        tree.append(f"{token.type} {token.tag} {token.attrs}")
        tree += [f"  {it.type} {it.attrs}" for it in token.children or [] if it.type not in ("text", "text_special")]
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            assert after is not None
            found[-1][-1].append("".join(it.content for it in after.children or []))
    return tree, found


class Page(HTMLParser):
    """The tree of a page, but for what is in its plots, and the cells of its tables as they are shown at first."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tree: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        if "svg" in self._inside[:-1]:
            assert tag not in ("script", "img", "a")
            return
        shown = sorted(f"{name}={value}" for name, value in attrs if tag != "svg")
        self.tree.append(f"{tag} {shown}")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("meta", "link"):
            self._inside.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag
        if "svg" not in self._inside:
            self.tree.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_data(self, data: str) -> None:
        in_cell = {"td", "th"} & set(self._inside)
        if in_cell and self._inside[-1] not in ("p", "span"):  # notes and marks beside the text
            self.tables[-1][-1][-1] += data


#: What LaTeX's commands for single signs show.
_SHOWN = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"}


def read_latex(text: str) -> list[list[str]]:
    """The cells of a table; what is not as LaTeX wants it, or a command that has no business there, is an error."""
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    signs = re.findall(r"\\[a-zA-Z]+|\\.|.|\n", body)
    rows, depth = [[""]], 0
    for place, sign in enumerate(signs):
        if sign in ("{", "}"):
            depth += 1 if sign == "{" else -1
            assert depth in (0, 1)
        elif sign == "&":
            rows[-1].append("")
        elif sign == "\\\\":
            assert signs[place + 1] == "\n"
            assert signs[place + 2 : place + 3] not in (["["], ["*"])
            rows.append([""])
        elif sign == "$":
            assert "\\times" in (signs[place - 1], signs[place + 1])
        elif len(sign) > 1:
            name = sign[1:]
            assert name in {*_SHOWN, "textbar", "times", "toprule", "midrule", *"&%$#_{}"}, sign
            shown = _SHOWN | {"textbar": "|", "times": "×", "toprule": "", "midrule": ""}
            rows[-1][-1] += shown.get(name, name)
        else:
            assert sign not in "%#_^~", sign
            rows[-1][-1] += sign
    assert depth == 0
    assert rows.pop() == ["\n"]
    return [[cell.strip() for cell in row] for row in rows]


def types_of(value: Any) -> Any:
    """The structure of a JSON document; numbers stay what they are."""
    if isinstance(value, dict):
        return {name: types_of(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [types_of(inner) for inner in value]
    return str if isinstance(value, str) else value


def in_xml(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(it.tag, tuple(it.attrib)) for it in ET.fromstring(text).iter()]  # noqa: S314 (our own)


# --- a run's report -----------------------------------------------------------------------------------


@every_kept
@every_string
def test_markdown_has_the_same_tree_and_its_tables_show_every_cell(name: str, kept: str) -> None:
    document, *_ = made(name, kept)
    tree, found = read_markdown(markdown.rendered(document))
    assert tree == read_markdown(markdown.rendered(made("harmless", kept)[0]))[0]
    assert found == [cells(table) for table in tables(document)]


@every_kept
@every_string
def test_the_page_has_the_same_tree_and_its_tables_show_every_cell(name: str, kept: str) -> None:
    document, *_ = made(name, kept)
    page = Page(html.rendered(document))
    assert page.tree == Page(html.rendered(made("harmless", kept)[0])).tree
    shown = [[[" ".join(cell.split()) for cell in row] for row in table] for table in page.tables]
    assert shown == [cells(table) for table in tables(document)]


@every_kept
@every_string
def test_latex_has_the_same_cells_and_no_command_of_others(name: str, kept: str) -> None:
    _, table, *_ = made(name, kept)
    read = read_latex(latex.rendered(table, f"{HOSTILE[name]}", "tab:speed"))
    assert [[cell.replace("--", "–") for cell in row] for row in read] == [
        [cell.replace("--", "–") for cell in row] for row in cells(table)
    ]


@every_kept
@every_string
def test_csv_has_the_same_cells_and_no_formula(name: str, kept: str) -> None:
    _, _, data, rows = made(name, kept)
    for one in (data, time_spent.profile_data([it for row in rows for it in row.records])):
        read = list(csv.reader(io.StringIO(as_csv.rendered(one))))
        assert read[0] == list(one.names)
        assert len(read) == len(one.rows) + 1
        for shown, values in zip(read[1:], one.rows, strict=True):
            for text, value in zip(shown, values, strict=True):
                if isinstance(value, str):
                    assert not text.startswith(("=", "+", "-", "@"))
                    assert text in (one_line(value), f"'{one_line(value)}")
                else:
                    assert text == ("" if value is None else str(value))


@every_kept
@every_string
def test_a_terminal_shows_a_line_a_row_and_nothing_steers_it(name: str, kept: str) -> None:
    document, _, _, rows = made(name, kept)
    brief = terminal.table(sections.brief_table(rows))
    assert len(brief.split("\n")) == len(rows) + 2
    for text in (brief, terminal.rendered(document), *map(terminal.escaped, sections.warning_lines(rows))):
        assert all(sign.isprintable() or sign == "\n" for sign in text)


#: Drawing takes seconds: of each kind of reader (a page, mathematics, fonts) one, and at length all.
DRAWN = ("signs",)


@pytest.mark.filterwarnings("ignore:Glyph")  # fonts lack some of these signs
@pytest.mark.parametrize("name", [it if it in DRAWN else pytest.param(it, marks=pytest.mark.long) for it in HOSTILE])
def test_plots_can_be_drawn_and_the_page_that_has_them_keeps_its_tree(name: str) -> None:
    def with_plots(change: Change) -> tuple[list[Figure], Page]:
        found = changed(three_devices()[::3], change, KEPT["all but what was asked for"])
        rows = table_rows(found, Limits())
        figures = [plots.LATENCY.made(rows, found), plots.SAMPLES.made(rows, found)]
        there = [it for it in figures if it is not None]
        return there, Page(html.rendered(sections.run_document(planned(found, change), found, rows, there)))

    figures, page = with_plots(hostile(name))
    assert [figure.name for figure in figures] == ["latency-vs-mult-adds", "samples"]
    assert page.tree == with_plots(harmless)[1].tree


@pytest.mark.filterwarnings("ignore:Glyph")
def test_every_plot_can_be_drawn_of_all_of_them_at_once() -> None:
    found = changed(records(), lambda text: "".join(HOSTILE.values()) + text, KEPT["all but what was asked for"])
    figures = drawn(table_rows(found, Limits()), found)
    assert {figure.name for figure in figures} == {one.name for one in plots.PLOTS if one is not plots.DEVICES}
    for figure in figures:
        assert "script" not in {it.tag.rpartition("}")[2] for it in ET.fromstring(figure.svg).iter()}  # noqa: S314


def test_every_text_of_a_record_is_reached() -> None:
    """A new field of a record is tested on arrival: nothing of the original stays, but for what types fix."""
    fixed = {"wall", "board", "instructions", "emulator", "float32", "perf"}
    one = everywhere(records()[0], lambda _: "changed")
    assert set(_texts(one)) <= {"changed", *fixed}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (*_texts(key), *_texts(item))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _texts(getattr(value, name))


# --- two runs, many runs, studies ---------------------------------------------------------------------


def a_comparison(change: Change) -> Comparison:
    """Some slower, one gone, one failed; another runtime, which is remarked upon."""
    base = changed(records()[:5], change, KEPT["all but what ended well"])
    failed = everywhere(record("clcnet-a", status="crashed", error="signal 11"), change, frozenset({"case"}))
    newer = [
        replace(one, measurement=replace(one.measurement, runtime_version=change("2.0")))
        for one in base[:3]
        if one.measurement is not None
    ]
    failed = replace(failed, case=base[3].case, id=base[3].id, device=base[3].device)
    runs = [
        Run(Path(change(name).replace("/", "-").replace("\0", "-")), planned(found, change), tuple(found))
        for name, found in (("base", base), ("new", [*newer, failed]))
    ]
    return compare(*runs)


@every_string
def test_a_comparison_keeps_its_structure_in_every_form(name: str) -> None:
    found, other = a_comparison(hostile(name)), a_comparison(harmless)
    assert found.cases
    tree, shown = read_markdown(formats.markdown(found))
    assert tree == read_markdown(formats.markdown(other))[0]
    assert shown == [cells(table) for table in tables(formats.document(found))]
    assert in_xml(formats.junit(found)) == in_xml(formats.junit(other))
    assert types_of(json.loads(formats.as_json(found))) == types_of(json.loads(formats.as_json(other)))
    text = formats.for_terminal(found)
    assert len(text.split("\n")) == len(formats.for_terminal(other).split("\n"))
    assert all(sign.isprintable() or sign == "\n" for sign in text)


@every_string
def test_runs_that_may_not_be_compared_are_refused_in_the_same_structure(name: str) -> None:
    def refused(change: Change) -> Comparison:
        found = a_comparison(change)
        device: DeviceInfo = replace(found.new.records[0].device, serial=change("another"))
        moved = [replace(one, device=device) for one in found.new.records]
        return compare(found.base, replace(found.new, plan=planned(moved, change), records=tuple(moved)))

    found, other = refused(hostile(name)), refused(harmless)
    assert found.refusals
    assert read_markdown(formats.markdown(found))[0] == read_markdown(formats.markdown(other))[0]
    assert in_xml(formats.junit(found)) == in_xml(formats.junit(other))
    assert "\n" not in formats.for_terminal(found)


@every_string
def test_a_history_keeps_its_structure(name: str) -> None:
    def lines(change: Change) -> list[history.Line]:
        found = a_comparison(change)
        return history.lines([found.base, found.new])

    document, data = history.document(lines(hostile(name))), history.data(lines(hostile(name)))
    tree, shown = read_markdown(markdown.rendered(document))
    assert tree == read_markdown(markdown.rendered(history.document(lines(harmless))))[0]
    assert shown == [cells(table) for table in tables(document)]
    read = list(csv.reader(io.StringIO(as_csv.rendered(data))))
    assert [len(row) for row in read] == [len(data.names)] * (len(data.rows) + 1)
    assert all(sign.isprintable() or sign == "\n" for sign in terminal.rendered(document))


@every_string
def test_a_study_keeps_its_structure(name: str) -> None:
    def study(change: Change) -> Document:
        rows = table_rows(changed(records()[:7], change, KEPT["all but what was asked for"]), Limits())
        return igc_report.document({rows[0].record.device.serial: rows}, [])

    tree, shown = read_markdown(markdown.rendered(study(hostile(name))))
    assert tree == read_markdown(markdown.rendered(study(harmless)))[0]
    assert shown == [cells(table) for table in tables(study(hostile(name)))]
