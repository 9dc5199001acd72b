"""The command that a report prints makes the same plan again, whatever was asked for, when it is typed into a shell."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import write_run

from device.probe import ABI_OF_MACHINE
from harness.cli.run import RunOptions, run_command
from harness.measure.planning import plan_of
from harness.record.command import command, quoted
from harness.record.errors import UsageError
from harness.record.plan import Plan
from harness.record.record import SCHEMA_VERSION
from harness.report.write import write
from models.spec import ModelError


def planned(words: Sequence[str]) -> Plan:
    """The plan that the real command line makes of these; nothing is measured."""
    found: list[RunOptions] = []

    def job(options: RunOptions) -> int:
        found.append(options)
        return 0

    with pytest.raises(SystemExit) as ended:
        run_command(job).main(list(words), standalone_mode=False)
    assert ended.value.code == 0
    [options] = found
    made = plan_of(options.choices, lambda: options.devices, run="run", command="")
    return replace(made, where=options.where.recorded)


def again(plan: Plan) -> Plan:
    program, *words = shlex.split(command(plan))
    assert [program, *words[:2]] == ["python", "-m", "harness.run"]
    return planned(words[2:])


def same(one: Plan, other: Plan) -> bool:
    """But for what differs between any two plans."""
    return replace(one, utc="", commit="", command="") == replace(other, utc="", commit="", command="")


def some(values: Sequence[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(",".join)


def option(flag: str, values: st.SearchStrategy[object]) -> st.SearchStrategy[list[str]]:
    return st.none().map(lambda _: []) | values.map(lambda value: [flag, str(value)])


def switch(flag: str) -> st.SearchStrategy[list[str]]:
    return st.sampled_from([[], [flag]])


numbers = st.integers(1, 50)
OPTIONS = st.tuples(
    st.sampled_from(
        [
            ["--device", "host"],
            ["--device", "board:cortex-a7"],
            ["--device", "R58 M12"],
            ["--device", "a", "--device", "b"],
        ]
    ),
    option("--models", some(["mobilenet", "clcnet-a", "clcnet-tiny", "shufflenet"])),
    option("--precision", some(["fp32", "fp16", "int8"])),
    option("--runtime", some(["onnxruntime", "caffe2", "ncnn"])),
    option("--provider", some(["cpu", "xnnpack"])),
    option("--igc", some(["grouped", "depthwise", "fused"])),
    option("--caffe2-convolution", st.sampled_from(["as-converted", "DEPTHWISE_3x3"])),
    switch("--fuse-separable"),
    option("--threads", some(["1", "2", "4"])),
    option("--cpus", st.sampled_from(["big", "0-3", "0xf0"])),
    option("--abi", st.sampled_from(sorted(set(ABI_OF_MACHINE.values())))),
    option("--warmup", st.integers(0, 5)),
    option("--passes", numbers),
    option("--rounds", st.integers(1, 6)),
    option("--order", st.sampled_from(["shuffled", "sequential"])),
    option("--seed", st.integers(0, 2**32 - 1)),
    option("--max-start-celsius", st.sampled_from([0, 40, 41.5])),
    option("--max-celsius", numbers),
    option("--cool-timeout", st.sampled_from([0, 600, 12.25])),
    option("--timeout", st.sampled_from([1, 600, 7.5])),
    option("--command-timeout", numbers),
    option("--reconnect-timeout", st.sampled_from([0, 120, 3.5])),
    option("--adb-server", st.sampled_from(["127.0.0.1:5038", "[::1]:5037"])),
    switch("--strict"),
    switch("--count"),
    option("--clock", st.sampled_from([0.9, 1, 1.3, 1.1])),
    switch("--profile"),
    switch("--reboot"),
)


@settings(max_examples=150, deadline=None)
@given(OPTIONS.map(lambda found: [word for words in found for word in words]))
def test_the_command_of_a_plan_makes_that_plan(words: list[str]) -> None:
    try:
        plan = planned(words)
    except (UsageError, ModelError):
        return  # what makes no sense has no plan
    assert same(again(plan), plan), command(plan)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder whose name a shell must not take apart, with a model of two free sizes, inputs and a checkpoint."""
    folder = tmp_path / "my  'own' $models; (new)"
    folder.mkdir()
    net = torch.nn.Conv2d(1, 1, 1)
    axes = {"x": {0: "batch", 2: "height", 3: "width"}}
    for name in ("net.onnx", "mobilenet.onnx"):
        torch.onnx.export(
            net, (torch.zeros(1, 1, 4, 4),), folder / name, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    np.savez(folder / "in.npz", x=np.zeros((1, 1, 5, 6), np.float32))
    torch.save({}, folder / "weights.pt")
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_own_files_come_with_their_sizes_inputs_and_calibration(own: Path) -> None:
    files = ["--model", f"{own}/net.onnx", "--model", f"{own}/mobilenet.onnx", "--models", "clcnet-a"]
    sizes = ["--dim", "net:height=5", "--dim", "width=6", "--dim", "mobilenet-2:x:2=7", "--input", f"net={own}/in.npz"]
    more = ["--calibration", f"net={own}/in.npz", "--precision", "fp32,int8", "--weights", f"clcnet-a={own}/weights.pt"]
    plan = planned(["--device", "host", *files, *sizes, *more])
    assert len(plan.own_models) == 2
    assert same(again(plan), plan), command(plan)
    assert "  " not in command(plan)


@given(st.text(min_size=1).filter(lambda text: "\0" not in text and text.isascii()))
@settings(max_examples=40, deadline=None)
def test_a_shell_takes_each_word_as_it_is(word: str) -> None:
    echoed = subprocess.run(["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, check=True)
    assert echoed.stdout.decode() == word
    assert "  " not in quoted(word)
    assert quoted(word).isprintable()


def test_the_report_shows_it_without_the_folder_of_the_run_and_with_its_seed(tmp_path: Path) -> None:
    words = ["--device", "board:cortex-a7", "--models", "mobilenet,clcnet-tiny", "--rounds", "3"]
    plan = replace(
        planned(words), schema_version=SCHEMA_VERSION, command=shlex.join(["python", *words, "--out", "here"])
    )
    write_run(
        tmp_path / "here",
        [],
        **{name: getattr(plan, name) for name in ("cases", "order", "seed", "devices", "command", "boards")},
    )
    write(tmp_path / "here")
    shown = (tmp_path / "here" / "report.md").read_text().split("## Run it again")[1]
    assert "--out" not in shown
    assert f"--seed {plan.seed}" in shown
    assert same(planned(shlex.split(shown.strip().strip("`").strip())[3:]), replace(plan, run="run"))


def test_what_only_a_program_can_measure_again_is_said_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [], script="python benchmark.py")
    write(tmp_path / "run")
    assert "\npython benchmark.py\n" in (tmp_path / "run" / "report.md").read_text()


def test_each_option_of_a_run_that_says_what_is_measured_is_tried_here() -> None:
    """A new one must be in the command, too."""
    tried = {
        *("devices", "models", "precisions", "runtimes", "providers", "igc", "caffe2_convolution", "fuse_separable"),
        *("threads", "cpus", "abi", "warmup", "passes", "rounds", "order", "seed", "max_start_celsius", "max_celsius"),
        *(
            "cool_timeout_s",
            "timeout_s",
            "command_timeout_s",
            "reconnect_timeout_s",
            "adb_server",
            "strict",
            "counting",
            "clock_ghz",
        ),
        *("profile", "reboot", "model_files", "dims", "inputs", "calibrations", "weights", "boards"),
    }
    elsewhere = {"scheduler", "tls_ca_file", "tls_cert", "tls_key"}
    not_of_a_plan = {"out", "resume", "wait_s", "clean_device", "list_devices", "list_models"}
    options = run_command(lambda _: 0).params
    assert {one.name for one in options if isinstance(one, click.Option)} == tried | elsewhere | not_of_a_plan
