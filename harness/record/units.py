"""How figures are written: one way for each kind of quantity, in all reports; and what stands for what is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from device.records import Chip
from toolchain.figures import count, significant, size

__all__ = [
    "NOTHING",
    "TimeUnit",
    "count",
    "factor",
    "millions",
    "milliseconds",
    "percent",
    "ratio",
    "seconds",
    "size",
    "with_interval",
]

#: What stands for a value that is not there, or not to be had.
NOTHING = "–"


def milliseconds(ns: float, digits: int = 4) -> str:
    """Significant digits and one decimal at least: 0.05312, 5.312, 53.12, 531.2, 5312.4."""
    return significant(ns / 1e6, digits, decimals=1)


@dataclass(frozen=True)
class TimeUnit:
    """What a device's times are shown in: ms, or millions of cycles where they are estimates of a chip."""

    name: str
    per_ns: float

    @classmethod
    def of(cls, chip: Chip | None) -> TimeUnit:
        return cls("ms", 1e-6) if chip is None else cls("Mcycles", chip.clock_mhz / 1e9)

    def value(self, ns: float) -> float:
        return ns * self.per_ns

    def text(self, ns: float) -> str:
        return millions(self.value(ns))


def millions(value: float) -> str:
    """Significant digits and one decimal at least, of millions of something: 0.05312, 5.312, 531.2, 5312.4."""
    return significant(value, 4, decimals=1)


def with_interval(shown: Callable[[float], str], value: float, low: float | None, high: float | None) -> str:
    """A figure with its interval, where it has one: 0.706 [0.701, 0.711]."""
    return shown(value) if low is None or high is None else f"{shown(value)} [{shown(low)}, {shown(high)}]"


def seconds(ns: float) -> str:
    """0.0123 s, 1.23 s, 12.3 s, 123 s."""
    return f"{significant(ns / 1e9)} s"


def ratio(value: float, decimals: int = 3) -> str:
    """Of one time over another: 0.0123, 0.702, 1.018, 12.345."""
    return significant(value, decimals=decimals)


def factor(value: float) -> str:
    """So many times as fast, as long, as much: 0.0123, 0.70, 1.42, 12.35."""
    return significant(value, 2, decimals=2)


def percent(part: float, decimals: int = 1) -> str:
    """Two digits and so many decimals at least, of a part of one: 0.0012%, 1.2%, 55.5%."""
    return f"{significant(100 * part, 2, decimals)}%"
