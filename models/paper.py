"""The clcNet paper's figures, read from `paper.toml`: nothing is repeated in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: The numbers of the tables with a network in each row.
TABLES = (3, 4, 5, 6)


@dataclass(frozen=True)
class PaperFigures:
    """What the clcNet paper prints for one network; None where it prints nothing.

    `mult_adds` and `params` are from Table 5, `onnx_size_megabytes` (of 10^6 bytes) and `speed_ms` from Table 6,
    the accuracies (fractions of 1) from Tables 3 to 5.
    """

    mult_adds: int | None = None
    params: int | None = None
    top1: float | None = None
    top5: float | None = None
    onnx_size_megabytes: float | None = None
    speed_ms: float | None = None


@dataclass(frozen=True)
class Minimum:
    """A row of Table 1: channels in, in the middle and out of a CLC block, and its group parameters of least cost."""

    m: int
    l: int  # noqa: E741 - the paper's letter
    n: int
    g1: int
    g2: int


@dataclass(frozen=True)
class BlockRow:
    """A row of Table 2: a CLC block with as many channels in the middle as come in, L = M.

    `repeats` is "1", or the letter of the repetition that a network chooses.
    """

    m: int
    n: int
    stride: int
    g1: int
    g2: int
    repeats: str


@dataclass(frozen=True)
class PaperDevice:
    """What the speeds of Table 6 were taken on, and how (section 5.3)."""

    phone: str
    soc: str
    core_part: str
    cores: int
    max_khz: int
    ram_bytes: int
    os: str
    runtime: str
    passes: int
    statistic: str

    @property
    def title(self) -> str:
        return f"{self.phone}, {self.core_part} at {self.max_khz / 1e6:.1f} GHz, {self.runtime}"

    @property
    def short_title(self) -> str:
        return f"{self.phone.partition(' ')[0]} phone, {self.core_part}, {self.runtime}"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("paper.toml").read_text(encoding="utf-8"))


def rows(table: int) -> tuple[str, ...]:
    """The networks in the paper's table of that number (3 to 6), in its order."""
    return tuple(_data()[f"table{table}"])


#: The rows of Tables 5 and 6.
PAPER_TABLE5, PAPER_TABLE6 = rows(5), rows(6)


def printed(table: int, name: str) -> PaperFigures:
    """What the paper's table of that number (3 to 6) prints for the network `name`; nothing of other tables."""
    return PaperFigures(**_data()[f"table{table}"].get(name, {}))


def figures(name: str) -> PaperFigures | None:
    """All the paper prints for the network `name`, or None when it is in no table."""
    found = [_data()[f"table{table}"][name] for table in TABLES if name in rows(table)]
    if not found:
        return None
    merged = {key: value for row in found for key, value in row.items()}
    return PaperFigures(**merged)


def table1() -> tuple[Minimum, ...]:
    """The minimisation results for typical numbers of channels, its left half first."""
    return tuple(Minimum(**row) for row in _rows("table1"))


def table2() -> tuple[BlockRow, ...]:
    """The CLC blocks of clcNet, from the input on."""
    return tuple(BlockRow(**row) for row in _rows("table2"))


def blocks(name: str) -> tuple[BlockRow, ...]:
    """The CLC blocks of the network `name`, one by one: Table 2 repeated as Table 3 says."""
    repeats = {"1": 1, **_data()["table3_repeats"][name]}
    return tuple(row for row in table2() for _ in range(repeats[row.repeats]))


def _rows(table: str) -> list[dict[str, Any]]:
    columns = _data()[table]["columns"]
    return [dict(zip(columns, row, strict=True)) for row in _data()[table]["rows"]]


def note(name: str) -> str:
    """Where this project's figures for `name` differ from the paper's, and why; empty where they don't."""
    return str(_data()["notes"].get(name, ""))


def table6_device() -> PaperDevice:
    """The phone of Table 6."""
    return PaperDevice(**_data()["table6_device"])
