"""The boards there are, as `boards.toml` describes them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.board.counting import Cache, Caches
from device.errors import DeviceUnavailable
from device.records import Clock

DEFAULT = "cortex-a7"
DEFINITIONS = Path(__file__).with_name("boards.toml")


class BoardUnavailable(DeviceUnavailable):
    """A board cannot be had; the message says why and what to do."""


class UnknownBoard(BoardUnavailable):
    """There is no board of this name."""


@dataclass(frozen=True)
class BoardDefinition:
    """A board as `boards.toml` describes it. `architecture` is Debian's name, `abi` Android's.

    `caches` are those that are simulated when it counts; None where it cannot count. `page_bytes` are its kernel's.
    `capacities` say how fast each core is for its kernel, the fastest 1024; None: all are alike.
    """

    name: str
    title: str
    architecture: str
    abi: str
    cpu: str
    cores: int
    ram_bytes: int
    clock: Clock
    description: str
    caches: Caches | None = None
    page_bytes: int = 4096
    capacities: tuple[int, ...] | None = None


def definitions() -> dict[str, BoardDefinition]:
    """Every board by name, in the order of `boards.toml`."""
    described = tomllib.loads(DEFINITIONS.read_text())
    return {name: _definition(name, **fields) for name, fields in described.items()}


def _definition(
    name: str,
    *,
    caches: dict[str, dict[str, Any]] | None = None,
    capacities: list[int] | None = None,
    **fields: Any,
) -> BoardDefinition:
    levels = {level: Cache(**geometry) for level, geometry in (caches or {}).items()}
    return BoardDefinition(
        name=name,
        caches=Caches(**levels) if levels else None,
        capacities=tuple(capacities) if capacities else None,
        **fields,
    )


def definition(name: str) -> BoardDefinition:
    """The board called `name`; raises UnknownBoard with the names there are."""
    known = definitions()
    if name not in known:
        raise UnknownBoard(f"there is no board {name!r}; the boards are: {', '.join(known)}")
    return known[name]
