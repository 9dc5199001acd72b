"""What a device's doctor finds, on devices with real faults, and that its report tells nothing of its owner."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_adb import PHONE, FakeAdb, Faults, Phone, serving
from hypothesis import given
from hypothesis import strategies as st
from synthetic import BOARD

from device import open as openers
from device.adb.server import Server
from device.board.definitions import definitions
from device.device import Device, Opening
from device.errors import DeviceUnavailable
from device.host import HostDevice
from device.lock import DeviceLock
from device.open import Opener
from device.records import DeviceInfo, DeviceState
from harness.cli import doctor as command
from harness.record.errors import EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE
from harness.study import doctor
from harness.study.doctor import Check, Seen

NETWORK_SERIAL = "192.168.77.20:5555"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeAdb]:
    (root := tmp_path / "tmp").mkdir()
    with serving(root, {PHONE: "device"}) as server:
        yield server


def ask(fake: FakeAdb, *arguments: str) -> Result:
    result = CliRunner().invoke(command.main, ["--adb-server", f"127.0.0.1:{fake.port}", *arguments])
    assert not isinstance(result.exception, AssertionError | KeyError | ValueError), result.exception
    return result


def checks(result: Result, device: int = -1) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(result.stdout)["checkups"][device]["checks"]}


def is_complete(result: Result) -> None:
    """Each check that is not well says what to do, and lines fit into 80 columns."""
    for checkup in json.loads(result.stdout)["checkups"]:
        for check in checkup["checks"]:
            assert check["found"], check
            assert check["status"] == "ok" or len(check["advice"]) > 10, check


def test_a_device_that_is_well_can_be_run_on(fake: FakeAdb) -> None:
    result = ask(fake, "--device", PHONE, "--json")
    assert result.exit_code == EXIT_OK, result.output
    found = checks(result)
    assert list(found)[:5] == ["connection", "system", "ABI", "room", "runner"]
    assert {found[name]["status"] for name in ("connection", "system", "ABI", "room", "runner", "cores")} == {"ok"}
    assert "were pushed" in found["runner"]["found"]
    assert "nothing had to be pushed" in checks(ask(fake, "--device", PHONE, "--json"))["runner"]["found"]
    is_complete(result)


@pytest.mark.parametrize(
    ("state", "faults", "check", "exit_code", "found", "advice"),
    [
        ("unauthorized", Faults(), "connection", 3, "unauthorized", "accept the USB debugging question"),
        ("offline", Faults(), "connection", 3, "offline", "plug it in again"),
        pytest.param("recovery", Faults(), "connection", 3, "recovery", "adb reboot", marks=pytest.mark.long),
        ("no permissions (user me is not in the plugdev group)", Faults(), "connection", 3, "permissions", "udev rule"),
        ("device", Faults(forbidden="mkdir"), "room", 1, "Permission denied", "write there"),
        ("device", Faults(free_kib=1000), "room", 1, "1.0 MB are free", "make room"),
        ("device", Faults(no_space=True), "runner", 1, "No space left", "make room"),
        (
            "device",
            Faults(instead_of_the_runner="echo 'sh: runner: Permission denied' >&2; exit 126"),
            "runner",
            1,
            "126",
            "mounted noexec",
        ),
        pytest.param(
            "device", Faults(instead_of_the_runner="exit 127"), "runner", 1, "127", "this ABI", marks=pytest.mark.long
        ),
        ("device", Faults(instead_of_the_runner="kill -ILL $$"), "runner", 1, "SIGILL", "report this"),
        pytest.param(
            "device",
            Faults(cut_after_passes=1, leave_when_cut="offline"),
            "runner",
            3,
            "offline",
            "plug it in again",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "device",
            Faults(corrupt_pushes=1),
            "runner",
            1,
            "arrived other than",
            "check the cable",
            marks=pytest.mark.long,
        ),
    ],
)
def test_each_fault_is_found_where_it_is_with_what_to_do(
    fake: FakeAdb, state: str, faults: Faults, check: str, exit_code: int, found: str, advice: str
) -> None:
    fake.devices[PHONE] = state
    fake.faults = faults
    result = ask(fake, "--device", PHONE, "--json")
    assert result.exit_code == exit_code, result.output
    failed = [one for one in checks(result).values() if one["status"] == "failed"]
    assert [one["name"] for one in failed] == [check]
    assert found in failed[0]["found"]
    assert advice in failed[0]["advice"]
    is_complete(result)
    text = ask(fake, "--device", PHONE)
    assert text.exit_code in (exit_code, EXIT_OK)  # a push that was corrupted once
    for shown in (result.stdout, text.stdout):
        assert PHONE not in shown
    assert all(len(line) <= 80 for line in text.stdout.splitlines())
    assert "\x1b" not in text.stdout


def test_a_phone_without_zones_or_clocks_is_warned_of_and_one_with_them_tells_them(tmp_path: Path) -> None:
    for number, (kind, temp) in enumerate([("cpu-0-0-usr", "41200"), ("battery", "30000")]):
        (zone := tmp_path / f"with/class/thermal/thermal_zone{number}").mkdir(parents=True)
        (zone / "type").write_text(kind)
        (zone / "temp").write_text(temp)
    cpus = tmp_path / "with/devices/system/cpu"
    (cpus / "cpu0/cpufreq").mkdir(parents=True)
    for name, text in {"present": "0-1", "online": "0"}.items():
        (cpus / name).write_text(text)
    for name, text in {"scaling_governor": "powersave", "scaling_cur_freq": "300000"}.items():
        (cpus / "cpu0/cpufreq" / name).write_text(text)
    (tmp_path / "without").mkdir()
    (root := tmp_path / "tmp").mkdir()
    phones = {name: Phone(sysfs=tmp_path / name, boot_id=name) for name in ("with", "without")}
    with serving(root, dict.fromkeys(phones, "device"), apart=True, phones=phones) as fake:
        for name in phones:
            (root / name).mkdir()
        result = ask(fake, "--device", "all", "--json")
    assert result.exit_code == EXIT_OK, result.output
    assert [one["device"] for one in json.loads(result.stdout)["checkups"]] == [doctor.ADB, "phone 1", "phone 2"]
    first, second = checks(result, 1), checks(result, 2)
    assert first["temperature"] == {
        "name": "temperature",
        "status": "ok",
        "found": "41.2 °C counts (cpu-0-0-usr (0)); all, in °C: cpu-0-0-usr (0) 41.2, battery (1) 30.0",
        "advice": "",
    }
    assert "switched off now: 1" in first["cores"]["found"]
    assert "MHz now: 300" in first["clocks"]["found"]
    assert (second["temperature"]["status"], second["clocks"]["status"]) == ("warning", "warning")
    is_complete(result)


def test_of_several_devices_each_has_its_report_and_the_worst_counts(tmp_path: Path) -> None:
    (root := tmp_path / "tmp").mkdir()
    with serving(root, {PHONE: "device", NETWORK_SERIAL: "offline", "R58M": "unauthorized"}) as fake:
        result = ask(fake)
        named = ask(fake, "--serials")
        twice = ask(fake, "--device", PHONE, "--device", "host")
    assert (result.exit_code, named.exit_code, twice.exit_code) == (3, 3, EXIT_OK)
    assert "it lists 1 ready, 1 offline, 1 unauthorized" in result.stdout
    for name in (PHONE, NETWORK_SERIAL, "R58M"):
        assert name not in result.stdout
        assert name in named.stdout
    assert re.findall("^(phone .|host)$", result.stdout + twice.stdout, re.MULTILINE) == [
        *("phone 1", "phone 2", "phone 3"),
        *("phone 1", "host"),
    ]


@pytest.mark.parametrize("arguments", [(), ("--device", "all")])
def test_where_nothing_is_attached_adb_is_examined_and_no_board_is_booted(
    fake: FakeAdb, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.devices.clear()
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    result = ask(fake, *arguments, "--json")
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    (only,) = json.loads(result.stdout)["checkups"]
    assert only["device"] == doctor.ADB
    assert checks(result)["server"]["found"] == "no device is attached"
    assert "USB debugging" in checks(result)["server"]["advice"]


def test_an_adb_server_that_is_not_there_is_said_so(fake: FakeAdb) -> None:
    fake.stop()
    result = ask(fake, "--device", PHONE, "--json")
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "no adb server answers" in checks(result, 0)["server"]["found"]
    assert "start-server" in checks(result, 0)["server"]["advice"]


def test_a_device_that_hangs_is_given_up(fake: FakeAdb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TIMEOUTS", replace(doctor.TIMEOUTS, command_s=0.5))
    fake.faults.hang_always = True
    result = ask(fake, "--device", PHONE, "--json")
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "is the device awake" in checks(result)["connection"]["advice"]


def test_a_device_that_another_run_has_is_not_taken_from_it(fake: FakeAdb) -> None:
    with DeviceLock.take(PHONE):
        result = ask(fake, "--device", PHONE, "--json")
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    assert "another run has it" in checks(result)["connection"]["found"]
    assert checks(result)["connection"]["advice"] == "wait until that run is done, or end it"


def unreachable(name: str, _opening: Opening) -> list[Device]:
    host = name.partition("@")[2]
    raise DeviceUnavailable(f"{name}: ssh: connect to host {host} port 22: No route to host; is it switched on?")


def test_a_kind_of_device_that_is_registered_is_examined_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {
        "near:": Opener("board", lambda _name, _opening: [HostDevice()]),
        "far:": Opener("board", unreachable),
    }
    monkeypatch.setattr(openers, "_OPENERS", openers._OPENERS | kinds)
    names = ["near:jane@pi.example.org", "far:jane@192.0.2.7"]
    result = CliRunner().invoke(command.main, [*(f"--device={name}" for name in names), "--json"])
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE, result.output
    assert [one["device"] for one in json.loads(result.stdout)["checkups"]] == ["board 1", "board 2"]
    assert checks(result, 0)["runner"]["status"] == "ok"
    assert checks(result, 1)["connection"] == {
        "name": "connection",
        "status": "failed",
        "found": "ssh: connect to host HOST port 22: No route to host",
        "advice": "is it switched on?",
    }
    assert not [word for word in ("jane", "example", "192.0.2.7") if word in result.stdout]


def test_this_machine_is_examined_like_any_device() -> None:
    result = CliRunner().invoke(command.main, ["--device", "host", "--json"])
    assert result.exit_code == EXIT_OK, result.output
    assert [one["device"] for one in json.loads(result.stdout)["checkups"]] == ["host"]
    is_complete(result)


@pytest.mark.parametrize("name", ["replay:results/example", "board:none"])
def test_what_cannot_be_examined_is_refused(name: str) -> None:
    result = CliRunner().invoke(command.main, ["--device", name])
    assert result.exit_code in (EXIT_USAGE, EXIT_DEVICE_UNAVAILABLE)
    assert name in result.output


HARDWARE = replace(BOARD, kind="phone", clock="wall", machine="aarch64", abi="arm64-v8a")
CALM = DeviceState({}, (), (), None, None, None, None, None)


@pytest.mark.parametrize(
    ("name", "state", "status", "words"),
    [
        ("battery", replace(CALM, battery_percent=12, charging=True), "warning", "12 %, charging"),
        ("battery", replace(CALM, battery_percent=80, power_save=True), "warning", "power saving is on"),
        ("battery", replace(CALM, battery_percent=80, battery_celsius=31.5), "ok", "80 %, 31.5 °C"),
        ("screen", replace(CALM, screen_on=True, foreground_app="org.example.secret"), "warning", "an app in front"),
        ("screen", replace(CALM, screen_on=True, foreground_app="com.miui.home"), "ok", "home screen"),
        ("screen", replace(CALM, screen_on=False), "ok", "off"),
        ("clocks", replace(CALM, governors=("powersave",)), "warning", "powersave"),
        ("clocks", replace(CALM, governors=("schedutil",) * 4, clocks_khz=(1_800_000,) * 4), "ok", "4 x schedutil"),
        ("clocks", CALM, "warning", "no clocks"),
        ("temperature", CALM, "warning", "no temperature"),
        ("temperature", replace(CALM, battery_celsius=30.0), "ok", "30.0 °C counts (battery)"),
        ("temperature", replace(CALM, temperatures_celsius={"cpu": 60.0}, thermal_status=2), "warning", "moderate"),
        ("temperature", replace(CALM, temperatures_celsius={f"z{n}": 30.0 for n in range(90)}), "ok", "and 66 more"),
        ("load", replace(CALM, load_average=9.0), "warning", "9.00"),
        ("load", replace(CALM, load_average=0.1), "ok", "0.10"),
    ],
)
def test_conditions_are_judged_as_in_a_run(name: str, state: DeviceState, status: str, words: str) -> None:
    found = {check.name: check for make in doctor.CONDITIONS if (check := make(Seen(HARDWARE, state)))}
    assert found[name].status == status
    assert words in found[name].found
    assert "secret" not in found[name].found
    assert bool(found[name].advice) == (status != "ok")


@pytest.mark.parametrize(
    ("info", "check"),
    [
        (replace(HARDWARE, cores=()), "cores"),
        (replace(HARDWARE, clock="emulated"), "system"),
    ],
)
def test_what_a_device_is_may_be_a_warning_too(info: DeviceInfo, check: str) -> None:
    makes = (doctor.system, *doctor.CONDITIONS)
    found = {one.name: one for make in makes if (one := make(Seen(info, CALM)))}
    assert found[check].status == "warning"


def test_what_stands_in_an_error_is_named_in_its_place() -> None:
    words = {"ABC": "phone 1"}
    said = doctor.without(
        words, Check("room", "failed", "ABC: cannot make /data/local/tmp/tenpass: No room", "see ABC")
    )
    assert (said.found, said.advice) == ("phone 1: cannot make /data/local/tmp/tenpass: No room", "see phone 1")


def test_what_a_device_says_cannot_steer_a_terminal_or_fill_it() -> None:
    hostile = replace(HARDWARE, model="\x1b[2J\nok\u202e" + "x" * 100_000)
    found = doctor.system(Seen(hostile, CALM)).found
    assert found.isprintable()
    assert len(found) < 20_000


@pytest.mark.board
@pytest.mark.long
@pytest.mark.parametrize("name", definitions())
def test_each_board_is_fit(name: str) -> None:
    result = CliRunner().invoke(command.main, ["--device", f"board:{name}", "--json"])
    assert result.exit_code == EXIT_OK, result.output
    assert [one["device"] for one in json.loads(result.stdout)["checkups"]] == [f"board:{name}"]
    is_complete(result)


names = st.sampled_from(
    ["R58M12ABC", NETWORK_SERIAL, "adb-R58M-x1._adb-tls-connect._tcp", "ssh:jane@pi.example.org:22", "usb:1-4.2"]
)


@given(
    names,
    st.sampled_from(
        [
            "device {!r} is offline: unplug {} and plug it in again",
            "{}: cannot make the folder; see {}",
            "no device {!r}: adb lists {} (offline), R58M12ABC (device)",
            "jane@pi.example.org: Permission denied (publickey) by {} (10.1.2.3 port 22)",
            "ssh: connect to host pi.example.org port 22: Connection refused",
            "/home/jane/.ssh/known_hosts:3: the key of {} has changed: fe80::1%eth0",
            "{}({})",
        ]
    ),
)
def test_no_message_tells_of_a_person_or_a_place(name: str, message: str) -> None:
    words = doctor.private_words({name: "device 1"}, Server(1)) | {"R58M12ABC": "another device"}
    said = doctor.without(words, Check("connection", "failed", message.replace("{!r}", repr(name)).replace("{}", name)))
    for secret in (name, "R58M12ABC", "jane", "example.org", "10.1.2.3", "192.168", "fe80"):
        assert secret not in said.found, said.found
