"""What a Linux or Android machine says of itself: one shell script asks, pure functions read the answer.

The same script runs over adb and on this machine, so that phones, boards and hosts are described alike.
"""

from __future__ import annotations

import re

from device.errors import DeviceError
from device.records import Clock, Core, DeviceInfo, DeviceState, Kind

_MARK = "@@"

#: Asks for everything that does not change. Every section may be empty.
INFO_SCRIPT = r"""
say() { echo "@@ $1"; }
say machine; uname -m
say kernel; uname -sr
for p in ro.product.model ro.product.cpu.abi ro.soc.model ro.board.platform ro.build.version.release \
    ro.tenpass.clock ro.tenpass.board ro.kernel.qemu ro.boot.qemu; do
  say "prop $p"; getprop "$p" 2>/dev/null
done
say cpuinfo; cat /proc/cpuinfo 2>/dev/null
say meminfo; head -n 5 /proc/meminfo 2>/dev/null
say os; grep '^PRETTY_NAME=' /etc/os-release 2>/dev/null
say tree; tr '\000' ' ' < /proc/device-tree/model 2>/dev/null
echo; say max_khz; grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null 2>/dev/null
say end
"""

#: Asks for what changes while a device works.
STATE_SCRIPT = r"""
say() { echo "@@ $1"; }
say zone_type; grep . /sys/class/thermal/thermal_zone*/type /dev/null 2>/dev/null
say zone_temp; grep . /sys/class/thermal/thermal_zone*/temp /dev/null 2>/dev/null
say khz; grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq /dev/null 2>/dev/null
say governor; grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor /dev/null 2>/dev/null
say cpus; cat /sys/devices/system/cpu/present 2>/dev/null
say load; cat /proc/loadavg 2>/dev/null
say meminfo; head -n 5 /proc/meminfo 2>/dev/null
say battery; dumpsys battery 2>/dev/null
say end
"""

#: Part numbers of ARM's own cores (implementer 0x41), from the cores' reference manuals (MIDR_EL1.PartNum).
ARM_PARTS = {
    0xC05: "Cortex-A5",
    0xC07: "Cortex-A7",
    0xC08: "Cortex-A8",
    0xC09: "Cortex-A9",
    0xC0D: "Cortex-A12",
    0xC0E: "Cortex-A17",
    0xC0F: "Cortex-A15",
    0xD01: "Cortex-A32",
    0xD03: "Cortex-A53",
    0xD04: "Cortex-A35",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0D: "Cortex-A77",
    0xD41: "Cortex-A78",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}

#: `uname -m` -> Android's name for the ABI.
ABI_OF_MACHINE = {
    "armv7l": "armeabi-v7a",
    "armv8l": "armeabi-v7a",
    "aarch64": "arm64-v8a",
    "x86_64": "x86_64",
}


def info(answer: str, *, serial: str, kind: Kind) -> DeviceInfo:
    """The facts in the answer to INFO_SCRIPT.

    A device that says it is an emulator is a board, whatever `kind` was assumed, and its clock says so.
    Raises DeviceError for an answer that is cut short or names an unknown machine.
    """
    sections = _sections(answer, serial)
    machine = _text(sections, "machine") or "?"
    abi = _text(sections, "prop ro.product.cpu.abi") or ABI_OF_MACHINE.get(machine)
    if abi is None:
        known = ", ".join(ABI_OF_MACHINE)
        raise DeviceError(f"{serial}: machine {machine!r} is none that a runner is built for ({known})")
    clock: Clock = "wall"
    declared = _text(sections, "prop ro.tenpass.clock")
    if declared == "instructions":
        clock = "instructions"
    elif declared or "1" in (_text(sections, f"prop ro.{where}.qemu") for where in ("kernel", "boot")):
        clock = "emulated"
    android = _text(sections, "prop ro.build.version.release")
    pretty = re.search(r'PRETTY_NAME="?([^"\n]+)', sections.get("os", ""))
    is_board = clock != "wall"
    system = f"Android {android}" if android and not is_board else pretty.group(1) if pretty else None
    kernel = _text(sections, "kernel") or "?"
    cpus = _cpus(sections.get("cpuinfo", ""))
    max_khz = _per_cpu(sections.get("max_khz", ""))
    x86_name = re.search(r"^model name\s*:\s*(.+)$", sections.get("cpuinfo", ""), re.MULTILINE)
    return DeviceInfo(
        serial=serial,
        kind="board" if is_board else kind,
        clock=clock,
        model=_text(sections, "prop ro.product.model")
        or _text(sections, "tree")
        or (x86_name.group(1) if x86_name else machine),
        soc=_text(sections, "prop ro.soc.model") or _text(sections, "prop ro.board.platform"),
        abi=abi,
        cores=tuple(Core(index, part, _number(max_khz.get(index))) for index, part in cpus),
        ram_bytes=_meminfo(sections, "MemTotal"),
        os=f"{system}, {kernel}" if system else kernel,
        machine=machine,
    )


