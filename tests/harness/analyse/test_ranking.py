"""What the report says first: the fastest network, by how much, how sure that is, and what the paper said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pages import EMULATED, in_precision, own_model, three_devices
from synthetic import device, record, table6, throttled
from synthetic_runs import PHONE, noisy, rounds

from device.records import Clock
from harness.analyse import ranking
from harness.analyse.rows import table_rows
from harness.record.plan import Limits
from harness.record.record import Record


def said(records: list[Record]) -> str:
    found = ranking.rankings(table_rows(records, Limits()))
    return " ".join(f"{one.title} ({one.measured_on}): {' '.join(ranking.sentences(one))}" for one in found)


def test_the_fastest_is_named_with_its_time_its_ratio_to_mobilenet_and_to_the_next() -> None:
    (one,) = ranking.rankings(table_rows(table6(), Limits()))
    assert one.fastest.record.case.model == "clcnet-a"
    assert "400.0 ms (median), 0.800 of MobileNet's time (1.25 times as fast), 1.19 times as fast as clcNet-B" in said(
        table6()
    )


def test_the_paper_stands_beside_and_is_said_to_agree_only_where_it_does() -> None:
    assert "0.804 of MobileNet's time for clcNet-A, its fastest of these, too: that agrees" in said(table6("caffe2"))
    slower = [*table6("caffe2")[:2], record("clcnet-a", [480.0] * 3, runtime="caffe2")]
    assert "that does not agree with 0.960 here" in said(slower)


def test_a_fastest_that_is_not_the_papers_is_not_said_to_be() -> None:
    other = [record("mobilenet", [100.0] * 3, on=PHONE), record("clcnet-a", [200.0] * 3, on=PHONE)]
    assert "its fastest of these;" in said(other)
    assert "too" not in said(other).split("its fastest of these")[1]


def test_modelled_times_are_said_to_be_instructions_and_never_to_be_fast() -> None:
    text = said(table6())
    assert "takes the fewest instructions" in text
    assert "a modelled clock (1 instruction = 1 ns)" in text
    assert "is the fastest" not in text


def test_nothing_is_ranked_where_times_mean_nothing() -> None:
    text = said([record("mobilenet", [500.0], on=EMULATED), record("clcnet-a", [400.0], on=EMULATED)])
    assert "Nothing is ranked here" in text
    assert "clcNet" not in text


def test_devices_runtimes_threads_and_clocks_are_ranked_apart() -> None:
    records = [
        *table6(),
        *table6("caffe2"),
        record("mobilenet", [60.0], on=PHONE),
        record("clcnet-a", [9.0], threads=2),
    ]
    found = [(one.title, len(one.ranked)) for one in ranking.rankings(table_rows(records, Limits()))]
    assert found == [
        ("board:cortex-a7, onnxruntime 1.28.2, 1 thread", 4),
        ("board:cortex-a7, caffe2 1.7.1, 1 thread", 4),
        (f"{PHONE.serial}, onnxruntime 1.28.2, 1 thread", 1),
        ("board:cortex-a7, onnxruntime 1.28.2, 2 threads", 1),
    ]


def test_with_rounds_there_is_an_interval_and_it_decides() -> None:
    def of(ms: float) -> list[Record]:
        base = [noisy(60, seed=one) for one in range(5)]
        other = [noisy(ms, seed=10 + one, part=0.02) for one in range(5)]
        return [*rounds("mobilenet", base, on=PHONE), *rounds("clcnet-a", other, on=PHONE)]

    sure = said(of(50))
    assert "is the fastest of 2" in sure
    assert "95 % intervals, over 5 rounds" in sure
    assert "can't be told apart" in said(of(59.2))


def test_of_single_processes_the_passes_decide_and_it_is_said_what_that_leaves_open() -> None:
    apart = [record("mobilenet", [60, 61, 62], on=PHONE), record("clcnet-a", [50, 51, 52], on=PHONE)]
    assert "is the fastest of 2" in said(apart)
    assert "--rounds 5" in said(apart)
    overlapping = [record("mobilenet", [60, 61, 62], on=PHONE), record("clcnet-a", [59, 60, 63], on=PHONE)]
    assert "can't be told apart" in said(overlapping)


def test_warnings_of_the_fastest_two_are_said_with_them() -> None:
    hot = throttled(record("clcnet-a", [50.0, 50.1], on=PHONE), 1)
    assert "Warnings: clcNet-A: throttled" in said([hot, record("mobilenet", [60.0], on=PHONE)])


def test_what_another_precision_costs_is_said_where_it_is_the_fastest() -> None:
    records = [
        record("mobilenet", [60.0], on=PHONE),
        in_precision(record("mobilenet", [40.0], on=PHONE), "int8", 0.021),
    ]
    assert "1.0 MobileNet-224, int8 is the fastest" in said(records)
    assert "differs from fp32's by up to 2.1%" in said(records)


def test_own_models_are_compared_with_one_another_and_not_with_the_paper() -> None:
    text = said([own_model("mine", [50.0, 50.1]), own_model("theirs", [70.0, 70.1])])
    assert "mine takes the fewest instructions of 2" in text
    assert "1.40 times as fast as theirs" in text
    assert "aper" not in text
    assert "MobileNet" not in text


@pytest.mark.parametrize(
    ("abi", "clock", "told"),
    [
        ("x86_64", "wall", "(hardware, of a computer)"),
        ("arm64-v8a", "wall", "(hardware)"),
        ("arm64-v8a", "emulated", "(an emulator (times mean nothing))"),
        ("x86_64", "emulated", "(an emulator (times mean nothing))"),
    ],
)
def test_a_computer_is_not_taken_for_an_arm_device(abi: str, clock: Clock, told: str) -> None:
    assert told in said([record("mobilenet", [5.0], on=replace(device(clock, "host", "host"), abi=abi))])


@pytest.mark.parametrize("status", ["crashed", "output_wrong"])
def test_what_failed_is_never_the_fastest(status: str) -> None:
    wrong = record("clcnet-a", [1.0] if status == "output_wrong" else [], status=status, error="it did")
    (one,) = ranking.rankings(table_rows([*table6()[:2], wrong], Limits()))
    assert [row.record.case.model for row in one.ranked] == ["mobilenet", "shufflenet"]


def test_each_device_of_a_run_has_its_own_ranking() -> None:
    of = {one.fastest.record.device.serial for one in ranking.rankings(table_rows(three_devices(), Limits()))}
    assert len(of) == 3


def kept_waiting(one: Record) -> Record:
    assert one.measurement is not None
    samples = tuple(replace(sample, wait_ns=sample.ns) for sample in one.measurement.samples)
    return replace(one, measurement=replace(one.measurement, samples=samples))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nothing_is_faster_than_what_others_kept_from_the_cpus(which: int) -> None:
    names, times_ms = ("mobilenet", "clcnet-a", "clcnet-b"), ([212.7] * 10, [3.4] * 10, [4.0] * 10)
    records = [record(name, ms, on=PHONE) for name, ms in zip(names, times_ms, strict=True)]
    assert "times as fast" in said(records)
    records[which] = kept_waiting(records[which])
    text = said(records)
    assert f"others had the CPUs while {table_rows(records, Limits())[which].title} ran" in text
    assert "times as fast" not in text
    assert "is the fastest" not in text
    assert "agree" not in text


@pytest.mark.parametrize(("part", "quoted"), [(0.01, True), (0.5, False)])
def test_a_ratio_whose_interval_covers_a_factor_of_two_is_not_quoted(part: float, quoted: bool) -> None:
    base = [[600.0 * (1 + part * (-1) ** one)] * 10 for one in range(4)]
    records = [*rounds("mobilenet", base, on=PHONE), *rounds("clcnet-a", [[10.0] * 10] * 4, on=PHONE)]
    text = said(records)
    assert "clcNet-A is the fastest of 2" in text
    assert ("times as fast" in text) == quoted
    assert ("by a factor that can't be told" in text) != quoted
