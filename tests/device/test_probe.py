"""What devices say of themselves: real answers' shapes, and nothing invented where they are silent."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import emulators, probe
from device.errors import DeviceError
from device.host import HostDevice
from device.records import DeviceState, Kind
from toolchain import compile as compiling

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
@@ prop ro.hardware
mt6580
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

@@ cpus
present:0-1
cpu0/cpufreq/cpuinfo_max_freq:1300000
@@ end
"""

#: A Raspberry Pi 5 as the host, shortened: of its four cores two.
RASPBERRY_PI = """\
@@ machine
aarch64
@@ kernel
Linux 6.12.34+rpt-rpi-2712
@@ cpuinfo
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

processor\t: 1
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: d04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
@@ meminfo
MemTotal:        8256528 kB
@@ architecture
aarch64
@@ os
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
@@ tree
Raspberry Pi 5 Model B Rev 1.0 \n\
@@ cpus
present:0-1
cpu0/cpufreq/cpuinfo_max_freq:2400000
cpu1/cpufreq/cpuinfo_max_freq:2400000
cpu0/regs/identification/midr_el1:0x00000000414fd0b1
@@ end
"""

#: A phone of two clusters whose big cores are switched off: only their policy still tells of them.
HALF_ASLEEP = PHONE.replace(
    """\
present:0-1
cpu0/cpufreq/cpuinfo_max_freq:1300000
""",
    """\
present:0-3
cpu0/cpufreq/cpuinfo_max_freq:1800000
cpu1/cpufreq/cpuinfo_max_freq:1800000
cpu0/regs/identification/midr_el1:0x00000000411fd050
cpu3/regs/identification/midr_el1:0x00000000414fd0b1
cpufreq/policy0/related_cpus:0 1
cpufreq/policy2/related_cpus:2 3
cpufreq/policy0/cpuinfo_max_freq:1800000
cpufreq/policy2/cpuinfo_max_freq:2400000
""",
)

CONDITIONS = """\
@@ files
/sys/class/thermal/thermal_zone0/type:mtktscpu
/sys/class/thermal/thermal_zone1/type:battery
/sys/class/thermal/thermal_zone0/temp:41500
/sys/class/thermal/thermal_zone1/temp:33
/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq:1300000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor:interactive
/sys/devices/system/cpu/present:0-1
/proc/loadavg:2.50 1.10 0.70 1/300 1234
/proc/meminfo:MemTotal:        1004068 kB
/proc/meminfo:MemAvailable:     500000 kB
@@ battery
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4150
  temperature: 312
  technology: Li-ion
@@ thermal
@@ power
@@ front
@@ low_power
null
@@ end
"""

