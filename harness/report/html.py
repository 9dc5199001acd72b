"""The report that people look at: one HTML file that needs nothing beside it, no network and no script.

Its sections are those of report.md, from the same text, so that the two cannot disagree; the verdict, Table 6 and the
plots are made for the page. All that comes from records is escaped, here or by jinja2.
"""

from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from harness.analyse import fleet, ranking
from harness.analyse.rows import Row, by_device, is_baseline
from harness.analyse.statistics import shown_ratio
from harness.record.plan import Plan
from harness.record.record import Record
from harness.record.titles import MEANING_OF_TIME, case_runtime_title
from harness.record.units import NOTHING, milliseconds
from harness.report import alttexts, table
from harness.report.table import RELATIVE

if TYPE_CHECKING:
    from jinja2 import Template
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from pandas import DataFrame

#: A choice: of more devices the title says how many.
MOST_IN_TITLE = 4

#: A choice: with more of them the bars below each verdict are folded away, so that Table 6 is not far.
MOST_OPEN_VERDICTS = 4

#: What the page shows in an order of its own: the heading of a section, and the plot that stands in it. Sections of
#: report.md that are not named here follow, in its order; those in _MADE_FOR_THE_PAGE do not.
_ORDER: tuple[tuple[str, str | None], ...] = (
    ("What failed", None),
    ("Warnings", None),
    ("All devices", "devices"),
    ("Latency against mult-adds", "latency-vs-mult-adds"),
    ("Speed-up against theory", "relative-speed"),
    ("Against the paper", None),
    ("Every timed pass", "samples"),
    ("Where the time goes", "profile-by-operator"),
    ("What more threads gain", "thread-scaling"),
    ("Sizes", "sizes"),
)
_MADE_FOR_THE_PAGE = ("In short", "Table 6")

_CAPTIONS = {
    "latency-vs-mult-adds": "Each panel has a scale of its own: times of different devices, runtimes and clocks are "
    "not comparable. A network above the line through its neighbours is slower than its cost promises.",
    "devices": "A dot a device, at the median of its passes: those to the left are faster. Only devices with one kind "
    "of clock share a panel.",
    "relative-speed": "Where a measured bar is shorter than the grey one, the network is slower than its mult-adds "
    "promise; MobileNet is 1.",
    "samples": "Each dot is a pass, the first at the top of its row. A drift is a slant, throttling a bend, two modes "
    "are two columns; outliers are ringed, and count like all others.",
    "profile-by-operator": "From passes of their own, with the profiler on. The thick line is the median of the timed "
    "passes.",
    "thread-scaling": "On the dashed line each thread does as much as one did alone.",
    "sizes": "The orange line is the ONNX file of the paper, where it prints one.",
}

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_PX_PER_PT = 96 / 72
_LEAST_SCALE = 0.72  # a choice: text in a plot is never smaller than that part of its size; the plot scrolls instead


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it shows, words that mark it as good or doubtful, and what is said on demand."""

    html: Markup
    mark: str = ""
    warning: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    caption: str
    head: tuple[Markup, ...]
    is_right: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]
    shows_caption: bool = False


@dataclass(frozen=True)
class Block:
    """A part of a section: a heading, a paragraph, code, the items of a list, a table, or one below a line, folded."""

    kind: str
    html: Markup | None = None
    items: tuple[Markup, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Figure:
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...] = ()
    figure: Figure | None = None

    @property
    def id(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Bar:
    """A network in the list below a verdict; `percent` is of the slowest one's time."""

    title: str
    time: str
    relative: str
    paper: str
    percent: float


@dataclass(frozen=True)
class Card:
    """A verdict as the page shows it."""

    title: str
    clock: str
    time_is: str
    fastest: str
    sentences: tuple[str, ...]
    bars: tuple[Bar, ...]


def page(plan: Plan, records: Sequence[Record], rows: Sequence[Row], report: str, figures: Mapping[str, str]) -> str:
    """The whole page; `report` is report.md, `figures` are SVG files by the names of plots.py, without suffix.

    The same arguments give the same bytes.
    """
    told = _sections(report)
    rows_in_full, records_in_full = fleet.in_full(rows, records)
    found = [name for name in alttexts.OF if name in figures]
    made = {name: _figure(name, figures[name], alttexts.OF[name](records_in_full, rows_in_full)) for name in found}
    devices = plan.devices if len(plan.devices) <= MOST_IN_TITLE else (f"{len(plan.devices)} devices",)
    return _template().render(
        title=f"Table 6, measured again: {', '.join(devices)}",
        plan=plan,
        failed=sum(record.status != "ok" for record in records),
        measured=sum(record.status == "ok" for record in records),
        intended=len(plan.order) * max(len(plan.devices), 1),
        fleet=fleet.sentences(rows),
        cards=_cards(rows_in_full),
        most_open=MOST_OPEN_VERDICTS,
        introduction=told[0].blocks,
        tables=_tables(rows),
        overview_means=table.OVERVIEW_MEANS,
        sections=_ordered(told[1:], made),
        css=Markup(_read("report.css")),  # noqa: S704 (a file of ours)
        script=Markup(_read("report.js")),  # noqa: S704 (a file of ours)
    )


