"""A document or a table as Markdown (GitHub's). All escaping for it is here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.record.units import NOTHING
from harness.report import document as doc
from harness.report import layout
from harness.report.layout import one_line, padded

#: What would be taken for markup wherever it stands: emphasis (an underscore within a word is none), code, HTML, the
#: end of a link's text, entities, addresses (which GitHub makes links of), struck text (but for "~5", an estimate).
_MARKUP = re.compile(
    r"[\\`*|]|<(?=[a-zA-Z/!?])|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|&(?=[#\w])|:(?=//)|(?<=\bwww)\.|~(?!\d)|(?<=\S)~"
)

#: What would begin a block at the start of a line: a list or its box, a rule, a heading, a quotation.
_BLOCK = re.compile(r"[-+](?=\s|$)|-(?=[-\s]*$)|#{1,6}(?=\s|$)|>|\[(?=[ xX]\])|\d+(?=[.)](?:\s|$))")


def escaped(text: str) -> str:
    """Plain text within a line, so that Markdown shows it as it is."""
    return _MARKUP.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", layout.run(text))


def _at_start(line: str) -> str:
    """A line that is already escaped, where a block could begin."""
    found = _BLOCK.match(line)
    if found is None:
        return line
    return f"{found[0]}\\{line[found.end() :]}" if found[0].isdigit() else f"\\{line}"


def _heading(level: int, title: str) -> str:
    text = escaped(title).strip().replace("#", "\\#")
    return f"{'#' * level} {text}"


def inline(text: doc.Text) -> str:
    """Spans in a row; a bracket between two of them must not become the end of a link's text."""
    *first, last = [*map(_span, text)] or [""]
    return "".join([*(re.sub(r"\]$", r"\]", one) for one in first), last]).strip()


def _span(span: doc.Span) -> str:
    if span.style == "code":
        return _code(span.text)
    if span.style == "plain":
        return escaped(span.text)
    if not (inner := escaped(span.text).strip()):
        return ""
    if span.style == "link":
        return _link(span.text, f"#{anchor(span.to)}")
    marks = "**" if span.style == "strong" else "*"
    return f"{marks}{inner}{marks}"


def _link(text: str, target: str) -> str:
    """Brackets in the text of a link must be pairs, or escaped."""
    pieces = re.split(r"([\[\]])", one_line(text))
    return f"[{''.join(f'{chr(92)}{it}' if it in ('[', ']') else escaped(it) for it in pieces)}]({target})"


def anchor(title: str) -> str:
    """What a heading's place is called in an address."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _code(text: str) -> str:
    """Between more backticks than stand in it anywhere."""
    line = one_line(text)
    if not line:
        return ""
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    room = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{room}{line}{room}{fence}"


def rendered(document: doc.Document, level: int = 1) -> str:
    """The whole document; `level` is that of its title."""
    parts = [_heading(level, document.title), blocks(document.lead, level + 1)]
    parts += [section(one, level + 1) for one in document.sections]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(one: doc.Section, level: int = 2) -> str:
    return "\n\n".join([_heading(level, one.title), blocks(one.blocks, level + 1)])


def blocks(found: Sequence[doc.Block], level: int = 3) -> str:
    """Blocks below one another; headings of groups among them are of this level."""
    return "\n\n".join(text for block in found if (text := _block(block, level)))


def _block(block: doc.Block, level: int) -> str:
    match block:
        case doc.Paragraph():
            text = _at_start(inline(block.text))
        case doc.Bullets():
            text = _items(block.items)
        case doc.Code():
            text = _fenced(block.text)
        case doc.Table():
            text = table(block).rstrip("\n")
        case doc.Figure():
            text = f"!{_link(block.title, f'{anchor(block.name)}.svg')}\n\n{_at_start(escaped(block.caption))}"
        case doc.Cards():
            text = _items([_card(card) for card in block.cards])
        case doc.Details():
            text = f"{_at_start(inline(block.summary))}\n\n{blocks(block.blocks, level)}"
        case doc.Group():
            text = f"{_heading(level, block.title)}\n\n{blocks(block.blocks, level + 1)}"
    return text


def _items(items: Sequence[doc.Text]) -> str:
    return "\n".join(f"- {_at_start(inline(item)) or NOTHING}" for item in items)


def _card(card: doc.Card) -> doc.Text:
    return doc.words(doc.Span(card.title, "strong"), f" ({card.measured_on}): {' '.join(card.sentences)}")


def _fenced(text: str) -> str:
    lines = [one_line(line) for line in text.split("\n")]
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return "\n".join([fence, *lines, fence])


def table(one: doc.Table) -> str:
    """A pipe table, and a line's end behind it."""
    is_right = [column.is_right for column in one.columns]
    lines = [
        [_cell(doc.Cell(heading)) for heading in one.headings],
        *([_cell(cell) for cell in row] for row in one.rows),
    ]
    head, *body = padded(lines, is_right, least=3)
    rule = [
        f"{'-' * (len(cell) + 1)}:" if right else f":{'-' * (len(cell) + 1)}"
        for cell, right in zip(head, is_right, strict=True)
    ]
    rows = [f"| {' | '.join(cells)} |" for cells in (head, *body)]
    return "\n".join([rows[0], f"|{'|'.join(rule)}|", *rows[1:]]) + "\n"


def _cell(cell: doc.Cell) -> str:
    """A bar in code is escaped, too: a table is cut into its cells before anything else is read."""
    text = _span(doc.Span(cell.text.strip(), cell.style))
    return text.replace("|", "\\|") if cell.style == "code" else text