#: As Android 10 to 15 print it. The cached temperatures are older than the current ones, and come first.
THERMAL_SERVICE = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 1
Cached temperatures:
\tTemperature{mValue=71.0, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=36.5, mType=3, mName=skin, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 1  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=44.3, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=38.0, mType=3, mName=skin, mStatus=1}
\tTemperature{mValue=41.25, mType=13, mName=soc top, mStatus=0}
\tTemperature{mValue=40.0, mType=-1, mName=quiet, mStatus=0}
\tTemperature{mValue=-99.9, mType=5, mName=PA, mStatus=0}
\tTemperature{mValue=NaN, mType=9, mName=NPU, mStatus=0}
\tTemperature{mValue=1.0E10, mType=1, mName=GPU, mStatus=0}
\tTemperature{mValue=87.0, mType=8, mName=bcl_soc, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=cpufreq-0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=skin, mHotThrottlingThresholds=[NaN, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0]}
"""


def with_property(prop: str, value: str) -> str:
    """PHONE with this value instead of its own."""
    before, _, after = PHONE.partition(f"@@ prop {prop}\n")
    if not after:
        return PHONE.replace("@@ cpuinfo", f"@@ prop {prop}\n{value}\n@@ cpuinfo")
    return f"{before}@@ prop {prop}\n{value}\n@@ {after.partition('@@ ')[2]}"


def conditions(**sections: str) -> str:
    """CONDITIONS with these sections instead of its own."""
    answer = CONDITIONS
    for name, body in sections.items():
        before, _, after = answer.partition(f"@@ {name}\n")
        answer = f"{before}@@ {name}\n{body}\n@@ {after.partition('@@ ')[2]}"
    return answer


def zones(**temperatures: str) -> str:
    """The files section with these thermal zones."""
    numbered = [
        f"/sys/class/thermal/thermal_zone{index}/{file}:{text}"
        for index, pair in enumerate(temperatures.items())
        for file, text in zip(("type", "temp"), pair, strict=True)
    ]
    return "\n".join([*numbered, "/sys/devices/system/cpu/present:0"])


@pytest.mark.parametrize(
    ("line", "page_bytes"),
    [
        ("KernelPageSize:        4 kB", 4096),
        ("KernelPageSize:       16 kB", 16384),
        ("KernelPageSize:       64 kB", 65536),
        ("", None),
        ("KernelPageSize:        0 kB", None),
        ("grep: /proc/self/smaps: Permission denied", None),
    ],
)
def test_the_size_of_pages_is_the_kernels_word_and_unknown_without_it(line: str, page_bytes: int | None) -> None:
    answer = PHONE.replace("@@ os\n", f"@@ page\n{line}\n@@ os\n")
    assert probe.info(answer, serial="ABC", kind="phone").page_bytes == page_bytes
    assert probe.info(PHONE, serial="ABC", kind="phone").page_bytes is None


def test_a_device_tree_ends_its_texts_in_a_zero_byte() -> None:
    answer = PHONE.replace("BLU Advance 5.2\n", "").replace("@@ tree\n", "@@ tree\nRaspberry Pi 4 Model B\0")
    assert probe.info(answer, serial="ABC", kind="phone").model == "Raspberry Pi 4 Model B"


def test_a_core_that_is_switched_off_does_not_make_a_device_another_one() -> None:
    info = probe.info(PHONE, serial="ABC", kind="phone")
    asleep = PHONE.replace("\nprocessor\t: 1\nCPU implementer\t: 0x41\nCPU part\t: 0xc07\n", "")
    other = probe.info(PHONE.replace("0xc07", "0xd03"), serial="ABC", kind="phone")
    fewer = probe.info(asleep.replace("present:0-1", "present:0"), serial="ABC", kind="phone")
    found = probe.info(asleep, serial="ABC", kind="phone")
    assert found.cores[1].part is None
    assert info.is_same_as(found)
    assert found.is_same_as(info)
    assert not info.is_same_as(other)
    assert not info.is_same_as(fewer)


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
        ("ro.hardware.virtual_device", "1", "emulated"),
        # Android Studio's emulator, old and new
        ("ro.hardware", "goldfish", "emulated"),
        ("ro.hardware", "ranchu", "emulated"),
        ("ro.product.board", "goldfish_arm64", "emulated"),
        ("ro.product.model", "Android SDK built for x86_64", "emulated"),
        ("ro.product.model", "sdk_gphone64_arm64", "emulated"),
        ("ro.product.name", "sdk_google_phone_x86_64", "emulated"),
        ("ro.soc.model", "ranchu", "emulated"),
        # Cuttlefish
        ("ro.hardware", "cutf_cvm", "emulated"),
        ("ro.boot.hardware", "cutf_cvm", "emulated"),
        ("ro.product.board", "vsoc_arm64", "emulated"),
        ("ro.product.device", "vsoc_x86_64_only", "emulated"),
        ("ro.product.model", "Cuttlefish x86_64 phone", "emulated"),
        ("ro.product.name", "aosp_cf_arm64_phone", "emulated"),
        # Genymotion
        ("ro.hardware", "vbox86", "emulated"),
        ("ro.product.device", "vbox86p", "emulated"),
        ("ro.product.manufacturer", "Genymotion", "emulated"),
        # containers
        ("ro.hardware", "redroid", "emulated"),
        ("ro.product.model", "redroid11_arm64", "emulated"),
        ("ro.product.device", "waydroid_arm64", "emulated"),
        ("ro.product.model", "WayDroid arm64 Device", "emulated"),
        # Windows Subsystem for Android, and what is made for games
        ("ro.hardware", "windows_arm64", "emulated"),
        ("ro.product.model", "Subsystem for Android(TM)", "emulated"),
        ("ro.hardware", "nox", "emulated"),
        ("ro.hardware", "ttVM_x86", "emulated"),
        ("init.svc.noxd", "running", "emulated"),
        ("init.svc.microvirtd", "stopped", "emulated"),
        ("init.svc.ldinit", "running", "emulated"),
    ],
)
def test_an_emulator_is_known_as_one_however_it_is_reached(prop: str, value: str, clock: str) -> None:
    answer = with_property(prop, value)
    info = probe.info(answer, serial="127.0.0.1:5555", kind="phone")
    assert (info.kind, info.clock) == ("board", clock)


@pytest.mark.parametrize(
    ("prop", "value"),
    [
        ("ro.build.characteristics", "phone,emulator"),  # Samsung Galaxy S8
        ("ro.build.characteristics", "emulator"),  # generic system images
        ("ro.product.device", "generic_arm64"),
        ("ro.product.name", "aosp_arm64"),
        ("ro.product.manufacturer", "Ranch"),
        ("ro.product.model", "Nox Ultra"),
        ("ro.product.model", "Windows Phone"),
        ("ro.product.model", "Equinox"),
        ("ro.product.board", "ranchuria"),
        ("ro.hardware", "equinox"),
        ("ro.hardware", "qcom"),
        ("ro.kernel.qemu", "0"),
        ("ro.boot.qemu", ""),
        ("ro.hardware.virtual_device", "0"),
    ],
)
def test_a_phone_that_only_sounds_like_an_emulator_is_a_phone(prop: str, value: str) -> None:
    info = probe.info(with_property(prop, value), serial="ABC", kind="phone")
    assert (info.kind, info.clock) == ("phone", "wall")


@pytest.mark.parametrize("prop", ["ro.hardware.chipname", "ro.chipname", "ro.soc.model", "ro.board.platform"])
def test_each_property_that_tells_the_chip_is_asked_for(prop: str) -> None:
    assert re.search(rf"[ ]{re.escape(prop)}[ ;]", probe.INFO_SCRIPT)


def test_each_property_that_tells_an_emulator_is_asked_for() -> None:
    for prop in emulators.PROPERTIES:
        assert re.search(rf"[ ]{re.escape(prop)}[ ;]", probe.INFO_SCRIPT), prop


def test_a_part_that_is_in_no_list_keeps_its_number() -> None:
    info = probe.info(PHONE.replace("0xc07", "0xfff"), serial="ABC", kind="phone")
    assert info.cores[0].part == "part 0xfff of 0x41"


ONE_PART_FOR_ALL = "processor\t: 0\nprocessor\t: 1\nFeatures\t: fp\nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n"


@pytest.mark.parametrize(
    ("clocks", "parts"),
    [
        ("cpu0/cpufreq/cpuinfo_max_freq:1500000\ncpu1/cpufreq/cpuinfo_max_freq:1500000", ["Cortex-A53"] * 2),
        ("cpu0/cpufreq/cpuinfo_max_freq:1500000\ncpu0/cpufreq/related_cpus:0 1", ["Cortex-A53"] * 2),
        ("cpu0/cpufreq/cpuinfo_max_freq:1500000\ncpu1/cpufreq/cpuinfo_max_freq:2100000", [None] * 2),
        ("cpu0/cpufreq/cpuinfo_max_freq:1500000", [None] * 2),
        ("", [None] * 2),
    ],
)
@pytest.mark.parametrize("between", ["", "BogoMIPS\t: 38.40\n\n", "model name\t: ARMv7 Processor rev 4 (v7l)\n\n"])
def test_the_one_part_that_an_old_kernel_writes_is_all_cores_only_where_they_are_alike(
    clocks: str, parts: list[str | None], between: str
) -> None:
    cpuinfo = re.sub(r"(processor.*\n)", rf"\1{between}", ONE_PART_FOR_ALL)
    before, _, after = PHONE.partition("@@ cpuinfo\n")
    answer = f"{before}@@ cpuinfo\n{cpuinfo}@@ {after.partition('@@ ')[2]}"
    answer = answer.replace("cpu0/cpufreq/cpuinfo_max_freq:1300000", clocks)
    assert [core.part for core in probe.info(answer, serial="ABC", kind="phone").cores] == parts


@pytest.mark.parametrize(
    ("properties", "hardware", "chip"),
    [
        ({"ro.soc.model": "SM8550", "ro.board.platform": "kalama"}, "", "SM8550"),
        ({"ro.soc.model": "unknown", "ro.hardware.chipname": "exynos2200"}, "", "exynos2200"),
        ({"ro.board.platform": "exynos5", "ro.hardware": "samsungexynos7870"}, "", "exynos7870"),
        ({"ro.board.platform": "exynos5", "ro.chipname": "exynos8895"}, "", "exynos8895"),
        ({"ro.board.platform": "exynos5"}, "", None),
        ({"ro.board.platform": "msm8953"}, "Qualcomm Technologies, Inc SDM632", "SDM632"),
        ({"ro.board.platform": "mt6768"}, "MT6769V/CZ", "MT6769V/CZ"),
        ({"ro.board.platform": "kirin980"}, "vendor Kirin980", "Kirin980"),
        ({"ro.board.platform": "bengal"}, "Qualcomm Technologies, Inc BENGAL", "bengal"),
        ({"ro.board.platform": ""}, "BCM2835", None),  # every Raspberry Pi says so
        ({"ro.board.platform": "rk3399"}, "Generic DT based system", "rk3399"),
    ],
)
def test_the_chip_is_what_tells_most_exactly_which_it_is(
    properties: dict[str, str], hardware: str, chip: str | None
) -> None:
    answer = PHONE.replace("mt6580", "").replace("@@ meminfo", f"Hardware\t: {hardware}\n@@ meminfo")
    sections = "".join(f"@@ prop {name}\n{value}\n" for name, value in properties.items())
    answer = answer.replace("@@ meminfo", f"{sections}@@ meminfo")
    assert probe.info(answer, serial="ABC", kind="phone").soc == chip


def test_an_arm_machine_is_hardware_as_the_host() -> None:
    info = probe.info(RASPBERRY_PI, serial="host", kind="host")
    assert (info.kind, info.clock, info.abi) == ("host", "wall", "arm64-v8a")
    assert info.model == "Raspberry Pi 5 Model B Rev 1.0"
    assert [(core.part, core.max_khz) for core in info.cores] == [("Cortex-A76", 2_400_000)] * 2


@pytest.mark.parametrize(("implementer", "part"), [("0x41", "0xd07"), ("0x41", "0xd0b"), ("0x61", "0x000")])
def test_a_server_without_a_device_tree_is_called_by_its_cores(implementer: str, part: str) -> None:
    answer = RASPBERRY_PI.replace("0x41", implementer).replace("0xd0b", part).replace("cpu0/regs", "none")
    answer = answer.replace("Raspberry Pi 5 Model B Rev 1.0 \n", "\n")
    info = probe.info(answer, serial="host", kind="host")
    assert (info.kind, info.clock, info.model) == ("host", "wall", info.cores[0].part)


CPUINFO = {
    "x86": "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC",
    "arm": "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b",
    "none": "processor\t: 0",
}
KERNELS = [
    ("x86", "x86_64", "none"),
    ("x86", "x86_64", "x86"),
    ("x86", "x86_64", "arm"),  # qemu-user 8.2 and newer makes up a /proc/cpuinfo
    ("x86", "i686", "none"),
    ("x86", "", "x86"),  # before Linux 6.1
    ("arm", "aarch64", "none"),
    ("arm", "armv7l", "arm"),
    ("arm", "", "arm"),
    ("arm", "aarch64", "x86"),  # Rosetta makes up one as well
]


@pytest.mark.parametrize("machine", ["armv7l", "armv8l", "aarch64", "x86_64"])
@pytest.mark.parametrize(("kernel", "architecture", "cpuinfo"), KERNELS)
@pytest.mark.parametrize("kind", ["host", "phone"])
def test_a_program_that_is_translated_is_on_no_hardware(
    kind: Kind, kernel: str, architecture: str, cpuinfo: str, machine: str
) -> None:
    said = {"machine": machine, "cpuinfo": CPUINFO[cpuinfo], "architecture": architecture, "cpus": "present:0"}
    answer = "".join(f"@@ {name}\n{text}\n" for name, text in said.items()) + "@@ end\n"
    info = probe.info(answer, serial="host", kind=kind)
    own = {"x86_64": "x86"}.get(machine, "arm")
    if {own} == {kernel, cpuinfo} - {"none"}:
        assert (info.kind, info.clock) == ("host" if kind == "host" else "linux", "wall")
    else:
        assert (info.kind, info.clock) == ("host" if kind == "host" else "board", "emulated")


def test_a_cpu_that_no_one_has_made_is_no_hardware() -> None:
    """QEMU's `max`, in whatever machine: its implementer is the one that is reserved for software."""
    info = probe.info(RASPBERRY_PI.replace("0x41", "0x00"), serial="host", kind="host")
    assert (info.kind, info.clock) == ("host", "emulated")


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
    assert probe.state(silent, serial="ABC") == DeviceState({}, (), (), None, None, None, None, None)