def _ordered(told: Sequence[Section], figures: Mapping[str, Figure]) -> list[Section]:
    by_title = {section.title: section for section in told if section.title not in _MADE_FOR_THE_PAGE}
    first = []
    for title, name in _ORDER:
        figure = figures.get(name) if name else None
        section = by_title.pop(title, Section(title))
        if section.blocks or figure:
            first.append(replace(section, figure=figure))
    return [*first, *by_title.values()]


# --- the verdict --------------------------------------------------------------------------------------


def _cards(rows: Sequence[Row]) -> list[Card]:
    """A card a verdict; of a device whose times mean nothing only one, which says so."""
    found = {
        one.title if one.is_ranked else one.fastest.record.device.serial: one for one in reversed(ranking.of(rows))
    }
    return [_card(one) for one in reversed(found.values())]


def _card(one: ranking.Verdict) -> Card:
    slowest_ns = max((row.summary.median_ns for row in one.ranked if row.summary), default=0) or 1
    bars = [
        Bar(
            title=row.title,
            time=f"{milliseconds(row.summary.median_ns)} ms",
            relative="" if row.relative is None else shown_ratio(row.ratio, is_base=is_baseline(row.record)),
            paper="" if row.paper_relative is None else f"{row.paper_relative:.3f}",
            percent=round(100 * row.summary.median_ns / slowest_ns, 1),
        )
        for row in one.ranked
        if row.summary
    ]
    said = tuple(sentence for sentence in ranking.sentences(one) if sentence)
    clock = one.fastest.record.device.clock
    title = one.title if one.is_ranked else one.fastest.record.device.serial
    return Card(title, clock, one.time_is, one.fastest.title, said, tuple(bars) if one.is_ranked else ())


# --- Table 6 ------------------------------------------------------------------------------------------


def _tables(rows: Sequence[Row]) -> list[Table]:
    """Of several devices an overview first; then the whole table of each."""
    of_devices = by_device(rows)
    fastest = {id(one.fastest) for one in ranking.of(rows) if ranking.can_tell(one)}
    if fleet.is_one(rows):
        return [_table6(rows, fastest, f"All {len(of_devices)} devices")]
    made = []
    if len(of_devices) > 1:
        made.append(
            _plain_table("All devices: mean in ms, and in brackets relative to MobileNet", table.overview(rows))
        )
    for of_device in of_devices:
        made.append(_table6(of_device, fastest))
    return made


def _plain_table(caption: str, frame: DataFrame) -> Table:
    rows = tuple(tuple(Cell(escape(text)) for text in row) for row in frame.itertuples(index=False))
    is_right = tuple(place > 1 for place in range(len(frame.columns)))
    return Table(caption, tuple(map(escape, frame.columns)), is_right, rows, shows_caption=True)


def _table6(rows: Sequence[Row], fastest: set[int], caption: str = "") -> Table:
    frame, device = table.shown(rows), rows[0].record.device
    right = table.right_aligned(frame)
    caption = caption or f"{device.serial} ({device.model}): time is {MEANING_OF_TIME[device.clock]}"
    cells = [
        tuple(_cell(row, str(name), str(text), id(row) in fastest) for name, text in line.items())
        for row, (_, line) in zip(rows, frame.iterrows(), strict=True)
    ]
    is_right = tuple(name in right for name in frame.columns)
    return Table(caption, tuple(map(escape, frame.columns)), is_right, tuple(cells), shows_caption=True)


def _cell(row: Row, name: str, text: str, is_fastest: bool) -> Cell:
    """What the row has to say stands in it: which is the fastest, what its warnings mean, and why it has no time."""
    if name == "Model":  # which stays in sight where the table scrolls
        best = "fewest instructions" if row.record.device.clock == "instructions" else "fastest"
        mark = f"{best}, {case_runtime_title(row.record)}" if is_fastest else ""
        return Cell(escape(text), mark, ranking.warnings_in_short(row))
    if name == "Warnings" and text != NOTHING:
        return Cell(escape(text), more=tuple(one.message for one in row.warnings))
    if name.startswith("Mean") and row.summary is None and row.record.error:
        return Cell(escape(text), more=(row.record.error,))
    if name == RELATIVE and row.ratio is not None:
        return Cell(Markup("<strong>{}</strong>").format(text))
    return Cell(escape(text))


# --- sections of report.md ----------------------------------------------------------------------------


@functools.cache
def _markdown() -> MarkdownIt:
    """Of Markdown what report.md uses, and nothing else: neither HTML nor links nor images are ever taken for such."""
    from markdown_it import MarkdownIt

    used = ["table", "list", "heading", "code", "emphasis", "backticks", "escape", "newline"]
    return MarkdownIt("zero", {"breaks": True}).enable(used)


