"""From the names a user gives to devices that are ready: `host`, `board:NAME`, `ssh:HOST`, an adb serial, or `all`.

A kind of device is one Opener, found by how its names begin. `register` adds kinds that this package does not know.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from device import host
from device.adb.device import AdbDevice, identity_of
from device.adb.server import Server, attached, default_server, is_on_network
from device.board import definitions
from device.board import devices as boards
from device.device import Device, Opening
from device.errors import DeviceNotChosen, DeviceUnavailable
from device.host import NAME as HOST
from device.host import HostDevice
from device.lock import DeviceLock
from device.named import FILE as NAMES_FILE
from device.named import devices as named_devices
from device.probe import Identity
from device.records import DeviceInfo, Kind
from device.remote.device import RemoteDevice
from device.ssh import address as ssh_address
from device.ssh import device as ssh
from device.ssh.address import Address

DEFAULT_BOARD = boards.PREFIX + definitions.DEFAULT
ALL = "all"


@dataclass(frozen=True)
class Opener:
    """One kind of device: how those of its names are opened, and what may be done with them.

    `open` gets the whole name. `kind` is what a device is by its name alone. `needs_lock`: only one run of this machine
    may have it at a time, and somebody must see to that. `is_deterministic`: several of this name may measure side by
    side, and none disturbs another. `described`: what is known of it before it is opened; None: nothing. `listed`: the
    names there are now (on the adb server that is named), each with what it is. `canonical`: the one name of what has
    several. `is_private`: a name tells of a person or a place (a serial, a host), and is not shown to others.
    """

    kind: Kind
    open: Callable[[str, Opening], Sequence[Device]]
    needs_lock: bool = True
    is_deterministic: Callable[[str], bool] = lambda _name: False
    described: Callable[[str], DeviceInfo | None] = lambda _name: None
    listed: Callable[[Server | None], Iterable[tuple[str, str]]] = lambda _server: ()
    identity: Callable[[str, Server | None], Identity | None] = lambda _name, _server: None
    canonical: Callable[[str], str] = lambda name: name
    is_private: bool = True


def _open_adb(name: str, opening: Opening) -> list[Device]:
    return _alone(AdbDevice(name, timeouts=opening.timeouts, server=opening.server), opening)


def _open_ssh(name: str, opening: Opening) -> list[Device]:
    return _alone(ssh.SshDevice(_address(name), name=name, timeouts=opening.timeouts), opening)


def _alone(device: RemoteDevice[Any], opening: Opening) -> list[Device]:
    """The device, once this run alone has it."""
    try:
        device.reserve(opening.wait_s, opening.on_wait)
        device.take_over()
    except BaseException:
        device.close()
        raise
    return [device]


def _listed_adb(server: Server | None) -> Iterator[tuple[str, str]]:
    for item in attached(server):
        apart = f" (serial {item.serial}, transport id {item.transport_id or 'unknown'})" if item.apart else ""
        yield item.name, f"adb: {item.description}{apart}"


def _address(name: str) -> Address:
    """Where the device over ssh of this name is. Raises DeviceNotChosen for a name that says it for none."""
    return named_devices().get(name) or ssh_address.parse(name)


_ADB, _SSH = "", ssh_address.PREFIX
_OPENERS = {
    _ADB: Opener("phone", _open_adb, listed=_listed_adb, identity=identity_of),
    boards.PREFIX: Opener(
        "board",
        boards.open_boards,
        needs_lock=False,  # each has a lock on its disk
        is_deterministic=boards.is_deterministic,
        described=boards.described,
        listed=lambda _server: boards.listed_boards(),
        canonical=boards.canonical,
        is_private=False,
    ),
    _SSH: Opener(
        "linux",
        _open_ssh,
        listed=lambda _server: ((name, f"ssh: {where} (by {NAMES_FILE})") for name, where in named_devices().items()),
        identity=lambda name, _server: ssh.identity_of(_address(name), name),
    ),
    HOST: Opener(
        "host",
        lambda _name, _opening: [HostDevice()],
        described=lambda name: HostDevice().info if name == HOST else None,  # not that of a farm's worker
        listed=lambda _server: [(HOST, "this machine")],
        identity=lambda _name, _server: host.identity(),
        is_private=False,
    ),
}


def register(prefix: str, opener: Opener) -> None:
    """Names that begin with `prefix`, which ends with a colon (or the one name that has none), are this opener's."""
    _OPENERS[prefix] = opener


