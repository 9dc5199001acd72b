"""What goes wrong on the way to a device, and what then is done: nothing waits longer than it says, nothing is lost.

Here against an adb server with faults; test_board_faults.py does the like to real boards. docs/faults.md is the
table.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands import run
from fake_adb import PHONE, FakeAdb, Faults, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import HEARS_CTRL_C, PATIENCE_S

from device import errors, runner_call, wire
from device.adb import server
from device.adb.device import AdbDevice
from device.adb.server import Server
from device.errors import (
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DeviceUnavailable,
    NoAnswer,
    NoSpace,
    PushFailed,
    ServerGone,
)
from device.lock import DeviceLock
from device.records import Bundle, DeviceInfo, RunRequest
from device.remote import cache
from device.remote import shell as remote_shell
from device.statuses import EXIT_STATUSES, STATUSES
from device.timeouts import Timeouts
from export.artifact import Artifact
from harness.measure import case, policy
from harness.measure.device import Stop, measure_all
from harness.measure.networks import ExportedNetwork
from harness.measure.policy import RULES, Then
from harness.record import journal, plan
from harness.record.case import Case
from harness.record.errors import EXIT_CASE_FAILED, EXIT_DEVICE_UNAVAILABLE, EXIT_OK
from harness.record.plan import Limits, Plan
from harness.record.record import SCHEMA_VERSION, MeasuredBundle, Record
from toolchain import compile as compiling
from toolchain.files import local_file
from toolchain.tensors import InputTensor

MACHINE_ABI = compiling.native().abi
PATIENT = Timeouts(reconnect_s=PATIENCE_S)
IMPATIENT = replace(PATIENT, reconnect_s=1)
#: So long that who waits for it to pass is found out.
ENDLESS_S = 10 * PATIENCE_S
TURNS = (Case("clcnet-tiny", "onnxruntime", passes=2), Case("clcnet-tiny", "onnxruntime", threads=2, passes=2))


def ignore(_: object) -> None:
    pass


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[None]:
    """What happens here does not wait much longer than its limit, however busy the machine is."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < limit_s + PATIENCE_S


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    with serving(tmp_path / "device", {PHONE: "device"}) as fake:
        fake.root.mkdir()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(fake.port))
        monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "no-adb"))
        yield fake


@pytest.fixture
def phone(adb: FakeAdb) -> AdbDevice:
    return AdbDevice(PHONE, timeouts=PATIENT)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits seconds for a device's answer waits one."""
    monkeypatch.setattr(remote_shell, "PING_S", 1.0)
    monkeypatch.setattr(remote_shell, "CLEAN_UP_S", 1.0)


@pytest.fixture
def request_(request_for: Callable[..., RunRequest], tiny: Artifact) -> RunRequest:
    return request_for(tiny, MACHINE_ABI)


def planned(timeouts: Timeouts = PATIENT, *, reboot: bool = False) -> Plan:
    return Plan(
        schema_version=SCHEMA_VERSION,
        run="faults",
        utc="2026-11-23T12:00:00+00:00",
        commit=None,
        command="",
        devices=(PHONE,),
        cases=TURNS,
        seed=0,
        order=plan.sequential(TURNS, 1),
        limits=Limits(),
        timeout_s=PATIENCE_S,
        profile=False,
        counting=False,
        boards=1,
        checkpoints={},
        timeouts=timeouts,
        reboot=reboot,
    )


def measured(
    phone: AdbDevice,
    subject: ExportedNetwork,
    *,
    plan: Plan | None = None,
    timeouts_s: Sequence[float] = (),
    before_turn: Callable[[int], None] = lambda _: None,
    on_event: Callable[[wire.Event], None] = ignore,
    on_bytes: Callable[[int], None] = ignore,
    said: list[str] | None = None,
) -> list[Record]:
    """The records of a run of two cases; each attempt has one. `before_turn` gets the place of the turn.

    `timeouts_s` are the limits of the first attempts; the others have all the time they need.
    """
    kept: list[Record] = []
    planned_, limits_s = plan or planned(), iter(timeouts_s)

    def measure(turn, device):
        before_turn(turn.order)
        run = case.Run("faults", None, next(limits_s, PATIENCE_S))
        return case.measure(turn, subject, device, run, on_event=on_event, on_bytes=on_bytes)

    try:
        tell = (said if said is not None else []).append
        measure_all(planned_, planned_.case_rounds(), [phone], measure, kept.append, tell, Stop())
    finally:
        phone.close()
    return kept


