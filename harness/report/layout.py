"""How text fills lines and columns: what Markdown and a terminal have in common."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from harness.record import bounded


def one_line(text: str) -> str:
    """The text on one line; what is no printable character is written as its escape."""
    return bounded.printable(" ".join(text.split()))


def run(text: str) -> str:
    """Words within a line: as one_line, but where they begin or end with a space there is one."""
    line = one_line(text)
    before, after = (" " if edge.isspace() else "" for edge in (text[:1], text[-1:]))
    return f"{before}{line}{after}" if line else before


def padded(rows: Sequence[Sequence[str]], is_right: Sequence[bool], least: int = 1) -> list[list[str]]:
    """The cells filled up to the width of their column, as it is seen, which is `least` at least."""
    widths = [max(least, *map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            " " * (width - cell_len(cell)) + cell if right else cell + " " * (width - cell_len(cell))
            for cell, width, right in zip(row, widths, is_right, strict=True)
        ]
        for row in rows
    ]
