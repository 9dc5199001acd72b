"""What other programs took of passes: it is told from CPU time, and only where that can tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from synthetic import device, record
from synthetic_runs import rounds

from device.records import Clock, Pass
from harness.analyse import preemption
from harness.compare import two_runs
from harness.record.record import Record

HOST = device("wall", "host", "host")


def passes(*times_us: tuple[int, int]) -> list[Pass]:
    """Passes of these times and CPU times."""
    return [Pass(1000 * ns, 0, None, cpu_ns=1000 * cpu_ns) for ns, cpu_ns in times_us]


def with_cpu_times(one: Record, cpu_ns: Sequence[int | None]) -> Record:
    assert one.measurement is not None
    both = zip(one.measurement.samples, cpu_ns, strict=True)
    samples = tuple(replace(sample, cpu_ns=used) for sample, used in both)
    return replace(one, measurement=replace(one.measurement, samples=samples))


def test_what_others_took_is_no_time_of_the_pass() -> None:
    found = preemption.without([passes((1000, 1000), (5000, 1010)), passes((1005, 1005), (1001, 1002))])
    assert found == [[1_000_000, 1_010_000], [1_005_000, 1_001_000]]


def test_a_wait_that_all_passes_have_is_the_networks_own() -> None:
    found = preemption.without([passes((1500, 1000), (1510, 1005), (4500, 1000), (1505, 1000), (1500, 1001))])
    assert found == [[1_500_000, 1_510_000, 1_499_000, 1_505_000, 1_500_000]]


def test_times_alone_that_became_longer_stay_longer() -> None:
    """As of a recording whose times are stretched, and its CPU times not."""
    clean = passes(*[(1000 + number, 1000 + number) for number in range(10)])
    stretched = [replace(one, ns=round(one.ns * 1.1)) for one in clean]
    assert preemption.without([stretched]) == [[one.ns for one in stretched]]


def test_where_every_pass_was_preempted_cpu_time_remains() -> None:
    """Waits that differ are others' work, however short the shortest was."""
    shared = passes(*[(2000 + 400 * number, 1000 + number) for number in range(10)])
    assert preemption.without([shared]) == [[one.cpu_ns for one in shared]]


def test_a_short_wait_is_left_in() -> None:
    assert preemption.without([passes((1000, 1000), (1015, 1000))]) == [[1_000_000, 1_015_000]]


def test_the_preempted_passes_are_named() -> None:
    assert preemption.preempted(passes((1000, 1000), (2000, 1000), (1010, 1000), (1500, 1000))) == [1, 3]
    assert preemption.preempted([]) == []


@pytest.mark.parametrize(
    ("clock", "threads", "provider", "cpu_ns", "told"),
    [
        ("wall", 1, "cpu", 10_000_000, True),
        ("wall", 2, "cpu", 10_000_000, False),  # the CPU time of two threads is no time
        ("wall", 1, "nnapi", 10_000_000, False),  # the work is done elsewhere
        ("instructions", 1, "cpu", 10_000_000, False),
        ("wall", 1, "cpu", None, False),
        ("wall", 1, "cpu", 0, False),  # a clock too coarse
    ],
)
def test_cpu_time_is_believed_where_it_tells_something(
    clock: Clock, threads: int, provider: str, cpu_ns: int | None, told: bool
) -> None:
    one = record("mobilenet", [10.0] * 3, on=replace(HOST, clock=clock), threads=threads)
    one = with_cpu_times(replace(one, case=replace(one.case, provider=provider)), [10_000_000, 10_000_000, cpu_ns])
    assert preemption.is_told([one]) == told


def test_a_run_that_others_disturbed_is_no_slower_and_one_that_takes_more_cpu_time_is() -> None:
    quiet = [with_cpu_times(one, [10_000_000] * 10) for one in rounds("mobilenet", [[10.0] * 10] * 5, on=HOST)]
    waits_ms = [5.0 + number * 0.7 for number in range(10)]
    shared = rounds("mobilenet", [[10.0 + wait for wait in waits_ms]] * 5, on=HOST)
    assert two_runs.compare_case(quiet, shared).outcome == "slower"  # without CPU times in both
    disturbed = [with_cpu_times(one, [10_000_000] * 10) for one in shared]
    assert two_runs.compare_case(quiet, disturbed).outcome == "same"
    slower = [with_cpu_times(one, [11_000_000] * 10) for one in shared]
    assert two_runs.compare_case(quiet, slower).outcome == "slower"
