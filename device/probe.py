"""What a Linux or Android machine says of itself: one shell script asks, pure functions read the answer.

The same script runs over adb and on this machine, so that phones, boards and hosts are described alike.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from device import emulators, parts
from device.cores import cpu_list
from device.errors import DeviceError
from device.records import Clock, Core, DeviceInfo, DeviceState, Kind
from device.thermal import ThermalZones, is_plausible, is_temperature
from toolchain.compile import TOOLCHAINS

_MARK = "@@"

#: What stands behind it in an answer is none of the scripts' below.
END = f"{_MARK} end"

#: What makers call the chip, beside `ro.soc.model` of Android 12 and newer.
_CHIP_PROPERTIES = ("ro.hardware.chipname", "ro.chipname")

#: Asks for what tells one device from another.
_IDENTITY = r"""
say() { echo "@@ $1"; }
say serialno; getprop ro.serialno 2>/dev/null
say boot_serialno; getprop ro.boot.serialno 2>/dev/null
say boot_id; cat /proc/sys/kernel/random/boot_id 2>/dev/null
"""
IDENTITY_SCRIPT = f"{_IDENTITY}say end\n"

#: Asks for everything that does not change. Every section may be empty.
INFO_SCRIPT = (
    _IDENTITY
    + r"""
say machine; uname -m
say kernel; uname -sr
for p in ro.product.model ro.product.cpu.abi ro.soc.model ro.board.platform ro.build.version.release \
    ro.tenpass.clock ro.tenpass.board; do
  say "prop $p"; getprop "$p" 2>/dev/null
done
say cpuinfo; cat /proc/cpuinfo 2>/dev/null
say meminfo; head -n 5 /proc/meminfo 2>/dev/null
if [ -z "$(getprop ro.tenpass.clock 2>/dev/null)" ]; then
  for p in EMULATORS_PROPERTIES; do say "prop $p"; getprop "$p" 2>/dev/null; done
  say compatible; tr '\000' '\n' < /proc/device-tree/compatible 2>/dev/null
  say dmi; cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name 2>/dev/null
  say virtual; cat /sys/devices/system/clocksource/clocksource0/available_clocksource \
    /sys/class/ptp/ptp*/clock_name 2>/dev/null
  say architecture; cat /proc/sys/kernel/arch 2>/dev/null
fi
say page; grep -m 1 '^KernelPageSize:' /proc/self/smaps 2>/dev/null
say os; grep '^PRETTY_NAME=' /etc/os-release 2>/dev/null
say tree; cat /proc/device-tree/model 2>/dev/null
echo; say cpus; cd /sys/devices/system/cpu && grep . present cpu[0-9]*/cpufreq/cpuinfo_max_freq \
    cpu[0-9]*/cpufreq/related_cpus cpu[0-9]*/regs/identification/midr_el1 cpu[0-9]*/cpu_capacity \
    cpufreq/policy*/related_cpus cpufreq/policy*/cpuinfo_max_freq 2>/dev/null
say end
""".replace("EMULATORS_PROPERTIES", " ".join((*_CHIP_PROPERTIES, *emulators.PROPERTIES)))
)

#: Asks for what changes while a device works: one process where there is no Android, for each takes an emulated board
#: milliseconds. A service of Android's that hangs is given up.
STATE_SCRIPT = r"""
say() { echo "@@ $1"; }
say files; grep . /sys/class/thermal/thermal_zone*/type /sys/class/thermal/thermal_zone*/temp \
    /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq \
    /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor \
    /sys/devices/system/cpu/present /sys/devices/system/cpu/online /proc/loadavg /proc/meminfo 2>/dev/null
if command -v dumpsys >/dev/null; then
  limit=; command -v timeout >/dev/null && limit="timeout 5"
  ask() { $limit "$@" 2>/dev/null; }
  say battery; ask dumpsys battery
  say thermal; ask dumpsys thermalservice
  say power; ask dumpsys power | grep -E 'mWakefulness=|Display Power: state='
  say front; ask dumpsys activity activities | grep -E 'ResumedActivity[:=] ?ActivityRecord' ||
    ask dumpsys window | grep mCurrentFocus=
  say low_power; ask settings get global low_power
