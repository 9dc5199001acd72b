"""The study of the estimates: what is published, how errors are told, what is timed again, the report."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pytest_regressions.file_regression import FileRegressionFixture
from run_folders import write_run
from synthetic import device, record

from device.board.definitions import definition
from device.records import LOSSES, Counters, Loss
from harness.cli.study import main
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.lines import Lines
from harness.record.record import Record
from harness.study.timing import measure, report
from harness.study.timing.constants import changed, fitted, variations
from harness.study.timing.errors import best_scale, errors, ratio_errors, relative
from harness.study.timing.measure import Timed
from harness.study.timing.published import NCNN, published
from models import paper
from toolchain import compile as compiling
from toolchain import ncnn, wheels

CHIP = definition("imx7d").require_chip()


def cycles(total: int, **more: int) -> dict[Loss, int]:
    """`more` of them are the losses named, the others the pipeline's."""
    return {loss: more.get(loss, 0) if loss != "pipeline" else total - sum(more.values()) for loss in LOSSES}


def timed(network: str, ms: float, instructions: int = 1_000_000, made_of: str = "a", variation: str = "") -> Timed:
    total = round(ms * CHIP.clock_mhz * 1000)
    return Timed(CHIP, network, "1", made_of, variation, instructions, cycles(total, dram=total // 5))


def keep(folder: Path, *of: Timed) -> None:
    with Lines(folder / measure.FILE_NAME, measure._adapter()) as lines:
        for one in of:
            lines.append(one)


# What is published


@pytest.mark.parametrize("table", published(), ids=lambda table: table.title)
def test_each_published_table_says_what_it_is_and_is_of_one_thread(table: object) -> None:
    assert isinstance(table, type(published()[0]))
    assert table.threads == 1
    assert len(table.ms) >= 4
    assert all(0 < ms < 10_000 for ms in table.ms.values())
    assert all((table.board, table.source, table.date, table.statistic))


@pytest.mark.parametrize("table", [it for it in published() if it.chip in measure.chips()], ids=lambda it: it.title)
def test_a_published_table_is_of_the_chip_that_it_names(table: object) -> None:
    assert isinstance(table, type(published()[0]))
    chip = measure.chips()[table.chip].require_chip()
    assert (chip.core, chip.clock_mhz) == (table.core, pytest.approx(1000 * table.clock_ghz))


def test_only_one_table_may_have_been_fitted_to_and_the_papers_is_read_from_the_paper() -> None:
    assert [table.chip for table in published() if table.use == "calibration"] == ["imx7d"]
    assert len(published()[0].ms) == 18
    assert published()[-1].ms == {name: paper.printed(6, name).speed_ms for name in paper.PAPER_TABLE6}


# How errors are told


def test_errors_of_known_figures() -> None:
    found = errors([(110, 100), (90, 100), (100, 100)])
    assert (found.mean, found.worst, found.count) == (pytest.approx(0.2 / 3), pytest.approx(0.1), 3)
    assert relative((80, 100)) == pytest.approx(-0.2)


def test_a_common_factor_is_found_and_does_away_with_the_error() -> None:
    pairs = [(ms / 1.25, ms) for ms in (20.0, 300.0, 1500.0)]
    assert best_scale(pairs) == pytest.approx(1.25)
    assert errors(pairs, best_scale(pairs)).worst == pytest.approx(0, abs=1e-12)


def test_ratios_are_as_wrong_upside_down() -> None:
    found = ratio_errors([(100, 100), (200, 100)])
    assert found is not None
    assert (found.mean, found.worst, found.count) == (pytest.approx(1), pytest.approx(1), 1)
    assert ratio_errors([(200, 100), (100, 100)]) == found
    assert ratio_errors([(1, 2)]) is None


_TIMES = st.floats(0.1, 1e4)


@given(st.lists(st.tuples(_TIMES, _TIMES), min_size=1, max_size=12))
def test_no_other_scale_is_better_and_ratios_do_not_know_of_a_scale(pairs: list[tuple[float, float]]) -> None:
    best = best_scale(pairs)
    least = errors(pairs, best).mean
    others = [measured / predicted for predicted, measured in pairs] + [best * 0.99, best * 1.01]
    assert all(least <= errors(pairs, other).mean + 1e-9 for other in others)
    scaled = ratio_errors([(3 * predicted, measured) for predicted, measured in pairs])
    plain = ratio_errors(pairs)
    assert (scaled is None) == (plain is None)
    if scaled and plain:
        assert math.isclose(scaled.mean, plain.mean, rel_tol=1e-6, abs_tol=1e-9)


# What is kept


def test_of_a_network_that_was_timed_twice_the_last_counts(tmp_path: Path) -> None:
    keep(tmp_path, timed("alexnet", 1.0), timed("squeezenet", 2.0), timed("alexnet", 3.0, made_of="b"))
    assert {one.network: one.total_cycles for one in measure.read(tmp_path)} == {
        "alexnet": 3_000_000,
        "squeezenet": 2_000_000,
    }


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path, kept: int) -> None:
    keep(tmp_path, timed("alexnet", 1.0), timed("squeezenet", 2.0))
    path = tmp_path / measure.FILE_NAME
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:kept])
    assert [one.network for one in measure.read(tmp_path)] == ["alexnet"]
    keep(tmp_path, timed("mobilenet", 2.0))
    assert [one.network for one in measure.read(tmp_path)] == ["alexnet", "mobilenet"]


