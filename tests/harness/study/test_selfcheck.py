"""What the harness costs: the runtime that computes nothing, and what is said of what it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from programs import PATIENCE_S
from synthetic import BOARD, STATE, device

from device import bundle as bundles
from device.device import Opening
from device.host import HostDevice
from device.open import open_devices
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.wire import Event
from export.artifact import Artifact
from harness.cli.selfcheck import main as selfcheck_command
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE, HarnessError
from harness.record.runtimes import NULL, build_bundle
from harness.study import agreement, nullcase, selfcheck, selfcheck_report
from harness.study.agreement import Agreement, Block
from harness.study.nullcase import NullCase
from harness.study.selfcheck import Selfcheck
from toolchain import compile as compiling
from toolchain.tensors import InputTensor

NATIVE = compiling.native().abi
HOST = replace(device("wall", "host", "host"), abi=NATIVE)


# --- the runtime that computes nothing ----------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    exit_status: int
    events: list[dict[str, Any]]
    output: list[float]

    @property
    def samples_ns(self) -> list[int]:
        """Of all passes, warm-up included."""
        return [event["ns"] for event in self.events if event["event"] == "pass"]


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    built = build_bundle(NATIVE, NULL)

    def run(model: str, *more: str) -> Ended:
        (tmp_path / "model").write_text(model)
        (tmp_path / "input").write_bytes(nullcase.INPUT)
        command = bundles.command(built, str(built.files[0].path.parent))
        command += ["--model", str(tmp_path / "model"), "--input", str(tmp_path / "input"), "--shape", "1"]
        command += ["--output", str(tmp_path / "output"), *more]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
        output = tmp_path / "output"
        values = np.fromfile(output, "<f4").tolist() if output.exists() else []
        return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], values)

    return run


def test_the_null_runtime_takes_one_float32_input_and_has_no_provider_but_the_cpu(run: Run, tmp_path: Path) -> None:
    second = ("--input", str(tmp_path / "input"), "--shape", "1")
    for more, status, says in (
        (second, "bad_input", "the null runtime takes one --input, not 2"),
        (("--type", "int32"), "bad_input", "the null runtime takes an input of float32, not of int32"),
        (("--provider", "xnnpack"), "no_provider", "the null runtime has no execution provider xnnpack"),
    ):
        last = run("nothing", *more).events[-1]
        assert (last["event"], last["status"]) == ("error", status)
        assert says in last["message"]


@pytest.mark.parametrize(
    ("model", "nominal_ns"), [("nothing", 0), ("spin_ns 300000", 300_000), ("sleep_ns 2000", 2000)]
)
def test_every_pass_tells_how_long_it_took_beyond_its_time_and_the_sample_is_longer(
    model: str, nominal_ns: int, run: Run
) -> None:
    ended = run(model, "--warmup", "2", "--passes", "3")
    assert ended.exit_status == 0
    assert ended.events[-2] == {
        "event": "output",
        "tensors": [{"type": "float32", "shape": [1, 5]}],
        "bytes": 20,
    }
    assert len(ended.output) == len(ended.samples_ns) == 5
    assert min(ended.output) >= 0
    for sample_ns, beyond_ns in zip(ended.samples_ns, ended.output, strict=True):
        if beyond_ns < 2**24:  # so far float32 holds whole numbers
            assert sample_ns >= nominal_ns + beyond_ns


def test_the_clock_is_asked_for_its_resolution_and_watched_for_its_smallest_step(run: Run) -> None:
    resolution, step = run("clock_resolution", "--passes", "1"), run("clock_step", "--passes", "2")
    assert set(resolution.output) == {1.0}  # Linux has high-resolution timers everywhere
    assert all(0 < value < 1_000_000 for value in step.output)


def test_the_null_runtime_says_what_it_is(run: Run) -> None:
    hello = run("nothing").events[0]
    assert (hello["runtime"], hello["runtime_version"]) == ("null", "1")


@pytest.mark.parametrize(
    "model", ["", "something", "spin_ns", "spin_ns x", "spin_ns -1", "spin_ns 60000000001", "nothing 5", "sleep_ns 1 2"]
)
def test_what_is_no_model_of_it_is_a_bad_model(model: str, run: Run) -> None:
    ended = run(model)
    assert ended.exit_status == 11
    assert ended.events[-1]["status"] == "bad_model"


def test_it_makes_no_more_passes_than_it_can_tell_of(run: Run) -> None:
    ended = run("nothing", "--passes", "65537")
    assert ended.events[-1]["status"] == "run_failed"
    assert "at most 65536 passes" in ended.events[-1]["message"]


def test_it_has_no_nodes_to_tell_the_time_of(run: Run) -> None:
    ended = run("nothing", "--profile-passes", "1")
    assert ended.events[-1]["status"] == "usage"
    assert "leave --profile-passes out" in ended.events[-1]["message"]


# --- its cases ----------------------------------------------------------------------------------------


def test_a_case_of_nothing_is_measured_with_all_its_phases(tmp_path: Path) -> None:
    measured = nullcase.measure(HostDevice(), tmp_path, "spin_ns 200000", passes=5)
    assert (measured.nominal_ns, len(measured.samples_ns), len(measured.told_ns)) == (200_000, 5, 5)
    assert min(measured.samples_ns) >= 200_000
    assert {"prepare", "push", "state", "launch", "load", "passes", "collect", "check"} <= set(measured.phases_ns)
    assert measured.pushed_bytes == 0
    assert measured.counters_error is None


def test_what_is_added_is_the_sample_less_the_time_that_the_pass_took() -> None:
    assert replace(null_case("spin_ns 1000"), samples_ns=[1500, 1700], told_ns=[200, 600]).added_ns == [300, 100]


class Liar:
    """A device whose output is not that of the passes."""

    info = HOST

    def state(self) -> DeviceState:
        return STATE

    def push(self, _request: RunRequest, _on_bytes: Callable[[int], None]) -> int:
        return 0

    def run(self, request: RunRequest, on_event: Callable[[Event], None]) -> Measurement:
        measured = HostDevice().run(request, on_event)
        request.output_path.write_bytes(bytes(4))
        return measured

    def close(self) -> None: ...


def test_an_output_that_does_not_tell_of_every_pass_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="4 passes, its output tells of 1"):
        nullcase.measure(Liar(), tmp_path, "nothing", passes=3)


@pytest.mark.board
def test_the_counters_of_a_board_count_and_add_nothing_to_its_samples(tmp_path: Path) -> None:
    """QEMU's Cortex-A53 counts instructions, and its clock shows each; its Cortex-A7 has no counters in Linux."""
    (board,) = open_devices("board:cortex-a53", Opening(estimating=False))
    try:
        plain = nullcase.measure(board, tmp_path, "spin_ns 1000000", passes=5)
        counted = nullcase.measure(board, tmp_path, "spin_ns 1000000", passes=5, counters=True)
        request = RunRequest(
            bundle=build_bundle(board.info.abi, NULL),
            model_files=(nullcase.file_with(tmp_path / "model.txt", b"spin_ns 1000000"),),
            inputs=(InputTensor("float32", (1,), nullcase.file_with(tmp_path / "input.bin", nullcase.INPUT)),),
            output_path=tmp_path / "output",
            passes=5,
            counters=True,
        )
        measured = board.run(request, lambda _event: None)
    finally:
        board.close()
    assert counted.counters_error is None
    assert abs(np.median(counted.added_ns) - np.median(plain.added_ns)) < 100
    assert measured.cpu_features == ("neon",)
    for sample in measured.samples:
        assert sample.counters is not None
        assert sample.counters.counts["instructions"] > 0
        assert sample.counters.share == 1.0


