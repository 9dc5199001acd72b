"""Can this device be measured on, and will its figures mean something? Everything that a run needs of it, tried.

A check is a line of what was found, with what to do about it. What keeps a run from beginning is an error of ours,
whose exit code says why, as everywhere.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from device import probe
from device.adb import server as adb_server
from device.adb.server import Server
from device.cores import as_ranges, clusters
from device.device import Device, Opening
from device.errors import BundleError, DeviceBusy, DeviceError, DeviceUnavailable, NoSpace, RunnerCrashed
from device.open import ALL, DEFAULT_BOARD, choose, open_devices, opener_of, reserve
from device.records import DeviceInfo, DeviceState, Measurement
from device.thermal import hottest
from device.timeouts import Timeouts
from harness.analyse.warnings import (
    BUSY_SHARE,
    HOME_SCREEN,
    KINDS,
    LOW_BATTERY_PERCENT,
    MACHINES_X86,
    SAVING_GOVERNORS,
    THERMAL_STATUS,
    THROTTLES_FROM,
)
from harness.measure import replay
from harness.record import runtimes
from harness.record.bounded import printable
from harness.record.case import Case
from harness.record.errors import EXIT_OK, EXPECTED, UsageError, exit_code
from harness.record.titles import estimated
from harness.record.units import size
from harness.report.conditions import runs
from harness.study.nullcase import NullNetwork
from toolchain.compile import TOOLCHAINS

Status = Literal["ok", "warning", "failed"]

#: A device that a person waits for is given up sooner than one that is measured on.
TIMEOUTS = Timeouts(connect_s=20, command_s=20)
_RUN_TIMEOUT_S = 30.0

#: Choices: ONNX Runtime's runner has up to 30 MB and a network 20 MB; Caffe2's has up to 130 MB.
_LEAST_ROOM_BYTES, _ENOUGH_ROOM_BYTES = 50_000_000, 250_000_000

ADB = "adb on this machine"  # in place of a device

_MAKE_ROOM = "make room on the device; tenpass devices --clean SERIAL removes what earlier runs left"

_MOST_ZONES = 24  # a choice: phones have up to a hundred

_MOST_CHARACTERS = 4096  # a choice: of a line of a report

_CANNOT_EXECUTE, _NOT_FOUND = 126, 127  # a shell's exit statuses


@dataclass(frozen=True)
class Check:
    """One thing that a run needs: what was found, and what to do where that is not well.

    Both quote what a device has said: each is one line of printable characters, of a bounded length.
    """

    name: str
    status: Status
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        for name in ("found", "advice"):
            object.__setattr__(self, name, printable(getattr(self, name)[:_MOST_CHARACTERS]))


@dataclass(frozen=True)
class Checkup:
    """All checks of one device, in the order in which they were made; what a failure keeps from being tried is missing.

    `device` is what it is called in the report. `exit_code` is 0 where a run can begin.
    """

    device: str
    checks: tuple[Check, ...]
    exit_code: int = EXIT_OK


@dataclass(frozen=True)
class Seen:
    """What a device has told; `measured` is a case of the null runtime, None where that failed."""

    info: DeviceInfo
    state: DeviceState
    measured: Measurement | None = None

    @property
    def is_emulated(self) -> bool:
        return self.info.clock != "wall"


def checkups(
    named: Sequence[str], server: Server | None, on_step: Callable[[str], None], *, private: bool = True
) -> list[Checkup]:
    """Of the devices that are named, side by side; where none is, of all that are attached, without an emulated board.

    The first is adb's on this machine, where a device is reached by it, or there is none at all. With `private`,
    nothing in them tells of a person or a place. Raises UsageError, DeviceNotChosen.
    """
    wanted = tuple(named) if named or os.environ.get("ANDROID_SERIAL") else (ALL,)
    lacking: list[Exception] = []
    names: tuple[str, ...] = ()
    try:
        names = choose(wanted, server, on_step)
    except DeviceUnavailable as error:
        lacking.append(error)
    if recordings := [name for name in names if name.startswith(replay.PREFIX)]:
        raise UsageError(f"--device {recordings[0]}: a recording has nothing to examine; name a device")
    called = _called(names) if private else {name: name for name in names}
    by_adb = [name for name in names if opener_of(name) is opener_of("")]
    found = [_adb(server, lacking)] if by_adb or lacking else []
    with ThreadPoolExecutor(max(len(names), 1)) as pool:
        found += pool.map(lambda name: _examined(name, called[name], server, on_step), names)
    if not private:
        return found
    words = private_words(called, server)
    return [replace(one, checks=tuple(without(words, check) for check in one.checks)) for one in found]


def _called(names: Sequence[str]) -> dict[str, str]:
    """What devices are called whose names are nobody's business: `phone 1`."""
    called, count = {}, Counter[str]()
    for name in names:
        opener = opener_of(name)
        count[opener.kind] += opener.is_private
        called[name] = f"{opener.kind} {count[opener.kind]}" if opener.is_private else name
    return called


