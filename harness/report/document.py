"""A report as a value: sections of paragraphs, lists, tables and figures.

Every field is plain text, from wherever it comes: no markup of any format stands in one. The renderers beside this
file make Markdown, HTML, LaTeX or lines for a terminal of it, and escaping is their business alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from device.records import Clock
from harness.record.units import NOTHING

Style = Literal["plain", "strong", "emphasis", "code", "link"]


@dataclass(frozen=True)
class Span:
    """Words in one style; a link leads to the section of that title."""

    text: str
    style: Style = "plain"
    to: str = ""


Text: TypeAlias = tuple[Span, ...]


def words(*parts: str | Span) -> Text:
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def strong(text: str) -> Span:
    return Span(text, "strong")


def emphasis(text: str) -> Span:
    return Span(text, "emphasis")


def code(text: str) -> Span:
    return Span(text, "code")


def plain(text: Text) -> str:
    """The words alone."""
    return "".join(span.text for span in text)


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `mark` praises it and `warning` doubts it, in words; `notes` are shown on demand."""

    text: str
    style: Style = "plain"
    mark: str = ""
    warning: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column of a table; `is_main`: the one that the table is about."""

    heading: str
    is_right: bool = False
    is_main: bool = False


@dataclass(frozen=True)
class Table:
    """As many cells in each row as there are columns. `is_wide`: its lines are not broken, however long."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    is_wide: bool = False

    @property
    def headings(self) -> list[str]:
        return [column.heading for column in self.columns]

    @property
    def texts(self) -> list[dict[str, str]]:
        """What each row shows, by the headings of its columns."""
        return [dict(zip(self.headings, (cell.text for cell in row), strict=True)) for row in self.rows]


def table(headings: Sequence[str], rows: Sequence[Sequence[str | Cell]], left: Collection[str] | None = None) -> Table:
    """The first column is aligned left, or those in `left`."""
    columns = [Column(it, place > 0 if left is None else it not in left) for place, it in enumerate(headings)]
    cells = [tuple(it if isinstance(it, Cell) else Cell(it) for it in row) for row in rows]
    return Table(tuple(columns), tuple(cells))


#: A row of a table by the headings of its columns.
Line: TypeAlias = Mapping[str, str | Cell]


def table_of(lines: Sequence[Line], left: Collection[str] | None = None, *, drops_empty: bool = False) -> Table:
    """A row a line, and columns by the lines' keys, in the order in which they are first met.

    What a line lacks is shown as NOTHING; `drops_empty`: columns that no line has anything for are left out.
    """
    keys = dict.fromkeys(key for line in lines for key in line)
    found = [key for key in keys if not drops_empty or any(line.get(key, NOTHING) != NOTHING for line in lines)]
    return table(found, [[line.get(key, NOTHING) for key in found] for line in lines], left)


def text_table(lines: Sequence[Line], *, drops_empty: bool = False) -> Table:
    """The same without figures: all columns are aligned left."""
    return table_of(lines, {key for line in lines for key in line}, drops_empty=drops_empty)


Value: TypeAlias = str | int | float | None


@dataclass(frozen=True)
class Data:
    """A table for programs: unrounded values, with their units in the names of the columns. None: not there."""

    names: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Paragraph:
    text: Text


@dataclass(frozen=True)
class Bullets:
    items: tuple[Text, ...]


@dataclass(frozen=True)
class Code:
    """Lines to be copied as they are."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A plot: its files' name, what it is of, how it is read, and what is seen in it for those who do not see it."""

    name: str
    title: str
    caption: str
    description: str
    svg: str
    png: bytes


@dataclass(frozen=True)
class Bar:
    """A line in a card's list; `percent` is its length, of the longest one's. `is_best`: it is praised."""

    title: str
    main: str
    more: str
    percent: float
    is_best: bool


@dataclass(frozen=True)
class Card:
    """One answer in short: to which question, by what kind of time, in sentences; and all that was ranked for it."""

    title: str
    clock: Clock
    measured_on: str
    sentences: tuple[str, ...]
    summary: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Cards:
    """`is_open`: their bars are seen at once."""

    cards: tuple[Card, ...]
    is_open: bool


@dataclass(frozen=True)
class Details:
    """What is there for those who ask."""

    summary: Text
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Group:
    """Blocks with a heading of their own."""

    title: str
    blocks: tuple[Block, ...]


Block: TypeAlias = Paragraph | Bullets | Code | Table | Figure | Cards | Details | Group


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """`lead` stands above all sections."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]

    @property
    def figures(self) -> list[Figure]:
        found = [block for section in self.sections for block in _flat(section.blocks)]
        return [block for block in found if isinstance(block, Figure)]


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Group | Details):
            yield from _flat(block.blocks)


def paragraph(*parts: str | Span) -> Paragraph:
    return Paragraph(words(*parts))


def bullets(items: Sequence[str | Text]) -> Bullets:
    return Bullets(tuple(words(item) if isinstance(item, str) else item for item in items))
