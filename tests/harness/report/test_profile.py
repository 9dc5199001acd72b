"""Where the time goes: what is added up, what is compared, what is said beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_regressions.file_regression import FileRegressionFixture
from synthetic import device, record
from synthetic_runs import PHONE, profiled

from device.records import NodeTime, Profile
from harness.analyse import profile
from harness.analyse.profile import OUTSIDE
from harness.record.record import Record
from harness.report import csv as as_csv
from harness.report import markdown, time_spent
from harness.report.files import write_figures
from harness.report.plots import PROFILE


def run() -> list[Record]:
    return [
        profiled("mobilenet", 501.6),
        profiled("shufflenet", 454.5),
        profiled("clcnet-a", 352.6, igc="grouped"),
        profiled("clcnet-a", 156.0, igc="fused", overhead=1.2),
    ]


def in_markdown(records: Sequence[Record]) -> str:
    return markdown.blocks(time_spent.profile(records))


def in_csv(records: Sequence[Record]) -> str:
    return as_csv.rendered(time_spent.profile_data(records))


def plotted(records: Sequence[Record], folder: Path) -> list[Path]:
    figure = PROFILE.made((), records)
    return write_figures([figure] if figure else [], folder)


def with_profile(one: Record, made: Profile) -> Record:
    assert one.measurement is not None
    return replace(one, measurement=replace(one.measurement, profile=made))


def tables(text: str) -> list[list[list[str]]]:
    """The tables of a Markdown text: their lines, as cells."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_markdown_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    two_threads = [profiled("mobilenet", 260.0, threads=2), profiled("clcnet-a", 180.0, igc="grouped", threads=2)]
    file_regression.check(in_markdown([*run(), *two_threads]), extension=".md")


def test_csv_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(in_csv([run()[0], run()[3]]), extension=".csv")


def test_nodes_of_a_type_are_added_up_and_the_rest_of_the_pass_is_outside_of_them() -> None:
    nodes = (NodeTime("a", "Conv", 600), NodeTime("b", "Gemm", 100), NodeTime("c", "Conv", 200))
    times = profile.by_operator(Profile(passes=2, total_ns=1000, nodes=nodes))
    assert [(time.op, time.nodes, time.ns_per_pass) for time in times] == [
        ("Conv", 2, 400),
        ("Gemm", 1, 50),
        (OUTSIDE, 0, 50),
    ]
    assert [time.share for time in times] == [0.8, 0.1, 0.1]


@given(
    st.integers(1, 50),
    st.integers(1, 10**12),
    st.lists(st.tuples(st.sampled_from(["Conv", "Gemm", "Add"]), st.integers(0, 10**11)), max_size=40),
)
def test_shares_add_up_to_one_whatever_the_profiler_says(
    passes: int, total_ns: int, nodes: list[tuple[str, int]]
) -> None:
    times = profile.by_operator(Profile(passes, total_ns, tuple(NodeTime("", op, ns) for op, ns in nodes)))
    assert sum(time.share for time in times) == pytest.approx(1)
    assert all(time.share >= 0 for time in times)
    assert times[-1].op == OUTSIDE


def test_nodes_that_ran_side_by_side_have_shares_of_their_sum_and_the_text_says_so() -> None:
    nodes = (NodeTime("a", "Conv", 900_000), NodeTime("b", "Add", 600_000))
    overlapping = Profile(1, 1_000_000, nodes)
    assert [time.share for time in profile.by_operator(overlapping)] == [0.6, 0.4, 0]
    text = in_markdown([with_profile(record("mobilenet", [1.0]), overlapping)])
    assert "The nodes of 1.0 MobileNet-224 add up to more than the passes took" in text
    assert "add up to more" not in in_markdown(run())


@pytest.mark.parametrize("empty", [Profile(0, 0, ()), Profile(3, 0, ()), Profile(0, 1000, ())])
def test_a_profile_without_passes_or_time_is_none(empty: Profile) -> None:
    assert profile.by_operator(empty) == []
    assert in_markdown([with_profile(record("mobilenet", [500.0]), empty)]) == ""


def test_the_cases_of_different_devices_runtimes_threads_and_cpus_stand_in_tables_of_their_own() -> None:
    pinned = profiled("shufflenet", 505.0)
    records = [
        profiled("mobilenet", 500.0),
        profiled("clcnet-a", 400.0, igc="grouped"),
        profiled("mobilenet", 600.0, on=PHONE),
        profiled("mobilenet", 700.0, runtime="caffe2"),
        profiled("mobilenet", 300.0, threads=2),
        replace(pinned, case=replace(pinned.case, cpus="big")),
    ]
    side_by_side = [table for table in tables(in_markdown(records)) if table[0][0] == "Operator type"]
    assert [table[0][1:] for table in side_by_side] == [
        ["1.0 MobileNet-224", "clcNet-A, grouped"],
        ["1.0 MobileNet-224"],
        ["1.0 MobileNet-224"],
        ["1.0 MobileNet-224"],
        ["ShuffleNet 2x"],
    ]