def _adb(server: Server | None, lacking: Sequence[Exception]) -> Checkup:
    """The adb of this machine; `lacking` is why there is no device, where there is none."""
    checks: list[Check] = []
    errors = list(lacking)
    try:
        checks.append(Check("program", "ok", f"adb {adb_server.client_version()}"))
    except DeviceError as error:
        checks.append(replace(_failed("program", error, "install adb"), status="warning"))
    try:
        wanted = server or adb_server.default_server()
        states = Counter(item.state.partition(" (")[0] for item in adb_server.attached(wanted))
        listed = ", ".join(
            f"{count} {'ready' if state == adb_server.READY else state}" for state, count in states.items()
        )
        if listed:
            checks.append(Check("server", "ok", f"it lists {listed}"))
        else:
            found = "no device is attached" if adb_server.answers(wanted) else "no server runs, no phone hangs on USB"
            advice = (
                "switch USB debugging on in the phone's developer options and plug it in; or name a device: "
                f"--device {DEFAULT_BOARD}, which is emulated, or --device host"
            )
            checks.append(Check("server", "failed" if lacking else "warning", found, advice))
    except DeviceError as error:
        errors.append(error)
        checks.append(_failed("server", error, "see `adb devices -l`"))
    return Checkup(ADB, tuple(checks), exit_code(errors[0]) if errors else EXIT_OK)


def _examined(name: str, called: str, server: Server | None, on_step: Callable[[str], None]) -> Checkup:
    checks: list[Check] = []
    errors: list[Exception] = []

    @contextmanager
    def trying(what: str, advice: Callable[[Exception], str]) -> Iterator[None]:
        try:
            yield
        except EXPECTED as error:
            errors.append(error)
            checks.append(_failed(what, error, advice(error), name))

    began = time.monotonic()
    with trying("connection", lambda _: "mend that, then run tenpass doctor again"), reserve(name):
        device = open_devices(name, Opening(on_step=on_step, timeouts=TIMEOUTS, server=server))[0]
        try:
            seen = Seen(device.info, device.state())
            checks.append(Check("connection", "ok", f"ready, and told of itself, in {time.monotonic() - began:.1f} s"))
            checks.append(system(seen))
            with trying("ABI", lambda _: "measure on a device of one of these"):
                checks.append(_abi(seen.info))
            with trying("room", lambda _: "let the user that it is reached as write there"):
                checks.append(_room(device.free_bytes()))
            if not errors:
                with trying("runner", _advice_on_runner), tempfile.TemporaryDirectory(prefix="tenpass-") as folder:
                    found, measured = _tried(device, Path(folder), on_step)
                    checks.append(Check("runner", "ok", found))
                    seen = replace(seen, measured=measured)
            checks += [check for make in CONDITIONS if (check := make(seen)) is not None]
        finally:
            device.close()
    return Checkup(called, tuple(checks), exit_code(errors[0]) if errors else EXIT_OK)


