"""A document or a table as lines for a terminal, which nothing in them can steer. All escaping for it is here."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill, wrap

from harness.report import document as doc
from harness.report.layout import one_line, padded

#: The widths of a line of text and, where it is broken, of a column's heading. Choices.
_TEXT_WIDTH, _HEADING_WIDTH = 120, 14


#: Text on one line, without what steers a terminal.
escaped = one_line


def rendered(document: doc.Document) -> str:
    """The whole document, with an empty line between blocks."""
    parts = [one_line(document.title), blocks(document.lead)]
    parts += [f"{one_line(section.title)}\n\n{blocks(section.blocks)}" for section in document.sections]
    return "\n\n".join(part for part in parts if part) + "\n"


def blocks(found: Sequence[doc.Block]) -> str:
    return "\n\n".join(map(_block, found))


def _block(block: doc.Block) -> str:
    match block:
        case doc.Paragraph():
            text = _wrapped(doc.plain(block.text))
        case doc.Bullets():
            text = "\n".join(_wrapped(f"- {doc.plain(item)}") for item in block.items)
        case doc.Code():
            text = "\n".join(f"    {one_line(line)}" for line in block.text.split("\n"))
        case doc.Table():
            text = table(block, breaks_headings=True)
        case doc.Figure():
            text = _wrapped(f"{block.title}: {block.description}")
        case doc.Cards():
            told = [f"- {card.title} ({card.measured_on}): {' '.join(card.sentences)}" for card in block.cards]
            text = "\n".join(map(_wrapped, told))
        case doc.Details():
            text = f"{_wrapped(doc.plain(block.summary))}\n\n{blocks(block.blocks)}"
        case doc.Group():
            text = f"{one_line(block.title)}\n\n{blocks(block.blocks)}"
    return text


def _wrapped(text: str) -> str:
    return fill(one_line(text), _TEXT_WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def table(one: doc.Table, *, breaks_headings: bool = False) -> str:
    """Columns side by side below their headings, which may be broken into several lines."""
    heads = [wrap(one_line(it), _HEADING_WIDTH) if breaks_headings else [one_line(it)] for it in one.headings]
    height = max(map(len, heads), default=0)
    lines = [[head[place] if place < len(head) else "" for head in heads] for place in range(height)]
    cells = [[one_line(cell.text) for cell in row] for row in one.rows]
    rows = padded([*lines, *cells], [column.is_right for column in one.columns])
    rule = ["-" * len(cell) for cell in rows[0]]
    return "\n".join("  ".join(row).rstrip() for row in (*rows[:height], rule, *rows[height:]))
