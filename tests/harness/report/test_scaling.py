"""What threads gain: where that can be told, where not, and what is said then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_regressions.file_regression import FileRegressionFixture
from synthetic import BOARD, device, record
from synthetic_runs import PHONE, rounds, sweep

from device.records import DeviceInfo
from harness.analyse import scaling
from harness.record.record import Record
from harness.report import markdown, time_spent
from harness.report.document import Figure
from harness.report.files import write_figures
from harness.report.plots import SCALING

EMULATED = device("emulated", serial="board:cortex-a7-smp")


def in_markdown(records: Sequence[Record]) -> str:
    return markdown.blocks(time_spent.scaling(records))


def drawn(records: Sequence[Record]) -> Figure | None:
    return SCALING.made((), records)


def on_a_phone() -> list[Record]:
    return [
        *sweep(PHONE, "mobilenet", 60.0, {1: 1, 2: 1.85, 4: 3.1}),
        *sweep(PHONE, "clcnet-a", 45.0, {1: 1, 2: 1.2, 4: 1.3}, igc="grouped"),
        *sweep(PHONE, "clcnet-a", 30.0, {1: 1, 2: 1.9}, igc="fused"),
        *sweep(PHONE, "mobilenet", 240.0, {1: 1, 4: 2.0}, runtime="caffe2"),
    ]


def test_markdown_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    board = sweep(BOARD, "mobilenet", 500.0, {1: 1, 2: 0.97})
    emulated = sweep(EMULATED, "mobilenet", 900.0, {1: 1, 2: 1.7})
    file_regression.check(in_markdown([*on_a_phone(), *board, *emulated]), extension=".md")


def test_speed_up_is_over_one_thread_and_efficiency_is_a_threads_part_of_it() -> None:
    [[mobilenet, *_], _] = scaling.sweeps(on_a_phone())
    assert [point.threads for point in mobilenet.points] == [1, 2, 4]
    assert [point.speed_up for point in mobilenet.points] == pytest.approx([1, 1.85, 3.1])
    assert [point.efficiency for point in mobilenet.points] == pytest.approx([1, 0.925, 0.775])


def test_the_time_is_the_one_that_table_6_shows_over_all_rounds() -> None:
    one = rounds("mobilenet", [[9.0, 10.0], [11.0]], on=PHONE)
    two = record("mobilenet", [5.0], on=PHONE, threads=2)
    [[found]] = scaling.sweeps([*one, two])
    assert [point.median_ns for point in found.points] == pytest.approx([math.sqrt(9.5 * 11) * 1e6, 5e6])
    assert found.points[1].speed_up == pytest.approx(math.sqrt(9.5 * 11) / 5)


def test_each_runtime_and_device_has_a_table_of_its_own() -> None:
    records = [*on_a_phone(), *sweep(BOARD, "mobilenet", 500.0, {1: 1, 2: 0.97})]
    assert [[sweep.title for sweep in group] for group in scaling.sweeps(records)] == [
        ["1.0 MobileNet-224", "clcNet-A, grouped", "clcNet-A, fused"],
        ["1.0 MobileNet-224"],
        ["1.0 MobileNet-224"],
    ]


def test_without_one_thread_no_speed_up_is_known_and_nothing_is_drawn() -> None:
    records = sweep(PHONE, "mobilenet", 60.0, {2: 1.85, 4: 3.1})
    [[found]] = scaling.sweeps(records)
    assert [(point.speed_up, point.efficiency) for point in found.points] == [(None, None)] * 2
    assert "speed-up |" not in in_markdown(records)
    assert drawn(records) is None


def test_a_count_that_a_case_was_not_measured_with_is_nothing() -> None:
    fused = next(line for line in in_markdown(on_a_phone()).splitlines() if "clcNet-A, fused" in line)
    assert [cell.strip() for cell in fused.strip("|").split("|")][-3:] == ["–", "–", "–"]


def test_a_case_measured_with_one_count_alone_is_not_shown() -> None:
    records = [record("mobilenet", [500.0]), record("clcnet-a", [400.0], threads=2), record("clcnet-b", threads=2)]
    assert in_markdown(records) == ""
    assert drawn(records) is None


@pytest.mark.parametrize("status", ["output_wrong", "crashed"])
def test_a_case_that_failed_with_more_threads_is_no_sweep(status: str) -> None:
    failed = record("mobilenet", [250.0], threads=2, status=status, error="no")
    assert scaling.sweeps([record("mobilenet", [500.0]), failed]) == []


def test_where_times_mean_nothing_there_is_no_speed_up_and_no_plot() -> None:
    records = sweep(EMULATED, "mobilenet", 900.0, {1: 1, 2: 1.7})
    text = in_markdown(records)
    assert "Times mean nothing here" in text
    assert "speed-up |" not in text
    assert drawn(records) is None


def test_on_one_core_that_counts_instructions_the_words_say_that_threads_share_it() -> None:
    text = in_markdown(sweep(BOARD, "mobilenet", 500.0, {1: 1, 2: 0.97}))
    assert "on its one core: the threads share it" in text
    assert "0.97" in text


def test_more_threads_than_cpus_and_unlike_cores_are_told() -> None:
    alike = replace(PHONE, cores=PHONE.cores[:2])
    crowded = in_markdown(sweep(alike, "mobilenet", 60.0, {1: 1, 2: 1.9, 4: 1.9}))
    assert "The runner was let run on 2 CPUs only" in crowded
    assert "The cores differ" not in crowded
    roomy = in_markdown(on_a_phone())
    assert "CPUs only" not in roomy
    assert "The cores differ (Cortex-A55 at 1.80 GHz, Cortex-A76 at 2.20 GHz)" in roomy


@pytest.mark.parametrize("on", [PHONE, BOARD])
def test_the_plot_is_written_as_png_and_svg(on: DeviceInfo, tmp_path: Path) -> None:
    records = [*sweep(on, "mobilenet", 60.0, {1: 1, 2: 1.8}), *sweep(EMULATED, "mobilenet", 9.0, {1: 1, 2: 1.7})]
    figure = drawn(records)
    assert figure is not None
    files = write_figures([figure], tmp_path)
    assert [file.name for file in files] == ["thread-scaling.png", "thread-scaling.svg"]