def _failed(what: str, error: Exception, advice: str, name: str = "") -> Check:
    """Errors of ours begin with the device's name, and say behind a semicolon what to do, or behind its state."""
    text = str(error).removeprefix(f"{name}: ")
    if isinstance(error, DeviceBusy):
        text, advice = text.partition("; ")[0], "wait until that run is done, or end it"
    by_state = re.fullmatch(r"(.*?device .+ is [a-z ]+(?: \([^)]*\))?[^:]*): (.+)", text)
    found, _semicolon, to_do = (by_state[1], "", by_state[2]) if by_state else text.partition("; ")
    return Check(what, "failed", found, to_do or advice)


def system(seen: Seen) -> Check:
    info = seen.info
    parts = [info.os, info.model, info.soc, f"{size(info.ram_bytes)} of memory" if info.ram_bytes else None]
    found = "; ".join(part for part in parts if part)
    if info.chip is not None:
        return Check("system", "ok", f"{found}; emulated, its times {estimated(info.chip)}")
    if info.clock == "instructions":
        return Check("system", "ok", f"{found}; emulated, with a clock that counts instructions")
    if seen.is_emulated:
        return Check("system", "warning", f"{found}; emulated, and its times mean nothing", KINDS["emulated"].advice)
    return Check("system", "ok", found)


def _abi(info: DeviceInfo) -> Check:
    built = [abi for abi in probe.RUNS.get(info.abi, ()) if abi in TOOLCHAINS]
    if not built:
        raise BundleError(f"no runner is built for {info.abi}; there are {', '.join(TOOLCHAINS)}")
    machine = f", on a machine that is {info.machine}" if info.machine != "?" else ""
    return Check("ABI", "ok", f"{built[0]}{machine}")


def _pages(seen: Seen) -> Check | None:
    """A runner that cannot start on such pages is refused before it is pushed: that is seen under the runner."""
    size_bytes = seen.info.page_bytes
    return None if size_bytes is None else Check("page size", "ok", f"{size_bytes >> 10} KB")


def _room(free_bytes: int | None) -> Check:
    """Raises NoSpace when there is none for any run."""
    if free_bytes is None:
        return Check("room", "warning", "the folder can be written to, how much is free is not told", _MAKE_ROOM)
    if free_bytes < _LEAST_ROOM_BYTES:
        raise NoSpace(f"{size(free_bytes)} are free where files are pushed to, and a run needs more; {_MAKE_ROOM}")
    found = f"{size(free_bytes)} are free where files are pushed to"
    if free_bytes < _ENOUGH_ROOM_BYTES:
        return Check("room", "warning", f"{found}, which is little for several runtimes", _MAKE_ROOM)
    return Check("room", "ok", found)


def _tried(device: Device, folder: Path, on_step: Callable[[str], None]) -> tuple[str, Measurement]:
    """A runner that computes nothing, pushed and run: what happened, in words, and what it measured."""
    runtimes.build_bundle(device.info.abi, runtimes.NULL, on_step=on_step)
    case = Case("doctor", runtimes.NULL, runtimes.NULL, warmup=1, passes=3)
    request, _bundle = NullNetwork("spin_ns 5000000", folder).prepare(case, device.info, folder / "output")
    request = replace(request, passes=case.passes, counters=True, timeout_s=_RUN_TIMEOUT_S)
    began = time.monotonic()
    pushed_bytes = device.push(request, lambda _bytes: None)
    pushed_s = time.monotonic() - began
    measured = device.run(request, lambda _event: None)
    ran_s = time.monotonic() - began - pushed_s
    pushed = f"{size(pushed_bytes)} were pushed in {pushed_s:.1f} s" if pushed_bytes else "nothing had to be pushed"
    return f"{pushed}; a program was run from there in {ran_s:.1f} s", measured