def test_what_fits_no_longer_is_timed_again(tmp_path: Path) -> None:
    """The program, the network's file, the chip and the model decide."""
    program, network = tmp_path / "program", tmp_path / "net.param"
    program.write_text("1")
    network.write_text("1")
    board = definition("imx7d")
    first = measure._made_of(program, network, board)
    assert measure._made_of(program, network, board) == first
    assert measure._made_of(program, network, board.at_clock(900)) != first
    network.write_text("2")
    assert measure._made_of(program, network, board) != first


# The report


def study_folder(folder: Path) -> Path:
    """A third of the calibration's rows, each off by something, and the paper's networks of ours."""
    rows = list(published()[0].ms.items())[::3]
    keep(folder, *(timed(name, ms * (0.9 + 0.03 * place), round(ms * 3e5)) for place, (name, ms) in enumerate(rows)))
    write_run(folder / measure.OWN, list(map(on_chip, ("mobilenet", "clcnet-a"), (1700.0, 1400.0))))
    return folder


def on_chip(model: str, ms: float) -> Record:
    chip = definition("mt6580").require_chip()
    info = replace(device("estimated", serial="board:mt6580"), chip=chip)
    igc = "grouped" if model.startswith("clc") else None
    made = record(model, [ms], on=info, runtime="caffe2", igc=igc)
    assert made.measurement is not None
    total = round(ms * 1000 * chip.clock_mhz)
    counters = Counters("emulator", 1, 1, {"instructions": total // 2, "cycles": total}, cycles(total, dram=total // 3))
    samples = tuple(replace(one, counters=counters) for one in made.measurement.samples)
    return replace(made, measurement=replace(made.measurement, samples=samples))


def test_the_report_has_the_worst_rows_first(tmp_path: Path, file_regression: FileRegressionFixture) -> None:
    result = CliRunner().invoke(main, ["timing", "--from", str(study_folder(tmp_path))])
    assert result.exit_code == EXIT_OK, result.output
    text = (tmp_path / report.REPORT_NAME).read_text()
    file_regression.check(text, extension=".md")
    calibration = text.split("## Freescale")[1].split("\n## ")[0]
    assert "may have been chosen" in calibration
    off = [float(line.split("|")[4].strip(" %")) for line in calibration.splitlines() if "| " in line and "%" in line]
    assert off == sorted(off, key=abs, reverse=True)
    assert "No constant was chosen by it" in text.split("## BLU")[1]
    page = (tmp_path / report.PAGE_NAME).read_text()
    assert page.count("<svg") == 1
    assert "6 networks, off by" in page  # the plot in words
    assert (tmp_path / report.DATA_NAME).read_text().count("\n") == 1 + 6 + 2


def test_accuracy_is_said_for_each_core(tmp_path: Path) -> None:
    keep(tmp_path, timed("alexnet", 1516.35 * 0.8), timed("squeezenet", 408.39 * 1.1))
    said = tomllib.loads(report.accuracy(report.read(tmp_path)))
    assert said.keys() == {"cortex-a7"}
    assert said["cortex-a7"]["networks"] == 2
    assert said["cortex-a7"]["mean_error_percent"] == pytest.approx(15, abs=0.1)
    assert said["cortex-a7"]["mean_error_after_one_scale_percent"] == pytest.approx(13.6, abs=0.1)
    assert said["cortex-a7"]["worst_error_percent"] == pytest.approx(20, abs=0.1)


def test_constants_that_were_fitted_are_read_from_the_cores_tables(tmp_path: Path) -> None:
    table = tmp_path / "some.core"
    table.write_text(
        "#   [fit]  chosen by looking at a measurement\n"
        "simd_add   issue 0+1 3 0 -  # [gcc] latency; that it holds up the issue: [fit] i.MX7D, int8 networks\n"
        "simd_shift issue 0+1 3 0 -  # likewise\n"
        "fp_add     fp    1+0 4 0 -  # [gcc]\n"
        "fp_sub     fp    1+0 4 0 -  # likewise\n"
        "set prefetch_lines_ahead 6 # [fit] sbc-bench 466y: one stream\n"
    )
    first, second = fitted([table])
    assert (first.core, first.rows) == ("some", ("simd_add", "simd_shift"))
    assert first.where == "[gcc] latency; that it holds up the issue: i.MX7D, int8 networks"
    assert (second.rows, second.where) == (("prefetch_lines_ahead 6",), "sbc-bench 466y: one stream")
    assert {one.core for one in fitted()} <= {board.core for board in measure.chips().values()}


@pytest.mark.parametrize("chip", measure.chips())
def test_each_variation_changes_one_constant_and_no_more(chip: str, tmp_path: Path) -> None:
    board = definition(chip)
    found = dict(variations(board, tmp_path))
    groups = [one for one in fitted() if one.core == board.core]
    guessed = vars(board.require_chip().memory[0]) if len(board.require_chip().memory) > 1 else {}
    assert len(found) == 2 * (len(groups) + len(guessed))
    before = board.core_table.read_text().splitlines()
    for what, other in found.items():
        after = other.core_table.read_text().splitlines()
        rows = sum(one != another for one, another in zip(before, after, strict=True))
        memory = other.require_chip().memory[0], board.require_chip().memory[0]
        figures = sum(one != another for one, another in zip(*map(dict.values, map(vars, memory)), strict=True))
        assert (figures == 1 and rows == 0) if what.split()[0] in guessed else (figures == 0 and rows >= 1), what


def test_whole_numbers_stay_whole_and_parts_are_changed_by_a_quarter() -> None:
    table = "set lines 6 # [fit] a\nadd issue 0+2 3 0 - # [fit] b\nsub issue 1+0 3 0 - # likewise\nset one 1 # x\n"
    assert changed(table, ("lines 6",), up=True).startswith("set lines 8 # [fit] a\n")
    assert changed(table, ("lines 6",), up=False).startswith("set lines 4 #")
    assert "add issue 0+2.5 3 0 - #" in changed(table, ("add", "sub"), up=True)
    assert "sub issue 0.75+0 3 0 - #" in changed(table, ("add", "sub"), up=False)


def test_what_a_changed_constant_moves_is_reported(tmp_path: Path) -> None:
    ms = published()[0].ms["blazeface"]
    keep(tmp_path, timed("blazeface", ms * 0.9), timed("blazeface", ms * 0.8, variation="line_ns -25%"))
    study = report.read(tmp_path)
    assert [len(board.points) for board in study.boards] == [1]
    [row] = report.varied(study).texts
    assert (row["Changed"], row["Absolute"], row["Estimates"]) == ("line_ns -25%", "10.0% to 20.0%", "-11.1%")


# Bad input


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What looks like ncnn's sources."""
    folder = tmp_path / "ncnn-1"
    for name in ("src/net.h", "benchmark/alexnet.param", "benchmark/other.param"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return folder


def test_networks_with_published_times_are_the_usual_ones(sources: Path) -> None:
    assert measure.networks_of(sources, None, "imx7d") == ["alexnet"]
    assert measure.networks_of(sources, ["other"], "imx7d") == ["other"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ncnn-source", "{folder}/nowhere"], "no folder and no archive"),
        (["--ncnn-source", "{folder}"], "name ncnn's sources"),
        (["--ncnn-source", "{folder}/ncnn-1/src/net.h"], "no folder and no archive"),
        (
            ["--ncnn-source", "{folder}/ncnn-1", "--networks", "nonet"],
            "none of these sources, which have alexnet, other",
        ),
        (["--ncnn-source", "{folder}/ncnn-1", "--chips", "pentium"], "--chips pentium: no such chip; there are mt6580"),
        (["--chips", "cortex-a7-smp"], "no such chip"),
        (["--networks", "alexnet"], "say --ncnn-source"),
        (["--vary"], "say --ncnn-source"),
        (["--resume", "{folder}/nowhere"], "no such folder"),
        (["--from", "{folder}/nowhere"], "no study there"),
        (["--from", "{folder}", "--resume", "{folder}"], "one folder at most"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    options: list[str], words: str, sources: Path, tmp_path: Path
) -> None:
    said = [one.format(folder=sources.parent) for one in options]
    out = [] if {"--resume", "--from"} & set(said) else ["--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, ["timing", *said, *out])
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert not any((tmp_path / "out").glob("*"))


def test_sources_that_cannot_be_compiled_are_said_and_fail(sources: Path, tmp_path: Path) -> None:
    """These have no CMakeLists.txt."""
    out = tmp_path / "out"
    words = ["timing", "--ncnn-source", str(sources), "--chips", "imx7d", "--out", str(out)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == EXIT_CASE_FAILED, result.output
    assert "failed: imx7d: " in result.stderr
    assert "CMakeLists.txt" in result.stderr


@pytest.mark.parametrize("line", ["{}", "not json", '{"chip": 1}', "[]"])
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    keep(tmp_path, timed("alexnet", 1.0))
    with (tmp_path / measure.FILE_NAME).open("a") as file:
        file.write(line + "\n")
    result = CliRunner().invoke(main, ["timing", "--from", str(tmp_path)])
    assert result.exit_code == EXIT_USAGE
    assert f"{measure.FILE_NAME}:2: not what a study wrote" in result.stderr


def test_the_chips_with_published_times_are_those_of_ncnns_page() -> None:
    assert set(measure.chips_with_published_times()) >= {"imx7d", "msm8916", "bcm2837b0"}
    assert all(table.library == NCNN for table in published()[:-1])


# The real thing

TINY = """7767517
3 3
Input     data 0 1 data 0=32 1=32 2=3
Convolution conv 1 1 data conv 0=16 1=3 4=1 5=1 6=432
Softmax   prob 1 1 conv prob 0=0
"""


@pytest.fixture(scope="module")
def ncnn_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own ncnn, with a network beside it as ncnn's repository has them."""
    folder = tmp_path_factory.mktemp("sources")
    archive = wheels.sdist(ncnn.SOURCE, folder)
    compiling.output(["tar", "-xzf", str(archive), "-C", str(folder)])
    benchmark = folder / ncnn.SOURCE.folder / "benchmark"
    benchmark.mkdir(exist_ok=True)
    (benchmark / "tiny.param").write_text(TINY)
    (benchmark / "broken.param").write_text("7767517\n")
    return benchmark.parent


@pytest.mark.board
@pytest.mark.long
@pytest.mark.parametrize("chip", ["imx7d", "bcm2837b0"])
def test_networks_of_sources_are_timed_once_and_what_cannot_be_run_is_said(
    ncnn_sources: Path, chip: str, tmp_path: Path
) -> None:
    words = ["timing", "--ncnn-source", str(ncnn_sources), "--chips", chip, "--networks", "tiny"]
    out = tmp_path / "out"
    result = CliRunner().invoke(main, [*words, "--out", str(out)])
    assert result.exit_code == EXIT_OK, result.output
    [found] = measure.read(out)
    assert (found.chip.name, found.network, found.variation) == (chip, "tiny", "")
    # 32 x 32 outputs in 16 channels of 27 multiply-adds, four a vector
    assert 100_000 < found.instructions < found.total_cycles < 10_000_000
    written = (out / measure.FILE_NAME).read_bytes()
    again = CliRunner().invoke(main, [*words, "--resume", str(out)])
    assert (again.exit_code, (out / measure.FILE_NAME).read_bytes()) == (EXIT_OK, written)
    broken = CliRunner().invoke(main, [*words[:-1], "broken,tiny", "--resume", str(out)])
    assert broken.exit_code == EXIT_CASE_FAILED
    assert "broken" in broken.stderr
    assert (out / measure.FILE_NAME).read_bytes() == written
