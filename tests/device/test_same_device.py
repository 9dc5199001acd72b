"""One device under several names is one device: measured once, and never by two runs at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import run
from fake_adb import FakeAdb, Faults, Phone
from programs import PATIENCE_S

from device.adb.device import AdbDevice
from device.adb.server import Server
from device.device import Opening
from device.errors import DeviceBusy, DeviceNotChosen, DeviceUnavailable
from device.open import choose, one_name_each, open_devices
from device.probe import Identity
from device.timeouts import Timeouts
from harness.record import journal, plan
from harness.record.errors import EXIT_OK, EXIT_USAGE

MDNS = "adb-R58M-x1y2z3._adb-tls-connect._tcp"
MDNS_AGAIN = "adb-R58M-x1y2z3 (2)._adb-tls-connect._tcp"

#: The names of one phone, the one that is kept of them all first.
WAYS = (
    ("R58M", "192.168.1.7:5555"),
    ("127.0.0.1:40001", "localhost:40001"),
    ("R58M", MDNS, "192.168.1.7:37571"),
    (MDNS, MDNS_AGAIN),
    ("usb:1-4", "192.168.1.7:5555"),
)


def attach(adb: FakeAdb, *names: str, boot_id: str = "first boot", serialno: str = "R58M") -> None:
    """One phone, under all these names."""
    adb.devices |= dict.fromkeys(names, "device")
    serial = serialno if any(name.startswith("usb:") for name in names) else None
    for name in names:
        called = serial if name.startswith("usb:") else None
        adb.phones[name] = Phone(called, boot_id, {"ro.serialno": serialno} if serialno else {})


@pytest.mark.parametrize("names", WAYS, ids=" ".join)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("serialno", ["R58M", ""], ids=["phone", "board"])
def test_all_takes_a_device_once_and_says_so(
    adb: FakeAdb, names: tuple[str, ...], backwards: bool, serialno: str
) -> None:
    listed = names[::-1] if backwards else names
    attach(adb, *listed, serialno=serialno)
    attach(adb, "OTHER", boot_id="other", serialno=serialno)
    said: list[str] = []
    chosen = choose(["all"], say=said.append)
    assert len(chosen) == 2
    assert "OTHER" in chosen
    assert len(said) == len(names) - 1
    (kept,) = set(chosen) - {"OTHER"}
    assert all(f"taken once, as {kept}" in words for words in said)
    if ":" not in names[0] and "_tcp" not in names[0]:
        assert kept == names[0]  # USB's, which is steadier


@pytest.mark.parametrize("names", WAYS, ids=" ".join)
def test_a_phone_that_is_attached_twice_and_not_named_is_the_one_attached(adb: FakeAdb, names: tuple[str, ...]) -> None:
    attach(adb, *names)
    (chosen,) = choose(())
    assert chosen in (*names, "R58M")


@pytest.mark.parametrize("names", WAYS, ids=" ".join)
def test_a_device_that_is_named_twice_is_a_usage_error(adb: FakeAdb, names: tuple[str, ...], tmp_path: Path) -> None:
    attach(adb, *names)
    options = [word for name in names for word in ("--device", name)]
    result = run(*options, "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "are the same device; name one of them" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_name_that_was_said_is_the_one_that_stays(adb: FakeAdb) -> None:
    attach(adb, "R58M", "192.168.1.7:5555")
    assert choose(["192.168.1.7:5555", "all"]) == ("192.168.1.7:5555",)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Phone("0123456789ABCDEF", "one boot"), Phone("0123456789ABCDEF", "another boot")),  # cheap phones
        (Phone(None, "shared kernel", {"ro.serialno": "A"}), Phone(None, "shared kernel", {"ro.serialno": "B"})),
        (Phone(None, "", {"ro.serialno": "A"}), Phone(None, "", {"ro.serialno": "A"})),  # nobody can tell
    ],
)
def test_two_devices_stay_two(adb: FakeAdb, first: Phone, second: Phone) -> None:
    names = ("usb:1-4", "usb:1-5")
    adb.devices |= dict.fromkeys(names, "device")
    adb.phones |= dict(zip(names, (first, second), strict=True))
    assert choose(["all"]) == names
    assert choose(names) == names


def test_one_that_cannot_be_asked_stays_and_holds_nobody_up(adb: FakeAdb) -> None:
    attach(adb, "R58M", "192.168.1.7:5555")
    adb.devices["192.168.1.7:5555"] = "offline"
    assert choose(["all"]) == ("R58M", "192.168.1.7:5555")


def test_a_phone_on_usb_and_tcp_has_one_column(adb: FakeAdb, tmp_path: Path) -> None:
    attach(adb, "R58M", "192.168.1.7:5555")
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert "192.168.1.7:5555 is the same device as R58M" in result.stderr
    assert {(one.device.serial, one.status) for one in journal.read(out)} == {("R58M", "ok")}
    assert plan.read(out).devices == ("R58M",)
    assert sum("--passes" in command for command in adb.commands) == 1


# --- the lock


def test_under_another_name_it_is_in_use_all_the_same(adb: FakeAdb) -> None:
    attach(adb, "R58M", "192.168.1.7:5555")
    (holder,) = open_devices("R58M")
    adb.commands.clear()
    with pytest.raises(DeviceBusy, match=r"192\.168\.1\.7:5555: another run has it \(process \d+"):
        open_devices("192.168.1.7:5555")
    assert not any("kill" in command for command in adb.commands)  # of the other's runner
    heard: list[str] = []
    opened: list[object] = []
    opening = Opening(wait_s=PATIENCE_S, on_wait=heard.append)
    waiting = threading.Thread(target=lambda: opened.extend(open_devices("192.168.1.7:5555", opening)))
    waiting.start()
    while not heard:
        assert waiting.is_alive()
    holder.close()
    waiting.join(PATIENCE_S)
    assert len(opened) == 1
    opened[0].close()


def test_two_processes_with_different_names_for_one_phone_wait_for_each_other(adb: FakeAdb, tmp_path: Path) -> None:
    attach(adb, "127.0.0.1:40001", "localhost:40001")
    adb.faults = Faults(instead_of_the_runner="while :; do sleep 0.1; done")
    command = [sys.executable, "-m", "harness.run", "--device", "127.0.0.1:40001", "--models", "clcnet-tiny"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "first")], stderr=subprocess.DEVNULL) as first:
        try:
            while not any("--passes" in one for one in adb.commands):
                assert first.poll() is None
            out = str(tmp_path / "second")
            result = run("--device", "localhost:40001", "--models", "clcnet-tiny", "--out", out)
            assert f"another run has it (process {first.pid}" in result.stderr
            assert first.poll() is None
            assert sum("--passes" in one for one in adb.commands) == 1
        finally:
            first.kill()


def test_a_device_that_was_booted_anew_is_locked_as_what_it_is_now(adb: FakeAdb) -> None:
    attach(adb, "R58M", "192.168.1.7:5555")
    (device,) = open_devices("R58M")
    attach(adb, "R58M", "192.168.1.7:5555", boot_id="second boot")
    device.reconnect(PATIENCE_S)
    with pytest.raises(DeviceBusy):
        open_devices("192.168.1.7:5555")
    device.close()
    open_devices("192.168.1.7:5555")[0].close()


def test_another_phone_of_the_same_kind_that_comes_back_is_noticed(adb: FakeAdb) -> None:
    attach(adb, "192.168.1.7:5555")
    device = AdbDevice("192.168.1.7:5555", server=Server(adb.port))
    attach(adb, "192.168.1.7:5555", serialno="ANOTHER", boot_id="another")
    with pytest.raises(DeviceUnavailable, match="another device"):
        device.reconnect(PATIENCE_S)


def test_devices_of_a_farm_are_told_apart_by_the_same_rule() -> None:
    phone, other = Identity("R58M", "first"), Identity("R58M", "second")
    known = {"192.168.1.7:5555@one": phone, "R58M@two": phone, "R58M@three": other, "X": None, "Y": None}
    said: list[str] = []
    assert one_name_each(tuple(known), known, ["all"], said.append) == ("R58M@two", "R58M@three", "X", "Y")
    assert len(said) == 1
    with pytest.raises(DeviceNotChosen):
        one_name_each(tuple(known), known, ["R58M@two", "192.168.1.7:5555@one"], said.append)


def test_a_device_that_hangs_is_not_waited_for_longer_than_a_moment(
    adb: FakeAdb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("device.remote.shell.PING_S", 0.2)
    attach(adb, "R58M", "192.168.1.7:5555")
    adb.faults.hang_always = True
    assert choose(["all"]) == ("R58M", "192.168.1.7:5555")


def test_opening_one_that_is_already_open_frees_nothing(adb: FakeAdb) -> None:
    attach(adb, "R58M")
    device = AdbDevice("R58M", server=Server(adb.port), timeouts=Timeouts())
    device.reserve()
    device.reserve()
    device.close()
    device.close()
    (again,) = open_devices("R58M")
    again.close()
