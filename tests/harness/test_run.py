"""`python -m harness.run` as its users meet it: what it measures, how it fails, what it never loses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import Result
from commands import invoke, run
from fake_adb import FakeAdb
from programs import HEARS_CTRL_C, PATIENCE_S

from device.adb import server
from device.board import lifecycle
from device.host import HostDevice
from device.open import DEFAULT_BOARD, choose
from export.artifact import Artifact, ExportError
from harness.cli.report import main as report_command
from harness.measure import case
from harness.measure.cases import Choices
from harness.measure.networks import ExportedNetwork
from harness.record import journal
from harness.record.case import Case
from harness.record.errors import EXIT_CASE_FAILED, EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE
from harness.record.plan import CaseRound
from harness.record.record import Record
from models import clcnet, registry, weights
from toolchain import caffe2
from toolchain.debian import DebianError
from toolchain.files import describe


def one_line(result: Result) -> str:
    """What stderr says, when it is one line."""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# --- what it measures


def test_a_run_leaves_records_tables_and_plots(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("--device", "host", "--models", "clcnet-tiny", "--passes", "4", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert result.stderr == ""
    (record,) = journal.read(out)
    assert record.measurement is not None
    assert len(record.measurement.samples) == 4
    assert record.check is not None
    assert record.check.passed
    assert {path.name for path in out.iterdir()} >= {
        "plan.json",
        "report.md",
        "table6.md",
        "table6.csv",
        "table6.tex",
        "latency-vs-mult-adds.png",
    }


def test_both_runtimes_stand_in_one_verified_table(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--runtime", "onnxruntime,caffe2", "--models", "clcnet-tiny", "--passes", "2"]
    result = run("--device", "host", *options, "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    records = journal.read(out)
    assert [(record.case.runtime, record.status) for record in records] == [("onnxruntime", "ok"), ("caffe2", "ok")]
    assert all(record.check and record.check.passed for record in records)


def test_caffe2s_engine_for_depthwise_convolutions_is_named_in_record_and_table(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--runtime", "caffe2", "--caffe2-convolution", "DEPTHWISE_3x3", "--passes", "2", "--out", str(out)]
    assert run("--device", "host", "--models", "mobilenet", *options).exit_code == EXIT_OK
    (record,) = journal.read(out)
    assert record.case.format == "caffe2-depthwise"
    assert record.artifact is not None
    assert record.artifact.op_counts["Conv:DEPTHWISE_3x3"] == 13
    assert "DEPTHWISE_3x3" in (out / "table6.md").read_text()


def test_the_report_is_remade_from_the_records_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("--device", "host", "--models", "clcnet-tiny", "--passes", "2", "--out", str(out))
    kept = {"plan.json", journal.FILE_NAME}
    made = {path.name: path.read_bytes() for path in out.iterdir() if path.name not in kept}
    for name in made:
        (out / name).unlink()
    assert invoke(report_command, out).exit_code == EXIT_OK
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name not in kept} == made


def test_the_harness_tells_what_it_took_itself(tmp_path: Path) -> None:
    result = run("--device", "host", "--models", "clcnet-tiny", "--passes", "2", "--out", str(tmp_path / "run"))
    assert "outside the passes the harness took" in result.stdout
    assert "What the harness itself took" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize(
    ("device", "options", "line"),
    [
        ("board:mt6580", ["--cpus", "9"], "--cpus 9: board:mt6580: there is no CPU 9; it has CPU 0"),
        ("board:cortex-a53-smp", ["--cpus", "2-5"], "there is no CPU 4-5; it has CPUs 0-3"),
        ("board:cortex-a7", ["--cpus", "mid"], "it has no mid CPUs; it has CPU 0"),
        ("board:cortex-a7", ["--abi", "x86_64"], "--abi x86_64: board:mt6580 is armeabi-v7a and runs armeabi-v7a"),
        ("board:big-little", ["--clock", "1.2"], "--clock 1.2: board:big-little is no chip whose times are estimated"),
        ("board:cortex-a76-16k", ["--clock", "1"], "--clock 1: board:cortex-a76-16k is no chip whose times are"),
        ("host", ["--clock", "1.3"], "--clock 1.3: host is no chip whose times are estimated; leave it out"),
        ("PHONE", ["--clock", "1.3"], "--clock 1.3: PHONE is no chip whose times are estimated; leave it out"),
        ("board:cortex-a7", ["--abi", "arm64-v8a"], "is armeabi-v7a and runs armeabi-v7a"),
        ("board:cortex-a53", ["--abi", "x86_64"], "is arm64-v8a and runs arm64-v8a and armeabi-v7a"),
        ("host", ["--cpus", "63"], "--cpus 63: host: there is no CPU 63"),
    ],
)
def test_what_a_device_cannot_have_is_refused_before_anything_boots(
    device: str, options: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "boot", lambda *_, **__: pytest.fail("it was booted"))
    result = run("--device", device, "--models", "clcnet-a", *options, "--out", str(tmp_path / "out"))
    assert result.exit_code == EXIT_USAGE
    assert line in one_line(result)
    assert not (tmp_path / "out").exists()


def test_threads_and_cpus_reach_the_runner_and_the_record(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--threads", "2", "--cpus", "0x1", "--passes", "3", "--out", str(out)]
    assert run("--device", "host", "--models", "clcnet-tiny", *options).exit_code == EXIT_OK
    (record,) = journal.read(out)
    assert (record.case.threads, record.case.cpus) == (2, "0")
    assert record.measurement is not None
    assert record.measurement.cpu_mask == 1
    assert {sample.cpu for sample in record.measurement.samples} == {0}


def test_a_checkpoint_changes_the_weights_and_is_named_in_the_record(tmp_path: Path) -> None:
    network = clcnet.clcnet_tiny()
    weights.seed(network, registry.get("clcnet-tiny").input_shape, seed=7)
    checkpoint = tmp_path / "seven.pt"
    torch.save(network.state_dict(), checkpoint)
    out = tmp_path / "run"
    result = run("--device", "host", "--models", "clcnet-tiny", "--weights", str(checkpoint), "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    (record,) = journal.read(out)
    assert record.artifact is not None
    assert record.artifact.weights == describe(checkpoint).sha256


@pytest.mark.parametrize(
    ("devices", "rounds", "passes"),
    [
        *((["host"], 1, 10), (["host"], 5, 100), (["host@one"], 5, 100)),
        *((["host", "PHONE"], 5, 10), (["PHONE"], 5, 10)),
        *((["board:mt6580"], 1, 3), (["board:mt6580", "board:imx7d"], 5, 3), (["board:mt6580", "PHONE"], 1, 10)),
        (["board:cortex-a7-smp"], 1, 10),
    ],
)
def test_ten_passes_are_timed_but_for_estimates_and_rounds_on_a_computer_that_are_to_be_compared(
    devices: list[str], rounds: int, passes: int
) -> None:
    assert Choices(rounds=rounds).passes_on(devices) == passes


# --- which device it takes


def test_a_named_device_comes_before_the_environments_and_that_before_the_attached(
    adb: FakeAdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    adb.devices["PHONE"] = "device"
    assert choose(()) == ("PHONE",)
    monkeypatch.setenv("ANDROID_SERIAL", "OTHER")
    assert choose(()) == ("OTHER",)
    assert choose(["host"]) == ("host",)


def test_without_a_phone_it_is_the_emulated_board(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    monkeypatch.setattr(server, "_DEFAULT_PORT", adb.port)
    assert choose(()) == (DEFAULT_BOARD,)
    adb.stop()
    monkeypatch.setattr(server, "_USB_DEVICES", Path(os.devnull))
    assert choose(()) == (DEFAULT_BOARD,)


#: All ways to name an adb server, as options and as environment.
NAMED_SERVERS = {
    "option": (["--adb-server", "127.0.0.1:{port}"], {}),
    "option-localhost": (["--adb-server", "localhost:{port}"], {}),
    "port": ([], {"ANDROID_ADB_SERVER_PORT": "{port}"}),
    "address": ([], {"ANDROID_ADB_SERVER_PORT": "{port}", "ANDROID_ADB_SERVER_ADDRESS": "localhost"}),
    "socket": ([], {"ADB_SERVER_SOCKET": "tcp:{port}"}),
    "socket-host": ([], {"ADB_SERVER_SOCKET": "tcp:localhost:{port}", "ANDROID_ADB_SERVER_PORT": "1"}),
}


@pytest.mark.parametrize("way", NAMED_SERVERS)
@pytest.mark.parametrize("there", [True, False], ids=["no device", "no server"])
@pytest.mark.parametrize("named", [[], ["--device", "all"], ["--device", "PHONE"]], ids=" ".join)
def test_who_names_an_adb_server_gets_no_board_and_nothing_is_started(
    adb: FakeAdb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, there: bool, named: list[str]
) -> None:
    started, script = tmp_path / "started", tmp_path / "adb"
    script.write_text(f"#!/bin/sh\ntouch {started}\n")
    script.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(script))
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    arguments, environment = NAMED_SERVERS[way]
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(port=adb.port))
    if not there:
        adb.stop()
    options = [one.format(port=adb.port) for one in arguments] + named
    result = run(*options, "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert ("no adb server answers" in one_line(result)) is not there
    assert not started.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "spec", ["localfilesystem:/run/adb", "vsock:2:5037", "tcp:", "tcp:host:x", "5038", "tcp:a b:1"]
)
def test_an_adb_socket_that_is_none_of_tcps_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, spec: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", spec)
    result = run("--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert f"ADB_SERVER_SOCKET={spec}: only tcp:" in one_line(result)


def test_several_attached_devices_and_none_named_is_a_usage_error_that_lists_them(adb: FakeAdb) -> None:
    adb.devices |= {"FIRST": "device", "SECOND": "offline"}
    result = run("--models", "clcnet-tiny")
    assert result.exit_code == EXIT_USAGE
    assert "FIRST" in result.stderr
    assert "SECOND" in result.stderr
    assert "--device" in result.stderr


def test_everything_that_can_be_named_is_listed(adb: FakeAdb) -> None:
    adb.devices["PHONE"] = "unauthorized"
    devices = run("--list-devices")
    assert devices.exit_code == EXIT_OK
    assert {"PHONE", "board:mt6580", "board:bcm2837b0", "host"} <= set(devices.stdout.split())
    models = run("--list-models")
    assert {line.split()[0] for line in models.stdout.splitlines()} == {spec.name for spec in registry.REGISTRY}


# --- how it fails


def test_without_a_mirror_that_has_caffe2_onnx_runtime_is_measured_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_mirror(names: object, arch: str) -> list[Path]:
        raise DebianError("Caffe2 comes from Debian bullseye: no mirror has it; name one with DEBIAN_MIRROR=<URL>")

    monkeypatch.setattr(caffe2, "_packages", no_mirror)
    monkeypatch.setattr(caffe2, "FOLDER", tmp_path / "caffe2")
    monkeypatch.setattr("harness.measure.networks.EXPORTS", tmp_path / "export")
    out = tmp_path / "run"
    options = ["--runtime", "onnxruntime,caffe2", "--models", "clcnet-tiny"]
    result = run("--device", "host", *options, "--out", str(out))
    assert result.exit_code == EXIT_CASE_FAILED
    assert [record.status for record in journal.read(out)] == ["ok", "export_failed"]
    assert "DEBIAN_MIRROR" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--models", "clcnet-c"], EXIT_USAGE, "clcnet-a"),
        (["--models", ","], EXIT_USAGE, "--list-models"),
        (["--device", "GONE"], EXIT_DEVICE_UNAVAILABLE, "--list-devices"),
        (["--device", "SLEEPY"], EXIT_DEVICE_UNAVAILABLE, "plug it in again"),
        (["--device", "board:cortex-m0"], EXIT_DEVICE_UNAVAILABLE, "cortex-a7"),
        (["--device", "host", "--weights", "mobilenet=x.pt"], EXIT_USAGE, "NAME=FILE"),
        (["--device", "host", "--weights", "no-such-file.pt"], EXIT_USAGE, "no-such-file.pt"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_leaves_nothing(
    adb: FakeAdb, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    adb.devices |= {"PHONE": "device", "SLEEPY": "offline"}
    out = tmp_path / "run"
    result = run("--models", "clcnet-tiny", "--out", str(out), *arguments)
    assert result.exit_code == code
    assert words in one_line(result)
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments", [["--passes", "0"], ["--threads", "none"], ["--cpus", "0x0"], ["--cpus", "x"], ["--frobnicate"]]
)
def test_a_senseless_option_is_a_usage_error(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == EXIT_USAGE


def test_without_adb_a_phone_is_unavailable_and_the_line_says_what_to_set(
    adb: FakeAdb, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    monkeypatch.setattr(server, "_DEFAULT_PORT", 1)  # where nothing answers
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "none"))
    result = run("--device", "PHONE", "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "ADBUTILS_ADB_PATH" in one_line(result)


def test_a_checkpoint_that_does_not_fit_is_refused_with_its_tensors_names(tmp_path: Path) -> None:
    state = clcnet.clcnet_tiny().state_dict()
    name = next(iter(state))
    state[name] = torch.zeros(1)
    torch.save(state, tmp_path / "misfit.pt")
    options = ["--weights", str(tmp_path / "misfit.pt"), "--out", str(tmp_path / "run")]
    result = run("--device", "host", "--models", "clcnet-tiny", *options)
    assert result.exit_code == EXIT_USAGE
    assert name in one_line(result)


def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run("--device", "host", "--models", "clcnet-tiny", "--out", str(tmp_path / "file" / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "name another folder" in one_line(result)


def test_an_earlier_runs_folder_is_never_written_over(tmp_path: Path) -> None:
    options = ["--device", "host", "--models", "clcnet-tiny", "--passes", "2", "--out", str(tmp_path / "run")]
    assert run(*options).exit_code == EXIT_OK
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    result = run(*options)
    assert result.exit_code == EXIT_USAGE
    assert "not empty" in one_line(result)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_an_export_that_fails_does_not_stop_the_other_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export import pipeline

    right = pipeline.export_model

    def failing(spec, *arguments, **options):
        if spec.name == "mobilenet":
            raise ExportError("mobilenet: the exported file does not compute what PyTorch does")
        return right(spec, *arguments, **options)

    monkeypatch.setattr("harness.measure.networks.export_model", failing)
    out = tmp_path / "run"
    result = run("--device", "host", "--models", "mobilenet,clcnet-tiny", "--passes", "2", "--out", str(out))
    assert result.exit_code == EXIT_CASE_FAILED
    assert [record.status for record in journal.read(out)] == ["export_failed", "ok"]
    assert "does not compute" in result.stderr
    assert "does not compute" in (out / "report.md").read_text()


def measured(artifact: Artifact) -> Record:
    turn = CaseRound(Case(artifact.model, "onnxruntime", passes=2), round=0, order=0)
    return case.measure(turn, ExportedNetwork(artifact), HostDevice(), case.Run("test", None, 60))


def test_a_corrupted_onnx_file_fails_its_case_with_the_runtimes_reason(tiny: Artifact, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder, tmp_path / "artifact")
    model = tmp_path / "artifact" / tiny.model_files[0].name
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    record = measured(replace(tiny, folder=tmp_path / "artifact", model_files=(describe(model),)))
    assert (record.status, record.measurement) == ("bad_model", None)
    assert record.error


def test_a_corrupted_artifact_is_exported_again_before_it_is_run(tiny: Artifact, tmp_path: Path) -> None:
    from export.pipeline import export_model

    folder = tmp_path / tiny.folder.name
    shutil.copytree(tiny.folder, folder)
    (folder / tiny.model_files[0].name).write_bytes(b"damaged")
    again = export_model(registry.get("clcnet-tiny"), tmp_path)
    assert again.model_files == tiny.model_files


def test_a_network_with_one_interlace_missing_fails_the_output_check(without_one_interlace: Artifact) -> None:
    record = measured(without_one_interlace)
    assert record.status == "output_wrong"
    assert record.check is not None
    assert not record.check.passed


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished_and_makes_the_table_from_it(tmp_path: Path, ending: signal.Signals) -> None:
    out = tmp_path / "run"
    options = ["--models", "clcnet-tiny,mobilenet", "--passes", "1500", "--out", str(out)]
    with subprocess.Popen(
        [*HEARS_CTRL_C, sys.executable, "-m", "harness.run", "--device", "host", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # The second case, of minutes, has begun once the first's record is there.
        while process.poll() is None and not (out / journal.FILE_NAME).exists():
            time.sleep(0.05)
        while process.poll() is None and not (out / journal.FILE_NAME).read_bytes():
            time.sleep(0.05)
        process.send_signal(ending)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_CASE_FAILED, stderr
    assert [record.case.model for record in journal.read(out)] == ["clcnet-tiny"]
    assert "clcNet-tiny" in stdout
    assert "not measured: mobilenet" in stderr
    assert "not measured" in (out / "report.md").read_text()


# --- how fast it answers


def test_help_and_lists_need_no_heavy_library() -> None:
    script = "import sys, harness.run; print(json.dumps(sorted(sys.modules)))".replace("sys,", "sys, json,")
    modules = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert not {"torch", "onnx", "onnxruntime", "onnxsim", "pandas", "matplotlib", "scipy"} & set(modules)