def _advice_on_runner(error: Exception) -> str:
    if isinstance(error, NoSpace):
        return _MAKE_ROOM
    status = re.search(r"exit status (\d+)", str(error)) if isinstance(error, RunnerCrashed) else None
    if status and int(status[1]) == _CANNOT_EXECUTE:
        return "let programs be run from the folder that files are pushed to: its file system may be mounted noexec"
    if status and int(status[1]) == _NOT_FOUND:
        return "see whether the kernel runs programs of this ABI"
    return "report this with all that tenpass doctor says"


def _cores(seen: Seen) -> Check:
    found = clusters(seen.info)
    if not found:
        return Check("cores", "warning", "it does not tell its CPUs", "give --cpus numbers, not big or little")
    texts = []
    for one in found:
        clock = f"up to {one.max_khz / 1e6:.2f} GHz" if one.max_khz else None
        texts.append(", ".join(part for part in (f"{one}", one.part, clock) if part))
    present = {cpu for one in found for cpu in one.cpus}
    off = present - set(seen.state.online_cpus or present)
    text = "; ".join(texts)
    if off:
        advice = "keep the device awake and its power saving off; --cpus leaves these out"
        return Check("cores", "warning", f"{text}; switched off now: {as_ranges(off)}", advice)
    return Check("cores", "ok", text)


def _clocks(seen: Seen) -> Check:
    state = seen.state
    if seen.is_emulated:
        return Check("clocks", "ok", "none to read, as it is emulated")
    governors = runs(state.governors)
    mhz = runs([None if khz is None else f"{khz / 1000:.0f}" for khz in state.clocks_khz])
    told = [f"governors: {governors}" if governors else "", f"MHz now: {mhz}" if mhz else ""]
    if not any(told):
        advice = "watch the times for a drift: a device that gets slower is not noticed otherwise"
        return Check("clocks", "warning", "it tells no clocks and no governors", advice)
    found = "; ".join(filter(None, told))
    if set(state.governors) & SAVING_GOVERNORS and seen.info.machine not in MACHINES_X86:
        return Check("clocks", "warning", found, KINDS["governor"].advice)
    return Check("clocks", "ok", found)


def _temperature(seen: Seen) -> Check:
    state = seen.state
    zones = sorted(state.temperatures_celsius.items(), key=lambda zone: -zone[1])
    counts = hottest(state)
    if counts is None:
        if seen.is_emulated:
            return Check("temperature", "ok", "none, as it is emulated")
        return Check("temperature", "warning", "it tells no temperature", KINDS["temperature_unknown"].advice)
    shown = [f"{name} {celsius:.1f}" for name, celsius in zones[:_MOST_ZONES]]
    more = [f"and {len(zones) - _MOST_ZONES} more"] if len(zones) > _MOST_ZONES else []
    all_zones = f"; all, in °C: {', '.join([*shown, *more])}" if shown else ""
    found = f"{counts[1]:.1f} °C counts ({counts[0]}){all_zones}"
    if state.thermal_status is not None and state.thermal_status >= THROTTLES_FROM:
        status = THERMAL_STATUS[state.thermal_status]
        return Check(
            "temperature", "warning", f"Android's thermal status is {status}; {found}", KINDS["hot_start"].advice
        )
    return Check("temperature", "ok", found)


def _counters(seen: Seen) -> Check | None:
    if seen.measured is None:
        return None
    counted = {name for one in seen.measured.samples if one.counters for name in one.counters.counts}
    if seen.measured.counters_error is None and counted:
        return Check("counters", "ok", ", ".join(sorted(counted)))
    why = seen.measured.counters_error or "the kernel gives none"
    return Check("counters", "warning", why, "go without: times need none, what a pass costs in cycles is not told")