fi
say end
"""

#: android.os.Temperature's types. Those of the battery current limiter (6 to 8) are no temperatures.
_HAL_TYPES = {
    0: "cpu",
    1: "gpu",
    2: "battery",
    3: "skin",
    4: "usb port",
    5: "power amplifier",
    9: "npu",
    10: "tpu",
    11: "display",
    12: "modem",
    13: "soc",
    14: "wifi",
    15: "camera",
    16: "flashlight",
    17: "speaker",
    18: "ambient",
    19: "pogo",
}
_BATTERY_CURRENT_LIMITER = (6, 7, 8)

#: Names of one chip each, as kernels and makers write them among other words.
_CHIP = re.compile(
    r"exynos\d{4}\b|(?<![a-z])((MSM|APQ|SDM|SDA|SM|QCM|QCS)\d{3,4}|MT\d{4}|Kirin\d{3}|SC98\d\d)[^\s,()]*",
    re.IGNORECASE,
)

#: What says nothing of the chip: Samsung's word for all that it built from 2012 on, and words for "not told".
_NO_CHIP = re.compile(r"exynos5?|universal|unknown|default|none|n/?a|0", re.IGNORECASE)

_CHARGING = "2"  # android.os.BatteryManager.BATTERY_STATUS_CHARGING

#: `uname -m` -> Android's name for the ABI. armv8l: what a 64-bit kernel tells 32-bit programs.
ABI_OF_MACHINE = {chain.machine: chain.abi for chain in TOOLCHAINS.values()} | {"armv8l": "armeabi-v7a"}


#: ABI of a device -> the ABIs of programs that its kernel runs, its own first.
RUNS = {"armeabi-v7a": ("armeabi-v7a",), "arm64-v8a": ("arm64-v8a", "armeabi-v7a"), "x86_64": ("x86_64",)}


def info(answer: str, *, serial: str, kind: Kind) -> DeviceInfo:
    """The facts in the answer to INFO_SCRIPT.

    Of what is not this machine, an emulator is of the kind board, and what is no Android of the kind linux.
    This machine stays the host. Of what an emulator runs, or translates, the clock says so.
    Raises DeviceError for an answer that is cut short or names an unknown machine.
    """
    sections = _sections(answer, serial)
    machine = _text(sections, "machine") or "?"
    abi = _text(sections, "prop ro.product.cpu.abi") or ABI_OF_MACHINE.get(machine)
    if abi is None:
        known = ", ".join(ABI_OF_MACHINE)
        raise DeviceError(f"{serial}: machine {machine!r} is none that a runner is built for ({known})")
    kernel = _text(sections, "kernel") or "?"
    if not kernel.startswith(("Linux", "?")):
        raise DeviceError(f"{serial}: it runs {kernel}; a runner is built for Linux and Android alone")
    clock: Clock = "wall"
    declared = _text(sections, "prop ro.tenpass.clock")
    if declared == "instructions":
        clock = "instructions"
    elif declared or _is_emulator(sections, abi):
        clock = "emulated"
    android = _text(sections, "prop ro.build.version.release")
    pretty = re.search(r'PRETTY_NAME="?([^"\n]+)', sections.get("os", ""))
    is_board = clock != "wall"
    system = f"Android {android}" if android and not is_board else pretty.group(1) if pretty else None
    if kind != "host":
        kind = "board" if is_board else "phone" if android else "linux"
    cores = _cores(sections)
    alike = {core.part for core in cores}
    return DeviceInfo(
        serial=serial,
        kind=kind,
        clock=clock,
        model=_text(sections, "prop ro.product.model")
        or _text(sections, "tree")
        or ((alike.pop() if len(alike) == 1 else None) or machine),
        soc=_chip(sections),
        abi=abi,
        cores=cores,
        ram_bytes=_meminfo(sections.get("meminfo", ""), "MemTotal"),
        os=f"{system}, {kernel}" if system else kernel,
        machine=machine,
        page_bytes=_page_bytes(_text(sections, "page")),
    )


def _is_emulator(sections: dict[str, str], abi: str) -> bool:
    properties = {name: _text(sections, f"prop {name}") or "" for name in emulators.PROPERTIES}
    of_linux = {name: sections.get(name, "") for name in ("cpuinfo", *emulators.LINUX_SECTIONS)}
    is_translated = emulators.translates(abi, sections.get("architecture", ""), sections.get("cpuinfo", ""))
    return is_translated or emulators.is_one(properties) or emulators.is_one_of_linux(**of_linux)


@dataclass(frozen=True)
class Identity:
    """What tells a running device from all others, under whatever name it is reached.

    Cheap phones share their `serialno` (None: not told); a kernel draws its `boot_id` at random when it starts.
    """

    serialno: str | None
    boot_id: str

    @property
    def key(self) -> str:
        """What the device is locked by."""
        return f"{self.serialno}\n{self.boot_id}"


def identity(answer: str, *, serial: str) -> Identity | None:
    """From the answer to IDENTITY_SCRIPT or INFO_SCRIPT; None where there is no boot id to tell devices apart by.

    Raises DeviceError for an answer that is cut short.
    """
    sections = _sections(answer, serial)
    boot_id = _text(sections, "boot_id")
    return Identity(_text(sections, "serialno") or _text(sections, "boot_serialno"), boot_id) if boot_id else None


def state(answer: str, *, serial: str, zones: ThermalZones | None = None) -> DeviceState:
    """The conditions in the answer to STATE_SCRIPT; what the device does not tell is None or left out.

    Temperatures are of the kernel's zones, named `type (number)`, and of Android's, named `name (HAL, type)`. `zones`
    are this device's, with what they said before; without them the answer stands alone.
    """
    zones = zones or ThermalZones()
    sections = _sections(answer, serial)
    files = sections.get("files", "")
    count = max(_cpus("present", files), default=-1) + 1
    khz, governor = _per_cpu("cpufreq/scaling_cur_freq", files), _per_cpu("cpufreq/scaling_governor", files)
    battery = _battery(sections.get("battery", ""))
    tenths = _number(battery.get("temperature"))
    load = re.search(r"^/proc/loadavg:(\d+(?:\.\d+)?) ", files, re.MULTILINE)
    return DeviceState(
        temperatures_celsius=zones.read(_zones(files), _hal_temperatures(sections.get("thermal", ""))),
        clocks_khz=tuple(_number(khz.get(index)) for index in range(count)),
        governors=tuple(governor.get(index) for index in range(count)),
        battery_percent=_percent(battery),
        battery_celsius=None if tenths is None or not is_plausible(tenths / 10) else tenths / 10,
        charging=_charging(battery),
        load_average=float(load.group(1)) if load else None,
        free_ram_bytes=_meminfo(files, "MemAvailable"),
        thermal_status=_thermal_status(sections.get("thermal", "")),
        power_save={"0": False, "1": True}.get(_text(sections, "low_power") or ""),
        screen_on=_screen_on(sections.get("power", "")),
        foreground_app=_foreground_app(sections.get("front", "")),
        online_cpus=_cpus("online", files) or None,
    )


def _sections(answer: str, serial: str) -> dict[str, str]:
    parts = re.split(rf"^{_MARK} (.*)$", answer, flags=re.MULTILINE)
    sections = {name.strip(): body.strip("\n\r") for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    if "end" not in sections:
        raise DeviceError(f"{serial}: the device's description of itself was cut short; try again")
    return sections


def _text(sections: dict[str, str], name: str) -> str | None:
    return sections.get(name, "").strip(" \t\r\n\0") or None  # a device tree's texts end in a NUL


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,18}", text) else None


def _per_cpu(file: str, answer: str) -> dict[int, str]:
    """CPU -> the line that its `file` below /sys/devices/system/cpu/cpuN/ holds."""
    found = re.findall(rf"^(?:/sys/devices/system/cpu/)?cpu(\d+)/{file}:(\S+)$", answer, re.MULTILINE)
    return {int(index): value for index, value in found}


def _cpus(which: str, answer: str) -> tuple[int, ...]:
    """The CPUs that are `online`, or `present`: all that the kernel knows, those that are switched off among them."""
    found = re.search(rf"^(?:/sys/devices/system/cpu/)?{which}:(\S+)$", answer, re.MULTILINE)
    most = 8191  # the most that a kernel is built for (CONFIG_NR_CPUS)
    with contextlib.suppress(ValueError):
        return cpu_list(found.group(1), most) if found else ()
    return ()


def _chip(sections: dict[str, str]) -> str | None:
    """The chip, by what tells most exactly which one it is.

    `ro.board.platform` comes last, for makers put a family there: msm8953 for a Snapdragon 632, mt6750 for an MT6738.
    """
    hardware = re.search(r"^Hardware\s*:\s*(.+)$", sections.get("cpuinfo", ""), re.MULTILINE)
    named = [hardware.group(1) if hardware else "", _text(sections, "prop ro.hardware") or ""]
    told = [
        *(_text(sections, f"prop {name}") for name in ("ro.soc.model", *_CHIP_PROPERTIES)),
        *(chip.group() for chip in map(_CHIP.search, named) if chip),
        _text(sections, "prop ro.board.platform"),
    ]
    return next((chip for chip in told if chip and not _NO_CHIP.fullmatch(chip)), None)


def _cores(sections: dict[str, str]) -> tuple[Core, ...]:
    """All cores there are; /proc/cpuinfo leaves out those that are switched off, but those that share a clock with them
    tell it."""
    answer = sections.get("cpus", "")
    max_khz = _per_cpu("cpufreq/cpuinfo_max_freq", answer)
    for policy, related in re.findall(r"^(cpu\d+/cpufreq|cpufreq/policy\d+)/related_cpus:(.+)$", answer, re.MULTILINE):
        for khz in re.findall(rf"^{policy}/cpuinfo_max_freq:(\d+)$", answer, re.MULTILINE):
            max_khz |= {int(index): khz for index in re.findall(r"\d+", related) if int(index) not in max_khz}
    found, shared = _parts(sections.get("cpuinfo", ""))
    present = sorted({*_cpus("present", answer), *found})
    if shared and len({max_khz.get(index) for index in present}) == 1 and max_khz:
        found = dict.fromkeys(present, shared)
    for index, text in _per_cpu("regs/identification/midr_el1", answer).items():
        if re.fullmatch("0x[0-9a-f]{8,16}", text) and found.get(index) is None:
            midr = int(text, 16)  # MIDR_EL1: implementer in bits 31 to 24, part number in bits 15 to 4
            found[index] = parts.name_of(midr >> 24 & 0xFF, midr >> 4 & 0xFFF)
    capacity = _per_cpu("cpu_capacity", answer)
    return tuple(
        Core(index, found.get(index), _number(max_khz.get(index)), _number(capacity.get(index))) for index in present
    )


def _parts(cpuinfo: str) -> tuple[dict[int, str | None], str | None]:
    """Core -> part name for each core that /proc/cpuinfo lists, for ARM and x86 alike; and the name that stands once,
    behind all cores.

    Kernels before 3.8 (32-bit) and 3.19 (64-bit) write but one: that of the core that has just answered. The others may
    be other ones.
    """
    found: dict[int, str | None] = {}
    for index, block in re.findall(r"^processor\s*:\s*(\d+)$((?:\n(?!processor\s*:).*)*)", cpuinfo, re.MULTILINE):
        part = re.search(r"^CPU part\s*:\s*(0x[0-9a-fA-F]+)", block, re.MULTILINE)
        implementer = re.search(r"^CPU implementer\s*:\s*(0x[0-9a-fA-F]+)", block, re.MULTILINE)
        name = re.search(r"^model name\s*:[ \t]*(?!ARM|AArch64)(\S.*)$", block, re.MULTILINE)
        if part:
            number = int(implementer.group(1), 16) if implementer else None
            found[int(index)] = parts.name_of(number, int(part.group(1), 16))
        else:
            found[int(index)] = name.group(1) if name else None
    told = [name for name in found.values() if name is not None]
    if len(found) > 1 and len(told) == 1 and list(found.values())[-1] is not None:
        return dict.fromkeys(found), told[0]
    return found, None


def _meminfo(answer: str, key: str) -> int | None:
    found = re.search(rf"^(?:/proc/meminfo:)?{key}:\s*(\d+) kB", answer, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _page_bytes(line: str | None) -> int | None:
    """From a line of /proc/self/smaps, which every kernel has: Android 7 has no getconf."""
    found = re.fullmatch(r"KernelPageSize:\s+(4|16|64) kB", line or "")
    return int(found.group(1)) * 1024 if found else None


def _zones(files: str) -> dict[int, tuple[str, int]]:
    """The kernel's zones by their numbers: type, and the number that stands there, in whatever unit."""
    types = dict(re.findall(r"/thermal_zone(\d{1,4})/type:(.+)$", files, re.MULTILINE))
    readings = re.findall(r"/thermal_zone(\d{1,4})/temp:\s*(-?\d{1,10})\s*$", files, re.MULTILINE)
    return {int(index): (types.get(index, "zone").strip(), int(text)) for index, text in readings}