def opener_of(name: str) -> Opener:
    """The kind of device that this name is of. A farm's may say after an @ which worker has it.

    Raises DeviceNotChosen where what names devices is wrong.
    """
    own_name = name.partition("@")[0]
    head, colon, _rest = own_name.partition(":")
    if (found := _OPENERS.get(head + colon)) is not None:
        return found
    return _OPENERS[_SSH if not colon and own_name in named_devices() else _ADB]


def is_deterministic(name: str) -> bool:
    """Whether several devices of this name may measure side by side and do not disturb one another.

    Raises DeviceUnavailable for a board that there is not.
    """
    return opener_of(name).is_deterministic(name.partition("@")[0])


def canonical(name: str) -> str:
    """The one name of the device that is named."""
    own_name, at, worker = name.partition("@")
    return opener_of(name).canonical(own_name) + at + worker


def described(name: str) -> DeviceInfo | None:
    """What is known of the named device before it is opened; None: nothing.

    Raises DeviceUnavailable for a board that there is not.
    """
    return opener_of(name).described(name)


def listed(server: Server | None = None) -> Iterator[tuple[str, str]]:
    """The names of the devices there are now, each with what it is. Raises DeviceUnavailable as `choose`."""
    for opener in _OPENERS.values():
        yield from opener.listed(server)


def choose(
    named: Sequence[str], server: Server | None = None, say: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """The devices to use: those named, else ANDROID_SERIAL, else the one attached, else the default board.

    Who names an adb server wants a device of its: no board then. `all` are those that the adb server lists and those
    that tenpass.toml names, usable or not, for one that cannot be used is to be heard of; one that is listed twice is
    taken once, and `say` hears of it. Raises DeviceNotChosen when several are attached and none is named, when one is
    named twice, or for a name that can be none; DeviceUnavailable when there is no adb server where one must be, or no
    device where one was asked for.
    """
    asked = tuple(named) or tuple(filter(None, [os.environ.get("ANDROID_SERIAL")]))
    for name in asked:
        if name.startswith(_SSH):
            _address(name)
    wanted = tuple(map(canonical, asked))
    found = [] if wanted and ALL not in wanted else [item.name for item in attached(server)]
    if ALL in wanted:
        found += [name for name in named_devices() if name not in found]
    if not found and ALL in wanted:
        raise DeviceUnavailable(
            f"--device {ALL}: no device is attached, and {NAMES_FILE} names none; see --list-devices"
        )
    if not found and not wanted:
        if not (server := server or default_server()).is_default:
            raise DeviceUnavailable(
                f"the adb server {server} has no device; attach one there, or say --device board:NAME"
            )
        return (DEFAULT_BOARD,)
    names = [one for name in wanted or (ALL,) for one in (found if name == ALL else [name])]
    chosen = _distinct(tuple(dict.fromkeys(names)), wanted, server, say)
    if not wanted and len(chosen) > 1:
        raise DeviceNotChosen(
            f"several devices are attached; name some with --device, or --device {ALL}: {', '.join(chosen)}"
        )
    return chosen


def _distinct(
    names: tuple[str, ...], named: Sequence[str], server: Server | None, say: Callable[[str], None]
) -> tuple[str, ...]:
    """One name of each device, by what the devices say of themselves."""
    if len(names) == 1:
        return names
    with ThreadPoolExecutor(len(names)) as pool:
        known = pool.map(lambda name: opener_of(name).identity(name, server), names)
        return one_name_each(names, dict(zip(names, known, strict=True)), named, say)


def one_name_each(
    names: Sequence[str],
    identities: Mapping[str, Identity | None],
    named: Sequence[str],
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Of the names of devices, one for each device: one that was named, else one of USB's; `say` hears of the others.

    A device without an identity is one of its own. Raises DeviceNotChosen for a device that was named twice: a column
    each was asked for, and there can only be one.
    """
    first: dict[Identity, str] = {}
    others: set[str] = set()
    for name in sorted(names, key=lambda name: (name not in named, is_on_network(name.partition("@")[0]))):
        identity = identities.get(name)
        known_as = first.setdefault(identity, name) if identity else name
        if known_as == name:
            continue
        if name in named:
            raise DeviceNotChosen(f"--device {known_as} and --device {name} are the same device; name one of them")
        others.add(name)
        say(f"{name} is the same device as {known_as}, and is taken once, as {known_as}")
    return tuple(name for name in names if name not in others)


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