def test_without_android_the_sections_of_its_services_may_be_missing() -> None:
    state = probe.state("@@ files\n/proc/loadavg:0.10 0.2 0.3 1/55 9\n@@ end\n", serial="board")
    assert state.load_average == 0.1
    assert (state.thermal_status, state.screen_on, state.power_save) == (None, None, None)


def test_cores_that_are_switched_off_are_still_there() -> None:
    info = probe.info(HALF_ASLEEP, serial="ABC", kind="phone")
    assert [(core.index, core.part, core.max_khz) for core in info.cores] == [
        (0, "Cortex-A7", 1_800_000),  # /proc/cpuinfo goes before MIDR_EL1
        (1, "Cortex-A7", 1_800_000),
        (2, None, 2_400_000),
        (3, "Cortex-A76", 2_400_000),
    ]


def test_androids_temperatures_are_the_current_ones_with_their_kind() -> None:
    state = probe.state(conditions(thermal=THERMAL_SERVICE), serial="ABC")
    assert state.temperatures_celsius == {
        "mtktscpu (0)": 41.5,
        "battery (1)": 33.0,
        "CPU0 (HAL, cpu)": 44.3,
        "skin (HAL, skin)": 38.0,
        "soc top (HAL, soc)": 41.25,
        "quiet (HAL)": 40.0,
    }
    assert state.thermal_status == 1