def _sections(report: str) -> list[Section]:
    """The sections by their headings of the second level; first what stands above them all."""
    tokens = _markdown().parse(report)
    starts = [place for place, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    first = list(tokens[: starts[0] if starts else None])
    while first and first[0].type != "heading_close":  # the title, which the page has
        first.pop(0)
    sections = [Section("", tuple(_blocks(first[1:], "")))]
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        title = tokens[start + 1].content
        sections.append(Section(title, tuple(_blocks(tokens[start + 3 : end], title))))
    return sections


def _blocks(tokens: Sequence[Token], title: str) -> list[Block]:
    blocks: list[Block] = []
    caption, is_named, place = title, False, 0
    while place < len(tokens):
        token = tokens[place]
        end = place + 1
        if token.nesting == 1:
            end = (
                next(
                    at for at in range(place, len(tokens)) if tokens[at].level == token.level and tokens[at].nesting < 0
                )
                + 1
            )
        inside = tokens[place:end]
        if token.type == "heading_open":
            caption = f"{title}: {_text(inside)}"
            blocks.append(Block("heading", _inline(inside)))
        elif token.type == "paragraph_open":
            blocks.append(Block("paragraph", _inline(inside)))
            is_named = inside[1].content.startswith("**")  # a line about the table that follows, and its name
            caption = _text(inside) if is_named else caption
        elif token.type == "code_block":
            blocks.append(Block("code", escape(token.content.strip())))
        elif token.type == "bullet_list_open":
            blocks.append(Block("list", items=tuple(_inline([it]) for it in inside if it.type == "inline")))
        elif token.type == "table_open":
            made = _parsed(inside, caption)
            if tokens[place - 1].type == "paragraph_close" and is_named:
                blocks[-1] = replace(blocks[-1], kind="folded", table=made)
            else:
                blocks.append(Block("table", table=made))
        place = end
    return blocks


def _inline(tokens: Sequence[Token]) -> Markup:
    """What markdown-it makes of text: it escapes all of it, and reads no HTML."""
    inline = [child for token in tokens if token.type == "inline" for child in token.children or []]
    return Markup(_markdown().renderer.render(inline, _markdown().options, {}))  # noqa: S704


def _text(tokens: Sequence[Token]) -> str:
    children = [child for token in tokens for child in token.children or []]
    return "".join(child.content for child in children if child.type in ("text", "code_inline", "text_special"))


def _parsed(tokens: Sequence[Token], caption: str) -> Table:
    lines: list[list[Markup]] = []
    is_right: list[bool] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            lines.append([])
        elif token.type in ("th_open", "td_open"):
            lines[-1].append(_inline([tokens[place + 1]]))
            if token.type == "th_open":
                is_right.append("right" in str(token.attrGet("style") or ""))
    rows = tuple(tuple(map(Cell, line)) for line in lines[1:])
    return Table(caption, tuple(lines[0]), tuple(is_right), rows)


# --- plots --------------------------------------------------------------------------------------------


def _figure(name: str, svg: str, description: str) -> Figure:
    """matplotlib's SVG as a part of the page: its ids its own, its style within itself, its background the page's."""
    ET.register_namespace("", _SVG)
    root = ET.fromstring(svg)  # noqa: S314 (written by harness.report.plots a moment ago)
    for child in list(root):
        if child.tag == f"{{{_SVG}}}metadata":
            root.remove(child)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":
                parent.remove(child)  # it is about all elements there are, and would be about the page's
        for key, value in list(parent.attrib.items()):
            _own(parent, key, value, name)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    width_px = width * _PX_PER_PT
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "style": f"width:100%;max-width:{width_px:.0f}px;min-width:{width_px * _LEAST_SCALE:.0f}px;"
        f"aspect-ratio:{width:.1f}/{height:.1f}",
    }
    for place, (tag, text) in enumerate((("title", _title(name)), ("desc", description))):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    return Figure(Markup(ET.tostring(root, encoding="unicode")), _CAPTIONS[name])  # noqa: S704 (escaped by ElementTree)


def _own(element: ET.Element, key: str, value: str, name: str) -> None:
    """Makes ids and what refers to them the plot's own, and white grounds those of the page."""
    if key == "id":
        element.set(key, f"{name}-{value}")
    elif key == f"{{{_XLINK}}}href":
        del element.attrib[key]
        element.set("href", f"#{name}-{value.removeprefix('#')}")
    elif "url(#" in value:
        element.set(key, value.replace("url(#", f"url(#{name}-"))
    elif key == "style" and "fill: #ffffff" in value:
        element.set(key, value.replace("fill: #ffffff", "fill: none"))


def _title(name: str) -> str:
    return next(title for title, figure in _ORDER if figure == name)


# --- the template -------------------------------------------------------------------------------------


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _read(name: str) -> str:
    from importlib.resources import files

    return (files("harness.report") / "templates" / name).read_text(encoding="utf-8")
