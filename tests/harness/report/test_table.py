"""Table 6 from records: what is compared, what is not, and how it looks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import in_precision, own_model, three_devices
from pytest_regressions.file_regression import FileRegressionFixture
from synthetic import device, record, table6

from device.records import Pass
from harness.analyse.rows import Row, table_rows
from harness.analyse.statistics import summarise
from harness.record.plan import Limits
from harness.report import columns, markdown, sections, terminal
from harness.report import csv as as_csv
from harness.report.document import Data
from harness.report.write import table6_in_latex


def in_markdown(rows: Sequence[Row]) -> str:
    return markdown.blocks(sections.table6(rows)) + "\n"


def in_csv(rows: Sequence[Row]) -> str:
    return as_csv.rendered(columns.data(rows))


def in_terminal(rows: Sequence[Row]) -> str:
    return terminal.table(sections.brief_table(rows))


def test_markdown_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    failed = record("clcnet-a", status="timed_out", error="the runner did not end", threads=2)
    file_regression.check(in_markdown(table_rows([*table6(), failed], Limits())), extension=".md")


def test_csv_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(in_csv(table_rows(table6(), Limits())), extension=".csv")


def test_latex_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(table6_in_latex(table_rows(table6(), Limits())), extension=".tex")


def test_relative_times_are_the_ratio_of_the_medians_which_one_slow_pass_does_not_move() -> None:
    relative = {row.record.case.model: row.relative for row in table_rows(table6(), Limits())}
    assert relative["mobilenet"] == 1
    assert relative["clcnet-a"] == pytest.approx(400.0 / 500.0)
    slow = table_rows([record("mobilenet", [500.0] * 10), record("clcnet-a", [400.0] * 9 + [3200.0])], Limits())
    assert slow[1].relative == pytest.approx(0.8)


def test_the_papers_figures_stand_beside_ours() -> None:
    paper = {row.record.case.model: (row.paper_ms, row.paper_relative) for row in table_rows(table6(), Limits())}
    assert paper["clcnet-a"] == (1431, pytest.approx(1431 / 1780))
    assert paper["clcnet-b"] == (1692, pytest.approx(0.951, abs=5e-4))


def test_the_paper_stands_beside_the_runtime_that_it_used_where_that_was_measured() -> None:
    rows = table_rows([*table6("onnxruntime"), *table6("caffe2")], Limits())
    assert {row.record.case.runtime for row in rows if row.paper_ms is not None} == {"caffe2"}
    assert {row.record.case.runtime for row in rows if row.relative is not None} == {"onnxruntime", "caffe2"}


def test_the_paper_stands_beside_grouped_convolutions_which_it_ran_and_each_way_is_named() -> None:
    ways = (None, "grouped", "depthwise", "fused")
    rows = table_rows([record("mobilenet", [500.0]), *[record("clcnet-a", [400.0], igc=way) for way in ways]], Limits())
    assert [row.title for row in rows[1:]] == ["clcNet-A", *[f"clcNet-A, {way}" for way in ways[1:]]]
    assert [row.paper_ms for row in rows[1:]] == [1431, 1431, None, None]
    assert [row.relative for row in rows] == [1, *[0.8] * 4]


def test_onnx_and_caffe2_sizes_stand_in_columns_of_their_own() -> None:
    onnx, caffe2 = columns.table6(table_rows([table6("onnxruntime")[0], table6("caffe2")[0]], Limits())).texts
    assert (onnx["ONNX size"], onnx["Caffe2 nets"]) == ("16.9 MB", "–")
    assert (caffe2["ONNX size"], caffe2["Caffe2 nets"]) == ("16.9 MB", "21.1 MB")


def test_devices_clocks_and_thread_counts_are_never_compared_with_each_other() -> None:
    phone = device("wall", "phone", "ABC123")
    mixed = [
        record("mobilenet", [500.0]),
        record("clcnet-a", [1431.0], on=phone),
        record("clcnet-b", [300.0], threads=4),
    ]
    assert [row.relative for row in table_rows(mixed, Limits())] == [1, None, None]


def test_times_of_an_emulator_without_a_deterministic_clock_are_compared_with_nothing() -> None:
    emulated = device("emulated", serial="board:cortex-a7-smp")
    rows = table_rows([record("mobilenet", [500.0], on=emulated), record("clcnet-a", [400.0], on=emulated)], Limits())
    assert [row.relative for row in rows] == [None, None]
    assert in_markdown(rows).count("an emulator (times mean nothing)") == 2


def test_every_row_of_a_board_says_that_its_time_is_modelled() -> None:
    assert in_markdown(table_rows(table6(), Limits())).count("a modelled clock (1 instruction = 1 ns)") == 4


@pytest.mark.parametrize("model", ["mobilenet", "clcnet-a"])
def test_a_case_with_a_wrong_output_shows_no_time_and_is_compared_with_nothing(model: str) -> None:
    wrong = record(model, [1.0], status="output_wrong", error="differs")
    others = [item for item in table6() if item.case.model != model]
    row = table_rows([*others, wrong], Limits())[-1]
    assert row.summary is None
    assert row.relative is None
    assert "WRONG" in in_markdown([row])


def test_a_failed_case_keeps_its_row_and_its_reason() -> None:
    failed = record("clcnet-b", status="crashed", error="the runner ended with signal SIGKILL")
    text = in_csv(table_rows([*table6()[:3], failed], Limits()))
    last = list(csv.DictReader(io.StringIO(text)))[-1]
    assert (last["status"], last["mean_ns"]) == ("crashed", "")
    assert "SIGKILL" in last["error"]


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=30))
def test_a_summary_lies_within_its_samples(times_ns: list[int]) -> None:
    summary = summarise([Pass(ns, None, None) for ns in times_ns])
    assert summary.min_ns == min(times_ns)
    assert summary.max_ns == max(times_ns)
    assert summary.min_ns <= summary.median_ns <= summary.max_ns
    assert math.isclose(summary.mean_ns, sum(times_ns) / len(times_ns))
    assert 0 <= summary.mad_ns <= summary.max_ns - summary.min_ns


def test_no_samples_have_no_summary() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarise([])


# --- precisions, own models, several devices


def test_other_precisions_are_compared_with_mobilenet_and_with_their_own_network_in_fp32() -> None:
    records = [
        record("mobilenet", [500.0]),
        record("clcnet-a", [400.0]),
        in_precision(record("clcnet-a", [100.0]), "int8", 0.02),
        in_precision(record("mobilenet", [250.0]), "int8", 0.01),
    ]
    found = {row.title: row for row in table_rows(records, Limits())}
    quantized = found["clcNet-A, int8"]
    assert quantized.relative == pytest.approx(100 / 500)
    assert quantized.fp32_ratio is not None
    assert quantized.fp32_ratio.value == pytest.approx(100 / 400)
    assert quantized.fp32_deviation == 0.02
    assert quantized.paper_ms is None
    assert found["clcNet-A"].paper_ms is not None
    assert found["1.0 MobileNet-224, int8"].relative == pytest.approx(0.5)


def test_precisions_of_different_threads_or_providers_are_not_compared() -> None:
    int8 = in_precision(record("clcnet-a", [100.0], threads=2), "int8", 0.02)
    other = replace(int8.case, threads=1, provider="xnnpack")
    rows = table_rows([record("clcnet-a", [400.0]), int8, replace(int8, case=other, id=other.id)], Limits())
    assert [row.fp32_ratio is None for row in rows] == [False, True, True]


def test_columns_of_precisions_are_there_where_anything_but_fp32_was_measured() -> None:
    quantized = in_precision(record("mobilenet", [250.0]), "int8", 0.0123)
    found = columns.table6(table_rows([record("mobilenet", [500.0]), quantized], Limits()))
    of_precisions = {"Relative to fp32", "Deviation from fp32"}
    assert of_precisions <= set(found.headings)
    assert not of_precisions & set(columns.table6(table_rows(table6(), Limits())).headings)


def test_all_forms_of_the_table_have_the_precisions() -> None:
    rows = table_rows(
        [record("mobilenet", [500.0]), in_precision(record("mobilenet", [250.0]), "int8", 0.0123)], Limits()
    )
    for text in (in_markdown(rows), in_terminal(rows), table6_in_latex(rows)):
        assert "1.2e-02" in text
        assert "Relative to fp32" in text
    last = list(csv.DictReader(io.StringIO(in_csv(rows))))[-1]
    assert (last["precision"], last["provider"], last["relative_to_fp32"]) == ("int8", "cpu", "0.5")


def test_the_size_of_another_precision_is_that_of_its_own_file() -> None:
    quantized = in_precision(record("mobilenet", [250.0]), "int8", 0.01)
    assert columns.table6(table_rows([quantized], Limits())).texts[0]["ONNX size"] == "4.2 MB"


def test_an_own_model_is_none_of_the_papers_whatever_its_name() -> None:
    mine = own_model("mobilenet", [50.0])
    rows = table_rows([mine, own_model("other", [60.0])], Limits())
    assert [(row.title, row.paper_ms, row.relative) for row in rows] == [
        ("mobilenet", None, None),
        ("other", None, None),
    ]
    shown = columns.table6(rows)
    assert not {"Relative to MobileNet", "Paper (ms)", "Paper, relative", "Caffe2 nets"} & set(shown.headings)
    assert {texts["Mult-Adds"] for texts in shown.texts} == {"–"}
    assert in_terminal(rows)


def test_several_devices_have_an_overview_with_a_column_each_and_a_table_each() -> None:
    rows = table_rows(three_devices(), Limits())
    overview = columns.overview(rows)
    assert overview.headings[2:] == [
        "R58M12ABCDE: hardware",
        "board:cortex-a7: a modelled clock (1 instruction = 1 ns)",
        "board:cortex-a7-smp: an emulator (times mean nothing)",
    ]
    mobilenet = next(row for row in overview.rows if row[0].text == "1.0 MobileNet-224")
    assert mobilenet[2].text.endswith("(1.000)")
    assert "(" not in mobilenet[4].text  # nothing is compared where times mean nothing
    text = in_markdown(rows)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "### R58M12ABCDE",
        "### board:cortex-a7",
        "### board:cortex-a7-smp",
    ]
    assert "R58M12ABCDE" in in_terminal(rows)
    assert "Device" not in in_terminal(table_rows(table6(), Limits()))


def test_a_name_with_a_bar_or_a_line_break_stays_in_its_cell() -> None:
    text = in_markdown(table_rows([own_model("a|b\nc", [50.0])], Limits()))
    assert len(text.splitlines()) == 3
    assert r"a\|b c" in text


def test_the_list_of_columns_has_each_once_with_a_key_and_a_heading_of_its_own() -> None:
    rows = table_rows(three_devices(), Limits())
    found = columns.all_columns()
    keys, titles = [one.key for one in found if one.key], [one.title(rows) for one in found if one.heading]
    assert len(set(keys)) == len(keys)
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("text", ["=cmd()", "+1-2", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_in_the_csv_a_name_is_never_a_formula_and_a_number_stays_one(text: str) -> None:
    [line] = csv.DictReader(io.StringIO(in_csv(table_rows([own_model(text, [50.0])], Limits()))))
    assert line["model"] == f"'{text.strip()}"
    assert float(line["mean_ns"]) == 50e6
    assert as_csv.rendered(Data(("change",), ((-0.5,),))) == "change\n-0.5\n"
