"""Counts of emulated boards: which caches are simulated, and a device whose passes carry their counts.

An emulator with the plugin of device/emulator/ appends a line of JSON to a file for each pass between the marks of
runner/src/marks.h; only warm-up and timed passes are marked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from device.device import Device, OnBytes, OnEvent
from device.errors import DeviceError
from device.records import Counters, CountName, DeviceInfo, DeviceState, Measurement, Pass, RunRequest

#: What the plugin counts of a pass, and what it says of the others' (the kernel, other processes): README.md there.
COUNTED: tuple[CountName, ...] = ("instructions", "simd_instructions", "l1i_misses", "l1d_misses", "l2_misses")
OTHERS = "other_instructions"


class CountsWrong(DeviceError):
    """The emulator's counts do not fit the passes that were run: none of them is used."""

    status = "counts_wrong"


@dataclass(frozen=True)
class Cache:
    """One cache of a core. `policy` is which line of a set gives way: "lru" is the one that is simulated."""

    size_bytes: int
    ways: int
    line_bytes: int
    policy: str

    def __str__(self) -> str:
        return f"{self.size_bytes >> 10} KiB {self.ways}-way {self.line_bytes} B lines {self.policy.upper()}"


@dataclass(frozen=True)
class Caches:
    """The caches that an emulator simulates: L1 for instructions and for data, and one L2 below both."""

    l1i: Cache
    l1d: Cache
    l2: Cache

    def __str__(self) -> str:
        return (
            f"L1I {self.l1i}, L1D {self.l1d}, L2 {self.l2}; by virtual address, write-allocate, no prefetch;"
            " the runner's own code in user mode alone"
        )

    def plugin_arguments(self) -> Iterator[str]:
        """As count.cpp takes them."""
        for name, level in vars(self).items():
            yield f"{name}={level.size_bytes}:{level.ways}:{level.line_bytes}:{level.policy}"


class CountingDevice:
    """A device on an emulator that appends the counts of each pass to `counts`, a file on this machine.

    The file is made when the first run starts: what the emulator sees before is not a runner's.
    """

    def __init__(self, device: Device, counts: Path, caches: Caches) -> None:
        self._device, self._counts, self._caches = device, counts, caches

    @property
    def info(self) -> DeviceInfo:
        return replace(self._device.info, cache_model=str(self._caches))

    def state(self) -> DeviceState:
        return self._device.state()

    def free_bytes(self) -> int | None:
        return self._device.free_bytes()

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:
        return self._device.push(request, on_bytes)

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:
        """As the device's own, with the emulator's counts in place of the CPU's.

        Raises CountsWrong, too, when there are not exactly as many counts as passes.
        """
        self._counts.write_bytes(b"")  # an empty file: the first pass finds empty caches
        measurement = self._device.run(replace(request, counters=False), on_event)
        return with_counts(measurement, self._counts.read_text(), where=self.info.serial)

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        self._device.reconnect(limit_s, reboot_after_s=reboot_after_s)

    def close(self) -> None:
        self._device.close()


def with_counts(measurement: Measurement, lines: str, *, where: str) -> Measurement:
    """The measurement with the counts in `lines`, one a pass, warm-up passes first. Raises CountsWrong."""
    passes = (*measurement.warmup, *measurement.samples)
    counts = [_parsed(line, where) for line in lines.splitlines()]
    if len(counts) != len(passes):
        raise CountsWrong(f"{where}: the emulator counted {len(counts)} passes of {len(passes)}; run it again")
    counted = tuple(_with(one, count) for one, count in zip(passes, counts, strict=True))
    warmup = len(measurement.warmup)
    return replace(measurement, warmup=counted[:warmup], samples=counted[warmup:])


def _with(one: Pass, counts: dict[CountName, int]) -> Pass:
    return replace(one, counters=Counters("emulator", enabled_ns=one.ns, running_ns=one.ns, counts=counts))


def _parsed(line: str, where: str) -> dict[CountName, int]:
    try:
        counts = json.loads(line)
        if counts.keys() == {*COUNTED, OTHERS} and all(type(value) is int and value >= 0 for value in counts.values()):
            return {name: counts[name] for name in COUNTED}
    except (ValueError, AttributeError):
        pass
    raise CountsWrong(f"{where}: the emulator wrote what are no counts: {line[:120]!r}; run it again")
