"""What of the cores' tables was chosen by looking at a measurement: the rows that are marked [fit]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.board.definitions import CORES

_MARK, _SAME = "[fit]", "likewise"


@dataclass(frozen=True)
class Fitted:
    """Constants of a core that were chosen together: which rows these are, and what the table says of where."""

    core: str
    rows: tuple[str, ...]
    where: str


def fitted(tables: Sequence[Path] | None = None) -> list[Fitted]:
    """Of all cores' tables, in their order. A row whose comment is "likewise" belongs to the one above it."""
    found = []
    for table in sorted(CORES.glob("*.core")) if tables is None else tables:
        rows: list[str] = []
        where = ""
        for line in [*table.read_text().splitlines(), ""]:
            row, _, comment = (part.strip() for part in line.partition("#"))
            if row and rows and comment == _SAME:
                rows.append(_name(row))
                continue
            if rows:
                found.append(Fitted(table.stem, tuple(rows), where))
                rows = []
            if row and _MARK in comment:
                rows, where = [_name(row)], comment.replace(_MARK, "").replace("  ", " ").strip()
    return found


def _name(row: str) -> str:
    words = row.split()
    return " ".join(words[1:3]) if words[0] == "set" else words[0]
