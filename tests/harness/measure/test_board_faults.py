"""Real faults of a real board: a case is lost, named, and taken again; what was measured before is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from programs import PATIENCE_S
from test_faults import ignore, measured, planned, told, within

from device import wire
from device.adb import private
from device.adb.device import AdbDevice
from device.board import devices as board_devices
from device.board import lifecycle
from device.board.lifecycle import Board
from device.cores import clusters
from device.errors import DeviceUnavailable
from device.records import RunRequest
from device.remote import shell as remote_shell
from device.remote.cache import ANDROID_ROOT
from device.timeouts import Timeouts
from export.artifact import Artifact
from harness.analyse.warnings import warnings_of
from harness.measure.networks import ExportedNetwork
from harness.record import journal
from harness.record.case import Case
from harness.record.errors import EXIT_CASE_FAILED
from harness.record.plan import Limits, sequential

pytestmark = pytest.mark.board

NAME = "cortex-a53"  # boots fastest
#: Boards boot slowly where other tests have the machine, too.
PATIENT = planned(Timeouts(reconnect_s=PATIENCE_S))


@pytest.fixture(scope="module")
def booted() -> Iterator[Board]:
    with lifecycle.boot(NAME) as one:
        yield one


@pytest.fixture(scope="module")
def opened(booted: Board) -> AdbDevice:
    """The board as a run has it, but that it stays up for the next test."""
    device = board_devices.device_of(booted, PATIENT.timeouts)
    assert isinstance(device, AdbDevice)
    device.close = lambda: None  # type: ignore[method-assign]
    for lock in device._locks.values():
        lock.release()  # a test's own run may have it
    device._locks.clear()
    return device


@pytest.fixture
def device(opened: AdbDevice) -> Iterator[AdbDevice]:
    """Each test leaves nothing on it, and it usable."""
    yield opened
    assert left(opened) == ""


def left(device: AdbDevice) -> str:
    """What lies on the device and is no whole set of files, and what of ours still runs."""
    script = (
        f"ls {ANDROID_ROOT} | grep -vE '^[0-9a-f]{{64}}$'; ls -l /proc/[0-9]*/exe 2>/dev/null | grep {ANDROID_ROOT}/"
    )
    return device.shell.run(script).stdout.decode()


def once(when: Callable[[wire.Event], bool], do: Callable[[], object]) -> Callable[[wire.Event], None]:
    """Does it at the first event for which that holds."""
    done = threading.Event()

    def on_event(event: wire.Event) -> None:
        if not done.is_set() and when(event):
            done.set()
            do()

    return on_event


def first_pass(event: wire.Event) -> bool:
    return isinstance(event, wire.PassEnded)


LOST = {"device_lost", "offline"}  # as the adb server has noticed by then


def test_a_board_that_dies_during_a_case_is_booted_anew_and_the_case_taken_again(
    booted: Board, device: AdbDevice, tiny: Artifact
) -> None:
    kill = once(first_pass, lambda: os.kill(booted.pid, signal.SIGKILL))
    pid = booted.pid
    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, on_event=kill)
    assert records[0].status in LOST
    assert told(records)[1:] == [(0, 2, "ok"), (1, 1, "ok")]
    assert booted.pid != pid
    assert records[0].device == records[1].device


@pytest.mark.long  # what is half pushed: test_faults.py
def test_a_board_that_dies_during_a_push_has_nothing_half_pushed_when_it_is_back(
    booted: Board, device: AdbDevice, tiny: Artifact
) -> None:
    device.clean()
    pushed = 0

    def kill(count: int) -> None:
        nonlocal pushed
        if pushed < 5_000_000 <= pushed + count:
            os.kill(booted.pid, signal.SIGKILL)
        pushed += count

    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, on_bytes=kill)
    assert records[0].status in LOST
    assert told(records)[1:] == [(0, 2, "ok"), (1, 1, "ok")]


def test_a_board_that_is_rebooted_inside_is_met_again(device: AdbDevice, tiny: Artifact) -> None:
    def reboot() -> None:
        with pytest.raises(DeviceUnavailable):
            device.shell.run("reboot", timeout_s=10)

    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, on_event=once(first_pass, reboot))
    assert records[0].status in LOST
    assert told(records)[1:] == [(0, 2, "ok"), (1, 1, "ok")]


def test_a_board_that_freezes_and_thaws_is_gone_on_with(
    booted: Board, device: AdbDevice, tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_shell, "CLEAN_UP_S", 1.0)
    monkeypatch.setattr(remote_shell, "PING_S", 1.0)
    pid = booted.pid

    def freeze() -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(14, os.kill, (pid, signal.SIGCONT)).start()

    on_event = once(lambda event: isinstance(event, wire.Hello), freeze)
    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, timeouts_s=[10], on_event=on_event)
    assert told(records) == [(0, 1, "no_answer"), (0, 2, "ok"), (1, 1, "ok")]
    assert booted.pid == pid  # nobody has restarted it


def test_a_board_that_stays_frozen_is_given_up_in_time_and_restarted_only_where_that_was_asked_for(
    booted: Board, device: AdbDevice
) -> None:
    pid = booted.pid
    os.kill(pid, signal.SIGSTOP)
    with within(2), pytest.raises(DeviceUnavailable, match="within 2 s"):
        device.reconnect(2)
    assert booted.pid == pid
    device.reconnect(PATIENCE_S, reboot_after_s=5)
    assert booted.pid != pid


def test_a_runner_that_is_killed_inside_the_board_fails_its_case_alone(device: AdbDevice, tiny: Artifact) -> None:
    def kill(event: wire.Event) -> None:
        if isinstance(event, wire.Hello) and not killed:
            killed.append(event.pid)
            device.shell.run(f"kill -9 {event.pid}")

    killed: list[int] = []
    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, on_event=kill)
    assert told(records) == [(0, 1, "out_of_memory"), (1, 1, "ok")]
    assert "SIGKILL" in (records[0].error or "")


def test_a_full_disk_on_the_board_fails_the_cases_that_must_be_pushed(device: AdbDevice, tiny: Artifact) -> None:
    device.clean()
    filler = ANDROID_ROOT.parent / "filler"
    free_kib = int(device.shell.run(f"df -k {filler.parent}").stdout.split()[-3])
    device.shell.run(f"fallocate -l {free_kib - 3000}k {filler}")
    try:
        records = measured(device, ExportedNetwork(tiny), plan=PATIENT)
    finally:
        device.shell.run(f"rm -f {filler}")
    assert told(records) == [(0, 1, "no_space"), (1, 1, "no_space")]


def test_an_adb_server_that_is_killed_is_started_anew_and_the_case_taken_again(
    booted: Board, device: AdbDevice, tiny: Artifact
) -> None:
    pid = booted.pid
    kill = once(first_pass, lambda: os.kill(private._server[0][0].pid, signal.SIGKILL))
    records = measured(device, ExportedNetwork(tiny), plan=PATIENT, on_event=kill)
    assert told(records) == [(0, 1, "server_gone"), (0, 2, "ok"), (1, 1, "ok")]
    assert booted.pid == pid  # the board was well


def test_a_run_that_is_terminated_leaves_no_runner_on_the_board(
    booted: Board, device: AdbDevice, tmp_path: Path, request_for: Callable[..., RunRequest], tiny: Artifact
) -> None:
    """The board is somebody else's here, as a phone is: it stays up."""
    device.push(request_for(tiny, device.info.abi), ignore)
    out = tmp_path / "run"
    options = ["--device", booted.serial, "--models", "clcnet-tiny", "--passes", "100000", "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "harness.run", *options],
        env=os.environ | {"ANDROID_ADB_SERVER_PORT": str(booted.adb_server.port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and "tenpass-onnxruntime" not in device.shell.run("ps -A -o ARGS").stdout.decode():
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_CASE_FAILED, stderr
    assert "not measured: clcnet-tiny" in stderr
    assert journal.read(out) == []
    assert left(device) == ""
    assert booted.alive()


def test_a_core_that_goes_away_and_comes_back_in_mid_run_marks_the_passes_that_ran_elsewhere(tiny: Artifact) -> None:
    """Two clusters, told by the board's device tree. The second case has the last core to itself."""
    cases = (
        Case("clcnet-tiny", "onnxruntime", cpus="big", passes=2),
        Case("clcnet-tiny", "onnxruntime", cpus="3", passes=60),
    )
    began, switched = [], []

    def switch(event: wire.Event) -> None:
        """The last core goes after the second case's first pass, and comes back after the first elsewhere."""
        if isinstance(event, wire.Hello):
            began.append(event)
        if isinstance(event, wire.PassEnded) and event.phase == "timed" and len(began) == 2:
            online = int(event.cpu != 3)
            if switched == [0] * online:
                switched.append(online)
                line = f"su root sh -c 'echo {online} > /sys/devices/system/cpu/cpu3/online'"
                device.shell.output_of(line, "the core cannot be switched")

    with lifecycle.boot("big-little") as board:
        device = board_devices.device_of(board, PATIENT.timeouts)
        assert isinstance(device, AdbDevice)
        found = [(cluster.name, cluster.cpus) for cluster in clusters(device.info)]
        assert found == [("little", (0, 1)), ("big", (2, 3))]
        plan = replace(PATIENT, cases=cases, order=sequential(cases, 1))
        records = measured(device, ExportedNetwork(tiny), plan=plan, on_event=switch)
    assert told(records) == [(0, 1, "ok"), (1, 1, "ok")]
    assert switched == [0, 1]
    big, last = (record.measurement for record in records)
    assert big is not None
    assert last is not None
    assert big.cpu_mask == 0b1100
    assert {one.cpu for one in big.samples} <= {2, 3}
    (warning,) = (one for one in warnings_of(records[1], Limits()) if one.kind == "affinity_lost")
    assert warning.samples == tuple(index for index, one in enumerate(last.samples) if one.cpu != 3)
    assert 0 < len(warning.samples) < len(last.samples)


@pytest.mark.long  # its kernel is fetched when it is first asked for
def test_a_board_with_pages_of_16_kb_runs_what_is_aligned_for_them_and_is_given_nothing_else(tiny: Artifact) -> None:
    with lifecycle.boot("cortex-a76-16k") as board:
        device = board_devices.device_of(board, PATIENT.timeouts)
        assert device.info.page_bytes == 16384
        cases = (
            Case("clcnet-tiny", "onnxruntime", passes=2),
            Case("clcnet-tiny", "onnxruntime", abi="armeabi-v7a", passes=2),
        )
        plan = replace(PATIENT, cases=cases, order=sequential(cases, 1))
        pushed: list[int] = []
        assert isinstance(device, AdbDevice)
        records = measured(device, ExportedNetwork(tiny), plan=plan, on_bytes=pushed.append)
    assert told(records) == [(0, 1, "ok"), (1, 1, "no_bundle")]
    assert records[0].check is not None
    assert records[0].check.passed
    assert sum(pushed) == records[0].pushed_bytes
    assert "pages of 16 KB: its ld-linux-armhf.so.3 and" in (records[1].error or "")