def _neon(seen: Seen) -> Check | None:
    if seen.measured is None or not seen.measured.abi.startswith("arm") or "neon" in seen.measured.cpu_features:
        return None
    return Check("NEON", "warning", "the CPU says that it has none", KINDS["no_simd"].advice)


def _screen(seen: Seen) -> Check | None:
    state = seen.state
    if state.screen_on is None:
        return None
    if state.screen_on and state.foreground_app and not HOME_SCREEN.search(state.foreground_app):
        return Check("screen", "warning", "on, with an app in front", KINDS["app_in_front"].advice)
    return Check("screen", "ok", "on, with the home screen in front" if state.screen_on else "off")


def _battery(seen: Seen) -> Check | None:
    state = seen.state
    told = [
        None if state.battery_percent is None else f"{state.battery_percent} %",
        None if state.battery_celsius is None else f"{state.battery_celsius:.1f} °C",
        {True: "charging", False: "not charging", None: None}[state.charging],
        {True: "power saving is on", False: "power saving is off", None: None}[state.power_save],
    ]
    found = ", ".join(part for part in told if part)
    if not found:
        return None
    if state.power_save:
        return Check("battery", "warning", found, KINDS["power_save"].advice)
    if state.battery_percent is not None and state.battery_percent < LOW_BATTERY_PERCENT:
        return Check("battery", "warning", found, KINDS["low_battery"].advice)
    return Check("battery", "ok", found)


def _load(seen: Seen) -> Check | None:
    load, cores = seen.state.load_average, len(seen.info.cores)
    if load is None or not cores:
        return None
    found = f"load average {load:.2f} on {cores} core{'s' if cores > 1 else ''}"
    if not seen.is_emulated and load > BUSY_SHARE * cores:
        return Check("load", "warning", found, KINDS["busy"].advice)
    return Check("load", "ok", found)


CONDITIONS: tuple[Callable[[Seen], Check | None], ...] = (
    _pages,
    _neon,
    _cores,
    _clocks,
    _temperature,
    _counters,
    _screen,
    _battery,
    _load,
)


def private_words(called: Mapping[str, str], server: Server | None) -> dict[str, str]:
    """What must not be in a report that others read -> what stands for it: names of devices, people and machines."""
    words = {name: label for name, label in called.items() if name != label}
    for name in tuple(words):  # jane and pi.example.org of ssh:jane@pi.example.org:22
        prefix, *parts = re.split(r"[@:/]", name)
        words |= {
            part: "HOST" for part in parts if not part.isdecimal() and opener_of(f"{prefix}:") is not opener_of("")
        }
    try:
        others = adb_server.listed(server or adb_server.default_server()) if words else []
    except DeviceError:
        others = []
    words |= {name: called.get(item.name, "another device") for item in others for name in (item.name, item.serial)}
    words |= {str(Path.home()): "~", getpass.getuser(): "USER", socket.gethostname(): "HOST"}
    return {word: label for word, label in words.items() if len(word) > 2 and word != "root"}  # noqa: PLR2004


_ANY_PRIVATE = (
    (re.compile(r"[\w.+-]+@[\w.-]+"), "USER@HOST"),
    (re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), "ADDRESS"),
    (re.compile(r"(?i)(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:%\w+)?"), "ADDRESS"),
    (re.compile(r"/(home|Users)/[^/\s]+"), "~"),
    (re.compile(r"(?<=\bhost )[\w.-]+(?= port\b)"), "HOST"),  # as ssh says
)


def without(words: Mapping[str, str], check: Check) -> Check:
    """What devices tell of themselves has none of these; what errors say has."""
    return (
        check
        if check.status != "failed"
        else replace(check, found=_said(words, check.found), advice=_said(words, check.advice))
    )


def _said(words: Mapping[str, str], text: str) -> str:
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", words[word].replace("\\", r"\\"), text)
    for pattern, label in _ANY_PRIVATE:
        text = pattern.sub(label, text)
    return text
