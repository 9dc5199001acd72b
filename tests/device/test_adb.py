"""The real adb client against a server with faults: nothing hangs, nothing wrong is taken for right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_adb import FakeAdb, serving

from device.adb.device import AdbDevice
from device.adb.server import Server
from device.errors import DeviceLost, DeviceUnavailable, NoSpace, PushFailed, RunnerFailed, RunTimedOut
from device.records import RunRequest
from device.wire import WireError
from export.artifact import Artifact
from harness.measure.networks import ExportedNetwork
from toolchain import compile as compiling
from toolchain.files import describe

MACHINE_ABI = compiling.native().abi


def ignore(_: object) -> None:
    pass


@pytest.fixture
def adb(tmp_path: Path) -> Iterator[FakeAdb]:
    with serving(tmp_path / "device", {"ABC123": "device", "OFF": "offline", "NEW": "unauthorized"}) as fake:
        fake.root.mkdir()
        yield fake


@pytest.fixture
def phone(adb: FakeAdb) -> AdbDevice:
    return AdbDevice("ABC123", server=Server(adb.port))


@pytest.fixture
def request_(request_for: Callable[..., RunRequest], tiny: Artifact) -> RunRequest:
    return request_for(tiny, MACHINE_ABI)


def test_a_case_runs_over_adb_and_its_output_is_the_networks(
    phone: AdbDevice, request_: RunRequest, tiny: Artifact
) -> None:
    phone.push(request_, ignore)
    measured = phone.run(request_, ignore)
    assert len(measured.samples) == request_.passes
    assert ExportedNetwork(tiny).check(request_.output_path, measured).passed


def test_a_second_push_of_the_same_bytes_is_no_push(phone: AdbDevice, adb: FakeAdb, request_: RunRequest) -> None:
    sizes: list[int] = []
    first = phone.push(request_, sizes.append)
    assert first == sum(sizes) == adb.pushed_bytes > 0
    assert phone.push(request_, sizes.append) == 0
    assert adb.pushed_bytes == first


def test_a_case_whose_files_are_there_asks_the_device_three_times(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    """The way there and back takes longest: once for what is missing, once to run, once for the output."""
    phone.push(request_, ignore)
    adb.commands.clear()
    phone.push(request_, ignore)
    phone.run(request_, ignore)
    assert len(adb.commands) == 3


def test_nothing_but_what_was_pushed_stays_on_the_device(phone: AdbDevice, adb: FakeAdb, request_: RunRequest) -> None:
    phone.push(request_, ignore)
    kept = {path.name for path in (adb.root / "tenpass").iterdir()}
    phone.run(request_, ignore)
    assert {path.name for path in (adb.root / "tenpass").iterdir()} == kept
    assert [path.name for path in adb.root.iterdir()] == ["tenpass"]


def test_a_push_that_arrives_damaged_is_refused_and_taken_away(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    adb.faults.corrupt_pushes = 99
    with pytest.raises(PushFailed, match="arrived other than they left"):
        phone.push(request_, ignore)
    assert list((adb.root / "tenpass").iterdir()) == []


def test_a_full_device_is_named_as_such_and_left_clean(phone: AdbDevice, adb: FakeAdb, request_: RunRequest) -> None:
    adb.faults.no_space = True
    with pytest.raises(NoSpace, match="No space left"):
        phone.push(request_, ignore)
    assert list((adb.root / "tenpass").iterdir()) == []


def test_a_connection_that_breaks_during_the_passes_is_no_measurement(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    phone.push(request_, ignore)
    adb.faults.cut_after_passes = 1
    with pytest.raises(DeviceLost, match="connection"):
        phone.run(request_, ignore)


def test_a_runner_that_does_not_answer_is_given_up_in_time(
    phone: AdbDevice, adb: FakeAdb, request_for: Callable[..., RunRequest], tiny: Artifact
) -> None:
    request = request_for(tiny, MACHINE_ABI, timeout_s=1)
    phone.push(request, ignore)
    adb.faults.hang_on = "--passes"
    with pytest.raises(RunTimedOut, match="--timeout"):
        phone.run(request, ignore)


def test_words_that_are_not_the_runners_spoil_the_measurement(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    phone.push(request_, ignore)
    adb.faults.garbage_on_stdout = b"WARNING: linker: unused DT entry\n"
    with pytest.raises(WireError, match="not an event"):
        phone.run(request_, ignore)


def test_a_model_that_the_runtime_refuses_keeps_the_runners_reason(
    phone: AdbDevice, request_: RunRequest, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(request_.model_files[0].path.read_bytes()[:-1000])
    found = describe(model)
    damaged = replace(request_.model_files[0], path=model, sha256=found.sha256, size_bytes=found.size_bytes)
    request = replace(request_, model_files=(damaged,))
    phone.push(request, ignore)
    with pytest.raises(RunnerFailed) as caught:
        phone.run(request, ignore)
    assert caught.value.status == "bad_model"


@pytest.mark.parametrize(
    ("serial", "advice"),
    [("OFF", "plug it in again"), ("NEW", "USB debugging"), ("GONE", "adb lists ABC123")],
)
def test_a_device_that_cannot_be_used_is_named_with_what_to_do(adb: FakeAdb, serial: str, advice: str) -> None:
    with pytest.raises(DeviceUnavailable, match=advice):
        AdbDevice(serial, server=Server(adb.port))


def test_without_an_adb_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "no-adb"))
    with pytest.raises(DeviceUnavailable, match=r"no adb.*ADBUTILS_ADB_PATH"):
        AdbDevice("ABC123", server=Server(1, is_default=True))
