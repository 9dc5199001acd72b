"""Two runs held against each other: what counts as a difference, what may be compared, and what programs read of it."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import invoke
from run_folders import write_run
from synthetic import BOARD, CHIP, ESTIMATED, STATE, device, estimated, record, table6
from synthetic_runs import rounds, with_counters

from device.board.accuracy import accuracy
from device.records import Core, Counters
from export.fingerprint import Fingerprint
from harness.analyse.slower import EXACT_FACTOR, FACTOR, by_figure, by_rounds
from harness.cli.compare import main
from harness.compare import formats
from harness.compare.two_runs import Comparison, compare, read
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.record import MeasuredArtifact, MeasuredBundle, Record
from toolchain.paths import RESULTS

HOST = device("wall", "host", "host")


run = partial(invoke, main)


def compared(tmp_path: Path, base: Sequence[Record], new: Sequence[Record], **options: bool) -> Comparison:
    folders = write_run(tmp_path / "base", base), write_run(tmp_path / "new", new)
    return compare(read(folders[0]), read(folders[1]), **options)  # type: ignore[arg-type]


def outcomes(found: Comparison) -> dict[str, str]:
    return {case.record.id: case.outcome for case in found.cases}


def slower(records: Sequence[Record], factor: float) -> list[Record]:
    """All that was measured, so many times as long."""
    made = []
    for one in records:
        assert one.measurement is not None
        samples = tuple(replace(sample, ns=round(sample.ns * factor)) for sample in one.measurement.samples)
        made.append(replace(one, measurement=replace(one.measurement, samples=samples)))
    return made


# --- statistics ---------------------------------------------------------------------------------------


def a_run(chance: random.Random, factor: float = 1.0, passes: int = 100) -> list[list[float]]:
    """Five processes on a busy machine, about as they were measured: its speed wanders by 1 % from run to run and from
    process to process, every sixth process is disturbed from first pass to last, and passes have a long slow tail."""
    of_run = factor * chance.gauss(1, 0.01)
    made = []
    for _ in range(5):
        disturbed = chance.uniform(1.2, 1.6) if chance.random() < 1 / 6 else 1.0
        floor = of_run * disturbed * chance.gauss(1, 0.008)
        made.append([floor * (1 + 0.02 * chance.lognormvariate(0, 1)) for _ in range(passes)])
    return made


def test_the_same_thing_measured_twice_raises_less_than_one_alarm_in_a_hundred() -> None:
    chance = random.Random(1)
    told = Counter(by_rounds(a_run(chance), a_run(chance)).outcome for _ in range(400))
    assert told["slower"] <= 4
    assert told["same"] >= 390


def test_a_slowdown_of_ten_percent_is_found_ninety_five_times_in_a_hundred() -> None:
    chance = random.Random(2)
    told = Counter(by_rounds(a_run(chance), a_run(chance, 1.1)).outcome for _ in range(400))
    assert told["slower"] >= 380


def test_a_speedup_is_told_as_a_slowdown_is() -> None:
    chance = random.Random(3)
    base, new = a_run(chance), a_run(chance, 1.2)
    there, back = by_rounds(base, new), by_rounds(new, base)
    assert (there.outcome, back.outcome) == ("slower", "faster")
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low is not None
    assert back.high is not None
    assert there.low == pytest.approx(1 / back.high)


def test_disturbed_rounds_do_not_count() -> None:
    quiet = [[10.0, 10.1, 10.2, 10.1, 10.0, 10.1, 10.2] for _ in range(5)]
    disturbed = [*quiet[:3], [15.0] * 7, [14.0] * 7]
    told = by_rounds(quiet, disturbed)
    assert told.outcome == "same"
    assert told.new == pytest.approx(10.0, rel=0.01)
    assert by_rounds(disturbed, [[ns * 1.1 for ns in one] for one in quiet]).outcome == "slower"


def test_a_single_lucky_pass_makes_no_round_a_fast_one() -> None:
    quiet = [[10.0 + 0.01 * number for number in range(20)] for _ in range(5)]
    lucky = [[7.0, *quiet[0][1:]], *quiet[1:]]
    assert by_rounds(lucky, quiet).outcome == "same"


def test_where_all_rounds_are_disturbed_nothing_is_told_and_it_is_said_why() -> None:
    quiet = [[10.0 + 0.01 * number for number in range(10)] for _ in range(5)]
    noise = [[10.0 * (1.3**number) for number in range(10)] for _ in range(5)]
    told = by_rounds(quiet, noise)
    assert told.outcome == "cant_tell"
    assert "single passes of NEW are as quick as those of the other run" in told.reason
    assert "--passes" in told.reason


def test_a_single_quick_round_is_no_speed_up() -> None:
    quiet = [[10.0 + 0.01 * number for number in range(10)] for _ in range(5)]
    told = by_rounds(quiet, [[8.0] * 10, *quiet[1:]])
    assert told.outcome == "cant_tell"
    assert "rounds differ as much among themselves" in told.reason


def test_a_single_round_tells_nothing_however_many_passes_it_has() -> None:
    told = by_rounds([[10.0] * 1000], [[20.0] * 1000])
    assert told.outcome == "cant_tell"
    assert "BASE has 1 round and NEW has 1 round, 3 are needed" in told.reason


def test_a_difference_below_the_factor_does_not_count_however_sure_it_is() -> None:
    base = [[10.0 + 0.001 * number] * 10 for number in range(5)]
    new = [[ns * 1.05 for ns in one] for one in base]
    told = by_rounds(base, new)
    assert told.outcome == "same"
    assert told.p_value == pytest.approx(2 / 20)  # the quicker three of five
    assert by_rounds(base, new, factor=1.04).outcome == "slower"


def test_the_interval_is_that_of_the_test() -> None:
    base = [[10.0 + 0.1 * number] * 10 for number in range(10)]
    new = [[11.0 + 0.1 * number] * 10 for number in range(10)]
    quotients = sorted(b[0] / a[0] for a in base[:5] for b in new[:5])  # the quicker half
    told = by_rounds(base, new)
    assert (told.low, told.high) == (pytest.approx(quotients[2]), pytest.approx(quotients[-3]))  # U <= 2: p = 0.032


def test_exact_figures_decide_by_themselves() -> None:
    base = [500.00, 500.01, 499.99, 500.00]
    assert by_figure(base, [ns * 1.0005 for ns in base]).outcome == "same"
    assert by_figure(base, [ns * 1.003 for ns in base]).outcome == "slower"
    assert by_figure(base, [ns * 0.997 for ns in base]).outcome == "faster"
    assert by_figure(base, [ns * 1.003 for ns in base], factor=1.01).outcome == "same"


def test_exact_figures_whose_passes_overlap_tell_nothing() -> None:
    told = by_figure([100.0, 105.0, 110.0], [102.0, 107.0, 112.0], takes_turns=True)
    assert told.outcome == "cant_tell"
    assert "differ" in told.reason


@pytest.mark.parametrize("nothing", [[], [[]]])
def test_no_figures_are_an_error(nothing: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="comparison needs"):
        by_rounds(nothing, [[1.0]])
    with pytest.raises(ValueError, match="no figures"):
        by_figure([], [1.0])


# --- cases --------------------------------------------------------------------------------------------


def test_modelled_times_are_compared_to_a_thousandth(tmp_path: Path) -> None:
    base = table6()
    found = compared(tmp_path, base, [*slower(base[:1], 1.01), *slower(base[1:2], 0.99), *base[2:]])
    assert list(outcomes(found).values()) == ["slower", "faster", "same", "same"]
    assert [case.record.case.model for case in found.regressions] == ["mobilenet"]
    assert found.factor == FACTOR
    assert found.exact_factor == EXACT_FACTOR


def test_counts_decide_where_both_runs_have_them_however_the_times_are(tmp_path: Path) -> None:
    base = [with_counters(record("mobilenet", [500, 510, 520]), {"instructions": 500_000_000})]
    new = [with_counters(record("mobilenet", [900, 910, 920]), {"instructions": 500_000_100})]
    found = compared(tmp_path, base, new)
    assert outcomes(found) == {"mobilenet-onnxruntime-t1": "same"}
    assert "500.000M instructions" in formats.markdown(found)


def test_of_an_estimate_cycles_decide_not_instructions_and_not_the_time(tmp_path: Path) -> None:
    def of(cycles: int, instructions: int) -> Record:
        one = estimated(record("mobilenet", [500, 500]))
        counters = Counters("emulator", 1, 1, {"instructions": instructions, "cycles": cycles}, {"pipeline": cycles})
        samples = tuple(replace(sample, counters=counters) for sample in one.measurement.samples)
        return replace(one, measurement=replace(one.measurement, samples=samples))

    base = [of(700_000_000, 500_000_000)]
    for cycles, instructions, outcome in (
        (700_000_070, 499_000_000, "same"),
        (703_000_000, 500_000_000, "slower"),
        (690_000_000, 900_000_000, "faster"),
    ):
        found = compared(tmp_path / outcome, base, [of(cycles, instructions)])
        assert [(case.figure, case.outcome, case.is_exact) for case in found.cases] == [("cycles", outcome, True)]
        text = formats.markdown(found)
        assert "700.000M cycles" in text
        assert f"estimated: MT6580 at 1.3 GHz; {accuracy(CHIP)}" in text
        assert "estimated" in formats.junit(found)
        assert json.loads(formats.as_json(found))["cases"][0]["chip"] == "MT6580 at 1.3 GHz"

    found = compared(tmp_path / "layout", base, [of(698_000_000, 502_500_000)])  # which may be where its memory lies
    assert [(case.figure, case.outcome) for case in found.cases] == [("instructions", "slower")]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"clock_mhz": 900},
            "another chip, or clock or memory of it: MT6580 at 1.3 GHz, memory .* then, MT6580 at 0.9",
        ),
        ({"memory": CHIP.memory * 2}, r"memory \(dram_ns [^()]*\) then, .* memory \(dram_ns [^()]*\) or \(dram_ns"),
        ({"title": "Other"}, "then, Other at 1.3 GHz"),
    ],
)
def test_estimates_for_other_chips_are_not_compared(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    other = replace(CHIP, **changed)
    found = compared(tmp_path, [estimated(ONE)], [estimated(ONE, other)])
    assert not found.cases
    assert re.search(words, " ".join(found.refusals))


def test_an_estimate_is_not_compared_with_a_measured_time(tmp_path: Path) -> None:
    other = replace(ONE, device=replace(ESTIMATED, clock="wall", chip=None))
    for base, new in ((other, estimated(ONE)), (estimated(ONE), other)):
        found = compared(tmp_path / base.device.clock, [base], [new])
        assert "another clock" in " ".join(found.refusals)
        assert not found.cases


def test_counts_of_the_processor_do_not_decide(tmp_path: Path) -> None:
    counted = [
        with_counters(one, {"instructions": 5}, source="perf")
        for one in rounds("mobilenet", [[10.0] * 10] * 5, on=HOST)
    ]
    found = compared(tmp_path, counted, slower(counted, 1.5))
    assert [(case.figure, case.outcome) for case in found.cases] == [("time_ns", "slower")]


def test_times_of_hardware_are_compared_by_rounds(tmp_path: Path) -> None:
    base = rounds("mobilenet", [[10 + 0.01 * number] * 10 for number in range(5)], on=HOST)
    found = compared(tmp_path, base, slower(base, 1.1))
    (case,) = found.cases
    assert case.outcome == "slower"
    assert case.difference is not None
    assert case.difference.ratio == pytest.approx(1.1, rel=1e-6)
    assert case.difference.low is not None


def test_an_emulator_without_a_clock_tells_nothing(tmp_path: Path) -> None:
    base = rounds("mobilenet", [[10.0] * 10] * 5, on=device("emulated"))
    found = compared(tmp_path, base, slower(base, 2))
    assert outcomes(found) == {"mobilenet-onnxruntime-t1": "cant_tell"}
    assert not found.regressions


FAILED = record("clcnet-a", status="crashed", error="signal 11")
WRONG = record("clcnet-a", [400, 400, 400], status="output_wrong", error="off by 3")


@pytest.mark.parametrize(
    ("base", "new", "outcome", "regression", "reason"),
    [
        ([record("clcnet-a", [400] * 3)], [FAILED], "failed", True, "crashed: signal 11"),
        ([record("clcnet-a", [400] * 3)], [], "missing", True, "not in NEW"),
        ([record("clcnet-a", [400] * 3)], [WRONG], "failed", True, "output_wrong: off by 3"),
        ([FAILED], [FAILED], "failed", False, "crashed"),
        ([FAILED], [], "missing", False, "not in NEW"),
        ([FAILED], [record("clcnet-a", [400] * 3)], "failed", False, "in BASE alone"),
        ([], [record("clcnet-a", [400] * 3)], "missing", False, "not in BASE"),
        ([], [FAILED], "missing", False, "not in BASE"),
    ],
)
def test_what_was_well_must_stay_well(
    tmp_path: Path, base: list[Record], new: list[Record], outcome: str, regression: bool, reason: str
) -> None:
    both = record("mobilenet", [500, 500, 500])
    found = compared(tmp_path, [both, *base], [both, *new])
    (case,) = (case for case in found.cases if case.record.case.model == "clcnet-a")
    assert (case.outcome, case.regression) == (outcome, regression)
    assert reason in case.reason


def test_one_wrong_round_is_one_too_many(tmp_path: Path) -> None:
    base = rounds("clcnet-a", [[400.0] * 3] * 3)
    found = compared(tmp_path, base, [*base[:2], replace(WRONG, round=2)])
    assert [case.outcome for case in found.regressions] == ["failed"]


def test_a_round_that_failed_leaves_the_others_comparable(tmp_path: Path) -> None:
    base = rounds("clcnet-a", [[400.0] * 3] * 3)
    found = compared(tmp_path, base, [*base[:2], replace(FAILED, round=2)])
    assert outcomes(found) == {"clcnet-a-onnxruntime-t1": "same"}
    assert found.warnings(found.cases[0])[1] == "emulated; rounds failed"
    assert any("rounds that ended well: 3 then, 2 now" in remark for remark in found.remarks)


# --- what may be compared -----------------------------------------------------------------------------


def with_other(one: Record, **artifact: object) -> Record:
    assert isinstance(one.artifact, MeasuredArtifact)
    return replace(one, artifact=replace(one.artifact, **artifact))  # type: ignore[arg-type]


ONE = record("mobilenet", [500, 500, 500])


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (replace(ONE, device=replace(BOARD, serial="ABC")), "other device: board:cortex-a7 then, ABC now"),
        (replace(ONE, device=replace(BOARD, clock="wall")), "another clock: instructions then, wall now"),
        (replace(ONE, device=replace(BOARD, kind="phone")), "another kind: board then, phone now"),
        (replace(ONE, device=replace(BOARD, model="Xeon")), "another model: emulated Cortex-A7 board then, Xeon now"),
        (
            replace(ONE, device=replace(BOARD, cores=(Core(0, "Cortex-A53", None),))),
            "another cores: Cortex-A7 at unknown kHz then, Cortex-A53 at unknown kHz now",
        ),
        (replace(ONE, device=replace(BOARD, ram_bytes=2_000_000_000)), "another size of memory"),
        (with_other(ONE, sha256=("ef" * 32,)), "other model files in mobilenet-onnxruntime-t1"),
        (
            record("clcnet-a", [400] * 3),
            "no case in common: mobilenet-onnxruntime-t1 then, clcnet-a-onnxruntime-t1 now",
        ),
    ],
)
def test_what_may_not_be_compared_is_refused_in_words(tmp_path: Path, new: Record, said: str) -> None:
    base, other = write_run(tmp_path / "base", [ONE]), write_run(tmp_path / "new", [new])
    result = run(base, other)
    assert result.exit_code == EXIT_USAGE
    assert said in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())
    assert not result.stdout


def test_all_that_is_other_is_said_a_line_each(tmp_path: Path) -> None:
    other = with_other(replace(ONE, device=replace(BOARD, model="x", os="y")), sha256=("ef" * 32,))
    found = compared(tmp_path, [ONE], [other])
    assert len(found.refusals) == 3
    assert found.cases == ()


def test_memory_that_differs_from_boot_to_boot_is_no_other_device(tmp_path: Path) -> None:
    found = compared(tmp_path, [ONE], [replace(ONE, device=replace(BOARD, ram_bytes=1_000_900_000))])
    assert found.refusals == ()


def test_a_recording_is_the_device_it_was_recorded_on(tmp_path: Path) -> None:
    found = compared(tmp_path, [ONE], [replace(ONE, device=replace(BOARD, kind="replay"))])
    assert outcomes(found) == {ONE.id: "same"}


def test_changed_networks_may_be_compared_when_asked_for(tmp_path: Path) -> None:
    found = compared(tmp_path, [ONE], slower([with_other(ONE, sha256=("ef" * 32,))], 0.9), other_models=True)
    assert outcomes(found) == {ONE.id: "faster"}
    assert any("other model files" in remark for remark in found.remarks)


def other_file(one: Record, nearby: float, structure: str = "12" * 32) -> Record:
    """Of the same network, but for other bytes, its weights `nearby` away in each sum."""
    assert isinstance(one.artifact, MeasuredArtifact)
    sums = tuple(value + nearby for value in one.artifact.fingerprint.sums)
    return with_other(one, sha256=("ef" * 32,), fingerprint=Fingerprint(structure, sums))


def test_model_files_that_differ_in_rounding_alone_are_compared_and_it_is_said_by_how_much(tmp_path: Path) -> None:
    base, new = write_run(tmp_path / "base", [ONE]), write_run(tmp_path / "new", [other_file(ONE, 3e-8)])
    result = run(base, new)
    assert result.exit_code == EXIT_OK
    assert result.stderr == (
        "note: model files that differ in rounding alone in mobilenet-onnxruntime-t1: their weights by 3e-08 of "
        "themselves at most (2e-06 is allowed), as on another machine\n"
    )


@pytest.mark.parametrize(
    "new",
    [
        other_file(ONE, 3e-6),
        other_file(ONE, 3e-8, structure="34" * 32),
        other_file(ONE, 0.0),
        with_other(other_file(ONE, 3e-8), op_counts={"Conv": 28}),
        with_other(ONE, sha256=("ef" * 32,), fingerprint=Fingerprint("12" * 32, ())),
    ],
    ids=["weights differ by more", "another graph", "no weight differs", "other operators", "no sums"],
)
def test_model_files_that_differ_in_more_than_rounding_are_refused(tmp_path: Path, new: Record) -> None:
    found = compared(tmp_path, [ONE], [new])
    assert found.refusals == (
        "other model files in mobilenet-onnxruntime-t1; --allow-other-models compares them all the same",
    )


def test_another_runtime_is_compared_and_said(tmp_path: Path) -> None:
    assert ONE.measurement is not None
    newer = replace(ONE, measurement=replace(ONE.measurement, runtime_version="1.32.0"))
    base, new = write_run(tmp_path / "base", [ONE]), write_run(tmp_path / "new", [newer])
    result = run(base, new)
    assert result.exit_code == EXIT_OK
    assert "note: other runtime: onnxruntime 1.28.2 then, onnxruntime 1.32.0 now" in result.stderr


def test_another_build_of_the_runner_is_said(tmp_path: Path) -> None:
    assert isinstance(ONE.bundle, MeasuredBundle)
    found = compared(tmp_path, [ONE], [replace(ONE, bundle=replace(ONE.bundle, sha256="ee" * 32))])
    assert found.remarks == ("another build of the runner with onnxruntime 1.28.2",)


def test_devices_are_compared_each_with_itself(tmp_path: Path) -> None:
    other = replace(BOARD, serial="board:cortex-a53")
    base = [record("mobilenet", [500] * 3), record("mobilenet", [300] * 3, on=other)]
    found = compared(tmp_path, base, [base[0], *slower(base[1:], 1.1)])
    assert [(case.record.device.serial, case.outcome) for case in found.cases] == [
        ("board:cortex-a7", "same"),
        ("board:cortex-a53", "slower"),
    ]
    assert "| board:cortex-a53 |" in formats.markdown(found)


def test_a_device_that_was_not_met_again_is_a_regression(tmp_path: Path) -> None:
    other = replace(BOARD, serial="ABC")
    found = compared(tmp_path, [ONE, replace(ONE, device=other)], [ONE])
    assert [case.record.device.serial for case in found.regressions] == ["ABC"]


# --- what people and programs read --------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """One case slower, one faster, one that cannot be told, one gone, one that failed with marks in its message."""
    saving = replace(record("shufflenet", [510, 520, 530], threads=2), before=replace(STATE, power_save=True))
    base = [*table6()[:1], saving, *table6()[2:], record("mobilenet", [1, 1, 1], runtime="caffe2")]
    failed = record("clcnet-b", status="crashed", error="signal 11 | <b> *x* & \x1b[31m\x00")
    new = [*slower(base[:1], 1.1), *slower([saving], 1.01), *slower(base[2:3], 0.9), failed]
    return write_run(tmp_path / "base", base), write_run(tmp_path / "new", new)


def test_the_terminal_shows_the_table_and_the_outcome(folders: tuple[Path, Path]) -> None:
    result = run(*folders)
    assert result.exit_code == EXIT_CASE_FAILED
    assert "SLOWER" in result.stdout
    assert "a modelled clock (1 instruction = 1 ns)" in result.stdout
    assert "both: emulated; more threads than CPUs; power save" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("3 regressions in 5 cases: ")


def test_runs_without_a_regression_end_with_zero(tmp_path: Path) -> None:
    base, new = (write_run(tmp_path / name, table6()) for name in ("base", "new"))
    result = run(base, new)
    assert result.exit_code == EXIT_OK
    assert "No regressions in 4 cases: 4 no difference." in result.stdout


def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path)
    assert result.exit_code == EXIT_USAGE
    assert len(result.stderr.splitlines()) == 1


def test_markdown_keeps_its_table_whatever_a_message_says(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    run(*folders, "--markdown", path)
    text = path.read_text()
    assert text.startswith("## 🔴 tenpass: 3 regressions")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 7
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<b>" not in text
    assert "\x1b" not in text


def test_markdown_to_stdout_is_all_there_is(folders: tuple[Path, Path]) -> None:
    result = run(*folders, "--markdown", "-")
    assert result.stdout.startswith("## ")
    assert "-----  " not in result.stdout


def test_junit_is_as_ci_systems_read_it(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """As the JUnit schema of Jenkins's xUnit plug-in has it: names, counts that add up, and the order of elements."""
    path = tmp_path / "junit.xml"
    run(*folders, "--junit", path)
    root = ElementTree.parse(path).getroot()  # noqa: S314 (our own)
    assert root.tag == "testsuites"
    counted = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.get("name")
        assert [child.tag for child in suite] == ["properties", *["testcase"] * int(suite.get("tests", "0"))]
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name, "-1")) == len(suite.findall(f"testcase/{tag}"))
            counted[name] += int(suite.get(name, "-1"))
        counted["tests"] += int(suite.get("tests", "-1"))
        for case in suite.iter("testcase"):
            assert case.get("classname") == "board:cortex-a7"
            assert case.get("name")
            assert [child.tag for child in case] in (
                ["system-out"],
                ["failure", "system-out"],
                ["skipped", "system-out"],
            )
            assert all(child.get("message") for child in case if child.tag != "system-out")
            assert float(case.get("time", "0")) >= 0
    assert {name: root.get(name) for name in counted} == {name: str(count) for name, count in counted.items()}
    assert counted == {"tests": 5, "failures": 3, "errors": 0, "skipped": 1}