def told(records: list[Record]) -> list[tuple[int, int, str]]:
    return [(one.order, one.attempt, one.status) for one in records]


def left(adb: FakeAdb) -> set[str]:
    """What lies on the device besides sets of files that are whole."""
    return {path.name for path in (adb.root / "tenpass").iterdir() if len(path.name) != 64} | {
        path.name for path in adb.root.iterdir() if path.name != "tenpass"
    }


# --- the table


def test_every_failure_has_a_status_that_names_who_raises_it_and_a_rule() -> None:
    def all_kinds(kind: type[DeviceError]) -> Iterator[type[DeviceError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from all_kinds(child)

    import harness.farm.device
    import harness.measure.replay  # noqa: F401 -- so has it

    raised = {
        (kind.status, kind.__module__.partition(".")[0])
        for kind in all_kinds(errors.DeviceError)
        if kind.__module__.startswith(("device.", "harness.")) and "status" in vars(kind)
    }
    raised |= {(status, "runner") for status in EXIT_STATUSES}
    raised |= {(status, "harness") for status in ("output_wrong", "export_failed")}  # these are no DeviceErrors
    assert raised == {(one.name, raiser) for one in STATUSES.values() for raiser in one.raised_by}
    assert set(RULES) == set(STATUSES)


def test_no_rule_without_a_meaning_and_only_what_can_be_mended_is_taken_again() -> None:
    assert all(rule.meaning for rule in RULES.values())
    again = {status for status, rule in RULES.items() if rule.then is Then.AGAIN}
    assert again == {"device_lost", "offline", "no_answer", "server_gone", "worker_lost", "push_corrupted"}


# --- the device goes away


@pytest.mark.parametrize(
    ("state", "repaired_by", "status"),
    [
        ("offline", ("host-serial:ABC123:reconnect",), "offline"),
        ("gone", (), "device_lost"),  # it is plugged in again
        (None, (), "device_lost"),  # the cable had a bad moment
    ],
)
def test_a_device_that_is_lost_during_the_passes_is_met_again_and_the_case_taken_again(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact, state: str | None, repaired_by: tuple[str, ...], status: str
) -> None:
    back_after_s = 0.5 if state == "gone" else None
    adb.faults = Faults(
        cut_after_passes=0, cuts=1, leave_when_cut=state, repaired_by=repaired_by, back_after_s=back_after_s
    )
    with within(PATIENT.reconnect_s):
        records = measured(phone, ExportedNetwork(tiny))
    assert told(records) == [(0, 1, status), (0, 2, "ok"), (1, 1, "ok")]
    assert not left(adb)


def test_a_device_that_stays_away_is_given_up_in_time_and_what_is_measured_is_kept(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    def unplug(order: int) -> None:
        if order == 1:
            adb.faults = Faults(cut_after_passes=0, leave_when_cut="gone")

    said: list[str] = []
    with within(IMPATIENT.reconnect_s):
        records = measured(phone, ExportedNetwork(tiny), plan=planned(IMPATIENT), before_turn=unplug, said=said)
    assert told(records) == [(0, 1, "ok"), (1, 1, "device_lost")]
    assert "given up" in said[-1]
    assert "--resume" in said[-1]


def test_what_a_device_that_was_given_up_has_left_is_unmeasured_and_not_failed(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    adb.faults = Faults(cut_after_passes=0, leave_when_cut="gone")
    assert told(measured(phone, ExportedNetwork(tiny), plan=planned(IMPATIENT))) == [(0, 1, "device_lost")]


def test_a_case_that_loses_the_device_each_time_is_let_go_after_three_attempts(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    def mend(order: int) -> None:
        adb.faults = Faults(cut_after_passes=0) if order == 0 else Faults()

    records = measured(phone, ExportedNetwork(tiny), before_turn=mend)
    assert told(records) == [(0, n, "device_lost") for n in (1, 2, 3)] + [(1, 1, "ok")]


def test_a_device_that_no_longer_trusts_this_machine_is_given_up_at_once(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    adb.faults = Faults(cut_after_passes=0, leave_when_cut="unauthorized")
    with within(0):
        records = measured(phone, ExportedNetwork(tiny), plan=planned(replace(PATIENT, reconnect_s=ENDLESS_S)))
    assert told(records) == [(0, 1, "unauthorised")]
    assert "USB debugging" in (records[0].error or "")


def test_another_device_under_the_same_serial_is_not_gone_on_with(phone: AdbDevice) -> None:
    phone._info = replace(phone.info, model="another phone")
    with pytest.raises(DeviceUnavailable, match="another device"):
        phone.reconnect(1)


def test_a_device_behind_tcp_is_connected_anew(adb: FakeAdb, tiny: Artifact) -> None:
    serial = "192.0.2.1:5555"
    adb.devices[serial] = "device"
    device = AdbDevice(serial, timeouts=PATIENT)
    adb.devices[serial] = "offline"
    adb.faults = Faults(repaired_by=(f"host:connect:{serial}",))
    device.reconnect(5)
    assert adb.requests.index(f"host:disconnect:{serial}") < adb.requests.index(f"host:connect:{serial}")


@pytest.mark.parametrize("reboot", [False, True])
def test_a_device_is_restarted_only_where_that_was_asked_for(phone: AdbDevice, adb: FakeAdb, reboot: bool) -> None:
    adb.faults = Faults(hang_on="echo here", repaired_by=("reboot:",))
    if reboot:
        phone.reconnect(PATIENCE_S, reboot_after_s=1)
    else:
        with pytest.raises(DeviceUnavailable, match="within 2 s"):
            phone.reconnect(2)
    assert ("reboot:" in adb.requests) == reboot


def test_who_ends_the_program_need_not_wait_for_a_device_to_come_back(phone: AdbDevice, adb: FakeAdb) -> None:
    del adb.devices[PHONE]
    threading.Timer(0.5, phone.close).start()
    with within(0), pytest.raises(DeviceUnavailable):
        phone.reconnect(ENDLESS_S)


# --- it hangs


def test_a_runner_that_hangs_is_ended_and_the_next_case_is_taken(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    def mend(order: int) -> None:
        adb.faults = Faults(instead_of_the_runner="while :; do sleep 0.2; done") if order == 0 else Faults()

    with within(1):
        records = measured(phone, ExportedNetwork(tiny), timeouts_s=[1], before_turn=mend)
    assert told(records) == [(0, 1, "timed_out"), (1, 1, "ok")]
    assert not left(adb)
    runs = re.findall(r"/run-[0-9a-f]{32}", " ".join(adb.commands))
    assert runs
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            line = path.read_bytes().decode(errors="replace")
            assert not any(run in line for run in runs)


def test_a_device_that_says_nothing_any_more_is_told_from_a_runner_that_hangs(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest, short: None
) -> None:
    phone.push(request_, ignore)
    adb.faults = Faults(hang_always=True)
    with within(1), pytest.raises(NoAnswer):
        phone.run(replace(request_, timeout_s=1), ignore)


def test_a_device_that_hangs_during_a_push_is_waited_for_so_long_as_a_push_may_take(
    adb: FakeAdb, request_: RunRequest, short: None
) -> None:
    phone = AdbDevice(PHONE, timeouts=replace(PATIENT, command_s=1, push_floor_bytes_per_s=100_000_000))
    adb.faults = Faults(hang_on="cat >")
    with within(2), pytest.raises(NoAnswer):
        phone.push(request_, ignore)


def test_a_device_that_hangs_and_recovers_is_gone_on_with(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact, short: None
) -> None:
    def freeze(order: int) -> None:
        if order == 1 and adb.requests.count("frozen") == 0:
            adb.requests.append("frozen")
            adb.faults = Faults(hang_always=True)
            threading.Timer(6, adb.repair).start()

    phone._timeouts = replace(PATIENT, command_s=4)
    phone.shell._timeouts = phone._timeouts
    records = measured(phone, ExportedNetwork(tiny), before_turn=freeze)
    assert told(records) == [(0, 1, "ok"), (1, 1, "no_answer"), (1, 2, "ok")]


def test_bytes_that_never_end_and_mean_nothing_do_not_lengthen_the_wait(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    phone.push(request_, ignore)
    adb.faults = Faults(trickle_s=0.02)
    with within(1), pytest.raises(errors.RunTimedOut):
        phone.run(replace(request_, timeout_s=1), ignore)


def test_a_device_that_says_more_than_anything_here_would_is_not_listened_to(phone: AdbDevice) -> None:
    with within(0), pytest.raises(DeviceLost, match="more than"):
        phone.shell.run("exec yes $(head -c 9999 /dev/zero | tr '\\0' y)")


# --- the adb server


@pytest.fixture
def default_phone(adb: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> AdbDevice:
    """A phone of the server that adb's own tools would start."""
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    monkeypatch.setattr(server, "_DEFAULT_PORT", adb.port)
    return AdbDevice(PHONE, timeouts=PATIENT)


@pytest.fixture
def adb_that_starts_the_server(adb: FakeAdb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for adb: asked to start a server, it notes that, and the fake one is back."""
    asked, script = tmp_path / "asked", tmp_path / "adb"
    script.write_text(f'#!/bin/sh\necho "$@" >> {asked}\nsleep 0.5\n')
    script.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(script))

    def wait() -> None:
        while not asked.exists():
            time.sleep(0.02)
        adb.start()

    threading.Thread(target=wait, daemon=True).start()
    return asked


def test_an_adb_server_that_goes_away_during_a_case_is_started_again_and_the_case_taken_again(
    default_phone: AdbDevice, adb: FakeAdb, tiny: Artifact, adb_that_starts_the_server: Path
) -> None:
    stopped = threading.Event()

    def stop(order: int) -> None:
        def during_the_run() -> None:
            while not any("--passes" in command for command in adb.commands):
                time.sleep(0.01)
            adb.stop()

        if not stopped.is_set():
            stopped.set()
            adb.faults = Faults(hang_on="--passes")
            threading.Thread(target=during_the_run, daemon=True).start()
        else:
            adb.faults = Faults()

    with within(PATIENT.reconnect_s):
        records = measured(default_phone, ExportedNetwork(tiny), before_turn=stop)
    assert told(records) == [(0, 1, "server_gone"), (0, 2, "ok"), (1, 1, "ok")]
    assert adb_that_starts_the_server.read_text().split() == ["-P", str(adb.port), "start-server"]


def test_a_server_that_runs_is_neither_ended_nor_started_again(phone: AdbDevice, adb: FakeAdb, tiny: Artifact) -> None:
    adb.faults = Faults(cut_after_passes=0, leave_when_cut="offline", repaired_by=("host-serial:",))
    measured(phone, ExportedNetwork(tiny))  # there is no adb to start one with
    assert not any(request.startswith(("host:kill", "host:reconnect-offline")) for request in adb.requests)


def test_without_a_server_and_without_adb_the_device_is_given_up_in_time(
    default_phone: AdbDevice, adb: FakeAdb
) -> None:
    adb.stop()
    with within(1), pytest.raises(DeviceUnavailable, match="ADBUTILS_ADB_PATH"):
        default_phone.reconnect(1)


def test_a_named_server_that_goes_away_is_waited_for_and_none_is_started(phone: AdbDevice, adb: FakeAdb) -> None:
    adb.stop()
    with within(1), pytest.raises(DeviceUnavailable, match="no adb server answers"):
        phone.reconnect(1)
    adb.start()
    phone.reconnect(PATIENCE_S)


def test_a_server_that_takes_requests_and_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, within(1), pytest.raises(ServerGone):
        server.listed(Server(silent.getsockname()[1]), limit_s=1)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"OKAYzzzz", b"FAILffff", b"OKAY", b""])
def test_what_is_no_adb_server_is_told_from_one(adb: FakeAdb, greeting: bytes) -> None:
    adb.faults = Faults(greeting=greeting)
    with within(2), pytest.raises(DeviceUnavailable):
        AdbDevice(PHONE, timeouts=PATIENT)


# --- the push


def test_a_connection_that_breaks_in_a_push_leaves_nothing_half_done_and_the_push_is_made_again(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    adb.faults = Faults(cut_after_pushed_bytes=1_000_000, leave_when_cut="gone", back_after_s=0.3)
    records = measured(phone, ExportedNetwork(tiny))
    assert told(records) == [(0, 1, "device_lost"), (0, 2, "ok"), (1, 1, "ok")]
    assert not left(adb)


def test_a_push_that_arrives_damaged_is_made_again(phone: AdbDevice, adb: FakeAdb, tiny: Artifact) -> None:
    adb.faults = Faults(corrupt_pushes=1)
    records = measured(phone, ExportedNetwork(tiny))
    assert told(records) == [(0, 1, "push_corrupted"), (0, 2, "ok"), (1, 1, "ok")]
    assert not left(adb)


def test_pushes_that_always_arrive_damaged_are_let_go_after_three_attempts(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact
) -> None:
    adb.faults = Faults(corrupt_pushes=1_000_000)
    records = measured(phone, ExportedNetwork(tiny))
    assert told(records) == [(order, n, "push_corrupted") for order in (0, 1) for n in (1, 2, 3)]


def test_a_full_device_fails_the_case_and_not_the_run(phone: AdbDevice, adb: FakeAdb, tiny: Artifact) -> None:
    adb.faults = Faults(free_kib=100)
    records = measured(phone, ExportedNetwork(tiny))
    assert told(records) == [(0, 1, "no_space"), (1, 1, "no_space")]
    assert "--clean-device" in (records[0].error or "")


# --- the runner


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("kill -9 $$", "out_of_memory", "SIGKILL"),
        ("kill -SEGV $$", "crashed", "SIGSEGV"),
        ("exit 3", "crashed", "exit status 3"),
        ("exit 0", "wire_broken", "ended early"),
        ("echo not the wire", "wire_broken", "not an event"),
        (
            """echo '{"event":"error","status":"unwritable","message":"output: No space left on device"}'; exit 14""",
            "no_space",
            "No space left",
        ),
        ("""echo '{"event":"error","status":"bad_model","message":"refused"}'; exit 11""", "bad_model", "refused"),
    ],
)
def test_how_a_runner_ends_is_named_and_the_next_case_is_taken(
    phone: AdbDevice, adb: FakeAdb, tiny: Artifact, script: str, status: str, words: str
) -> None:
    def mend(order: int) -> None:
        adb.faults = Faults(instead_of_the_runner=script) if order == 0 else Faults()

    records = measured(phone, ExportedNetwork(tiny), before_turn=mend)
    assert told(records) == [(0, 1, status), (1, 1, "ok")]
    assert words in (records[0].error or "")
    assert records[0].measurement is None
    assert not left(adb)


def test_a_wrong_output_is_no_time_and_the_next_case_is_taken(
    phone: AdbDevice, without_one_interlace: Artifact
) -> None:
    assert told(measured(phone, ExportedNetwork(without_one_interlace))) == [
        (0, 1, "output_wrong"),
        (1, 1, "output_wrong"),
    ]


# --- this machine's disk


@dataclass(frozen=True)
class OutputOnAFullDisk(ExportedNetwork):
    """Its output goes where each write says that there is no room."""

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        request, used = super().prepare(case, device, output)
        return replace(request, output_path=Path("/dev/full")), used


def test_a_full_disk_here_ends_the_run_and_says_so(phone: AdbDevice, tiny: Artifact) -> None:
    said: list[str] = []
    records = measured(phone, OutputOnAFullDisk(tiny), said=said)
    assert told(records) == [(0, 1, "host_disk_full")]
    assert "disk is full" in (records[0].error or "")
    assert "--resume" in said[-1]


def test_a_journal_that_cannot_be_written_ends_the_run_with_one_line_and_keeps_what_it_has(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses the write in the same place."""
    options = ["--device", "host", "--models", "clcnet-tiny", "--rounds", "3", "--passes", "20"]
    script = (
        "import resource, signal, harness.record.journal as records, harness.run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "append = records.Journal.append\n"
        "def limited(journal, record):\n"
        "    if journal.path.stat().st_size:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 1000, -1))\n"
        "    append(journal, record)\n"
        "records.Journal.append = limited\n"
        "harness.run.main()\n"
    )
    out = tmp_path / "run"
    argv = [sys.executable, "-c", script, *options, "--out", str(out)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert ended.returncode == EXIT_CASE_FAILED, ended.stderr
    assert "could not be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [one.status for one in journal.read(out)] == ["ok"]
    result = run("--resume", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert [one.round for one in journal.read(out)] == [0, 1, 2]


# --- one user per device


def test_a_device_in_use_is_refused_at_once_and_the_line_says_who_has_it(adb: FakeAdb, tmp_path: Path) -> None:
    with DeviceLock.take(PHONE):
        result = run("--device", PHONE, "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert f"process {os.getpid()} since " in result.stderr
    assert "--wait" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not adb.commands  # the device was left alone


def test_who_waits_is_told_for_whom_and_gets_the_device_when_it_is_free() -> None:
    held = DeviceLock.take("a phone")
    threading.Timer(0.5, held.release).start()
    said: list[str] = []
    with within(0), DeviceLock.take("a phone", wait_s=ENDLESS_S, on_wait=said.append):
        pass
    assert len(said) == 1
    assert f"process {os.getpid()}" in said[0]


def test_who_waits_does_not_wait_for_ever() -> None:
    with DeviceLock.take("a phone"), within(0.5), pytest.raises(DeviceBusy, match=r"waited 0\.5 s"):
        DeviceLock.take("a phone", wait_s=0.5)


def test_other_devices_are_not_locked() -> None:
    with DeviceLock.take("one"), DeviceLock.take("another"), DeviceLock.take("o/n\n$(e)"):
        pass


def test_the_lock_of_a_program_that_is_killed_is_free_even_if_its_children_live() -> None:
    script = (
        "import subprocess, time; from device.lock import DeviceLock; lock = DeviceLock.take('a phone')\n"
        "child = subprocess.Popen(['sleep', '900']); print(child.pid, flush=True); time.sleep(900)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(DeviceBusy, match=f"process {holder.pid} "):
                DeviceLock.take("a phone")
            holder.send_signal(signal.SIGKILL)
            with DeviceLock.take("a phone", wait_s=PATIENCE_S):
                pass
        finally:
            holder.kill()
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("how", ["symlink", "open to all"])
def test_a_folder_for_locks_that_others_could_meddle_with_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = tmp_path / "locks"
    if how == "symlink":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    monkeypatch.setenv("TENPASS_LOCKS", str(folder))
    with pytest.raises(DeviceUnavailable, match="TENPASS_LOCKS"):
        DeviceLock.take("a phone")


def test_a_lock_file_that_is_a_link_is_refused_and_what_it_points_to_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, victim = tmp_path / "locks", tmp_path / "victim"
    folder.mkdir(mode=0o700)
    victim.write_text("precious")
    monkeypatch.setenv("TENPASS_LOCKS", str(folder))
    with DeviceLock.take("a phone"):
        (lock,) = folder.iterdir()
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(DeviceUnavailable, match="cannot be locked"):
        DeviceLock.take("a phone")
    assert victim.read_text() == "precious"


# --- what an earlier run left


def test_a_runner_of_ours_from_an_earlier_run_is_ended_and_anything_else_left_alone(
    phone: AdbDevice, adb: FakeAdb
) -> None:
    ours = adb.root / "tenpass" / ("ab" * 32) / "runner"
    others = adb.root / "somebody" / "tenpass" / "runner"
    for program in (ours, others):
        program.parent.mkdir(parents=True)
        shutil.copy(shutil.which("sleep") or "", program)
    with (
        subprocess.Popen([ours, "900"]) as stale,
        subprocess.Popen([others, "900"]) as foreign,
        subprocess.Popen(["tail", "-f", ours], stdout=subprocess.DEVNULL) as named,  # only speaks of it
    ):
        try:
            phone.take_over()
            assert stale.wait(PATIENCE_S) == -signal.SIGKILL
            assert foreign.poll() is None
            assert named.poll() is None
        finally:
            for process in (stale, foreign, named):
                process.kill()


def test_what_an_earlier_run_left_half_done_is_removed_and_what_is_whole_stays(phone: AdbDevice, adb: FakeAdb) -> None:
    whole = adb.root / "tenpass" / ("ab" * 32)
    for folder in (whole, whole.with_suffix(".partial-12345678"), whole.with_name("run-0123")):
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
    phone.take_over()
    assert list((adb.root / "tenpass").iterdir()) == [whole]


# --- the folder on the device


def cached(adb: FakeAdb, name: str, *, used_days_ago: float | None, kib: int = 4) -> Path:
    folder = adb.root / "tenpass" / name
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(os.urandom(kib * 1024))
    if used_days_ago is not None:
        (folder / ".used").write_text(f"{int(time.time() - used_days_ago * 86400)}\n")
    return folder


def test_what_has_not_been_used_for_long_goes_and_what_is_not_ours_stays(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest
) -> None:
    phone.push(request_, ignore)
    needed = set((adb.root / "tenpass").iterdir())
    for folder in needed:
        (folder / ".used").write_text("1\n")  # long ago, and still in use
    fresh, old = cached(adb, "ab" * 32, used_days_ago=29), cached(adb, "cd" * 32, used_days_ago=31)
    unknown, foreign = cached(adb, "ef" * 32, used_days_ago=None), cached(adb, "notes", used_days_ago=99)
    outside = adb.root / ("ab" * 32)
    outside.mkdir()
    phone.close()
    assert set((adb.root / "tenpass").iterdir()) == needed | {fresh, foreign}
    assert not old.exists()
    assert not unknown.exists()
    assert outside.exists()


def test_the_oldest_go_when_all_that_is_kept_grows_too_large(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CACHE_MAX_BYTES", 250 * 1024)
    phone.push(request_, ignore)
    folders = [cached(adb, f"{days:02d}" * 32, used_days_ago=days, kib=100) for days in (3, 1, 2)]
    phone.close()
    assert [folder.exists() for folder in folders] == [False, True, True]


def test_room_is_made_for_a_push_by_what_is_used_least(phone: AdbDevice, adb: FakeAdb, request_: RunRequest) -> None:
    old, new = cached(adb, "ab" * 32, used_days_ago=2, kib=2000), cached(adb, "cd" * 32, used_days_ago=1)
    adb.faults = Faults(free_kib=request_.bundle.size_bytes // 1024)  # a megabyte too little
    with pytest.raises(NoSpace):  # the fake's df says the same afterwards
        phone.push(request_, ignore)
    assert not old.exists()
    assert new.exists()


def test_a_push_marks_what_is_there_as_used(phone: AdbDevice, adb: FakeAdb, request_: RunRequest) -> None:
    phone.push(request_, ignore)
    for mark in (adb.root / "tenpass").glob("*/.used"):
        mark.write_text("1\n")
    assert AdbDevice(PHONE).push(request_, ignore) == 0
    marks = list((adb.root / "tenpass").glob("*/.used"))
    assert len(marks) == 3
    assert all(int(mark.read_text()) > time.time() - 60 for mark in marks)


def test_clean_device_removes_our_folder_and_nothing_else(adb: FakeAdb) -> None:
    cached(adb, "ab" * 32, used_days_ago=1)
    (adb.root / "theirs").mkdir()
    (adb.root / "tenpass" / "link").symlink_to(adb.root / "theirs")
    (adb.root / "theirs" / "file").write_text("precious")
    result = run("--device", PHONE, "--clean-device")
    assert result.exit_code == EXIT_OK, result.stderr
    assert [path.name for path in adb.root.iterdir()] == ["theirs"]
    assert (adb.root / "theirs" / "file").read_text() == "precious"


# --- names


NASTY = [
    "a b",
    "it's",
    'say "x"',
    "two\nlines",
    "; touch owned",
    "$(touch owned)",
    "`touch owned`",
    "-rf",
    "--",
    "*",
    "\\",
    "&",
    "ünïcode 網路",
    "~",
    "#",
    "\t",
    "a\rb",
    "\udc80\udcff",  # bytes that are no UTF-8
]


def pushed_and_read_back(adb: FakeAdb, device: AdbDevice, names: list[str], folder: Path) -> None:
    shutil.rmtree(adb.root / "tenpass", ignore_errors=True)
    files = []
    for number, name in enumerate(names):
        source = folder / str(number)
        source.write_bytes(os.urandom(50) + os.fsencode(name))
        files.append(replace(local_file(source), name=name))
    request = RunRequest(
        Bundle(MACHINE_ABI, "onnxruntime", "", "tenpass-onnxruntime", tuple(files)),
        (files[0],),
        (InputTensor("float32", (), files[-1]),),
        folder / "o",
    )
    outside = {path.name for path in adb.root.parent.iterdir()}
    device.push(request, ignore)
    there = {path.name for path in (adb.root / "tenpass" / cache.digest_of(tuple(files))).iterdir()}
    assert there == {*names, ".used"}
    for file in files:
        path = adb.root / "tenpass" / cache.digest_of(tuple(files)) / file.name
        assert path.read_bytes() == file.path.read_bytes()
    assert device.push(request, ignore) == 0
    assert [path.name for path in adb.root.iterdir()] == ["tenpass"]
    assert all(len(path.name) == 64 for path in (adb.root / "tenpass").iterdir())
    assert {path.name for path in adb.root.parent.iterdir()} == outside


def test_names_that_a_shell_would_take_for_something_else_are_names(
    phone: AdbDevice, adb: FakeAdb, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pushed_and_read_back(adb, phone, NASTY, tmp_path_factory.mktemp("sources"))


_SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="/\0") | st.sampled_from(
    "'\"\\$`;&|<>*?[]{}()!~#- \n\t\r=%\udc80\udcfe"
)
_NAMES = st.text(_SIGNS, min_size=1, max_size=40).filter(lambda name: name not in (".", "..", ".used"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(_NAMES, min_size=1, max_size=3, unique=True))
def test_a_file_of_any_name_arrives_under_that_name_and_nothing_else_happens(
    phone: AdbDevice, adb: FakeAdb, tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    pushed_and_read_back(adb, phone, names, tmp_path_factory.mktemp("sources"))


@pytest.mark.parametrize("name", ["", ".", "..", "../../outside", "a/b", "nul\0", ".used", "x" * 256])
def test_a_name_that_would_leave_its_folder_is_refused(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest, name: str
) -> None:
    request = replace(request_, model_files=(replace(request_.model_files[0], name=name),))
    with pytest.raises(PushFailed, match="no name"):
        phone.push(request, ignore)
    assert not list(adb.root.iterdir())


@pytest.mark.parametrize("serial", ["; touch owned", "$(touch owned)", "-s", "a\nb", "網", "a:kill", "x" * 300])
def test_a_serial_is_never_more_than_a_serial(adb: FakeAdb, serial: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceUnavailable, match="no device"):
        AdbDevice(serial)
    adb.devices[serial] = "device"
    if "\n" not in serial:  # adb's list has a device a line
        assert AdbDevice(serial).info.serial == serial
        assert f"host:transport:{serial}" in adb.requests
    assert not (tmp_path / "owned").exists()
    assert not any("owned" in command for command in adb.commands)


def test_what_the_runner_is_told_is_quoted(
    phone: AdbDevice, adb: FakeAdb, request_: RunRequest, tmp_path: Path
) -> None:
    named = replace(request_.model_files[0], name="$(touch owned); 'model\n.onnx")
    request = replace(request_, model_files=(named,), timeout_s=PATIENCE_S)
    phone.push(request, ignore)
    phone.run(request, ignore)
    assert not list(tmp_path.rglob("owned"))


# --- Ctrl-C


def test_ctrl_c_ends_the_runner_on_the_device_and_prints_the_table(adb: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--device", PHONE, "--models", "clcnet-tiny,mobilenet", "--passes", "1500", "--out", str(out)]
    with subprocess.Popen(
        [*HEARS_CTRL_C, sys.executable, "-m", "harness.run", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and sum("--passes" in command for command in adb.commands) < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == EXIT_CASE_FAILED, stderr
    assert [one.case.model for one in journal.read(out)] == ["clcnet-tiny"]
    assert "clcNet-tiny" in stdout
    assert "not measured: mobilenet" in stderr
    assert not left(adb)
    assert not runners(adb.root)


def runners(root: Path) -> list[str]:
    """Programs from below this folder that run."""
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            found += [str(link.readlink())]
    return [name for name in found if name.startswith(f"{root}/")]


# --- the whole program


def test_a_run_that_lost_its_device_is_whole_after_resume(adb: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    adb.faults = Faults(cut_after_passes=1, leave_when_cut="gone")
    options = ["--device", PHONE, "--models", "clcnet-tiny", "--threads", "1,2", "--passes", "3", "--out", str(out)]
    with within(30):
        result = run(*options, "--reconnect-timeout", "1")
    assert result.exit_code == EXIT_CASE_FAILED
    assert "failed: clcnet-tiny-grouped-onnxruntime-t1: device_lost" in result.stderr
    assert "not measured: clcnet-tiny-grouped-onnxruntime-t2" in result.stderr
    adb.repair()
    result = run("--resume", str(out), "--reconnect-timeout", str(PATIENCE_S))
    assert result.exit_code == EXIT_OK, result.stderr
    assert [(one.case.threads, one.status) for one in journal.read(out)] == [(1, "ok"), (2, "ok")]
    statuses = [line.count('"device_lost"') for line in (out / journal.FILE_NAME).read_text().splitlines()]
    assert statuses == [1, 0, 0]  # what happened stays in the file


def test_a_device_that_does_not_answer_at_the_start_is_unavailable_in_time(adb: FakeAdb, tmp_path: Path) -> None:
    adb.faults = Faults(hang_always=True)
    with within(20):
        result = run(
            "--device", PHONE, "--models", "clcnet-tiny", "--command-timeout", "1", "--out", str(tmp_path / "run")
        )
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "no answer within 1 s" in result.stderr


def test_what_is_out_of_room_is_sorted_by_where_the_room_lacked() -> None:
    failed = errors.RunnerFailed("unwritable", "output: No space left on device")
    assert isinstance(runner_call.as_full_disk(failed, errors.HostDiskFull), errors.HostDiskFull)
    other = errors.RunnerFailed("unwritable", "output: Permission denied")
    assert runner_call.as_full_disk(other, errors.HostDiskFull) is other


def test_the_policys_table_has_a_row_for_each_rule() -> None:
    assert policy.table().count("\n") == len(RULES) + 2
