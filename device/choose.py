"""From the name a user gives to a device that is ready: `host`, `board:NAME`, or an adb serial."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from device.adb import AdbDevice, Attached, attached, server_port
from device.call import Device
from device.errors import DeviceNotChosen
from device.host import NAME as HOST
from device.host import HostDevice

BOARD_PREFIX = "board:"
DEFAULT_BOARD = "board:cortex-a7"

_USB_DEVICES = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass, protocol of adb's USB interface (AOSP, adb.h)


def choose(named: str | None) -> str:
    """The device to use: the one named, else ANDROID_SERIAL, else the one attached, else the default board.

    Raises DeviceNotChosen when several are attached, DeviceUnavailable when there is a server but no adb.
    """
    wanted = named or os.environ.get("ANDROID_SERIAL")
    if wanted:
        return wanted
    serials = [item.serial for item in attached_without_side_effects()]
    if len(serials) > 1:
        listed = "\n".join(f"  {serial}" for serial in serials)
        raise DeviceNotChosen(f"several devices are attached; name one with --device:\n{listed}")
    return serials[0] if serials else DEFAULT_BOARD


def attached_without_side_effects() -> list[Attached]:
    """As `attached`, but starts no adb server when there is none and no phone hangs on USB either."""
    if _server_answers() or _adb_on_usb():
        return attached()
    return []


def open_device(name: str, on_step: Callable[[str], None] = lambda _: None) -> Device:
    """The named device, ready. `on_step` hears what is being waited for (a board boots in seconds).

    Raises DeviceUnavailable with what to do. A board dies with this program, at the latest.
    """
    if name == HOST:
        return HostDevice()
    if name.startswith(BOARD_PREFIX):
        from device.board import boot

        board = boot(name.removeprefix(BOARD_PREFIX), on_step=on_step)
        try:
            return AdbDevice(board.serial, port=board.adb_server_port, name=name, on_close=board.close)
        except BaseException:
            board.close()
            raise
    return AdbDevice(name)


def _server_answers() -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", server_port())) == 0


def _adb_on_usb() -> bool:
    def read(path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError:
            return ""

    parts = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    interfaces = _USB_DEVICES.glob("*:*") if _USB_DEVICES.is_dir() else ()
    return any(tuple(read(item / part) for part in parts) == _ADB_INTERFACE for item in interfaces)
