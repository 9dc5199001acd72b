"""A device behind adb: a phone, or any ARM board that runs adbd. Android 7 or newer (shell protocol 2).

Everything on the device lives below REMOTE_ROOT, each set of files in a folder named after its content, so
that a second push of the same bytes is no push. Nothing outside is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import adbutils

from device import bundle, call, probe
from device.errors import DeviceLost, DeviceUnavailable, NoSpace, PushFailed, RunTimedOut
from device.records import DeviceInfo, DeviceState, File, Measurement, RunRequest
from device.wire import Output, Transcript

REMOTE_ROOT = PurePosixPath("/data/local/tmp/tenpass")

_SERVER_TIMEOUT_S = 20.0  # for the adb server itself, which runs on this machine
_COMMAND_TIMEOUT_S = 60.0
_PUSH_FLOOR_BYTES_PER_S = 250_000  # slower than any USB 2.0 phone: below it, a push counts as hung
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)  # packet ids of adb's shell protocol 2
_PACKET_BYTES = 64 * 1024
_MOST_PACKET_BYTES = 1024 * 1024  # AOSP, adb.h: MAX_PAYLOAD
_MOST_ANSWER_BYTES = 4 * 1024 * 1024  # a choice: of a command's stdout; the longest, a probe's, have some 10 KB
#: Hash tools a device may have, best first: Android 7's toybox has no sha256sum yet.
_HASH_TOOLS = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}


class ShellTimedOut(DeviceLost):
    """The device did not answer a command in time."""


class ShellFlooded(DeviceLost):
    """The device answered with more than the answer to a command can be."""


@dataclass(frozen=True)
class Attached:
    """A device as an adb server lists it."""

    serial: str
    state: str  # "device" when it can be used


@dataclass(frozen=True)
class ShellResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


def server_port() -> int:
    """Where adb's own tools look for the server. Raises DeviceUnavailable for a port that is no number."""
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    if not port.isdecimal():
        raise DeviceUnavailable(f"ANDROID_ADB_SERVER_PORT={port}: not a port number; unset it, or mend it")
    return int(port)


def attached(port: int | None = None) -> list[Attached]:
    """Every device that the adb server lists, whatever its state; the server is started when there is none.

    Raises DeviceUnavailable when there is no adb.
    """
    try:
        found = adbutils.AdbClient(port=port or server_port(), socket_timeout=_SERVER_TIMEOUT_S).list()
    except (adbutils.AdbError, OSError) as error:
        raise DeviceUnavailable(
            f"no adb: {str(error) or type(error).__name__}; install adb, or set ADBUTILS_ADB_PATH to the one to use"
        ) from None
    return [Attached(item.serial, item.state) for item in found]