# --- against Python -----------------------------------------------------------------------------------


def test_the_runner_and_python_take_turns_at_going_first(tiny: Artifact) -> None:
    done: list[int] = []
    both = agreement.measure(tiny, blocks=2, passes=3, warmup=1, on_block=done.append)
    assert done == [0, 1]
    assert [block.runner_first for block in both.blocks] == [True, False]
    assert all(len(block.runner_ns) == len(block.python_ns) == 3 for block in both.blocks)
    assert all(min(block.runner_ns + block.python_ns) > 0 for block in both.blocks)
    assert both.model == tiny.model


def test_their_ratio_is_of_the_medians_of_each_block_and_one_disturbed_block_does_not_move_it() -> None:
    blocks = [Block(True, [102, 102, 900], [100, 100, 100])] * 10 + [Block(False, [500] * 3, [100] * 3)]
    found = agreement.ratio(Agreement("mobilenet", "1", "1", 3, blocks))
    assert (found.value, found.rounds) == (1.02, 11)


# --- what is said of it -------------------------------------------------------------------------------


def null_case(
    model: str = "nothing",
    *,
    added_ns: int = 100,
    told_ns: int = 50,
    outside_ns: int = 300_000_000,
    pushed: int = 0,
) -> NullCase:
    nominal_ns = int([*model.split(), "0"][1])
    return NullCase(
        model=model,
        nominal_ns=nominal_ns,
        samples_ns=[nominal_ns + told_ns + added_ns] * 3,
        told_ns=[told_ns] * 3,
        counted=False,
        counters_error=None,
        phases_ns={"launch": outside_ns, "passes": 10**12},
        pushed_bytes=pushed,
    )


