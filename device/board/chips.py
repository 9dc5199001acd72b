"""The chips there are, as `chips.toml` describes them: what an emulator must know to say what a program takes there."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.board.counting import Cache, Caches
from device.errors import DeviceUnavailable
from toolchain.paths import EMULATOR

DESCRIBED = Path(__file__).with_name("chips.toml")
CORES = EMULATOR / "cores"


class UnknownChip(DeviceUnavailable):
    """There is no chip of this name, or not with this core."""


@dataclass(frozen=True)
class ChipMemory:
    """A chip's memory: from a miss of L2 until its line is there, and how long a line keeps it busy."""

    dram_ns: float
    line_ns: float
    store_line_ns: float


@dataclass(frozen=True)
class Chip:
    """A chip as `chips.toml` describes it; `core` names the table of device/emulator/cores/."""

    name: str
    title: str
    core: str
    clock_mhz: float
    memory: ChipMemory
    caches: Caches

    def plugin_arguments(self) -> Iterator[str]:
        """As count.cpp takes them."""
        yield from self.caches.plugin_arguments()
        yield f"core={str(CORES / self.core).replace(',', ',,')}.core"
        yield f"clock_mhz={self.clock_mhz:g}"
        yield f"dram_ns={self.memory.dram_ns:g}"
        yield f"dram_line_ns={self.memory.line_ns:g}"
        yield f"store_line_ns={self.memory.store_line_ns:g}"


def chips() -> dict[str, Chip]:
    """Every chip by name, in the order of `chips.toml`."""
    return {name: _chip(name, **fields) for name, fields in tomllib.loads(DESCRIBED.read_text()).items()}


def _chip(name: str, *, memory: dict[str, float], caches: dict[str, dict[str, Any]], **fields: Any) -> Chip:
    levels = {level: Cache(**geometry) for level, geometry in caches.items()}
    return Chip(name=name, memory=ChipMemory(**memory), caches=Caches(**levels), **fields)


def chip_for(core: str, name: str | None = None) -> Chip:
    """The chip called `name`, or the first with this core. Raises UnknownChip with the names there are."""
    fitting = [chip for chip in chips().values() if chip.core == core and name in (None, chip.name)]
    if fitting:
        return fitting[0]
    able = ", ".join(f"{chip.name} ({chip.core})" for chip in chips().values())
    what = f"no chip {name!r} with a {core}" if name else f"no chip with a {core}"
    raise UnknownChip(f"there is {what}; the chips are: {able}")
