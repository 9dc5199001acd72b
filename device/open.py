"""From the names a user gives to devices that are ready: `host`, `board:NAME`, an adb serial, or `all` of these.

A kind of device is one Opener, found by how its names begin. `register` adds kinds that this package does not know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from device.adb.device import AdbDevice
from device.adb.server import Server, attached, default_server
from device.board import definitions
from device.board import devices as boards
from device.device import Device, Opening
from device.errors import DeviceNotChosen, DeviceUnavailable
from device.host import NAME as HOST
from device.host import HostDevice
from device.lock import DeviceLock
from device.records import Kind

DEFAULT_BOARD = boards.PREFIX + definitions.DEFAULT
ALL = "all"


@dataclass(frozen=True)
class Opener:
    """One kind of device: how those of its names are opened, and what may be done with them.

    `open` gets the whole name. `kind` is what a device is by its name alone. `needs_lock`: only one run of this machine
    may have it at a time, and somebody must see to that. `is_deterministic`: several of this name may measure side by
    side, and none disturbs another. `listed`: the names there are now (on the adb server that is named), each with what
    it is.
    """

    kind: Kind
    open: Callable[[str, Opening], Sequence[Device]]
    needs_lock: bool = True
    is_deterministic: Callable[[str], bool] = lambda _name: False
    listed: Callable[[Server | None], Iterable[tuple[str, str]]] = lambda _server: ()


def _open_adb(name: str, opening: Opening) -> list[Device]:
    device = AdbDevice(name, timeouts=opening.timeouts, server=opening.server)
    device.take_over()
    return [device]


def _listed_adb(server: Server | None) -> Iterator[tuple[str, str]]:
    return ((item.serial, f"adb: {item.state}") for item in attached(server))


_ADB = ""
_OPENERS = {
    _ADB: Opener("phone", _open_adb, listed=_listed_adb),
    boards.PREFIX: Opener(
        "board",
        boards.open_boards,
        needs_lock=False,  # each has a lock on its disk
        is_deterministic=boards.is_deterministic,
        listed=lambda _server: boards.listed_boards(),
    ),
    HOST: Opener("host", lambda _name, _opening: [HostDevice()], listed=lambda _server: [(HOST, "this machine")]),
}


def register(prefix: str, opener: Opener) -> None:
    """Names that begin with `prefix`, which ends with a colon (or the one name that has none), are this opener's."""
    _OPENERS[prefix] = opener


def opener_of(name: str) -> Opener:
    """The kind of device that this name is of. A farm's may say after an @ which worker has it."""
    head, colon, _rest = name.partition("@")[0].partition(":")
    return _OPENERS.get(head + colon, _OPENERS[_ADB])


def is_deterministic(name: str) -> bool:
    """Whether several devices of this name may measure side by side and do not disturb one another.

    Raises DeviceUnavailable for a board that there is not.
    """
    return opener_of(name).is_deterministic(name.partition("@")[0])


def listed(server: Server | None = None) -> Iterator[tuple[str, str]]:
    """The names of the devices there are now, each with what it is. Raises DeviceUnavailable as `choose`."""
    for opener in _OPENERS.values():
        yield from opener.listed(server)


def choose(named: Sequence[str], server: Server | None = None) -> tuple[str, ...]:
    """The devices to use: those named, else ANDROID_SERIAL, else the one attached, else the default board.

    Who names an adb server wants a device of its: no board then. `all` are those that the adb server lists, usable or
    not: one that cannot be used is to be heard of. Raises DeviceNotChosen when several are attached and none is named,
    DeviceUnavailable when there is no adb server where one must be, or no device where one was asked for.
    """
    wanted = tuple(named) or tuple(filter(None, [os.environ.get("ANDROID_SERIAL")]))
    if ALL in wanted:
        found = [item.serial for item in attached(server)]
        if not found:
            raise DeviceUnavailable(f"--device {ALL}: no device is attached; see --list-devices")
        return tuple(dict.fromkeys(one for name in wanted for one in (found if name == ALL else [name])))
    if wanted:
        return tuple(dict.fromkeys(wanted))
    serials = [item.serial for item in attached(server)]
    if len(serials) > 1:
        raise DeviceNotChosen(
            f"several devices are attached; name some with --device, or --device {ALL}: {', '.join(serials)}"
        )
    if not serials and not (server := server or default_server()).is_default:
        raise DeviceUnavailable(f"the adb server {server} has no device; attach one there, or say --device board:NAME")
    return (serials[0] if serials else DEFAULT_BOARD,)


def reserve(
    name: str, wait_s: float = 0, on_wait: Callable[[str], None] = lambda _: None
) -> contextlib.AbstractContextManager[object]:
    """The named device for this program alone, among the runs of this machine, until the block ends.

    Waits up to `wait_s` for another run to end. Raises DeviceBusy, which says who has it.
    """
    return DeviceLock.take(name, wait_s, on_wait) if opener_of(name).needs_lock else contextlib.nullcontext()


def open_devices(name: str, opening: Opening | None = None) -> Sequence[Device]:
    """The named device, ready, and more of its kind where it can be had more than once.

    Whoever calls has reserved it. Raises DeviceUnavailable with what to do.
    """
    return opener_of(name).open(name, opening or Opening())