def test_junit_tells_of_runs_that_may_not_be_compared(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", [ONE])
    new = write_run(tmp_path / "new", [replace(ONE, device=replace(BOARD, serial="ABC"))])
    path = tmp_path / "junit.xml"
    assert run(base, new, "--junit", path).exit_code == EXIT_USAGE
    error = ElementTree.parse(path).getroot().find("testsuite/testcase/error")  # noqa: S314
    assert error is not None
    assert "other device" in error.get("message", "")


def test_json_has_what_programs_need(folders: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    run(*folders, "--json", path)
    found = json.loads(path.read_text())
    assert found["schema_version"] == 1
    assert found["regressions"] == 3
    assert found["refusals"] == []
    first = found["cases"][0]
    assert (first["outcome"], first["regression"], first["figure"]) == ("slower", True, "time_ns")
    assert first["ratio"] == pytest.approx(1.1)
    assert first["sides"]["new"] == {
        "rounds": 1,
        "rounds_ok": 1,
        "runtime": "onnxruntime 1.28.2",
        "warnings": ["emulated"],
    }


def test_json_is_described_field_by_field(folders: tuple[Path, Path]) -> None:
    found = compare(read(folders[0]), read(folders[1]))
    written = json.loads(formats.as_json(found))
    text = (RESULTS / "README.md").read_text()
    names = {*written, *written["base"], *written["cases"][0], *written["cases"][0]["sides"]["new"]}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_what_cannot_be_written_is_said_in_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(*folders, "--junit", tmp_path / "nowhere" / "junit.xml")
    assert result.exit_code == EXIT_USAGE
    assert "could not be written" in result.stderr


@pytest.mark.parametrize("factor", ["1", "0.9", "nan"])
def test_a_factor_that_makes_no_sense_is_refused(folders: tuple[Path, Path], factor: str) -> None:
    assert run(*folders, "--factor", factor).exit_code == EXIT_USAGE
