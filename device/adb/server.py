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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from device import loopback
from device.errors import (
    DeviceError,
    DeviceLost,
    DeviceNotChosen,
    DeviceOffline,
    DeviceUnauthorised,
    DeviceUnavailable,
    ServerGone,
)
from device.timeouts import Deadline, Timeouts

_LOOPBACK = (loopback.HOST, "localhost", "::1")
_DEFAULT_PORT = 5037  # AOSP, adb.h: DEFAULT_ADB_PORT
READY = "device"  # the state of a device that can be used
_ANSWERS_S = 5.0  # a choice: another machine may be far, and a server have its queue full for seconds
_HOST_AND_PORT = re.compile(r"(\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+))(:(?P<port>\d{1,5}))?")
_CHUNK_BYTES = 64 * 1024
_MAX_REQUEST_BYTES = 0xFFFF  # a request's length has four hexadecimal digits
_MOST_LINE_BYTES = 256  # a choice: of an answer of a few words
_USB_DEVICES = Path("/sys/bus/usb/devices")
_ADB_INTERFACE = ("ff", "42", "01")  # class, subclass, protocol of adb's USB interface (AOSP, adb.h)
_TRANSPORT_ID = "transport_id:"
_WITHOUT_SERIAL = ("(no serial number)", "????????????")  # AOSP, adb/transport.cpp: append_transport, now and formerly

#: Serials of devices behind a network: of `adb connect`, or an mDNS service's name, which has a number behind it when
#: the network knew the name already.
_TCP_SERIAL = re.compile(r"[^\s,]+:\d{1,5}")
_MDNS_SERIAL = re.compile(r"(?P<instance>.+?)(?: \(\d+\))?(?P<service>\._adb[\w-]*\._tcp\.?)")


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
    """A device as an adb server lists it, its `state` in adb's words.

    Where other devices have the same serial, or it has none, `apart` is what adb takes in place of it: the USB port
    (`usb:1-4`), else `transport_id:N`. `path` and `transport_id` are only known where they had to be asked for.
    """

    serial: str
    state: str = READY
    apart: str | None = None
    path: str | None = None
    transport_id: str | None = None

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.apart or self.serial

    @property
    def names(self) -> tuple[str, ...]:
        """All that it can be called."""
        number = f"{_TRANSPORT_ID}{self.transport_id}" if self.transport_id else None
        return tuple(name for name in (self.serial, self.path, number) if name)

    @property
    def transport(self) -> str:
        """The request that reaches it (AOSP, adb: SERVICES.TXT)."""
        if self.apart and self.transport_id:
            return f"host:transport-id:{self.transport_id}"
        return f"host:transport:{self.name}"

    @property
    def description(self) -> str:
        """Its state, with what to do where it cannot be used."""
        return self.state if self.state == READY else f"{self.state}: {advice(self.state)}"

    def asking(self, service: str) -> str:
        """The request for a service of the server's that concerns this device."""
        if self.apart and self.transport_id:
            return f"host-transport-id:{self.transport_id}:{service}"
        return f"host-serial:{self.name}:{service}"


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

    def first_line(self) -> bytes:
        """What comes until a line ends, or the other side closes."""
        data = bytearray()
        with contextlib.suppress(EOFError):
            while len(data) < _MOST_LINE_BYTES and b"\n" not in data:
                data += self.read(1)
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
    if found := re.match(r"device (?:still )?(unauthorized|offline|connecting|authorizing)\b", said):
        return _unusable(found[1])(f"{said}: {advice(found[1])}")
    if "insufficient permissions" in said:
        return DeviceUnavailable(f"{' '.join(words.split())}: {advice(_NO_PERMISSIONS)}")
    return DeviceLost(f"{said}; see `adb devices`")


_NO_PERMISSIONS = "no permissions"
_RESTART = "restart it into Android (`adb reboot`, or by its own menu)"

#: What to do about a device in a state other than "device" (AOSP, adb/adb.cpp: to_string of ConnectionState).
_ADVICE = {
    "offline": "unplug it and plug it in again, or `adb reconnect`",
    "unauthorized": "unlock it and accept the USB debugging question on its screen",
    "authorizing": "wait a moment; if it stays so, unlock it and accept the USB debugging question on its screen",
    "connecting": "wait a moment; if it stays so, unplug it and plug it in again, or `adb reconnect`",
    "recovery": f"it runs its recovery system; {_RESTART}",
    "sideload": f"it waits for an update to be sideloaded; {_RESTART}",
    "rescue": f"it runs its rescue system; {_RESTART}",
    "bootloader": "it is in its bootloader; restart it into Android (`fastboot reboot`, or by its own menu)",
    "host": "it is another adb server and no device; name the device itself",
    "detached": "another program has its USB interface; `adb attach` takes it back",
    "no device": "it is gone; plug it in again",
    _NO_PERMISSIONS: "this user may not open it: add a udev rule for it, or this user to the group plugdev, then run "
    "`adb kill-server` and plug it in again",
}


def advice(state: str) -> str:
    """What to do about a device in this state."""
    # Of the states, one has more behind it: "no permissions (REASON); see [ADDRESS]".
    return _ADVICE.get(_NO_PERMISSIONS if state.startswith(_NO_PERMISSIONS) else state, "see `adb devices -l`")


def _unusable(state: str) -> type[DeviceUnavailable]:
    """The error for a device in this state: one that may come back by itself is lost, another needs somebody."""
    if state.startswith(_NO_PERMISSIONS):
        return DeviceUnavailable
    return DeviceUnauthorised if state == "unauthorized" else DeviceOffline