def state(answer: str, *, serial: str) -> DeviceState:
    """The conditions in the answer to STATE_SCRIPT; what the device does not tell is None or left out."""
    sections = _sections(answer, serial)
    present = re.match(r"(?:\d+-)?(\d+)", _text(sections, "cpus") or "")
    count = int(present.group(1)) + 1 if present else 0
    khz, governor = _per_cpu(sections.get("khz", "")), _per_cpu(sections.get("governor", ""))
    battery = dict(re.findall(r"^\s*([\w ]+): (\S+)$", sections.get("battery", ""), re.MULTILINE))
    tenths = _number(battery.get("temperature"))
    load = (_text(sections, "load") or "").split()
    powered = [battery[key] for key in ("AC powered", "USB powered", "Wireless powered") if key in battery]
    return DeviceState(
        temperatures_celsius=_temperatures(sections),
        clocks_khz=tuple(_number(khz.get(index)) for index in range(count)),
        governors=tuple(governor.get(index) for index in range(count)),
        battery_percent=_number(battery.get("level")),
        battery_celsius=None if tenths is None else tenths / 10,
        charging="true" in powered if powered else None,
        load_average=float(load[0]) if load else None,
        free_ram_bytes=_meminfo(sections, "MemAvailable"),
    )


def _sections(answer: str, serial: str) -> dict[str, str]:
    parts = re.split(rf"^{_MARK} (.*)$", answer, flags=re.MULTILINE)
    sections = {name.strip(): body.strip("\n\r") for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    if "end" not in sections:
        raise DeviceError(f"{serial}: the device's description of itself was cut short; try again")
    return sections


def _text(sections: dict[str, str], name: str) -> str | None:
    return sections.get(name, "").strip() or None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,18}", text) else None


def _per_cpu(text: str) -> dict[int, str]:
    found = re.findall(r"/cpu(\d+)/cpufreq/\w+:(\S+)$", text, re.MULTILINE)
    return {int(index): value for index, value in found}


def _cpus(cpuinfo: str) -> list[tuple[int, str | None]]:
    """(index, part name) of each core that /proc/cpuinfo lists, for ARM and x86 alike."""
    cpus: list[tuple[int, str | None]] = []
    for block in re.split(r"^processor\s*:\s*", cpuinfo, flags=re.MULTILINE)[1:]:
        index = re.match(r"\d+", block)
        part = re.search(r"^CPU part\s*:\s*(0x[0-9a-fA-F]+)", block, re.MULTILINE)
        implementer = re.search(r"^CPU implementer\s*:\s*(0x[0-9a-fA-F]+)", block, re.MULTILINE)
        name = re.search(r"^model name\s*:\s*(.+)$", block, re.MULTILINE)
        label: str | None = name.group(1) if name else None
        if part:
            is_arm = implementer is not None and int(implementer.group(1), 16) == 0x41  # noqa: PLR2004
            known = ARM_PARTS.get(int(part.group(1), 16)) if is_arm else None
            label = known or f"part {part.group(1)} of {implementer.group(1) if implementer else '?'}"
        if index:
            cpus.append((int(index.group()), label))
    return cpus


def _meminfo(sections: dict[str, str], key: str) -> int | None:
    found = re.search(rf"^{key}:\s*(\d+) kB", sections.get("meminfo", ""), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _temperatures(sections: dict[str, str]) -> dict[str, float]:
    """Zone name -> degrees Celsius; the kernel gives thousandths, some vendors' kernels whole degrees."""
    zone = r"thermal_zone(\d+)/\w+:(.+)$"
    names = dict(re.findall(zone, sections.get("zone_type", ""), re.MULTILINE))
    found: dict[str, float] = {}
    for index, text in re.findall(zone, sections.get("zone_temp", ""), re.MULTILINE):
        value = _number(text.strip())
        if value is not None:
            whole_degrees_below = 200
            name = f"{names.get(index, 'zone')} ({index})"
            found[name] = float(value) if abs(value) < whole_degrees_below else value / 1000
    return found
