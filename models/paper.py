"""The clcNet paper's figures, read from `paper.toml`: nothing is repeated in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: The rows of Table 6, in its order.
PAPER_TABLE6 = ("mobilenet", "shufflenet", "clcnet-a", "clcnet-b")


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


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("paper.toml").read_text(encoding="utf-8"))


def figures(name: str) -> PaperFigures | None:
    """All the paper prints for the network `name`, or None when it is in no table."""
    rows = [_data()[table][name] for table in ("table3", "table4", "table5", "table6") if name in _data()[table]]
    if not rows:
        return None
    merged = {key: value for row in rows for key, value in row.items()}
    return PaperFigures(**merged)


def note(name: str) -> str:
    """Where this project's figures for `name` differ from the paper's, and why; empty where they don't."""
    return str(_data()["notes"].get(name, ""))


def table6_device() -> PaperDevice:
    """The phone of Table 6."""
    return PaperDevice(**_data()["table6_device"])
