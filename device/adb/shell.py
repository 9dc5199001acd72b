"""Commands on a device, over adb's shell protocol 2 (Android 7 or newer)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from device import runner_call
from device.adb import server as adb_server
from device.adb.server import Attached, Connection, Server
from device.errors import DeviceError, DeviceLost, DeviceUnavailable, NoAnswer, ServerGone
from device.remote import shell
from device.remote.shell import MOST_ANSWER_BYTES, Shell, ShellFlooded, ShellResult
from device.timeouts import DEFAULT, Deadline, Timeouts

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)  # packet ids of adb's shell protocol 2
_MOST_PACKET_BYTES = 1024 * 1024  # AOSP, adb.h: MAX_PAYLOAD


class AdbShell(Shell):
    """Commands on one device, over adb's shell protocol 2: stdout, stderr and exit status kept apart."""

    def __init__(self, device: Attached, server: Server, timeouts: Timeouts = DEFAULT) -> None:
        self.device, self.server = device, server
        self._timeouts = timeouts
        self._open: set[Connection] = set()

    def run(
        self,
        command: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> ShellResult:
        limit_s = self._timeouts.command_s if timeout_s is None else timeout_s
        stdout, stderr = bytearray(), runner_call.Tail()
        try:
            with self._transport(Deadline(limit_s)) as connection:
                connection.request(f"shell,v2,raw:{command}")
                if stdin is not None:
                    for data in stdin:
                        connection.send(bytes([_STDIN]) + len(data).to_bytes(4, "little") + data)
                    connection.send(bytes([_CLOSE_STDIN]) + bytes(4))
                for kind, data in self._packets(connection):
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
                                f"{self.device.name}: more than {most_bytes} bytes came in answer to a command"
                            )
            raise DeviceLost(f"{self.device.name}: the connection closed before the command ended; see `adb devices`")
        except TimeoutError:
            raise NoAnswer(
                f"{self.device.name}: no answer within {limit_s:.0f} s; is the device awake and its cable sound?"
            ) from None
        except (OSError, EOFError) as error:
            raise self._broken(str(error) or type(error).__name__) from None

    def _packets(self, connection: Connection) -> Iterator[tuple[int, bytes]]:
        while True:
            header = connection.read(5)
            size_bytes = int.from_bytes(header[1:], "little")
            if size_bytes > _MOST_PACKET_BYTES:
                raise ShellFlooded(
                    f"{self.device.name}: a packet of {size_bytes} bytes; adb's have {_MOST_PACKET_BYTES}"
                )
            yield header[0], connection.read(size_bytes)

    def require_protocol(self) -> None:
        """Raises DeviceUnavailable, with the Android it is, for a device that does not speak shell protocol 2."""
        try:
            features = adb_server.ask(self.device.asking("features"), self.server, shell.PING_S)
        except DeviceUnavailable:
            return  # nobody knows
        if "shell_v2" in features.split(","):
            return
        release = b""
        with contextlib.suppress(OSError, EOFError, DeviceError), self._transport(Deadline(shell.PING_S)) as connection:
            connection.request("shell:getprop ro.build.version.release")
            release = connection.first_line()
        what = f"Android {release.decode(errors='replace').strip()}" if release.strip() else "its adbd"
        raise DeviceUnavailable(
            f"{self.device.name}: {what} is too old: it lacks adb's shell protocol 2 of Android 7.0"
        )

    def break_off(self) -> None:
        for connection in tuple(self._open):
            connection.break_off()

    def reboot(self, limit_s: float) -> None:
        """Asks the device's adbd to restart the device. Raises DeviceLost's children when it cannot be asked."""
        try:
            with self._transport(Deadline(limit_s)) as connection:
                connection.request("reboot:")
        except (OSError, EOFError) as error:
            raise self._broken(str(error) or type(error).__name__) from None

    @contextlib.contextmanager
    def _transport(self, deadline: Deadline) -> Iterator[Connection]:
        with Connection(self.server, deadline, self._timeouts.connect_s) as connection:
            self._open.add(connection)
            try:
                connection.request(self.device.transport)
                yield connection
            finally:
                self._open.discard(connection)

    def _broken(self, reason: str) -> DeviceLost:
        """Why a connection broke: the server is gone, or it says what it knows of the device."""
        if not adb_server.answers(self.server):
            return ServerGone(f"{self.device.name}: the adb server {self.server} went away; see `adb devices`")
        try:
            adb_server.require_usable(self.device.name, self.server, shell.PING_S)
        except DeviceLost as error:
            return type(error)(f"{self.device.name}: the connection broke: {error}")
        except DeviceError as error:
            return DeviceLost(f"{self.device.name}: the connection broke: {error}")
        return DeviceLost(f"{self.device.name}: the connection broke ({reason}); see `adb devices`")
