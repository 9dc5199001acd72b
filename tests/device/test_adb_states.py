"""The ways of adb: the states a device can be in, serials that several have or that hold spaces, old Androids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import run
from fake_adb import FakeAdb, Phone
from hypothesis import given
from hypothesis import strategies as st
from programs import PATIENCE_S

from device.adb import server as adb_server
from device.adb.device import AdbDevice
from device.adb.server import Attached, Server
from device.errors import DeviceError, DeviceNotChosen, DeviceUnavailable
from harness.record import journal
from harness.record.errors import EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE

SEE = "see [http://developer.android.com/tools/device.html]"
CHEAP = "0123456789ABCDEF"

#: Each state that adb has a word for (and what older ones say), with what the line about it must say.
STATES = {
    "offline": "plug it in again",
    "unauthorized": "accept the USB debugging question",
    "authorizing": "wait a moment",
    "connecting": "wait a moment",
    "recovery": "adb reboot",
    "sideload": "adb reboot",
    "rescue": "adb reboot",
    "bootloader": "fastboot reboot",
    "host": "no device",
    "detached": "adb attach",
    "no device": "plug it in again",
    "unknown": "adb devices -l",
    f"no permissions (missing udev rules? user is in the plugdev group); {SEE}": SEE,
    f"no permissions (user in plugdev group; are your udev rules wrong?); {SEE}": "udev rules wrong?",
    f"no permissions (user me is not in the plugdev group); {SEE}": "not in the plugdev group",
    f"no permissions (verify udev rules); {SEE}": "verify udev rules",
    f"no permissions; {SEE}": "add a udev rule",
    "no permissions": "add a udev rule",
}
SERIALS = (
    "R58M",
    "192.168.1.7:5555",
    "emulator-5554",
    "adb-R58M-x1y2z3._adb-tls-connect._tcp",
    "adb-R58M-x1y2z3 (2)._adb-tls-connect._tcp",
    "[fe80::1%eth0]:5555",
    "a device offline (3)",
)


@pytest.mark.parametrize("serial", ["R58M", SERIALS[4]], ids=["usb", "mdns"])
@pytest.mark.parametrize(("state", "advice"), STATES.items())
def test_a_state_is_one_clear_line_with_what_to_do(
    adb: FakeAdb, tmp_path: Path, serial: str, state: str, advice: str
) -> None:
    adb.devices[serial] = state
    with pytest.raises(DeviceUnavailable) as caught:
        AdbDevice(serial, server=Server(adb.port))
    assert f"device {serial!r} is {state}: " in str(caught.value)
    assert advice in str(caught.value)
    listed = run("--list-devices").stdout.splitlines()[0]
    assert listed.startswith(serial)
    assert state in listed
    assert advice in listed


@pytest.mark.parametrize("state", ["authorizing", "recovery", f"no permissions (verify udev rules); {SEE}"])
def test_a_run_with_it_ends_with_one_line(adb: FakeAdb, tmp_path: Path, state: str) -> None:
    adb.devices["R58M"] = state
    result = run("--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert result.stderr.count("\n") == 1
    assert f"device 'R58M' is {state}: " in result.stderr
    assert STATES[state] in result.stderr


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("device still authorizing", "wait a moment"),
        ("device still connecting", "wait a moment"),
        ("device offline", "plug it in again"),
        ("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "accept the USB debugging question"),
        (
            "insufficient permissions for device: missing udev rules? user is in the plugdev group\n"
            "See [http://developer.android.com/tools/device.html] for more information",
            "tools/device.html] for more information: this user may not open it: add a udev rule",
        ),
        ("device 'offline-1' not found", "see `adb devices`"),
        ("", "no reason given"),
    ],
)
def test_what_a_server_says_when_it_refuses_is_kept_with_what_to_do(said: str, words: str) -> None:
    assert words in str(adb_server._refusal(said))


# --- lists of devices


@st.composite
def lists(draw: st.DrawFn) -> list[tuple[str, str, str, str]]:
    """Devices: serial, state, USB port or nothing, and what else the long list says of them."""
    word = st.text("abcXYZ019-_.", min_size=1, max_size=24)
    serial = st.one_of(st.sampled_from([*SERIALS, CHEAP, "(no serial number)"]), word)
    state = st.sampled_from([*STATES, "device", "device"])
    port = st.sampled_from(["", "usb:1-4", "usb:2-1.3", "usb:337641472X"])
    facts = st.sampled_from(["", " product:dream lte model:SM_G950F device:dreamlte", " product:x", " device:y"])
    return draw(st.lists(st.tuples(serial, state, port, facts), max_size=6))


@given(lists())
def test_any_list_is_read_as_it_was_meant(devices: list[tuple[str, str, str, str]]) -> None:
    short = [(serial, state) for serial, state, _, _ in devices]
    long = [
        f"{serial:<22} {state}{port and f' {port}'}{facts} transport_id:{number}"
        for number, (serial, state, port, facts) in enumerate(devices, 1)
    ]
    shared = {serial for serial, _ in short if [one for one, _ in short].count(serial) > 1}
    found = list(adb_server._told_apart(short, shared, list(long)))
    assert [(one.serial, one.state) for one in found] == short
    assert [one.path or "" for one in found] == [port for _, _, port, _ in devices]
    assert [one.transport_id for one in found] == [str(number) for number in range(1, len(devices) + 1)]


@pytest.mark.parametrize(
    ("line", "path", "number"),
    [
        ("8XV5T15A20012345       device usb:1-1.2 product:ANE-LX1 model:ANE_LX1 transport_id:1", "usb:1-1.2", "1"),
        ("emulator-5554          device product:sdk model:Android_SDK device:generic transport_id:12", None, "12"),
        (f"862736adf              no permissions (wrong?); {SEE} usb:1-3 transport_id:3", "usb:1-3", "3"),
        # https://github.com/quamotion/madb/pull/141, https://github.com/M0Rf30/android-udev-rules/issues/345
        (
            f"009d1cd696d5194a       no permissions (user in plugdev group; are your udev rules wrong?); {SEE}",
            None,
            None,
        ),
        (
            f"ABC                    no permissions (missing udev rules? user is in the plugdev group); {SEE}",
            None,
            None,
        ),
        ("R58M                   unauthorized usb:3-2 transport_id:7", "usb:3-2", "7"),
        ("016B75D60A00600D       device usb:2-5 product:mysid model:Galaxy_Nexus device:toro", "usb:2-5", None),
        ("016B75D60A00600D       device", None, None),
        ("adb-2233fd19-9mU6UL (2)._adb-tls-connect._tcp device product:p model:m device:d transport_id:4", None, "4"),
    ],
)
def test_lines_as_adbs_of_all_ages_print_them(line: str, path: str | None, number: str | None) -> None:
    found = re.match(r"(.*?\S) +(device|unauthorized|no permissions.*?\])(?: |$)", line)
    assert found
    (one,) = adb_server._told_apart([(found[1], found[2])], set(), [line])
    assert (one.path, one.transport_id) == (path, number)


# --- two phones with one serial


@pytest.fixture
def twins(adb: FakeAdb, tmp_path: Path) -> FakeAdb:
    for port in ("usb:1-4", "usb:1-5"):
        adb.devices[port] = "device"
        adb.phones[port] = Phone(CHEAP, properties={"ro.serialno": CHEAP, "ro.product.model": f"at {port}"})
    return adb


def test_phones_with_one_serial_are_listed_apart_with_their_transport_ids(twins: FakeAdb) -> None:
    first, second, *_ = run("--list-devices").stdout.splitlines()
    assert first.split()[0] == "usb:1-4"
    assert second.split()[0] == "usb:1-5"
    assert f"(serial {CHEAP}, transport id 1)" in first
    assert f"(serial {CHEAP}, transport id 2)" in second


def test_their_serial_alone_is_refused_with_the_names_to_choose_from(twins: FakeAdb, tmp_path: Path) -> None:
    twins.devices["usb:1-5"] = "unauthorized"
    result = run("--device", CHEAP, "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "usb:1-4 (device) or usb:1-5 (unauthorized)" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "port"), [("usb:1-4", "usb:1-4"), ("usb:1-5", "usb:1-5"), ("transport_id:2", "usb:1-5")]
)
def test_each_is_chosen_by_its_port_or_its_transport_id(twins: FakeAdb, name: str, port: str) -> None:
    assert AdbDevice(name, server=Server(twins.port)).info.model == f"at {port}"


def test_both_are_measured_in_one_run(twins: FakeAdb, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert {(one.device.serial, one.device.model) for one in journal.read(out)} == {
        ("usb:1-4", "at usb:1-4"),
        ("usb:1-5", "at usb:1-5"),
    }


def test_one_that_comes_back_has_another_transport_id_and_is_met_again(twins: FakeAdb) -> None:
    device = AdbDevice("usb:1-4", server=Server(twins.port))
    first = twins.devices.pop("usb:1-4")
    twins.devices["usb:1-4"] = first  # the last one now
    device.reconnect(PATIENCE_S)
    assert device.shell.device.transport_id == "2"
    assert "at usb:1-4" in device.shell.ask("getprop ro.product.model")


def test_one_that_comes_back_at_another_port_is_told_by_what_it_says(twins: FakeAdb) -> None:
    device = AdbDevice("usb:1-4", server=Server(twins.port))
    twins.phones["usb:1-9"] = twins.phones["usb:1-4"]
    twins.phones["usb:1-9"].boot_id = f"{twins.port} usb:1-4"
    del twins.devices["usb:1-4"]
    twins.devices["usb:1-9"] = "device"
    device.reconnect(PATIENCE_S)
    assert device.serial == "usb:1-9"


def test_a_second_phone_with_the_serial_does_not_take_the_first_ones_place(adb: FakeAdb) -> None:
    adb.devices[CHEAP] = "device"
    device = AdbDevice(CHEAP, server=Server(adb.port))
    adb.phones["usb:1-5"] = Phone(CHEAP)
    adb.phones["usb:1-4"] = Phone(CHEAP, f"{adb.port} {CHEAP}")
    adb.devices = {"usb:1-5": "device", "usb:1-4": "device"}
    with pytest.raises(DeviceError, match="more than one device"):
        device.state()
    device.reconnect(PATIENCE_S)
    assert device.serial == "usb:1-4"


def test_phones_without_a_serial_are_called_by_their_port(adb: FakeAdb) -> None:
    adb.devices["usb:1-4"] = "device"
    adb.phones["usb:1-4"] = Phone("(no serial number)")
    assert run("--list-devices").stdout.startswith("usb:1-4 ")
    assert AdbDevice("usb:1-4", server=Server(adb.port)).serial == "usb:1-4"
    with pytest.raises(DeviceUnavailable, match=r"adb lists usb:1-4 \(device\)"):
        AdbDevice("OTHER", server=Server(adb.port))


def test_where_adb_knows_no_transport_ids_the_port_is_asked_for() -> None:
    (one, _) = adb_server._told_apart(
        [(CHEAP, "device")] * 2, {CHEAP}, [f"{CHEAP:<22} device usb:1-4", f"{CHEAP:<22} device usb:1-5"]
    )
    assert (one.name, one.transport) == ("usb:1-4", "host:transport:usb:1-4")
    assert one.asking("reconnect") == "host-serial:usb:1-4:reconnect"


def test_a_name_that_two_have_is_refused_by_every_caller(twins: FakeAdb) -> None:
    with pytest.raises(DeviceNotChosen, match="2 devices have the serial"):
        adb_server.require_usable(CHEAP, Server(twins.port))


# --- serials with spaces


@pytest.mark.parametrize("serial", SERIALS)
def test_a_device_is_measured_whatever_its_serial_holds(adb: FakeAdb, tmp_path: Path, serial: str) -> None:
    adb.devices[serial] = "device"
    device = AdbDevice(serial, server=Server(adb.port))
    assert device.info.serial == serial
    device.reconnect(PATIENCE_S)
    assert run("--list-devices").stdout.startswith(f"{serial:<24} adb: device\n")


def test_a_service_of_mdns_is_measured(adb: FakeAdb, tmp_path: Path) -> None:
    adb.devices[SERIALS[4]] = "device"
    out = tmp_path / "run"
    result = run("--device", "all", "--models", "clcnet-tiny", "--passes", "2", "--out", str(out))
    assert result.exit_code == EXIT_OK, result.stderr
    assert [(one.device.serial, one.status) for one in journal.read(out)] == [(SERIALS[4], "ok")]
    assert "adb-R58M-x1y2z3 (2)" in (out / "report.md").read_text().replace("\\", "")


@pytest.mark.parametrize("back_as", [SERIALS[3], SERIALS[4], SERIALS[4].replace("(2)", "(3)")])
@pytest.mark.parametrize("left_as", [SERIALS[3], SERIALS[4]])
def test_a_service_of_mdns_comes_back_under_another_number(adb: FakeAdb, left_as: str, back_as: str) -> None:
    adb.devices[left_as] = "device"
    device = AdbDevice(left_as, server=Server(adb.port))
    del adb.devices[left_as]
    adb.devices["adb-OTHER-abcdef (2)._adb-tls-connect._tcp"] = "device"
    adb.devices[back_as] = "device"
    device.reconnect(PATIENCE_S)
    assert device.serial == back_as
    assert device.info.serial == left_as  # what records call it


def test_a_service_that_has_gone_is_connected_to_by_its_name(adb: FakeAdb) -> None:
    adb_server.rejoin(Attached(SERIALS[4]), Server(adb.port), PATIENCE_S)
    assert adb.requests == [f"host:disconnect:{SERIALS[4]}", f"host:connect:{SERIALS[4]}"]


# --- Android before 7.0


@pytest.mark.parametrize(
    ("release", "words"),
    [("6.0.1", "R58M: Android 6.0.1 is too old"), ("4.4.2", "Android 4.4.2 is too old"), ("", "its adbd is too old")],
)
def test_a_device_without_shell_protocol_2_is_refused_with_the_android_it_is(
    adb: FakeAdb, tmp_path: Path, release: str, words: str
) -> None:
    adb.devices["R58M"] = "device"
    adb.phones["R58M"] = Phone(properties={"ro.build.version.release": release}, shell_v2=False)
    result = run("--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert "Android 7.0" in result.stderr