def checked(on: DeviceInfo = HOST, both: Agreement | None = None, **case: int) -> Selfcheck:
    return Selfcheck(
        device=on,
        clock_resolution_ns=1,
        clock_step_ns=20,
        samples=[null_case(model, **case) for model in selfcheck.MODELS],
        cases=[null_case(pushed=1_000_000, outside_ns=10**11), *[null_case(**case)] * 2],
        agreement=both,
    )


def apart(percent: float, scatter: float = 0.001) -> Agreement:
    ratios = 1 + percent / 100 + np.linspace(-scatter, scatter, 20)
    return Agreement("mobilenet", "1", "1", 3, [Block(True, [round(1e6 * it)], [1_000_000]) for it in ratios])


def met(check: Selfcheck) -> list[bool | None]:
    return [target.met for target in selfcheck_report.targets(check)]


@pytest.mark.parametrize(("added_ns", "good"), [(999, True), (1000, False)])
def test_less_than_a_microsecond_may_be_added(added_ns: int, good: bool) -> None:
    assert met(checked(added_ns=added_ns))[0] is good


def test_a_pass_that_gives_the_cpu_away_may_have_more_added_but_not_a_thousandth_of_a_pass() -> None:
    whole = checked()

    def sleeping(added_ns: int) -> list[bool | None]:
        return met(replace(whole, samples=[*whole.samples, null_case("sleep_ns 20000000", added_ns=added_ns)]))[:2]

    assert sleeping(9_999) == [True, True]
    assert sleeping(10_000) == [True, False]


def test_of_an_emulators_wall_time_nothing_is_said() -> None:
    check = checked(device("emulated"), added_ns=10**6)
    assert met(check)[:2] == [None, None]
    assert "repeat it" not in selfcheck_report.markdown(check)


@pytest.mark.parametrize(("told_ns", "told"), [(10_000, False), (10_001, None)])
def test_what_is_added_cannot_be_told_where_most_passes_were_interrupted(told_ns: int, told: bool | None) -> None:
    whole = checked()
    busy = null_case("spin_ns 1000000", added_ns=2000, told_ns=told_ns)
    check = replace(whole, samples=[*whole.samples, busy])
    assert met(check)[0] is told
    assert ("repeat it when idle" in selfcheck_report.markdown(check)) == (told is None)


