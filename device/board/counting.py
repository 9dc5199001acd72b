"""Counts of emulated boards: which caches are simulated, and a device whose passes carry their counts.

An emulator with the plugin of device/emulator/ appends a line of JSON to a file for each pass between the marks of
runner/src/marks.h: warm-up, timed and profiled passes are marked. Of a chip, the line says how many cycles the pass
takes there, and that is the pass's time then; of a profiled one also how many it has taken at each reading of a clock.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device.device import Device, OnBytes, OnEvent
from device.errors import DeviceError
from device.records import (
    LOSSES,
    Chip,
    Counters,
    CountName,
    DeviceInfo,
    DeviceState,
    Loss,
    Measurement,
    Pass,
    Profile,
    RunRequest,
)
from device.wire import Event, Span, Spans

#: What the plugin counts of a pass, and what it says of the others' (the kernel, other processes): README.md there.
COUNTED: tuple[CountName, ...] = ("instructions", "simd_instructions", "l1i_misses", "l1d_misses", "l2_misses")
OTHERS = "other_instructions"


class CountsWrong(DeviceError):
    """The emulator's counts do not fit the passes that were run: none of them is used."""

    status = "counts_wrong"


@dataclass(frozen=True)
class Cache:
    """One cache of a core. `policy` is which line of a full set gives way: "lru", or "random" where a chip is timed."""

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
        return f"L1I {self.l1i}, L1D {self.l1d}, L2 {self.l2}"

    def plugin_arguments(self) -> Iterator[str]:
        """As count.cpp takes them."""
        for name, level in vars(self).items():
            yield f"{name}={level.size_bytes}:{level.ways}:{level.line_bytes}:{level.policy}"


#: What is simulated beyond the caches' sizes: with a chip, and where the emulator counts alone.
_TIMED = "by physical pages drawn from a seed, with the core's prefetcher, store buffer and TLBs"
_COUNTED = "by virtual address, write-allocate, no prefetch"


class CountingDevice:
    """A device on an emulator that appends the counts of each pass to `counts`, files on this machine.

    With a `chip`, the time of a pass is the estimate for it, and there is a file for each setting of its memory. They
    are made when the first run starts: what the emulator sees before is not a runner's.
    """

    def __init__(self, device: Device, counts: Sequence[Path], caches: Caches, chip: Chip | None = None) -> None:
        self.device, self._counts, self._caches, self._chip = device, counts, caches, chip

    @property
    def info(self) -> DeviceInfo:
        how = _TIMED if self._chip else _COUNTED
        model = f"{self._caches}; {how}; the runner's own code in user mode alone"
        info = replace(self.device.info, cache_model=model, chip=self._chip)
        return replace(info, clock="estimated") if self._chip else info

    def state(self) -> DeviceState:
        return self.device.state()

    def free_bytes(self) -> int | None:
        return self.device.free_bytes()

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:
        return self.device.push(request, on_bytes)

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:
        """As the device's own, with the emulator's counts in place of the CPU's, and times that are the chip's.

        What `on_event` hears is on the board's own clock. Raises CountsWrong, too, when there are not exactly as many
        counts as passes.
        """
        for path in self._counts:
            path.write_bytes(b"")  # an empty file: the first pass finds empty caches
        spans: list[Span] = []

        def hear(event: Event) -> None:
            if isinstance(event, Spans):
                spans.extend(event.spans)
            on_event(event)

        measurement = self.device.run(replace(request, counters=False), hear)
        first, *others = (path.read_text() for path in self._counts)
        return with_counts(measurement, first, self._chip, others, spans, where=self.info.serial)

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        self.device.reconnect(limit_s, reboot_after_s=reboot_after_s)

    def close(self) -> None:
        self.device.close()