def test_an_operator_type_that_a_case_has_not_got_is_nothing_and_not_zero() -> None:
    first = tables(in_markdown(run()))[0]
    transpose = next(line for line in first if line[0] == "Transpose")
    assert transpose[1] == "–"
    assert transpose[3].startswith("51.2")


def test_the_profiled_passes_are_told_from_the_timed_ones_and_set_against_them() -> None:
    text = in_markdown(run())
    assert "passes of their own, never the timed ones" in text
    ratios = next(line for line in tables(text)[0] if "profiled over timed" in line[0])
    assert ratios[1:] == ["1.030", "1.030", "1.030", "1.200"]


def test_the_slowest_nodes_are_listed_ten_at_most_the_slowest_first() -> None:
    slowest = [table for table in tables(in_markdown(run())) if table[0][0] == "#"]
    assert [len(table) - 2 for table in slowest] == [10, 10, 10, 4]
    for table in slowest:
        shares = [float(line[-1].rstrip("%")) for line in table[2:]]
        assert shares == sorted(shares, reverse=True)


def test_the_difference_to_mobilenet_is_what_its_parts_add_up_to() -> None:
    conv, both = NodeTime("", "Conv", 300_000_000), NodeTime("", "Gemm", 100_000_000)
    base = with_profile(record("mobilenet", [400.0]), Profile(1, 400_000_000, (conv, both)))
    move = NodeTime("", "Transpose", 90_000_000)
    case = with_profile(record("clcnet-a", [200.0], igc="grouped"), Profile(1, 200_000_000, (both, move)))
    text = in_markdown([base, case])
    assert "- clcNet-A, grouped: -200.0: Conv -300.0, Transpose +90.00, outside the nodes +10.00, all else +0." in text


def test_nothing_is_compared_where_times_mean_nothing() -> None:
    emulated = device("emulated", serial="board:cortex-a7-smp")
    text = in_markdown([profiled("mobilenet", 500.0, on=emulated), profiled("shufflenet", 400.0, on=emulated)])
    assert "an emulator (times mean nothing)" in text
    assert "Against" not in text


def test_the_rounds_of_a_case_are_one_case_over_the_passes_of_all() -> None:
    rounds = [replace(profiled("mobilenet", ms), round=number) for number, ms in enumerate((400.0, 600.0, 650.0))]
    [case] = profile.profiled(rounds)
    assert case.profile.passes == 9
    assert case.timed_median_ns == pytest.approx((400e6 * 600e6 * 650e6) ** (1 / 3))
    assert case.pass_ns == pytest.approx(1.03 * 550_000_000)
    assert len(case.profile.nodes) == 30


def test_a_case_with_a_wrong_output_or_without_a_profile_is_not_shown() -> None:
    wrong = profiled("shufflenet", 1.0, status="output_wrong", error="differs")
    failed = record("clcnet-a", status="crashed", error="SIGKILL")
    [case] = profile.profiled([profiled("mobilenet", 500.0), wrong, failed, record("clcnet-b", [300.0])])
    assert case.title == "1.0 MobileNet-224"


def test_names_that_the_runtime_gave_break_no_table() -> None:
    nodes = (NodeTime("a|b\n`c`" + "x" * 4000, "Conv|\n1", 500_000), NodeTime("", "", 100_000))
    text = in_markdown([with_profile(record("mobilenet", [1.0]), Profile(1, 1_000_000, nodes))])
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {3, 6}
    assert max(map(len, lines)) < 200
    assert "| – " in text


def test_names_that_the_runtime_gave_break_no_plot(tmp_path: Path) -> None:
    nodes = tuple(NodeTime("", op, 100_000) for op in ("$x_{", "<b>&", "", "x" * 4000))
    plotted([with_profile(record("mobilenet", [1.0]), Profile(1, 1_000_000, nodes))], tmp_path)
    width, height = plt.imread(tmp_path / "profile-by-operator.png").shape[1::-1]
    assert (width < 1500, height < 500) == (True, True)


def test_the_csv_has_every_node_whole() -> None:
    lines = list(csv.DictReader(io.StringIO(in_csv(run()))))
    assert len(lines) == 30 + 151 + 64 + 4
    mobilenet = [line for line in lines if line["model"] == "mobilenet"]
    assert [line["index"] for line in mobilenet] == [str(index) for index in range(30)]
    assert sum(float(line["share"]) for line in mobilenet) == pytest.approx(0.951 + 0.023 + 0.004 + 0.0002, abs=1e-6)
    assert (mobilenet[0]["igc"], lines[-1]["igc"]) == ("", "fused")


def test_where_nothing_was_profiled_there_is_no_text_no_line_and_no_file(tmp_path: Path) -> None:
    records = [record("mobilenet", [500.0]), record("clcnet-a", status="crashed", error="SIGKILL")]
    assert in_markdown(records) == ""
    assert in_csv(records).count("\n") == 1
    assert plotted(records, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_plot_is_written_as_png_and_svg_the_same_bytes_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    files = plotted(run(), first)
    assert [file.name for file in files] == ["profile-by-operator.png", "profile-by-operator.svg"]
    assert [file.read_bytes() for file in plotted(run(), second)] == [file.read_bytes() for file in files]