class Shell:
    """Commands on one device, over adb's shell protocol 2: stdout, stderr and exit status kept apart."""

    def __init__(self, serial: str, port: int) -> None:
        self.serial = serial
        self._device = adbutils.AdbClient(port=port, socket_timeout=_SERVER_TIMEOUT_S).device(serial=serial)

    def run(
        self,
        command: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float = _COMMAND_TIMEOUT_S,
        on_stdout: Callable[[bytes], None] | None = None,
        most_bytes: int = _MOST_ANSWER_BYTES,
    ) -> ShellResult:
        """What `command` (a line for the device's shell) answered; `on_stdout` gets its output as it comes.

        Of stderr the end is kept. Raises ShellTimedOut, ShellFlooded when more than `most_bytes` are to be kept of
        stdout, or DeviceLost when the connection breaks before the exit status has come.
        """
        deadline = time.monotonic() + timeout_s
        stdout, stderr = bytearray(), call.Tail()
        try:
            with self._device.open_transport(timeout=min(timeout_s, _SERVER_TIMEOUT_S)) as connection:
                connection.send_command(f"shell,v2,raw:{command}")
                connection.check_okay()
                if stdin is not None:
                    self._feed(connection.conn, stdin, deadline)
                for kind, data in self._packets(connection.conn, deadline):
                    if kind == _EXIT and data:
                        return ShellResult(bytes(stdout), stderr.kept(), data[0])
                    if kind == _STDERR:
                        stderr.add(data)
                    elif kind == _STDOUT and on_stdout is not None:
                        on_stdout(data)
                    elif kind == _STDOUT:
                        stdout += data
                        if len(stdout) > most_bytes:
                            raise ShellFlooded(
                                f"{self.serial}: more than {most_bytes} bytes came in answer to a command"
                            )
        except (TimeoutError, adbutils.AdbTimeout):
            raise ShellTimedOut(
                f"{self.serial}: no answer within {timeout_s:.0f} s; is the device awake and its cable sound?"
            ) from None
        except (adbutils.AdbError, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
            raise DeviceLost(f"{self.serial}: the connection broke ({reason}); see `adb devices`") from None
        raise DeviceLost(f"{self.serial}: the connection closed before the command ended; see `adb devices`")

    @staticmethod
    def _feed(connection: socket.socket, stdin: Iterator[bytes], deadline: float) -> None:
        for data in stdin:
            connection.settimeout(_left_s(deadline))
            connection.sendall(bytes([_STDIN]) + len(data).to_bytes(4, "little") + data)
        connection.sendall(bytes([_CLOSE_STDIN]) + bytes(4))

    def _packets(self, connection: socket.socket, deadline: float) -> Iterator[tuple[int, bytes]]:
        def read(size: int) -> bytes:
            data = bytearray()
            while len(data) < size:
                connection.settimeout(_left_s(deadline))
                chunk = connection.recv(min(size - len(data), _PACKET_BYTES))
                if not chunk:
                    raise EOFError("end of stream")
                data += chunk
            return bytes(data)

        while True:
            header = read(5)
            size_bytes = int.from_bytes(header[1:], "little")
            if size_bytes > _MOST_PACKET_BYTES:
                raise ShellFlooded(f"{self.serial}: a packet of {size_bytes} bytes; adb's have {_MOST_PACKET_BYTES}")
            yield header[0], read(size_bytes)


def _left_s(deadline: float) -> float:
    """Raises TimeoutError when there is none left, however much is still coming."""
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class AdbDevice:
    """The device with this serial on an adb server.

    `name` is what records call it (the serial, if nothing else); `on_close` runs when it is given back.
    """

    def __init__(
        self,
        serial: str,
        *,
        port: int | None = None,
        name: str | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        port = port or server_port()
        _require_usable(serial, port)
        self.serial, self.port = serial, port
        self.shell = Shell(serial, port)
        self._on_close = on_close
        self._info = probe.info(self._ask(probe.INFO_SCRIPT), serial=name or serial, kind="phone")
        tools = self._ask(f"command -v {' || command -v '.join(_HASH_TOOLS)}").split()
        self._hash_tool = PurePosixPath(tools[0]).name if tools else None
        self._running: Transcript | None = None

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def state(self) -> DeviceState:
        return probe.state(self._ask(probe.STATE_SCRIPT), serial=self._info.serial)

    def push(self, request: RunRequest, on_bytes: call.OnBytes) -> int:
        return sum(self._push_set(files, on_bytes) for files in self._missing(_file_sets(request)))

    def run(self, request: RunRequest, on_event: call.OnEvent) -> Measurement:
        serial = self._info.serial
        scratch = REMOTE_ROOT / f"run-{uuid.uuid4().hex}"
        output = scratch / "output"
        bundle_folder = _folder(request.bundle.files)
        models = [str(_folder(request.model_files) / file.name) for file in request.model_files]
        argv = bundle.command(request.bundle, str(bundle_folder)) + call.arguments(
            request,
            models=models,
            input_path=str(_folder((request.input_file,)) / request.input_file.name),
            output_path=str(output),
        )
        self._running = transcript = Transcript(
            warmup=request.warmup, passes=request.passes, profile_passes=request.profile_passes
        )
        output_bytes = 0

        def receive(chunk: bytes) -> None:
            nonlocal output_bytes
            for event in transcript.receive(chunk):
                output_bytes = event.bytes if isinstance(event, Output) else output_bytes
                on_event(event)

        try:
            line = f"mkdir -p {scratch} && cd {bundle_folder} && exec {shlex.join(argv)}"
            ended = self.shell.run(line, timeout_s=request.timeout_s, on_stdout=receive)
            measurement = call.conclude(transcript, ended.exit_code, ended.stderr, where=serial)
            self._pull(output, request.output_path, output_bytes)
        except BaseException as error:
            self._abandon(transcript.pid)
            with contextlib.suppress(DeviceLost):
                self.shell.run(f"rm -rf {scratch}")
            if isinstance(error, ShellTimedOut):
                raise RunTimedOut(
                    f"{serial}: the runner did not end within {request.timeout_s:g} s; --timeout allows more"
                ) from None
            raise
        finally:
            self._running = None
        return measurement

    def close(self) -> None:
        if self._running is not None:
            self._abandon(self._running.pid)
        self._on_close()

    def _ask(self, script: str) -> str:
        return self.shell.run(script).stdout.decode(errors="replace")

    def _missing(self, sets: Iterator[tuple[File, ...]]) -> list[tuple[File, ...]]:
        """Those that the device does not have: one question for all, as the way there and back takes longest."""
        folders = {_folder(files).name: files for files in sets}
        test = f"for name in {' '.join(folders)}; do test -d $name && echo $name; done"
        there = self._ask(f"cd {REMOTE_ROOT} 2>/dev/null && {test}").split()
        return [files for name, files in folders.items() if name not in there]

    def _push_set(self, files: tuple[File, ...], on_bytes: call.OnBytes) -> int:
        """Carries the files over, checks what arrived, and only then gives their folder its name."""
        serial, folder = self._info.serial, _folder(files)
        partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
        size_bytes = sum(file.size_bytes for file in files)
        self._require_room(size_bytes)
        if self._hash_tool is None:
            raise PushFailed(f"{serial}: it has none of {', '.join(_HASH_TOOLS)}; what arrives can't be checked")
        try:
            self._must(f"mkdir -p {partial}", f"{serial}: cannot make {partial}")
            for file in files:
                self._push_file(file, partial / file.name, on_bytes)
            names = " ".join(shlex.quote(file.name) for file in files)
            answer = self._must(
                f"cd {partial} && {self._hash_tool} -- {names}", f"{serial}: cannot read back what was pushed"
            )
            arrived = [line.split()[0].lstrip("\\") for line in answer.decode(errors="replace").splitlines()]
            sent = [_hexdigest(file, _HASH_TOOLS[self._hash_tool]) for file in files]
            if arrived != sent:
                raise PushFailed(f"{serial}: {names} arrived other than they left; check the cable, push again")
            # Another run may have been faster with the same bytes: then this copy is not needed.
            named = f"{{ test -d {folder} || mv {partial} {folder}; }}"
            self._must(f"sync && {named} && sync", f"{serial}: cannot name {folder}")
        finally:
            with contextlib.suppress(DeviceLost):
                self.shell.run(f"rm -rf {partial}")
        return size_bytes

    def _push_file(self, file: File, target: PurePosixPath, on_bytes: call.OnBytes) -> None:
        def content() -> Iterator[bytes]:
            with file.path.open("rb") as stream:
                while data := stream.read(_PACKET_BYTES):
                    yield data
                    on_bytes(len(data))

        quoted = shlex.quote(str(target))
        # A full disk must not cut the stream: what cannot be written is read all the same, then told.
        command = f"cat > {quoted} || {{ cat > /dev/null; exit 1; }}; chmod 755 {quoted}"
        timeout_s = _COMMAND_TIMEOUT_S + file.size_bytes / _PUSH_FLOOR_BYTES_PER_S
        ended = self.shell.run(command, stdin=content(), timeout_s=timeout_s)
        if ended.exit_code != 0:
            reason = ended.stderr.decode(errors="replace").strip()
            kind = NoSpace if "space" in reason.lower() else PushFailed
            raise kind(f"{self._info.serial}: {file.name} could not be pushed: {reason[:300]}")

    def _require_room(self, size_bytes: int) -> None:
        """Raises NoSpace unless the device has `size_bytes` free, and a little more to work with."""
        answer = self._must(
            f"mkdir -p {REMOTE_ROOT} && df -k {REMOTE_ROOT}",
            f"{self._info.serial}: cannot make {REMOTE_ROOT}",
        )
        fields = answer.decode(errors="replace").split()
        # The last line is "device blocks used available use% mount"; a long device name breaks it in two.
        available = fields[-3] if len(fields) > 5 else ""  # noqa: PLR2004
        if not available.isdecimal():
            return  # the push itself will tell
        headroom_bytes = 1024 * 1024
        if int(available) * 1024 < size_bytes + headroom_bytes:
            raise NoSpace(
                f"{self._info.serial}: {size_bytes / 1e6:.1f} MB must be pushed and "
                f"{int(available) / 1e3:.1f} MB are free; make room on the device "
                f"(what earlier runs left is in {REMOTE_ROOT})"
            )

    def _pull(self, source: PurePosixPath, target: Path, size_bytes: int) -> None:
        """Fetches the file and removes its folder, in one go."""
        timeout_s = _COMMAND_TIMEOUT_S + size_bytes / _PUSH_FLOOR_BYTES_PER_S
        command = f"cat {source} || exit 1; rm -rf {source.parent}; true"
        data = self._must(command, f"{self._info.serial}: the output cannot be read", timeout_s, size_bytes)
        if len(data) != size_bytes:
            raise DeviceLost(f"{self._info.serial}: {len(data)} bytes of output arrived, the runner wrote {size_bytes}")
        target.write_bytes(data)

    def _abandon(self, pid: int | None) -> None:
        """Ends a runner that is still there: the process with its pid, if that is one of our bundles'."""
        if pid is None:
            return
        ours = f"grep -q {REMOTE_ROOT.name} /proc/{pid}/cmdline"
        with contextlib.suppress(DeviceLost):
            self.shell.run(f"{ours} && kill -9 {pid}", timeout_s=5)

    def _must(
        self,
        command: str,
        otherwise: str,
        timeout_s: float = _COMMAND_TIMEOUT_S,
        most_bytes: int = _MOST_ANSWER_BYTES,
    ) -> bytes:
        ended = self.shell.run(command, timeout_s=timeout_s, most_bytes=most_bytes)
        if ended.exit_code != 0:
            reason = ended.stderr.decode(errors="replace").strip()[:300]
            kind = NoSpace if "no space" in reason.lower() else PushFailed
            raise kind(f"{otherwise}: {reason or f'exit status {ended.exit_code}'}")
        return ended.stdout


def _require_usable(serial: str, port: int) -> None:
    """Raises DeviceUnavailable, with what to do, unless the adb server lists `serial` as ready."""
    devices = {item.serial: item.state for item in attached(port)}
    advice = {
        "offline": "unplug it and plug it in again, or `adb reconnect`",
        "unauthorized": "unlock it and accept the USB debugging question on its screen",
        "no permissions": "add a udev rule for it, or run as root",
    }
    if serial not in devices:
        listed = ", ".join(f"{name} ({state})" for name, state in devices.items()) or "no device at all"
        raise DeviceUnavailable(f"no device {serial!r}: adb lists {listed}; see --list-devices")
    if devices[serial] != "device":
        todo = advice.get(devices[serial], "see `adb devices`")
        raise DeviceUnavailable(f"device {serial!r} is {devices[serial]}: {todo}")


def _file_sets(request: RunRequest) -> Iterator[tuple[File, ...]]:
    yield request.bundle.files
    yield request.model_files
    yield (request.input_file,)


def _folder(files: tuple[File, ...]) -> PurePosixPath:
    """The folder on the device for exactly these names with exactly these bytes."""
    listing = "\n".join(sorted(f"{file.sha256} {file.name!r}" for file in files))
    return REMOTE_ROOT / hashlib.sha256(listing.encode()).hexdigest()


def _hexdigest(file: File, algorithm: str) -> str:
    if algorithm == "sha256":
        return file.sha256
    with file.path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