def ask(service: str, server: Server, limit_s: float = Timeouts.connect_s) -> str:
    """The server's answer to a host request. Raises DeviceUnavailable's children."""
    try:
        with Connection(server, Deadline(limit_s)) as connection:
            connection.request(service)
            return connection.block()
    except (OSError, EOFError) as error:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        raise ServerGone(f"the adb server {server} did not answer ({reason}); see `adb devices`") from None


def listed(server: Server, limit_s: float = Timeouts.connect_s, *, long: bool = False) -> list[Attached]:
    """Every device that the adb server lists, whatever its state. Raises ServerGone when there is no server.

    Devices that share a serial are told apart; with `long`, USB port and transport id of the others are asked for, too.
    """
    lines = [line.partition("\t") for line in ask("host:devices", server, limit_s).splitlines()]
    short = [(serial, state.strip()) for serial, _tab, state in lines if state]
    count = Counter(serial for serial, _state in short)
    shared = {serial for serial in count if count[serial] > 1 or serial in _WITHOUT_SERIAL}
    if not shared and not long:
        return [Attached(serial, state) for serial, state in short]
    return list(_told_apart(short, shared, ask("host:devices-l", server, limit_s).splitlines()))


def _told_apart(short: list[tuple[str, str]], shared: set[str], lines: list[str]) -> Iterator[Attached]:
    """The devices of the short list with what the long one says of them.

    Serials and states have spaces in them: what the short list says is what the line begins with.
    """
    for serial, state in short:
        begins = f"{serial:<22} {state}"  # AOSP, adb/transport.cpp: append_transport
        line = next((line for line in lines if f"{line} ".startswith(f"{begins} ")), None)
        if line is None:  # it went away, or its state has changed, between the two questions
            yield Attached(serial, state)
            continue
        lines.remove(line)
        facts = line.removeprefix(begins)
        path = re.match(r" (?!(?:product|model|device|transport_id):)(\S+)", facts)
        number = re.search(r" transport_id:(\d+)$", facts)
        one = Attached(serial, state, path=path and path[1], transport_id=number and number[1])
        yield replace(one, apart=next(iter(one.names[1:]), None)) if serial in shared else one


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


def client_version() -> str:
    """Of the adb program that is used here: 36.0.2. Raises DeviceUnavailable where there is none."""
    import adbutils

    try:
        ended = subprocess.run([adbutils.adb_path(), "version"], capture_output=True, timeout=_ANSWERS_S, check=True)
    except (adbutils.AdbError, OSError, subprocess.SubprocessError) as error:
        raise DeviceUnavailable(f"no adb: {error}; install adb, or set ADBUTILS_ADB_PATH to the one to use") from None
    found = re.search(r"^Version ([\w.]+)", ended.stdout.decode(errors="replace"), re.MULTILINE)
    return found[1] if found else "of an unknown version"


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


def require_usable(name: str, server: Server, limit_s: float = Timeouts.connect_s) -> Attached:
    """The device of this name. Raises DeviceUnavailable's children, with what to do, unless it is listed as ready.

    Raises DeviceNotChosen when several have that name.
    """
    devices = listed(server, limit_s, long=name.startswith(("usb:", _TRANSPORT_ID)))
    found = [one for one in devices if name in one.names]
    if not found:
        there = ", ".join(f"{one.name} ({one.state})" for one in devices) or "no device at all"
        raise DeviceLost(f"no device {name!r}: adb lists {there}; see --list-devices")
    if len(found) > 1:
        names = " or ".join(f"{one.name} ({one.state})" for one in found)
        raise DeviceNotChosen(f"{len(found)} devices have the serial {name!r}; name one by its port: --device {names}")
    (one,) = found
    if one.state != READY:
        raise _unusable(one.state)(f"device {name!r} is {one.description}")
    return one


def namesakes(known: Attached, server: Server, limit_s: float) -> list[Attached]:
    """What is ready now and may be that device, under another name perhaps: a port, a number behind an mDNS name.

    Raises DeviceUnavailable's children when there is none.
    """
    devices = [one for one in listed(server, limit_s, long=known.path is not None) if one.state == READY]
    there = [one for one in devices if known.path and one.path == known.path]
    there = there or [one for one in devices if one.serial == known.serial]
    there = there or [one for one in devices if _without_number(one.serial) == _without_number(known.serial)]
    return there or [require_usable(known.name, server, limit_s)]


def _without_number(serial: str) -> str:
    found = _MDNS_SERIAL.fullmatch(serial)
    return found["instance"] + found["service"] if found else serial


def is_on_network(serial: str) -> bool:
    """Whether a device with this serial is reached over a network."""
    return bool(_TCP_SERIAL.fullmatch(serial) or _MDNS_SERIAL.fullmatch(serial))


def rejoin(device: Attached, server: Server, limit_s: float) -> None:
    """Has the server connect to the device anew, as `adb reconnect` and `adb connect` do; others are left alone."""
    with contextlib.suppress(DeviceUnavailable):
        if is_on_network(device.serial):
            # A server may hold on to the connection of a device that has gone: it must be told to let go first.
            with contextlib.suppress(DeviceLost):
                ask(f"host:disconnect:{device.serial}", server, limit_s)
            ask(f"host:connect:{device.serial}", server, limit_s)
        else:
            ask(device.asking("reconnect"), server, limit_s)
