"""A device behind adb: a phone, or any ARM board that runs adbd. Android 7 or newer (shell protocol 2)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from device import probe
from device.adb import server as adb_server
from device.adb.server import Attached, Server, default_server
from device.adb.shell import AdbShell
from device.errors import DeviceError, DeviceLost, DeviceUnavailable, ServerGone
from device.probe import Identity
from device.remote import shell
from device.remote.cache import ANDROID_ROOT
from device.remote.device import DESCRIBE_SCRIPT, Found, RemoteDevice
from device.timeouts import DEFAULT, Deadline, Timeouts

#: Has an emulated board up and reached, within so many seconds, booted anew if it must be or (True) in any case; says
#: its serial and its adb server.
Revive = Callable[[float, bool], tuple[str, Server]]


class AdbDevice(RemoteDevice[AdbShell]):
    """The device with this serial on an adb server.

    `name` is what records call it (the serial, if nothing else); `on_close` runs when it is given back. Raises
    DeviceUnavailable's children when it cannot be used.

    When it is lost, the adb server is asked to connect anew; the default one is started where there is none, and none
    is ever ended. A board that has died is booted anew.
    """

    def __init__(
        self,
        serial: str,
        *,
        server: Server | None = None,
        name: str | None = None,
        timeouts: Timeouts = DEFAULT,
        on_close: Callable[[], None] = lambda: None,
        revive: Revive | None = None,
    ) -> None:
        self.server, self._revive = server or default_server(), revive
        try:
            device = adb_server.require_usable(serial, self.server, timeouts.connect_s)
        except ServerGone:
            if not self.server.is_default or adb_server.answers(self.server):
                raise
            adb_server.start(self.server, timeouts.connect_s)
            device = adb_server.require_usable(serial, self.server, timeouts.connect_s)
        connection = AdbShell(device, self.server, timeouts)
        try:
            answer = connection.ask(DESCRIBE_SCRIPT)
        except DeviceLost:
            connection.require_protocol()
            raise
        super().__init__(connection, name or serial, answer, ANDROID_ROOT, timeouts, on_close)

    @property
    def serial(self) -> str:
        """What the adb server calls it."""
        return self.shell.device.name

    def _reach(self, deadline: Deadline) -> None:
        if self._revive is not None:
            self._move(*self._revive(deadline.left_s(), False))
        elif self.server.is_default and not adb_server.answers(self.server):
            adb_server.start(self.server, deadline.left_s(self._timeouts.connect_s))

    def _found(self, soon: Deadline, deadline: Deadline) -> list[Found]:
        known, found = self.shell.device, []
        try:
            for one in adb_server.namesakes(known, self.server, shell.PING_S):
                self.shell.device = one
                with contextlib.suppress(DeviceLost):
                    if self.shell.run("echo here", timeout_s=soon.left_s(shell.PING_S)).stdout.strip() == b"here":
                        answer = self.shell.ask(probe.INFO_SCRIPT, self._limit_s(deadline))
                        found.append(Found(one.name, partial(self._adopt, one), answer))
        finally:
            self.shell.device = known
        return found

    def _adopt(self, one: Attached) -> None:
        self.shell.device = one

    def _rejoin(self, limit_s: float) -> None:
        adb_server.rejoin(self.shell.device, self.server, limit_s)

    def _move(self, serial: str, server: Server) -> None:
        self.shell.device, self.server = Attached(serial), server
        self.shell.server = server

    def _restart(self, deadline: Deadline) -> None:
        if self._revive is not None:
            self._move(*self._revive(deadline.left_s(), True))
        else:
            with contextlib.suppress(DeviceUnavailable):
                self.shell.reboot(deadline.left_s(shell.PING_S))


def identity_of(name: str, server: Server | None) -> Identity | None:
    """What an attached device says it is; None where it cannot be asked now."""
    try:
        server = server or default_server()
        asked = AdbShell(adb_server.require_usable(name, server, shell.PING_S), server)
        return probe.identity(asked.ask(probe.IDENTITY_SCRIPT, shell.PING_S), serial=name)
    except DeviceError:
        return None
