"""The adb server, on this machine or another: its host protocol (AOSP, adb: SERVICES.TXT and OVERVIEW.TXT), having one.

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
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from device import loopback
from device.errors import (
    DeviceError,
    DeviceLost,
    DeviceOffline,
    DeviceUnauthorised,
    DeviceUnavailable,
    ServerGone,
)
from device.timeouts import Deadline, Timeouts

_LOOPBACK = (loopback.HOST, "localhost", "::1")
_DEFAULT_PORT = 5037  # AOSP, adb.h: DEFAULT_ADB_PORT
_ANSWERS_S = 5.0  # a choice: another machine may be far, and a server have its queue full for seconds
_HOST_AND_PORT = re.compile(r"(\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?")
_CHUNK_BYTES = 64 * 1024
_MAX_REQUEST_BYTES = 0xFFFF  # a request's length has four hexadecimal digits
_USB_DEVICES = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass, protocol of adb's USB interface (AOSP, adb.h)
_TCP_SERIAL = re.compile(r"[^\s,]+:\d{1,5}")  # of a device that was reached with `adb connect`


@dataclass(frozen=True)
class Server:
    """Where an adb server listens.

    `is_default`: where adb itself looks when nobody says where. Only there may one be started: at an address that
    somebody named, it is a tunnel or another machine's that is missing, and a new server would have other devices.
    """

    port: int
    host: str = loopback.HOST
    is_default: bool = False

    @property
    def is_here(self) -> bool:
        return self.host in _LOOPBACK

    def __str__(self) -> str:
        return f"on port {self.port} of this machine" if self.is_here else f"at {self.host}:{self.port}"


@dataclass(frozen=True)
class Attached:
    """A device as an adb server lists it."""

    serial: str
    state: str  # "device" when it can be used


def default_server() -> Server:
    """Where adb's own tools look for the server (AOSP, adb/client/commandline.cpp: adb_commandline).

    Raises DeviceUnavailable for what names none.
    """
    if spec := os.environ.get("ADB_SERVER_SOCKET"):
        return _server_of_socket(spec)
    port, host = (os.environ.get(f"ANDROID_ADB_SERVER_{name}") for name in ("PORT", "ADDRESS"))
    if not port and not host:
        return Server(_DEFAULT_PORT, is_default=True)
    port = port or str(_DEFAULT_PORT)
    if not _is_port(port):
        raise DeviceUnavailable(f"ANDROID_ADB_SERVER_PORT={port}: not a port number; unset it, or mend it")
    return Server(int(port), host or loopback.HOST)


def _server_of_socket(spec: str) -> Server:
    """Of a socket as `adb -L` takes it. Raises DeviceUnavailable for what is none, or none of TCP's."""
    kind, _colon, address = spec.partition(":")
    if kind == "tcp":
        with contextlib.suppress(ValueError):
            return parse_server(f"{loopback.HOST}:{address}" if address.isdecimal() else address)
    raise DeviceUnavailable(
        f"ADB_SERVER_SOCKET={spec}: only tcp:PORT and tcp:HOST:PORT are understood here; unset it, or have the adb "
        f"server listen there (`adb -L tcp:{_DEFAULT_PORT} start-server`)"
    )


def parse_server(text: str) -> Server:
    """The server that HOST, HOST:PORT or [IPV6]:PORT names. Raises ValueError for what is none."""
    found = _HOST_AND_PORT.fullmatch(text)
    port = (found["port"] or str(_DEFAULT_PORT)) if found else ""
    if found is None or not _is_port(port):
        raise ValueError(f"{text!r} is not HOST:PORT, such as 192.168.1.20:{_DEFAULT_PORT}")
    return Server(int(port), found["ipv6"] or found["host"])


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 1 << 16  # noqa: PLR2004


#: What a server's queue has no room for comes again a second later: of all threads, so few wait for a server's first
#: word at once. A choice, the length of Python's shortest queues (socketserver); adb's are longer.
_unanswered = threading.BoundedSemaphore(5)


def _connected(server: Server, limit_s: float) -> socket.socket:
    try:
        return socket.create_connection((server.host, server.port), timeout=limit_s)
    except OSError as error:
        reason = error.strerror or str(error) or "no answer in time"
        raise ServerGone(f"no adb server answers {server} ({reason}); {_how_to_start(server)}") from None


