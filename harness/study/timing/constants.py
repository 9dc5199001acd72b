"""What of the model was chosen by looking at a measurement, or guessed; and boards on which one such constant is other.

Of the cores' tables these are the rows that are marked [fit]; of chips, the memory figures of those that have several
settings, as nobody has published any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device.board.definitions import CORES, BoardDefinition

#: By which part constants are changed, to see what that does.
BY = 0.25

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


def variations(board: BoardDefinition, folder: Path) -> Iterator[tuple[str, BoardDefinition]]:
    """The board with one constant after the other changed by `BY`, each with what it is; tables for it go to `folder`.

    Whole numbers go to the next whole one beyond, and stay above 0.
    """
    chip, table = board.require_chip(), board.core_table
    for up in (True, False):
        sign = "+" if up else "-"
        for place, group in enumerate(fitted([table])):
            other = folder / f"{place}{sign}.core"
            other.write_text(changed(table.read_text(), group.rows, up=up))
            yield f"{group.rows[0].split()[0]} {sign}{BY:.0%}", replace(board, other_core_table=other)
        if len(chip.memory) > 1:
            for name, value in vars(chip.memory[0]).items():
                changes: dict[str, Any] = {name: _other(value, up=up)}
                memory = replace(chip.memory[0], **changes)
                yield f"{name} {sign}{BY:.0%}", replace(board, chip=replace(chip, memory=(memory,)))


def changed(table: str, rows: Sequence[str], *, up: bool) -> str:
    """A core's table with these rows' numbers changed: of a kind of instruction, how long its pipe is busy."""
    return "".join(f"{_changed_row(line, rows, up=up)}\n" for line in table.splitlines())


def _changed_row(line: str, rows: Sequence[str], *, up: bool) -> str:
    row, _, comment = line.partition("#")
    words = row.split()
    if not words or _name(row) not in rows:
        return line
    if words[0] == "set":
        words[2] = f"{_other(int(words[2]), up=up)}"
    else:
        words[2] = "+".join(f"{_other(float(one), up=up):g}" for one in words[2].split("+"))
    return f"{' '.join(words)} # {comment.strip()}"


def _other(value: float, *, up: bool) -> float:
    other = value * (1 + BY if up else 1 - BY)
    if isinstance(value, int):
        return max(1, math.ceil(other) if up else math.floor(other))
    return other


def _name(row: str) -> str:
    words = row.split()
    return " ".join(words[1:3]) if words[0] == "set" else words[0]