@pytest.mark.parametrize(
    ("on", "outside_s", "good"), [(HOST, 0.5, True), (HOST, 0.51, False), (BOARD, 2.0, True), (BOARD, 2.01, False)]
)
def test_a_case_may_take_half_a_second_here_and_two_over_adb_pushes_apart(
    on: DeviceInfo, outside_s: float, good: bool
) -> None:
    assert met(checked(on, outside_ns=round(outside_s * 1e9)))[2] is good


@pytest.mark.parametrize(
    ("percent", "scatter", "target"),
    [(0.0, 0.001, True), (1.5, 0.001, True), (2.5, 0.001, False), (-2.5, 0.001, False), (1.9, 0.1, None)],
)
def test_the_runner_agrees_when_the_whole_interval_is_within_two_percent(
    percent: float, scatter: float, target: bool | None
) -> None:
    assert met(checked(both=apart(percent, scatter)))[3] is target


def test_too_few_blocks_tell_nothing() -> None:
    few = apart(0.0)
    assert met(checked(both=replace(few, blocks=few.blocks[:3])))[3] is None


def test_the_report_shows_each_target_every_phase_and_every_block() -> None:
    text = selfcheck_report.markdown(checked(both=apart(0.5)))
    assert text.count("| yes ") == 4
    assert "the smallest step seen, 20 ns" in text
    assert "launch" in text
    assert text.count("| runner |") == 20
    assert "repeat it" not in text
    assert "Python API" not in selfcheck_report.markdown(checked(BOARD))


def test_a_report_that_cannot_tell_says_what_helps() -> None:
    assert "repeat it when idle" in selfcheck_report.markdown(checked(both=apart(0.0, 0.2)))


def test_different_versions_of_the_runtime_are_named() -> None:
    both = replace(apart(0.0), runner_version="1.28.2")
    assert "1.28.2 in the runner, 1 in Python" in selfcheck_report.markdown(checked(both=both))


def test_why_nothing_was_counted_is_said() -> None:
    whole = checked()
    counted = replace(null_case(), counted=True, counters_error="cannot count instructions: nothing there")
    text = selfcheck_report.markdown(replace(whole, samples=[*whole.samples, counted]))
    assert "cannot count instructions: nothing there." in text
    assert "nothing, counted" in text


# --- the command --------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Selfcheck], None]:
    def measured(check: Selfcheck) -> None:
        monkeypatch.setattr(selfcheck, "measure", lambda _name, _on_step: check)

    return measured


@pytest.mark.parametrize(("added_ns", "code"), [(100, EXIT_OK), (5000, EXIT_CASE_FAILED)])
def test_a_target_missed_is_exit_code_1(added_ns: int, code: int, measured: Callable[[Selfcheck], None]) -> None:
    measured(checked(added_ns=added_ns))
    ended = CliRunner().invoke(selfcheck_command, [])
    assert ended.exit_code == code
    assert "# What the harness itself costs" in ended.output


def test_the_report_and_the_raw_samples_are_written(tmp_path: Path, measured: Callable[[Selfcheck], None]) -> None:
    measured(checked(both=apart(0.0)))
    folder = tmp_path / "new" / "folder"
    assert CliRunner().invoke(selfcheck_command, ["--out", str(folder)]).exit_code == EXIT_OK
    assert (folder / "selfcheck.md").read_text().startswith("# What the harness itself costs")
    raw = json.loads((folder / "selfcheck.json").read_text())
    assert raw["samples"][0]["samples_ns"] == [150] * 3
    assert len(raw["agreement"]["blocks"]) == 20


def test_a_folder_that_cannot_be_made_is_known_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = CliRunner().invoke(selfcheck_command, ["--out", str(tmp_path / "file" / "folder")])
    assert ended.exit_code == EXIT_USAGE
    assert "could not be written" in ended.output


def test_help_does_not_wait_for_heavy_libraries() -> None:
    code = "import sys, harness.study.selfcheck; print({'torch', 'pandas', 'onnxruntime', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