def _hal_temperatures(dump: str) -> dict[str, float]:
    """What `dumpsys thermalservice` (Android 10 and newer) has read just now, in degrees Celsius.

    The temperatures that it lists as cached are those of the last event, however old.
    """
    current = re.search(r"^Current temperatures from HAL:\s*((?:Temperature\{.*\s*)*)", dump, re.MULTILINE)
    found: dict[str, float] = {}
    entry = r"Temperature\{mValue=(-?\d+(?:\.\d+)?), mType=(-?\d+), mName=(.*), mStatus=\d+\}"
    for value, number, name in re.findall(entry, current.group(1) if current else ""):
        kind, celsius = int(number), float(value)
        if kind not in _HAL_TYPES and not is_temperature(name):
            continue
        if is_plausible(celsius) and kind not in _BATTERY_CURRENT_LIMITER:
            found[f"{name} (HAL, {_HAL_TYPES[kind]})" if kind in _HAL_TYPES else f"{name} (HAL)"] = celsius
    return found


def _thermal_status(dump: str) -> int | None:
    """Android's thermal status; without a thermal HAL it says 0 whatever the temperature, and knows nothing."""
    found = re.search(r"^Thermal Status: ([0-6])$", dump, re.MULTILINE)
    return int(found.group(1)) if found and not re.search(r"^HAL Ready: false$", dump, re.MULTILINE) else None