def _how_to_start(server: Server) -> str:
    if server.is_default:
        return "`adb start-server` starts one"
    if server.is_here:
        return f"if a tunnel should lead there, open it; else `adb -P {server.port} start-server` starts one"
    return "there, `adb -a start-server` starts one"


class Connection:
    """A connection to the adb server, which a deadline ends whatever the other side does.

    Its methods raise ServerGone, TimeoutError when the deadline has passed, EOFError and OSError when it breaks.
    """

    def __init__(self, server: Server, deadline: Deadline, connect_s: float = Timeouts.connect_s) -> None:
        self._deadline = deadline
        self._is_waiting = _unanswered.acquire(timeout=deadline.left_s())
        try:
            self._socket = _connected(server, deadline.left_s(connect_s))
        except BaseException:
            self._answered()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._answered()
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

    def _answered(self) -> None:
        """Makes room for others to ask."""
        if self._is_waiting:
            self._is_waiting = False
            _unanswered.release()

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
        self._answered()
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


def ask(service: str, server: Server, limit_s: float = Timeouts.connect_s) -> str:
    """The server's answer to a host request. Raises DeviceUnavailable's children."""
    try:
        with Connection(server, Deadline(limit_s)) as connection:
            connection.request(service)
            return connection.block()
    except (OSError, EOFError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise ServerGone(f"the adb server {server} did not answer ({reason}); see `adb devices`") from None


def listed(server: Server, limit_s: float = Timeouts.connect_s) -> list[Attached]:
    """Every device that the adb server lists, whatever its state. Raises ServerGone when there is no server."""
    lines = [line.partition("\t") for line in ask("host:devices", server, limit_s).splitlines()]
    return [Attached(serial, state.strip()) for serial, _tab, state in lines if state]


def attached(server: Server | None = None, limit_s: float = Timeouts.connect_s) -> list[Attached]:
    """As `listed`; where nobody has named a server, none need be there: it is started when a phone hangs on USB.

    A server that is named must be there: else raises DeviceUnavailable.
    """
    wanted = server or default_server()
    if wanted.is_default and not answers(wanted):
        if not _adb_on_usb():
            return []
        start(wanted, limit_s)
    return listed(wanted, limit_s)


def _adb_on_usb() -> bool:
    def read(path: Path) -> str:
        try:
            return path.read_text().strip()
        except OSError:
            return ""

    parts = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    interfaces = _USB_DEVICES.glob("*:*") if _USB_DEVICES.is_dir() else ()
    return any(tuple(read(item / part) for part in parts) == _ADB_INTERFACE for item in interfaces)


def answers(server: Server) -> bool:
    """Whether anything listens where the server should; nothing is started. One that is slow to answer does."""
    try:
        socket.create_connection((server.host, server.port), timeout=_ANSWERS_S).close()
    except OSError:
        return False
    return True


def start(server: Server, limit_s: float = Timeouts.connect_s) -> None:
    """Starts the default adb server, where none runs. Raises DeviceUnavailable when that cannot be done."""
    import adbutils

    with tempfile.TemporaryFile() as said:
        try:
            argv = [adbutils.adb_path(), "-P", str(server.port), "start-server"]
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


def require_usable(serial: str, server: Server, limit_s: float = Timeouts.connect_s) -> None:
    """Raises DeviceUnavailable's children, with what to do, unless the server lists `serial` as ready."""
    devices = {item.serial: item.state for item in listed(server, limit_s)}
    if serial not in devices:
        found = ", ".join(f"{name} ({state})" for name, state in devices.items()) or "no device at all"
        raise DeviceLost(f"no device {serial!r}: adb lists {found}; see --list-devices")
    state = devices[serial]
    if state != "device":
        kind = {"unauthorized": DeviceUnauthorised, "no permissions": DeviceUnavailable}.get(state, DeviceOffline)
        raise kind(f"device {serial!r} is {state}: {ADVICE.get(state, 'see `adb devices`')}")


def rejoin(serial: str, server: Server, limit_s: float) -> None:
    """Has the server connect to the device anew, as `adb reconnect` and `adb connect` do; others are left alone."""
    with contextlib.suppress(DeviceUnavailable):
        if _TCP_SERIAL.fullmatch(serial):
            # A server may hold on to the connection of a device that has gone: it must be told to let go first.
            with contextlib.suppress(DeviceLost):
                ask(f"host:disconnect:{serial}", server, limit_s)
            ask(f"host:connect:{serial}", server, limit_s)
        else:
            ask(f"host-serial:{serial}:reconnect", server, limit_s)