@pytest.mark.parametrize("name", ["battery_cycle", "vdroop1", "ocp_cpu1", "soc", "batoilo", "pca9468-mains", "smpl_gm"])
def test_what_androids_hal_calls_of_no_kind_may_be_no_temperature(name: str) -> None:
    """Google's HAL lists all of the kernel's zones, and has no kind for those of the current limiter."""
    dump = f"Current temperatures from HAL:\n\tTemperature{{mValue=45.0, mType=-1, mName={name}, mStatus=0}}\n"
    assert probe.state(conditions(thermal=dump, files=""), serial="ABC").temperatures_celsius == {}
    dump = dump.replace("-1", "13").replace(name, "soc")
    assert probe.state(conditions(thermal=dump, files=""), serial="ABC").temperatures_celsius == {
        "soc (HAL, soc)": 45.0
    }


def test_without_a_thermal_hal_androids_status_says_nothing() -> None:
    dump = "IsStatusOverride: false\nThermal Status: 0\nCached temperatures:\nHAL Ready: false\n"
    assert probe.state(conditions(thermal=dump), serial="ABC").thermal_status is None


@pytest.mark.parametrize("text", ["", "off", "9" * 30, "-", "4.5", "45 C"])
def test_what_is_no_number_is_left_out(text: str) -> None:
    state = probe.state(conditions(files=zones(cpu=text, skin="30500")), serial="ABC")
    assert state.temperatures_celsius == {"skin (1)": 30.5}


