"""The boards there are, as `boards.toml` describes them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from device.board.counting import Cache, Caches
from device.errors import DeviceUnavailable
from device.records import Chip, Clock, MemoryTimes
from toolchain.paths import EMULATOR

DEFINITIONS = Path(__file__).with_name("boards.toml")

#: Where the cores' tables are, each with what its instructions take.
CORES = EMULATOR / "cores"

#: Of a board with such a core, Debian's name of the architecture, and Android's of the ABI.
_BY_CORE = {
    "cortex-a7": ("armhf", "armeabi-v7a"),
    "cortex-a53": ("arm64", "arm64-v8a"),
    "cortex-a76": ("arm64", "arm64-v8a"),
}


class BoardUnavailable(DeviceUnavailable):
    """A board cannot be had; the message says why and what to do."""


class UnknownBoard(BoardUnavailable):
    """There is no board of this name."""


@dataclass(frozen=True)
class BoardDefinition:
    """A board as `boards.toml` describes it.

    `caches` are those that are simulated when it counts; None where it cannot count. `chip` is the one whose times are
    estimated there; None where there is none. `page_bytes` are its kernel's. `capacities` say how fast each core is for
    its kernel, the fastest 1024; None: all are alike. `other_core_table` is there to try another than the core's own.
    """

    name: str
    title: str
    core: str
    ram_bytes: int
    description: str
    cores: int = 1
    caches: Caches | None = None
    chip: Chip | None = None
    page_bytes: int = 4096
    capacities: tuple[int, ...] | None = None
    other_core_table: Path | None = None

    @property
    def architecture(self) -> str:
        return _BY_CORE[self.core][0]

    @property
    def abi(self) -> str:
        return _BY_CORE[self.core][1]

    @property
    def clock(self) -> Clock:
        """The guest's own; what is read off it, an estimate replaces where there is a chip."""
        return "instructions" if self.cores == 1 else "emulated"

    def at_clock(self, clock_mhz: float | None) -> BoardDefinition:
        """This board with its chip at another clock, its memory being as fast as it was; None leaves it as it is.

        Raises BoardUnavailable for a board without a chip.
        """
        if clock_mhz is None:
            return self
        return replace(self, chip=replace(self.require_chip(), clock_mhz=round(clock_mhz, 6)))

    @property
    def core_table(self) -> Path:
        """What the instructions of the chip's core take, and what else is known of that core."""
        return self.other_core_table or CORES / f"{self.core}.core"

    def require_chip(self) -> Chip:
        """The chip whose times are estimated; raises BoardUnavailable where there is none."""
        if self.chip is None:
            able = ", ".join(name for name, other in definitions().items() if other.chip)
            raise BoardUnavailable(f"the board {self.name} is no chip: nothing is known of its cycles; {able} are some")
        return self.chip

    def plugin_arguments(self, setting: int = 0) -> Iterator[str]:
        """As count.cpp takes them, for one of the settings of a chip's memory; none where it cannot count."""
        if self.caches is not None:
            yield from self.caches.plugin_arguments()
        if self.chip is not None:
            memory = self.chip.memory[setting]
            yield f"core={str(self.core_table).replace(',', ',,')}"
            yield f"clock_mhz={self.chip.clock_mhz:g}"
            yield from (f"{name}={value:g}" for name, value in vars(memory).items())


@cache
def definitions() -> dict[str, BoardDefinition]:
    """Every board by name, in the order of `boards.toml`."""
    described = tomllib.loads(DEFINITIONS.read_text())
    return {name: _definition(name, **fields) for name, fields in described.items()}


def _definition(
    name: str,
    *,
    caches: dict[str, dict[str, Any]] | None = None,
    clock_mhz: float | None = None,
    memory: list[dict[str, Any]] | None = None,
    capacities: list[int] | None = None,
    **fields: Any,
) -> BoardDefinition:
    levels = {level: Cache(**geometry) for level, geometry in (caches or {}).items()}
    times = tuple(MemoryTimes(**one) for one in memory or ())
    chip = Chip(name, fields["title"], fields["core"], clock_mhz, times) if clock_mhz and times else None
    return BoardDefinition(
        name=name,
        caches=Caches(**levels) if levels else None,
        chip=chip,
        capacities=tuple(capacities) if capacities else None,
        **fields,
    )


def definition(name: str) -> BoardDefinition:
    """The board called `name`, or the first chip with that core; raises UnknownBoard with the names there are."""
    known = definitions()
    of_core = (one for one in known.values() if one.chip and one.core == name)
    found = known.get(name) or next(of_core, None)
    if found is None:
        raise UnknownBoard(f"there is no board {name!r}; the boards are: {', '.join(known)}")
    return found


DEFAULT = next(iter(definitions()))