def _battery(dump: str) -> dict[str, str]:
    """The entries of `dumpsys battery`, the first of each name: vendors append sections of their own."""
    entries: dict[str, str] = {}
    for key, value in re.findall(r"^[ \t]*([\w ]+): (\S+)[ \t]*$", dump, re.MULTILINE):
        entries.setdefault(key, value)
    return entries if entries.get("present") != "false" else {}


def _percent(battery: dict[str, str]) -> int | None:
    level, scale = _number(battery.get("level")), _number(battery.get("scale")) or 100
    return round(100 * level / scale) if level is not None and 0 <= level <= scale else None


def _charging(battery: dict[str, str]) -> bool | None:
    powered = [value == "true" for key, value in battery.items() if key.endswith(" powered")]
    if "status" in battery:
        powered.append(battery["status"] == _CHARGING)
    return any(powered) if powered else None


def _screen_on(dump: str) -> bool | None:
    """By the display's state, which Android 12 and newer need not tell, else by whether the device is awake."""
    display = re.search(r"Display Power: state=(\w+)", dump)
    if display:
        return display.group(1) == "ON"
    awake = re.search(r"mWakefulness=([A-Za-z]+)", dump)
    return awake.group(1) in ("Awake", "Dreaming") if awake else None


def _foreground_app(dump: str) -> str | None:
    """The package of the activity that is resumed on top, where Android says so, else resumed, else focused."""
    for line in ("topResumedActivity=", "ResumedActivity: ?", "mCurrentFocus="):
        found = re.search(rf"{line}\w+\{{\S+ u\d+ ([\w.]+)/", dump)
        if found:
            return found.group(1)
    return None