def test_cpus_that_are_switched_on_are_told() -> None:
    files = "/sys/devices/system/cpu/present:0-3\n/sys/devices/system/cpu/online:0,2-3"
    assert probe.state(conditions(files=files), serial="ABC").online_cpus == (0, 2, 3)
    assert probe.state(CONDITIONS, serial="ABC").online_cpus is None


@pytest.mark.parametrize(
    ("dump", "charging"),
    [
        ("  AC powered: false\n  USB powered: false\n  status: 3", False),
        ("  AC powered: true\n  USB powered: false\n  status: 3", True),
        ("  Dock powered: true\n  status: 5", True),
        ("  status: 2", True),
        ("  status: 3", False),
        ("  level: 50", None),
        ("", None),
    ],
)
def test_a_battery_charges_when_it_says_so_or_has_power(dump: str, charging: bool | None) -> None:
    assert probe.state(conditions(battery=dump), serial="ABC").charging is charging


def test_a_batterys_level_is_of_its_scale() -> None:
    assert probe.state(conditions(battery="  level: 40\n  scale: 50"), serial="ABC").battery_percent == 80


def test_what_a_vendor_appends_does_not_replace_the_batterys_own_entries() -> None:
    dump = "  level: 87\n  temperature: 312\n  SEC section:\n  level: 3\n  temperature: -999"
    state = probe.state(conditions(battery=dump), serial="ABC")
    assert (state.battery_percent, state.battery_celsius) == (87, 31.2)


