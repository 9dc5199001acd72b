"""What devices say of themselves: real answers' shapes, and nothing invented where they are silent."""

from __future__ import annotations

import pytest

from device import probe
from device.errors import DeviceError
from device.host import HostDevice

PHONE = """\
@@ machine
armv7l
@@ kernel
Linux 3.10.72
@@ prop ro.product.model
BLU Advance 5.2
@@ prop ro.product.cpu.abi
armeabi-v7a
@@ prop ro.soc.model
@@ prop ro.board.platform
mt6580
@@ prop ro.build.version.release
7.0
@@ prop ro.tenpass.clock
@@ prop ro.tenpass.board
@@ prop ro.kernel.qemu
@@ prop ro.boot.qemu
@@ cpuinfo
processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xc07

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xc07
@@ meminfo
MemTotal:        1004068 kB
@@ os
@@ tree

@@ max_khz
/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:1300000
@@ end
"""

CONDITIONS = """\
@@ zone_type
/sys/class/thermal/thermal_zone0/type:mtktscpu
/sys/class/thermal/thermal_zone1/type:battery
@@ zone_temp
/sys/class/thermal/thermal_zone0/temp:41500
/sys/class/thermal/thermal_zone1/temp:33
@@ khz
/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq:1300000
@@ governor
/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:interactive
@@ cpus
0-1
@@ load
2.50 1.10 0.70 1/300 1234
@@ meminfo
MemTotal:        1004068 kB
MemAvailable:     500000 kB
@@ battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  level: 87
  temperature: 312
@@ end
"""


def test_a_phone_is_described_by_its_properties_and_cores() -> None:
    info = probe.info(PHONE, serial="ABC", kind="phone")
    assert (info.kind, info.clock, info.abi, info.soc) == ("phone", "wall", "armeabi-v7a", "mt6580")
    assert info.model == "BLU Advance 5.2"
    assert info.os == "Android 7.0, Linux 3.10.72"
    assert [(core.part, core.max_khz) for core in info.cores] == [("Cortex-A7", 1_300_000), ("Cortex-A7", None)]
    assert info.ram_bytes == 1004068 * 1024


@pytest.mark.parametrize(
    ("prop", "value", "clock"),
    [
        ("ro.tenpass.clock", "instructions", "instructions"),
        ("ro.tenpass.clock", "emulated", "emulated"),
        ("ro.kernel.qemu", "1", "emulated"),
        ("ro.boot.qemu", "1", "emulated"),
    ],
)
def test_an_emulator_is_known_as_one_however_it_is_reached(prop: str, value: str, clock: str) -> None:
    answer = PHONE.replace(f"@@ prop {prop}\n", f"@@ prop {prop}\n{value}\n")
    info = probe.info(answer, serial="127.0.0.1:5555", kind="phone")
    assert (info.kind, info.clock) == ("board", clock)


def test_a_part_that_is_in_no_list_keeps_its_number() -> None:
    info = probe.info(PHONE.replace("0xc07", "0xfff"), serial="ABC", kind="phone")
    assert info.cores[0].part == "part 0xfff of 0x41"


def test_a_machine_without_a_runner_is_refused_by_name() -> None:
    answer = PHONE.replace("armeabi-v7a\n", "").replace("armv7l", "mips")
    with pytest.raises(DeviceError, match="'mips'"):
        probe.info(answer, serial="ABC", kind="phone")


def test_conditions_are_read_with_their_units() -> None:
    state = probe.state(CONDITIONS, serial="ABC")
    assert state.temperatures_celsius == {"mtktscpu (0)": 41.5, "battery (1)": 33.0}
    assert state.clocks_khz == (1_300_000, None)
    assert state.governors == ("interactive", None)
    assert (state.battery_percent, state.battery_celsius, state.charging) == (87, 31.2, True)
    assert (state.load_average, state.free_ram_bytes) == (2.5, 500000 * 1024)


def test_what_a_device_does_not_tell_is_unknown_never_zero() -> None:
    silent = "".join(line + "\n" for line in CONDITIONS.splitlines() if line.startswith("@@"))
    state = probe.state(silent, serial="ABC")
    assert state.temperatures_celsius == {}
    assert (state.battery_percent, state.battery_celsius, state.charging) == (None, None, None)
    assert (state.load_average, state.free_ram_bytes) == (None, None)


@pytest.mark.parametrize("read", [probe.info, probe.state])
def test_an_answer_that_is_cut_short_is_an_error(read) -> None:
    with pytest.raises(DeviceError, match="cut short"):
        read("@@ machine\narmv7l\n", serial="ABC", **({"kind": "phone"} if read is probe.info else {}))


def test_this_machine_describes_itself() -> None:
    host = HostDevice()
    assert (host.info.kind, host.info.clock) == ("host", "wall")
    assert host.info.cores
    assert (host.state().free_ram_bytes or 0) > 0