def with_counts(
    measurement: Measurement,
    lines: str,
    chip: Chip | None = None,
    others: Sequence[str] = (),
    spans: Sequence[Span] = (),
    *,
    where: str,
) -> Measurement:
    """The measurement with the counts in `lines`, one a pass, those to warm up first and profiled ones last.

    `others` are likewise those with the chip's other settings of its memory; `spans` say when in profiled passes a node
    ran (PROTOCOL.md). Raises CountsWrong.
    """
    passes = (*measurement.warmup, *measurement.samples)
    profile = measurement.profile
    made = len(passes) + (profile.passes if profile else 0)
    settings = [_parsed(text, where, made, is_timed=chip is not None) for text in (lines, *others)]
    counted = tuple(_with(one, counts, chip) for one, *counts in zip(passes, *settings, strict=False))
    if profile and chip:
        profile = _estimated(profile, settings[0][len(passes) :], spans, chip, where)
    warmup = len(measurement.warmup)
    return replace(measurement, warmup=counted[:warmup], samples=counted[warmup:], profile=profile)


def _parsed(text: str, where: str, passes: int, *, is_timed: bool) -> list[Counted]:
    found = [Counted.parsed(line, where, is_timed=is_timed) for line in text.splitlines()]
    if len(found) != passes:
        raise CountsWrong(f"{where}: the emulator counted {len(found)} passes of {passes}; run it again")
    return found


@dataclass(frozen=True)
class Counted:
    """What the emulator counted between two marks; `cycles` by what they go to, empty where it does not time.

    `points` are those between the marks: the cycles up to each, in the order of LOSSES.
    """

    counts: dict[CountName, int]
    cycles: dict[Loss, int]
    points: tuple[tuple[int, ...], ...] = ()

    @property
    def total_cycles(self) -> int:
        return sum(self.cycles.values())

    @classmethod
    def parsed(cls, line: str, where: str, *, is_timed: bool) -> Counted:
        """From a line of the emulator's. Raises CountsWrong for any other."""
        try:
            said = json.loads(line)
            cycles = said.pop("cycles", {})
            points = tuple(map(tuple, said.pop("points", ())))
            names = LOSSES if is_timed else ()
            values = [*said.values(), *cycles.values(), *itertools.chain(*points)]
            are_whole = (said.keys(), cycles.keys()) == ({*COUNTED, OTHERS}, {*names})
            if are_whole and all(len(one) == len(names) for one in points) and all(map(_is_count, values)):
                return cls({name: said[name] for name in COUNTED}, {loss: cycles[loss] for loss in names}, points)
        except (ValueError, AttributeError, TypeError):
            pass
        raise CountsWrong(f"{where}: the emulator wrote what are no counts: {line[:120]!r}; run it again")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _with(one: Pass, settings: Sequence[Counted], chip: Chip | None) -> Pass:
    """The pass with its counts. The CPU time that the board told is none of the chip's."""
    counted, *others = settings
    if chip is None:
        return replace(one, counters=Counters("emulator", one.ns, one.ns, counted.counts))
    ns = chip.ns(counted.total_cycles)
    counts: dict[CountName, int] = {**counted.counts, "cycles": counted.total_cycles}
    counters = Counters("emulator", ns, ns, counts, counted.cycles, tuple(it.total_cycles for it in others))
    return replace(one, ns=ns, counters=counters, cpu_ns=None, wait_ns=None)


def _estimated(profile: Profile, passes: Sequence[Counted], spans: Sequence[Span], chip: Chip, where: str) -> Profile:
    """The profile with the chip's cycles, and times that are the chip's. Raises CountsWrong."""
    taken = [dict.fromkeys(LOSSES, 0) for _ in profile.nodes]
    for node, place, start, stop in spans:
        points = passes[place].points if place < len(passes) else ()
        if node >= len(taken) or not start <= stop < len(points):
            raise CountsWrong(f"{where}: the emulator has not seen when node {node} ran; run it again")
        for loss, before, after in zip(LOSSES, points[start], points[stop], strict=True):
            taken[node][loss] += after - before
    if taken and not spans:
        raise CountsWrong(f"{where}: the runner has not said when each node ran: it must be told to be repeatable")
    nodes = tuple(
        replace(node, total_ns=chip.ns(sum(cycles.values())), cycles_by_loss=cycles)
        for node, cycles in zip(profile.nodes, taken, strict=True)
    )
    whole = {loss: sum(one.cycles[loss] for one in passes) for loss in LOSSES}
    return Profile(profile.passes, chip.ns(sum(whole.values())), nodes, whole)
