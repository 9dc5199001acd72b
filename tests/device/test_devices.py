"""Several devices in one run: at the same time, none held up by another, and adb servers on other machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from fake_adb import FakeAdb, Faults, serving
from programs import PATIENCE_S

from device import open as opening_devices
from device.adb.server import Server, parse_server
from device.device import Device, Opening
from device.errors import DeviceUnavailable
from device.open import choose, described
from harness.measure.device import Stop
from harness.record import journal, plan
from harness.record.errors import EXIT_CASE_FAILED, EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE

SHELF = [("shelf:3", "a made-up kind")]
SERIALS = ("FIRST", "SECOND", "THIRD")


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdb]:
    """An adb server with three devices, each with a folder of its own."""
    root = tmp_path / "devices"
    for serial in SERIALS:
        (root / serial).mkdir(parents=True)
    with serving(root, dict.fromkeys(SERIALS, "device"), apart=True) as fake:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(fake.port))
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)
        yield fake


def measured(folder: Path) -> set[tuple[str, str]]:
    return {(record.device.serial, record.status) for record in journal.read(folder)}


def test_all_attached_devices_are_measured_in_one_run(adb: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "2", "--rounds", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    records = journal.read(out)
    assert sorted((one.device.serial, one.round) for one in records) == [(s, r) for s in SERIALS for r in (0, 1)]
    assert all(one.status == "ok" for one in records)
    planned = plan.read(out)
    assert planned.devices == SERIALS
    assert {name: info.serial for name, info in planned.device_infos.items()} == {name: name for name in SERIALS}
    assert all(serial in (out / "report.md").read_text() for serial in SERIALS)


def test_devices_are_measured_at_the_same_time(adb: FakeAdb, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    # Each runner waits until there are three; in turn, the first would wait for ever. It fails after that.
    adb.faults = Faults(
        instead_of_the_runner=f"touch {meeting}/$$; until [ $(ls {meeting} | wc -l) = 3 ]; do sleep 0.05; done; exit 9"
    )
    run(
        "--device", "all", "--models", "clcnet-tiny", "--passes", "1", "--timeout", "30", "--out", str(tmp_path / "run")
    )
    assert measured(tmp_path / "run") == {(serial, "crashed") for serial in SERIALS}


def test_a_device_that_cannot_be_used_holds_up_no_other_and_is_told_of(adb: FakeAdb, tmp_path: Path) -> None:
    adb.devices["SECOND"] = "unauthorized"
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "1", "--out", str(out))
    assert result.exit_code == EXIT_CASE_FAILED
    assert measured(out) == {("FIRST", "ok"), ("THIRD", "ok")}
    assert [line for line in result.stderr.splitlines() if "SECOND" in line and "accept the USB debugging" in line]

    adb.devices["SECOND"] = "device"
    adb.commands.clear()
    assert run("--resume", str(out)).exit_code == EXIT_OK
    assert measured(out) == {(serial, "ok") for serial in SERIALS}
    assert sum("--passes" in command for command in adb.commands) == 1  # what was measured is not measured again


def test_when_no_device_can_be_used_nothing_is_left_behind(adb: FakeAdb, tmp_path: Path) -> None:
    adb.devices |= dict.fromkeys(SERIALS, "offline")
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--out", str(out))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "offline" in result.stderr
    assert not out.exists()


def test_a_device_that_is_lost_leaves_the_others_alone(adb: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    adb.faults = Faults(cut_after_passes=0, cuts=1)  # the first that gets so far, each time it tries
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr  # its case was taken again
    assert measured(out) == {(serial, "ok") for serial in SERIALS}
    attempts = [json.loads(line)["attempt"] for line in (out / journal.FILE_NAME).read_text().splitlines()]
    assert sorted(attempts) == [1, 1, 1, 2]


def test_a_device_is_taken_once_however_often_it_is_named(adb: FakeAdb) -> None:
    assert choose(["SECOND", "all", "SECOND"]) == ("SECOND", "FIRST", "THIRD")


def test_all_of_no_devices_is_an_error(adb: FakeAdb) -> None:
    adb.devices.clear()
    with pytest.raises(DeviceUnavailable, match="no device is attached"):
        choose(["all"])


def test_a_recording_is_played_alone(tmp_path: Path) -> None:
    result = run("--device", "replay:results/example", "--device", "host", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "a recording is played alone" in result.stderr


def test_ctrl_c_ends_all_devices_and_keeps_what_is_finished(adb: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    adb.faults = Faults(instead_of_the_runner="while :; do sleep 0.1; done")
    command = [sys.executable, "-m", "harness.run", "--device", "all", "--models", "clcnet-tiny", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            while sum("--passes" in one for one in adb.commands) < len(SERIALS):
                assert process.poll() is None
                time.sleep(0.05)
            process.terminate()
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == EXIT_CASE_FAILED
    assert "--resume goes on" in said
    assert journal.read(out) == []


# --- the adb server of another machine


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.168.1.20:5038", Server(5038, "192.168.1.20")),
        ("lab-pc", Server(5037, "lab-pc")),
        ("[fe80::1]:5037", Server(5037, "fe80::1")),
    ],
)
def test_an_adb_server_is_named_by_host_and_port(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["", ":5037", "host:", "host:0", "host:65536", "host:x", "a b:1", "fe80::1"])
def test_what_names_no_adb_server_is_refused_in_one_line(text: str) -> None:
    result = run("--adb-server", text, "--list-devices")
    assert result.exit_code == EXIT_USAGE
    assert "is not HOST:PORT" in result.stderr.splitlines()[-1]


def test_devices_behind_a_named_adb_server_are_measured(
    adb: FakeAdb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")  # where nothing answers
    server, out = f"127.0.0.1:{adb.port}", tmp_path / "run"
    assert "SECOND" in run("--adb-server", server, "--list-devices").stdout
    result = run("--adb-server", server, "--device", "SECOND", "--models", "clcnet-tiny", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert measured(out) == {("SECOND", "ok")}


def test_an_adb_server_of_another_machine_is_not_started_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADBUTILS_ADB_PATH", os.devnull)
    result = run("--adb-server", "127.0.0.2:1", "--list-devices")  # not this machine's own address: nothing is there
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "127.0.0.2:1" in result.stderr
    assert "start-server" in result.stderr


# --- stopping


def test_what_is_opened_after_a_stop_is_closed_at_once() -> None:
    stop, closed = Stop(), []
    with stop.closes(lambda: closed.append("first")):
        stop.set()
        assert closed == ["first"]
        with stop.closes(lambda: closed.append("second")):
            assert closed == ["first", "second"]


def test_what_has_ended_is_not_closed_by_a_stop() -> None:
    stop, closed = Stop(), []
    with stop.closes(lambda: closed.append("it")):
        pass
    stop.set()
    assert not closed


def test_a_kind_of_device_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def open_it(name: str, opening: Opening) -> list[Device]:
        asked.append((name, opening.count))
        return []

    monkeypatch.setattr(opening_devices, "_OPENERS", dict(opening_devices._OPENERS))
    opening_devices.register(
        "shelf:",
        opening_devices.Opener(
            "board", open_it, needs_lock=False, is_deterministic=lambda name: name == "shelf:3", listed=lambda _: SHELF
        ),
    )
    assert opening_devices.open_devices("shelf:3", Opening(2)) == []
    assert asked == [("shelf:3", 2)]
    assert [opening_devices.is_deterministic(name) for name in ("shelf:3", "shelf:3@worker", "shelf:4")] == [
        *(True, True, False)
    ]
    assert set(SHELF) < set(opening_devices.listed())
    with opening_devices.reserve("shelf:3"), opening_devices.reserve("shelf:3"):
        pass  # nobody sees to a lock


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("host", "host"), ("host@worker", "host"), ("board:cortex-a7", "board"), ("board:none", "board")),
        *(("R58M", "phone"), ("192.168.1.7:5555", "phone"), ("hostess", "phone"), ("host:1", "phone"), ("", "phone")),
    ],
)
def test_a_name_says_what_kind_of_device_it_is(name: str, kind: str) -> None:
    assert opening_devices.opener_of(name).kind == kind


def test_what_is_known_of_a_device_before_it_is_opened() -> None:
    """A farm's host is another machine than this one."""
    known = {name: described(name) for name in ("host", "board:cortex-a53@w1", "host@tcp://127.0.0.1:1", "R58M12")}
    assert [info and info.kind for info in known.values()] == ["host", "board", None, None]
    board = known["board:cortex-a53@w1"]
    assert board is not None
    assert (board.abi, len(board.cores), board.clock) == ("arm64-v8a", 1, "estimated")
    assert str(board.chip) == "BCM2837B0 at 1.4 GHz"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("board:cortex-a7", "board:mt6580"),
        ("board:cortex-a53", "board:bcm2837b0"),
        ("board:cortex-a53@w1", "board:bcm2837b0@w1"),
        *((name, name) for name in ("board:mt6580", "board:imx7d", "board:none", "board:cortex-a76", "board:")),
        *((name, name) for name in ("host", "host@w1", "cortex-a7", "R58M12", "ssh:pi@cortex-a7", "all")),
    ],
)
def test_a_device_has_one_name_whatever_it_was_called(name: str, own: str) -> None:
    assert opening_devices.canonical(name) == own


def test_a_chip_that_is_named_twice_is_taken_once_under_its_own_name() -> None:
    names = ["board:cortex-a7", "board:mt6580", "board:imx7d"]
    assert opening_devices.choose(names) == ("board:mt6580", "board:imx7d")
