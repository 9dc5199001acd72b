"""What our probe makes of what real phones and boards say: each fact right, or not told.

One file a device in phones/: where its answers were published, what it answered in our own words (nothing that tells
its owner), and what must be read from that. What a source does not have, its file does not have.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from device import probe
from device.cores import clusters, cpu_list
from device.records import DeviceInfo, DeviceState
from device.remote.cache import available_bytes
from device.thermal import hottest

FILES = sorted((Path(__file__).parent / "phones").glob("*.toml"))
PHONES = [tomllib.loads(file.read_text()) for file in FILES]
every_phone = pytest.mark.parametrize("phone", PHONES, ids=[file.stem for file in FILES])


def cpuinfo(phone: dict[str, Any]) -> str:
    """`0-3 0x41 0xd03` are blocks of their own; `0-7` lists CPUs, and the line without CPUs is the part behind them."""
    text = ""
    for line in phone.get("cpuinfo", ()):
        cpus, *numbers = line.split() if line[0].isdigit() and not line.startswith("0x") else ("", *line.split())
        part = "CPU implementer\t: {}\nCPU architecture: 8\nCPU part\t: {}\n\n".format(*numbers) if numbers else ""
        text += "".join(f"processor\t: {cpu}\n{part}" for cpu in cpu_list(cpus)) if cpus else part
    return text + (f"Hardware\t: {phone['hardware']}\n" if "hardware" in phone else "")


def cpu_files(phone: dict[str, Any]) -> list[str]:
    """`0-1 1800000 of 0-3` are CPUs that tell their highest clock, and which CPUs share it."""
    lines = [f"present:{phone['present']}"] if "present" in phone else []
    for clock in phone.get("clocks", ()):
        cpus, khz, *related = clock.split()
        for cpu in cpu_list(cpus):
            lines.append(f"cpu{cpu}/cpufreq/cpuinfo_max_freq:{khz}")
            lines += [f"cpu{cpu}/cpufreq/related_cpus:{' '.join(map(str, cpu_list(related[1])))}"] if related else []
    return lines


def tells_abi(phone: dict[str, Any]) -> bool:
    return "machine" in phone or "ro.product.cpu.abi" in phone.get("properties", {})


def info_of(phone: dict[str, Any]) -> DeviceInfo:
    sections = {
        "machine": phone.get("machine", "" if tells_abi(phone) else "aarch64"),  # without any it would be refused
        "kernel": f"Linux {phone['kernel']}" if "kernel" in phone else "",
        **{f"prop {name}": value for name, value in phone.get("properties", {}).items()},
        "cpuinfo": cpuinfo(phone),
        "meminfo": f"MemTotal: {phone['ram_kb']} kB" if "ram_kb" in phone else "",
        "os": f'PRETTY_NAME="{phone["os"]}"' if "os" in phone else "",
        "tree": phone.get("tree", ""),
        "cpus": "\n".join(cpu_files(phone)),
        "end": "",
    }
    answer = "".join(f"@@ {name}\n{body}\n" for name, body in sections.items())
    return probe.info(answer, serial="phone", kind="phone")


def state_of(phone: dict[str, Any]) -> DeviceState:
    zones = [
        f"/sys/class/thermal/thermal_zone{index}/{file}:{value}"
        for index, zone in enumerate(phone.get("zones", ()))
        for file, value in zip(("type", "temp"), zone.rsplit(" ", 1), strict=True)
    ]
    hal = [
        "\tTemperature{{mValue={}, mType={}, mName={}, mStatus=0}}".format(*line.split(" ", 2))
        for line in phone.get("hal", ())
    ]
    sections = {
        "files": "\n".join(zones),
        "battery": "\n".join(["Current Battery Service state:", *(f"  {line}" for line in phone.get("battery", ()))]),
        "thermal": "\n".join(
            ["Thermal Status: 0", "HAL Ready: true", "Current temperatures from HAL:", *hal, "Current cooling devices:"]
        ),
        "end": "",
    }
    return probe.state("".join(f"@@ {name}\n{body}\n" for name, body in sections.items()), serial="phone")


def read_from(phone: dict[str, Any]) -> dict[str, Any]:
    info, state = info_of(phone), state_of(phone)
    hot = hottest(state)
    facts = {
        "kind": info.kind,
        "model": info.model,
        "os": info.os,
        "abi": info.abi,
        "soc": info.soc,
        "ram_bytes": info.ram_bytes,
        "clusters": [f"{one} {one.part or '?'} {one.max_khz or '?'}" for one in clusters(info)],
        "temperatures": state.temperatures_celsius,
        "hottest": f"{hot[0]} {hot[1]:.1f}" if hot else None,
        "battery_percent": state.battery_percent,
        "battery_celsius": state.battery_celsius,
        "charging": state.charging,
    }
    if not tells_abi(phone):
        del facts["abi"]
    if "ro.product.model" not in phone.get("properties", {}) and not phone.get("tree"):
        del facts["model"]  # it is called by its cores or its machine
    if "ro.build.version.release" not in phone.get("properties", {}) and "os" not in phone:
        # the source does not say what runs there
        del facts["kind"]
    return {name: fact for name, fact in facts.items() if fact is not None and fact not in ({}, [])}


@every_phone
def test_each_fact_is_read_right_or_not_told(phone: dict[str, Any]) -> None:
    assert read_from(phone) == phone["reads"]


@every_phone
def test_a_device_names_its_sources_and_not_its_owner(phone: dict[str, Any]) -> None:
    assert phone["sources"]
    assert all(source.startswith("https://") for source in phone["sources"])
    named = [*phone.get("properties", {}), *(line.split(":")[0].lower() for line in phone.get("battery", ()))]
    assert not [name for name in named if any(word in name for word in ("serial", "imei", "mac", "user", "host"))]


def test_the_devices_are_of_many_kinds() -> None:
    reads = [phone["reads"] for phone in PHONES]
    androids = {read["os"].split(",")[0].split(".")[0] for read in reads if read["os"].startswith("Android")}
    assert len(PHONES) >= 40
    assert {f"Android {number}" for number in (7, 8, 9, 10, 11, 12, 13, 14, 16)} <= androids
    assert {len(read.get("clusters", ())) for read in reads} >= {1, 2, 3, 4}
    assert {read["abi"] for read in reads if "abi" in read} == {"armeabi-v7a", "arm64-v8a", "x86_64"}


_DF = "Filesystem 1K-blocks Used Available Use% Mounted on\n"


@pytest.mark.parametrize(
    ("answer", "available_kib"),
    [
        # A Nexus 5X with Android 7.0, and a Sony SO-02H with 6.0: https://nonylene.hatenablog.jp/entry/2016/10/09/014419
        (f"{_DF}/dev/block/dm-1 241908 184160 52752 78% /vendor\n", 52752),
        (f"{_DF}/dev/block/platform/soc.0/f9824900.sdhci/by-name/cache\n 92656 4504 86188 5% /cache\n", 86188),
        ("Filesystem Size Used Free Blksize\n/data 21.9G 12.1G 9.8G 4096\n", None),
        # A Galaxy S II of 2012: https://github.com/sole/aafm/issues/30
        ("Filesystem Size Used Free Blksize\n/data 27G 19G 8G 4096\n", None),
        (_DF, None),  # the folder is not there
        ("", None),
    ],
)
def test_the_room_is_read_from_df_or_not_told(answer: str, available_kib: int | None) -> None:
    assert available_bytes(answer) == (None if available_kib is None else available_kib * 1024)
