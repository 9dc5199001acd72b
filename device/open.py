"""From the names a user gives to devices that are ready: `host`, `board:NAME`, an adb serial, or `all` of these."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from device.adb.device import AdbDevice
from device.adb.server import Attached, Server, answers, attached, default_server
from device.board.counting import CountingDevice
from device.errors import DeviceNotChosen, DeviceUnavailable
from device.host import NAME as HOST
from device.host import HostDevice
from device.lock import DeviceLock
from device.runner_call import Device
from device.timeouts import DEFAULT, Timeouts

if TYPE_CHECKING:
    from device.board.lifecycle import Board

BOARD_PREFIX = "board:"
DEFAULT_BOARD = "board:cortex-a7"
ALL = "all"

_USB_DEVICES = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass, protocol of adb's USB interface (AOSP, adb.h)


def choose(named: Sequence[str], server: Server | None = None) -> tuple[str, ...]:
    """The devices to use: those named, else ANDROID_SERIAL, else the one attached, else the default board.

    `all` are those that the adb server lists, usable or not: one that cannot be used is to be heard of. Raises
    DeviceNotChosen when several are attached and none is named, DeviceUnavailable when there is no adb server where
    one must be, or none of `all`.
    """
    wanted = tuple(named) or tuple(filter(None, [os.environ.get("ANDROID_SERIAL")]))
    if ALL in wanted:
        found = [item.serial for item in attached_without_side_effects(server)]
        if not found:
            raise DeviceUnavailable(f"--device {ALL}: no device is attached; see --list-devices")
        return tuple(dict.fromkeys(one for name in wanted for one in (found if name == ALL else [name])))
    if wanted:
        return tuple(dict.fromkeys(wanted))
    serials = [item.serial for item in attached_without_side_effects(server)]
    if len(serials) > 1:
        raise DeviceNotChosen(
            f"several devices are attached; name some with --device, or --device {ALL}: {', '.join(serials)}"
        )
    return (serials[0] if serials else DEFAULT_BOARD,)


def attached_without_side_effects(server: Server | None = None) -> list[Attached]:
    """As `attached`, but starts no adb server when there is none and no phone hangs on USB either.

    A server that was named must be there: else raises ServerGone.
    """
    if server is not None or answers(default_server()) or _adb_on_usb():
        return attached(server)
    return []


def reserve(name: str, wait_s: float = 0, on_wait: Callable[[str], None] = lambda _: None) -> DeviceLock | None:
    """The named device for this program alone, among the runs of this machine; None: it is one that nobody shares.

    Waits up to `wait_s` for another run to end. Raises DeviceBusy, which says who has it. Boards have their own locks.
    """
    return None if name.startswith(BOARD_PREFIX) else DeviceLock.take(name, wait_s, on_wait)


def open_devices(
    name: str,
    count: int = 1,
    on_step: Callable[[str], None] = lambda _: None,
    *,
    counting: bool = False,
    timeouts: Timeouts = DEFAULT,
    server: Server | None = None,
) -> list[Device]:
    """The named device, ready; of a board as many as asked for, always in the same order of their data disks.

    Whoever calls has reserved it. `on_step` hears what is being waited for (a board boots in seconds). With `counting`,
    a board's passes carry its emulator's counts; what is no board takes no notice. `server` is the adb server that has
    the device (default: this machine's); boards have their own. Raises DeviceUnavailable with what to do. Boards die
    with this program, at the latest.
    """
    if name == HOST:
        return [HostDevice()]
    if not name.startswith(BOARD_PREFIX):
        device = AdbDevice(name, timeouts=timeouts, server=server)
        device.take_over()
        return [device]
    boards = _boot(name.removeprefix(BOARD_PREFIX), count, on_step, counting)
    try:
        return [_device(name, board, timeouts) for board in boards]
    except BaseException:
        for board in boards:
            board.close()
        raise


def _device(name: str, board: Board, timeouts: Timeouts) -> Device:
    device = AdbDevice(
        board.serial,
        server=board.adb_server,
        name=name,
        timeouts=timeouts,
        on_close=board.close,
        revive=board.revive,
    )
    device.take_over()
    caches = board.definition.caches
    if board.counts_path is None or caches is None:
        return device
    return CountingDevice(device, board.counts_path, caches)


def _boot(name: str, count: int, on_step: Callable[[str], None], counting: bool) -> list[Board]:
    """Boots `count` boards at the same time. When one does not come up, none stays."""
    from device.board.lifecycle import boot

    booted: queue.SimpleQueue[Board | Exception] = queue.SimpleQueue()

    def boot_one() -> None:
        try:
            booted.put(boot(name, on_step=on_step, count=counting))
        except Exception as error:
            booted.put(error)

    for _ in range(count):
        # Daemons: who loses patience need not wait for them, and a board does not outlive the program.
        threading.Thread(target=boot_one, daemon=True).start()
    results = [booted.get() for _ in range(count)]
    boards = [result for result in results if not isinstance(result, Exception)]
    for result in results:
        if isinstance(result, Exception):
            for board in boards:
                board.close()
            raise result
    return sorted(boards, key=lambda board: board.slot)


def is_deterministic_board(name: str) -> bool:
    """Whether this names a board whose clock counts instructions, so that several side by side don't disturb another.

    Raises DeviceUnavailable for a board that there is not.
    """
    from device.board.lifecycle import definition

    name = name.partition("@")[0]  # a farm's may say which worker has it
    return name.startswith(BOARD_PREFIX) and definition(name.removeprefix(BOARD_PREFIX)).clock == "instructions"


def _adb_on_usb() -> bool:
    def read(path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError:
            return ""

    parts = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    interfaces = _USB_DEVICES.glob("*:*") if _USB_DEVICES.is_dir() else ()
    return any(tuple(read(item / part) for part in parts) == _ADB_INTERFACE for item in interfaces)
