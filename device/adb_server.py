"""The adb server on this machine: its host protocol (AOSP, adb: SERVICES.TXT and OVERVIEW.TXT), and having one.

The client is our own, of few lines, because every wait must end at a deadline, and because adbutils' starts a server
whenever it meets none. A server that runs is never ended: others use it.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from device.errors import (
    DeviceError,
    DeviceLost,
    DeviceOffline,
    DeviceUnauthorised,
    DeviceUnavailable,
    ServerGone,
)
from device.timeouts import Deadline, Timeouts

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024
_MAX_REQUEST_BYTES = 0xFFFF  # a request's length has four hexadecimal digits
_TCP_SERIAL = re.compile(r"[^\s,]+:\d{1,5}")  # of a device that was reached with `adb connect`


@dataclass(frozen=True)
class Attached:
    """A device as an adb server lists it."""

    serial: str
    state: str  # "device" when it can be used


def server_port() -> int:
    """Where adb's own tools look for the server. Raises DeviceUnavailable for a port that is no number."""
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise DeviceUnavailable(f"ANDROID_ADB_SERVER_PORT={port}: not a port number; unset it, or mend it")
    return int(port)


class Connection:
    """A connection to the adb server, which a deadline ends whatever the other side does.

    Its methods raise ServerGone, TimeoutError when the deadline has passed, EOFError and OSError when it breaks.
    """

    def __init__(self, port: int, deadline: Deadline, connect_s: float = Timeouts.connect_s) -> None:
        self._deadline = deadline
        try:
            self._socket = socket.create_connection((_HOST, port), timeout=deadline.left_s(connect_s))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServerGone(
                f"the adb server on port {port} of this machine is not there ({reason}); `adb start-server` starts one"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def break_off(self) -> None:
        """From another thread: whoever waits here gets an error at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, data: bytes) -> None:
        self._wait_no_longer()
        self._socket.sendall(data)

    def read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait_no_longer()
            chunk = self._socket.recv(min(size - len(data), _CHUNK_BYTES))
            if not chunk:
                raise EOFError("end of stream")
            data += chunk
        return bytes(data)

    def _wait_no_longer(self) -> None:
        """Raises TimeoutError after the deadline, however much is still coming."""
        if self._deadline.passed:
            raise TimeoutError
        self._socket.settimeout(self._deadline.left_s())

    def request(self, service: str) -> None:
        """Asks for a service. Raises DeviceUnavailable's children, with the server's words, when it refuses."""
        encoded = service.encode(errors="surrogateescape")  # file names may be any bytes
        if len(encoded) > _MAX_REQUEST_BYTES:
            raise DeviceError(f"a command of {len(encoded)} bytes; adb takes {_MAX_REQUEST_BYTES}: shorten file names")
        self.send(f"{len(encoded):04x}".encode() + encoded)
        answer = self.read(4)
        if answer == b"FAIL":
            raise _refusal(self.block())
        if answer != b"OKAY":
            raise DeviceLost(f"what answers as the adb server is none: it said {answer!r}")

    def block(self) -> str:
        """The text of an answer that says its length first."""
        length = self.read(4)
        try:
            size = int(length, 16)
        except ValueError:
            raise DeviceLost(f"what answers as the adb server is none: it said {length!r}") from None
        return self.read(size).decode(errors="replace")


def _refusal(words: str) -> DeviceUnavailable:
    """The server's refusal as one of ours (AOSP, adb/transport.cpp: acquire_one_transport, and the states' names)."""
    said = words.strip().splitlines()[0] if words.strip() else "no reason given"
    if "unauthorized" in said:
        return DeviceUnauthorised(f"{said}: {ADVICE['unauthorized']}")
    if "offline" in said or "still " in said:  # "device still connecting", "device still authorizing"
        return DeviceOffline(f"{said}: {ADVICE['offline']}")
    return DeviceLost(f"{said}; see `adb devices`")


#: What to do about a device in a state other than "device".
ADVICE = {
    "offline": "unplug it and plug it in again, or `adb reconnect`",
    "unauthorized": "unlock it and accept the USB debugging question on its screen",
    "no permissions": "add a udev rule for it, or run as root",
}


def ask(service: str, port: int, limit_s: float = Timeouts.connect_s) -> str:
    """The server's answer to a host request. Raises DeviceUnavailable's children."""
    try:
        with Connection(port, Deadline(limit_s)) as connection:
            connection.request(service)
            return connection.block()
    except (OSError, EOFError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise ServerGone(f"the adb server on port {port} did not answer ({reason}); see `adb devices`") from None


def listed(port: int, limit_s: float = Timeouts.connect_s) -> list[Attached]:
    """Every device that the adb server lists, whatever its state. Raises ServerGone when there is no server."""
    lines = [line.partition("\t") for line in ask("host:devices", port, limit_s).splitlines()]
    return [Attached(serial, state.strip()) for serial, _tab, state in lines if state]


def attached(port: int | None = None, limit_s: float = Timeouts.connect_s) -> list[Attached]:
    """As `listed`, but the server is started when there is none. Raises DeviceUnavailable when there is no adb."""
    port = port or server_port()
    if not answers(port):
        start(port, limit_s)
    return listed(port, limit_s)


def answers(port: int) -> bool:
    """Whether anything listens where the server should; nothing is started."""
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex((_HOST, port)) == 0


def start(port: int, limit_s: float = Timeouts.connect_s) -> None:
    """Starts an adb server, where none runs. Raises DeviceUnavailable when that cannot be done."""
    import adbutils

    with tempfile.TemporaryFile() as said:
        try:
            argv = [adbutils.adb_path(), "-P", str(port), "start-server"]
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=limit_s, check=True, cwd="/"
            )
        except (adbutils.AdbError, OSError, subprocess.SubprocessError) as error:
            said.seek(0)
            words = said.read().decode(errors="replace").strip().splitlines()[-1:]
            reason = words[0] if words else str(error) or type(error).__name__
            raise DeviceUnavailable(
                f"no adb: {reason}; install adb, or set ADBUTILS_ADB_PATH to the one to use"
            ) from None


def require_usable(serial: str, port: int, limit_s: float = Timeouts.connect_s) -> None:
    """Raises DeviceUnavailable's children, with what to do, unless the server lists `serial` as ready."""
    devices = {item.serial: item.state for item in listed(port, limit_s)}
    if serial not in devices:
        found = ", ".join(f"{name} ({state})" for name, state in devices.items()) or "no device at all"
        raise DeviceLost(f"no device {serial!r}: adb lists {found}; see --list-devices")
    state = devices[serial]
    if state != "device":
        kind = {"unauthorized": DeviceUnauthorised, "no permissions": DeviceUnavailable}.get(state, DeviceOffline)
        raise kind(f"device {serial!r} is {state}: {ADVICE.get(state, 'see `adb devices`')}")


def rejoin(serial: str, port: int, limit_s: float) -> None:
    """Has the server connect to the device anew, as `adb reconnect` and `adb connect` do; others are left alone."""
    with contextlib.suppress(DeviceUnavailable):
        if _TCP_SERIAL.fullmatch(serial):
            # A server may hold on to the connection of a device that has gone: it must be told to let go first.
            with contextlib.suppress(DeviceLost):
                ask(f"host:disconnect:{serial}", port, limit_s)
            ask(f"host:connect:{serial}", port, limit_s)
        else:
            ask(f"host-serial:{serial}:reconnect", port, limit_s)
