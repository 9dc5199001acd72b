"""Which cores a device has, in clusters of one kind each, and which of them a run may use.

The words of --cpus are `little`, `mid`, `big`, `all`, or numbers: a list (`0,2-3`) or a mask (`0xf0`: bit n is CPU n).
`little` is the cluster of the slowest cores and `big` that of the fastest, whole: on a phone with one prime core, that
core alone. `mid` is all between them, where there is anything. Where all cores are alike, big, little and all are the
same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from device import parts
from device.errors import DeviceError
from device.records import DeviceInfo

WORDS = ("little", "mid", "big", "all")

#: The runner takes and tells a mask of 64 bits (PROTOCOL.md).
MAX_CPU = 63

#: What makes a core's kind: part, highest clock (kHz), and, where no clock is told, its capacity; None where unknown.
_Kind = tuple[str | None, int | None, int | None]


class NoSuchCpu(DeviceError):
    """The CPUs to run on are not there, or the device does not tell which they would be."""

    status = "affinity"


@dataclass(frozen=True)
class Cluster:
    """Cores of one part and one speed.

    `name` is little, mid or big; None: all cores are alike, or the device does not tell which are faster.
    """

    name: str | None
    cpus: tuple[int, ...]
    part: str | None
    max_khz: int | None

    def __str__(self) -> str:
        numbers = f"CPU{'s' if len(self.cpus) > 1 else ''} {as_ranges(self.cpus)}"
        return f"{self.name} ({numbers})" if self.name else numbers


def clusters(info: DeviceInfo) -> tuple[Cluster, ...]:
    """The device's clusters, little first (in the CPUs' order where that is not known); none where it tells no cores.

    A core whose part or clock is unknown is counted to the one cluster that it does not contradict, if there is exactly
    one; one of which nothing is known is not: the big cores of a phone at rest are switched off, and tell nothing.
    """
    groups: dict[_Kind, list[int]] = {}
    by_clock = any(core.max_khz for core in info.cores)
    kinds = {core.index: (core.part, core.max_khz, None if by_clock else core.capacity) for core in info.cores}
    for index in sorted(kinds, key=lambda index: kinds[index].count(None)):
        kind = kinds[index]
        fitting = [other for other in groups if any(kind) and _fits(kind, other)]
        groups.setdefault(fitting[0] if len(fitting) == 1 else kind, []).append(index)
    ordered = sorted(groups, key=lambda kind: (not _in_order(kind), _speed(kind) or 0, min(groups[kind])))
    names = _names(ordered)
    if names[:1] == [None]:
        ordered.sort(key=lambda kind: min(groups[kind]))
    return tuple(
        Cluster(name, tuple(sorted(groups[kind])), kind[0], kind[1]) for name, kind in zip(names, ordered, strict=True)
    )


def _fits(one: _Kind, kind: _Kind) -> bool:
    return all(here is None or there is None or here == there for here, there in zip(one, kind, strict=True))


def _speed(kind: _Kind) -> int | None:
    return kind[1] or kind[2]


def _in_order(kind: _Kind) -> bool:
    return kind[0] in parts.IN_ORDER


def _names(ordered: list[_Kind]) -> list[str | None]:
    if len(ordered) < 2 or not _order_is_known(ordered):  # noqa: PLR2004
        return [None] * len(ordered)
    return ["little", *["mid"] * (len(ordered) - 2), "big"]


def _order_is_known(kinds: list[_Kind]) -> bool:
    """Kinds that issue in order, and those that do not, are ordered by clock (or capacity) among themselves. One
    that may be either must be faster than all that issue in order."""
    strange = [kind for kind in kinds if not parts.is_known(kind[0])]
    apart = [[_speed(kind) for kind in kinds if _in_order(kind) is which] for which in (True, False)]
    most = max((speed or 0 for speed in apart[0]), default=0)
    speeds_known = all(len(alike) < 2 or None not in alike for alike in apart)  # noqa: PLR2004
    return speeds_known and all((_speed(kind) or 0) > most for kind in strange)


def cluster_of(cpu: int, among: tuple[Cluster, ...]) -> Cluster | None:
    return next((cluster for cluster in among if cpu in cluster.cpus), None)


def parse_cpus(text: str) -> str:
    """The words of --cpus in one form each: `0xf0`, `4-7` and `7,4-6` are all `4-7`.

    Raises ValueError, with one line that says what may be given.
    """
    word = text.strip().lower()
    if word in WORDS:
        return word
    try:
        mask = int(word, 16) if re.fullmatch("0x[0-9a-f]{1,16}", word) else _mask(cpu_list(word))
        return as_ranges(cpus_of(mask))
    except ValueError:
        raise ValueError(
            f"{text!r} names no CPUs; give big, mid, little or all, a list such as 0,2-3, or a mask such as 0xf0 "
            f"(CPUs 0 to {MAX_CPU})"
        ) from None


def cpu_mask(words: str, info: DeviceInfo, online: Collection[int] | None = None) -> int:
    """The mask of CPUs (bit n is CPU n) that `words` of --cpus mean on this device.

    Where it is known which CPUs are `online`, a word means those of them alone. Raises ValueError for what `parse_cpus`
    refuses, NoSuchCpu for CPUs that are not there, or are named and switched off.
    """
    asked = cpus_of(_mask_of_all(words, info))
    if online is None:
        return _mask(asked)
    off = [cpu for cpu in asked if cpu not in online]
    if off and (len(off) == len(asked) or parse_cpus(words) not in WORDS):
        which = (
            f"CPU {off[0]} of --cpus {words} is" if len(off) == 1 else f"CPUs {as_ranges(off)} of --cpus {words} are"
        )
        raise NoSuchCpu(
            f"{info.serial}: {which} switched off (on: {as_ranges(online)}); name others, or keep the device awake and "
            "its power saving off"
        )
    return _mask(set(asked) - set(off))


def _mask_of_all(words: str, info: DeviceInfo) -> int:
    """The mask, of CPUs that are switched off as well."""
    canonical = parse_cpus(words)
    found = clusters(info)
    present = [cpu for cluster in found for cpu in cluster.cpus]
    there = f"it has {', '.join(f'{cluster}' for cluster in found)}"
    if canonical not in WORDS:
        asked = cpu_list(canonical)
        missing = [cpu for cpu in asked if cpu not in present]
        if present and missing:
            raise NoSuchCpu(f"{info.serial}: there is no CPU {as_ranges(missing)}; {there}")
        return _mask(asked)
    if not present:
        raise NoSuchCpu(f"{info.serial}: it does not tell its CPUs; give --cpus numbers, not {canonical!r}")
    if canonical == "all" or (len(found) == 1 and canonical != "mid"):
        return _mask(present)
    chosen = [cpu for cluster in found if cluster.name == canonical for cpu in cluster.cpus]
    if not chosen and len(found) > 1 and found[0].name is None:
        raise NoSuchCpu(f"{info.serial}: it does not tell which of its CPUs are {canonical}; give numbers: {there}")
    if not chosen:
        raise NoSuchCpu(f"{info.serial}: it has no {canonical} CPUs; {there}")
    return _mask(chosen)


def cpu_list(text: str, most: int = MAX_CPU) -> tuple[int, ...]:
    """The CPUs of a list such as `0,2-3`, as the kernel writes them and people do (cpuset(7), "List format"), in order.

    Raises ValueError for what is no such list, or names a CPU above `most`.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        bounds = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        if bounds is None:
            raise ValueError(f"{text!r} is no list of CPUs")
        first, last = int(bounds[1]), int(bounds[2] or bounds[1])
        if not first <= last <= most:
            raise ValueError(f"{part!r} is not within CPUs 0 to {most}")
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


def as_ranges(numbers: Iterable[int]) -> str:
    """Numbers as `cpu_list` takes them: `0,2-3`. Raises ValueError for none."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    if not runs:
        raise ValueError("no numbers")
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def cpus_of(mask: int) -> tuple[int, ...]:
    """The CPUs in a mask, whose bit n is CPU n."""
    return tuple(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def _mask(cpus: Iterable[int]) -> int:
    return sum(1 << cpu for cpu in set(cpus))
