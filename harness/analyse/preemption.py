"""What other programs took of a pass: while they had its CPU, its clock went on and its CPU time did not.

Pure functions. What was taken of each pass is told of passes on one thread of the CPU, on a clock that is no
emulator's: elsewhere CPU time and time are two things. Of several threads it is told how long they waited for a CPU:
where each does a part of every layer, one that waits keeps all others waiting, who may spin meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from device.records import Pass
from harness.analyse import groups
from harness.record.record import Record

#: A choice: what a pass waits less than this part of its time is within what its samples differ by anyway.
PREEMPTED_SHARE = 0.02

#: A choice: a wait that a tenth of all passes have, and none a shorter one, is the network's own (a file, a lock).
#: Others take the CPU for as long as it happens, so that the shortest waits of passes that were all preempted differ.
OWN_WAIT_SHARE = 0.1

#: A choice: CPU time is read before and after the clock, and differs by less than this for it, interrupts included.
READING_NS = 50_000


def is_told(records: Sequence[Record]) -> bool:
    """Whether the passes of all these records tell what others took of them."""
    return all(
        record.device.clock == "wall" and record.case.threads == 1 and record.case.provider == "cpu"
        for record in records
    ) and all(one.cpu_ns for one in groups.timed_passes(records))  # 0: a clock too coarse for these passes


def waited(record: Record) -> list[float]:
    """For how much of each timed pass its threads together waited for a CPU that others had; nothing where it is not
    told, or the run's own threads had to share their CPUs."""
    passes = groups.timed_passes([record])
    measured = record.measurement
    shares = measured is None or 0 < measured.cpu_mask.bit_count() < record.case.threads
    told = [min(1.0, one.wait_ns / one.ns) for one in passes if one.wait_ns is not None and one.ns]
    return told if record.device.clock == "wall" and not shares and len(told) == len(passes) else []


def share(one: Pass) -> float:
    """The part of a pass's time for which it did not have the CPU."""
    return _wait_ns(one) / one.ns if one.ns else 0.0


def preempted(passes: Sequence[Pass]) -> list[int]:
    """The indices of the passes that others took more than a small part of; all have a CPU time."""
    own_ns = _own_wait_ns(passes)
    return [index for index, one in enumerate(passes) if _is_preempted(one, own_ns)]


def without(rounds: Sequence[Sequence[Pass]]) -> list[list[int]]:
    """What the passes of each round would have taken without others, in nanoseconds; all have a CPU time.

    A pass that was preempted counts as its CPU time and what a pass of this case waits by itself, any other as its
    time. What others leave behind in the caches is still in it.
    """
    own_ns = _own_wait_ns(list(chain(*rounds)))
    return [
        [one.ns - _wait_ns(one) + own_ns if _is_preempted(one, own_ns) else one.ns for one in of_round]
        for of_round in rounds
    ]


def _is_preempted(one: Pass, own_ns: int) -> bool:
    return _wait_ns(one) - own_ns > PREEMPTED_SHARE * one.ns


def _wait_ns(one: Pass) -> int:
    return one.ns - (one.ns if one.cpu_ns is None else one.cpu_ns)


def _own_wait_ns(passes: Sequence[Pass]) -> int:
    """How long a pass of this case waits where no other program has its CPU."""
    if not passes:
        return 0
    waits_ns = sorted(map(_wait_ns, passes))
    least_ns, short_ns = waits_ns[0], waits_ns[int(OWN_WAIT_SHARE * len(passes))]
    differs_ns = PREEMPTED_SHARE * min(one.ns for one in passes) + READING_NS
    return max(0, min(short_ns, least_ns + READING_NS)) if short_ns - least_ns <= differs_ns else 0