def test_a_device_without_a_battery_has_no_charge() -> None:
    dump = "  AC powered: true\n  status: 1\n  present: false\n  level: 0\n  scale: 100\n  temperature: 0"
    state = probe.state(conditions(battery=dump), serial="ABC")
    assert (state.battery_percent, state.battery_celsius, state.charging) == (None, None, None)


@pytest.mark.parametrize(
    ("dump", "on"),
    [
        ("  mWakefulness=Awake\nDisplay Power: state=ON", True),
        ("  mWakefulness=Asleep\nDisplay Power: state=OFF", False),
        ("  mWakefulness=Dozing\nDisplay Power: state=DOZE_SUSPEND", False),
        ("  mWakefulness=Awake", True),
        ("  mWakefulness=Dozing", False),
        ("", None),
    ],
)
def test_the_screen_is_on_or_off_or_unknown(dump: str, on: bool | None) -> None:
    assert probe.state(conditions(power=dump), serial="ABC").screen_on is on


@pytest.mark.parametrize(
    ("dump", "app"),
    [
        (
            "    mResumedActivity: ActivityRecord{3a7ba77 u0 com.android.launcher3/.Launcher t1}",
            "com.android.launcher3",
        ),
        ("  ResumedActivity: ActivityRecord{1b9fa2 u0 com.android.chrome/.Main t32}", "com.android.chrome"),
        (
            "      mResumedActivity: ActivityRecord{11 u0 com.example.side/.Main t7}\n"
            "    topResumedActivity=ActivityRecord{6e5fbd5 u10 com.example.game/com.example.Play t12}",
            "com.example.game",
        ),
        ("  mCurrentFocus=Window{b22bb15 u0 com.example.a_b/com.example.Main}", "com.example.a_b"),
        ("  mCurrentFocus=Window{85a52f2 u0 NotificationShade}", None),
        ("  mCurrentFocus=null", None),
        ("", None),
    ],
)
def test_the_app_in_front_is_known_by_its_package(dump: str, app: str | None) -> None:
    assert probe.state(conditions(front=dump), serial="ABC").foreground_app == app


@pytest.mark.parametrize(("text", "on"), [("0", False), ("1", True), ("null", None), ("", None)])
def test_androids_power_saving_is_on_off_or_unknown(text: str, on: bool | None) -> None:
    assert probe.state(conditions(low_power=text), serial="ABC").power_save is on


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.sampled_from(["files", "battery", "thermal", "front"]))
def test_no_answer_of_a_device_breaks_the_reading(text: str, section: str) -> None:
    probe.state(conditions(**{section: text.replace("@@", "")}), serial="ABC")


@pytest.mark.parametrize("read", [probe.info, probe.state])
def test_an_answer_that_is_cut_short_is_an_error(read) -> None:
    with pytest.raises(DeviceError, match="cut short"):
        read("@@ machine\narmv7l\n", serial="ABC", **({"kind": "phone"} if read is probe.info else {}))


def test_this_machine_describes_itself() -> None:
    host = HostDevice()
    assert (host.info.kind, host.info.abi) == ("host", compiling.native().abi)
    kernel = Path("/proc/sys/kernel/arch")
    if kernel.exists():
        assert host.info.clock == ("wall" if kernel.read_text().strip() == platform.machine() else "emulated")
    assert host.info.cores
    assert (host.state().free_ram_bytes or 0) > 0
