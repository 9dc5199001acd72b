"""A board's life: booted, reached over adb, revived, closed. Once up, it is an adb device like any other.

A board is reached on 127.0.0.1 only, cannot reach any network, needs no root, and dies with the program that
booted it. What is pushed to /data stays for the next boot, as on a phone. Several run at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from device import lifeline, loopback
from device.adb import server as adb_server
from device.adb.private import private_server
from device.adb.server import Server
from device.adb.shell import Shell
from device.board import disk, emulator
from device.board import image as board_image
from device.board.definitions import BoardDefinition, BoardUnavailable, definition
from device.board.disk import Slot
from device.errors import DeviceUnavailable
from device.timeouts import Deadline

BOOT_TIMEOUT_S = 60.0
_STARTED = b"adbd started"
_ADB_ANSWERS_S = 5.0  # the private adb server, which is at hand


@dataclass
class Board:
    """A board that is up: an adb device `serial` at the private adb server on `adb_server`.

    `counts_path` is where the emulator's counts go (see `CountingDevice`); None when it does not count.
    """

    definition: BoardDefinition
    serial: str
    adb_server: Server
    kernel_version: str
    log_path: Path
    counts_path: Path | None
    _emulator: subprocess.Popen[bytes] = field(repr=False)
    _slot: Slot = field(repr=False)
    _image: board_image.Image = field(repr=False)
    _plugin: Path | None = field(repr=False)
    _changing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _given_up: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def slot(self) -> int:
        """Which of the definition's data disks it has: 0 for the first board of its name, 1 for a second beside it."""
        return self._slot.number

    @property
    def pid(self) -> int:
        """The emulator's process."""
        return self._emulator.pid

    def alive(self) -> bool:
        """Whether the emulator runs; it may still be stuck."""
        return self._emulator.poll() is None

    def revive(self, limit_s: float, again: bool = False) -> tuple[str, Server]:
        """Has the board reached over adb, booted anew on its disk when it has died, or (`again`) in any case.

        The serial and the adb server, which may be others then. Raises BoardUnavailable, in time.
        """
        with self._changing:
            if self._given_up.is_set():
                raise BoardUnavailable(f"the board {self.definition.name} has been switched off")
            deadline = Deadline(limit_s)
            server = private_server()
            if again or not self.alive():
                lifeline.end(self._emulator)
                _disconnect(self.serial, server)
                disk.prepare(self._slot.disk)
                self._emulator, self.serial = _up(
                    self.definition, self._image, self._slot, self._plugin, server, deadline, self._given_up
                )
            elif server != self.adb_server:  # another server, which knows nothing yet
                _wait_for_adb(
                    self.definition, self._emulator, self.log_path, self.serial, server, deadline, self._given_up
                )
            self.adb_server = server
            return self.serial, server

    def close(self) -> None:
        """Write /data to its disk, and switch off. Once closed, nothing happens any more."""
        self._given_up.set()
        with self._changing:
            if self._slot.closed:
                return
            if self.alive():
                _sync(self.serial, self.adb_server)
            lifeline.end(self._emulator)
            _disconnect(self.serial, self.adb_server)
            self._slot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def boot(
    name: str, on_step: Callable[[str], None] | None = None, timeout_s: float | None = None, *, count: bool = False
) -> Board:
    """Boot the board called `name` and wait until adb reaches it.

    `on_step` hears what is being waited for. `timeout_s` is for the boot alone, not for building the image
    the first time; by default $TENPASS_BOOT_TIMEOUT_S, else 60. `count` makes the emulator count what lies between a
    runner's marks (device/emulator/README.md), for about a fifth of its speed. Raises DeviceUnavailable with the end of
    the board's console when it does not come up, with the package to install when the emulator is missing, and for a
    board that cannot count.
    """
    step = on_step or (lambda _step: None)
    described = definition(name)
    plugin = emulator.plugin(described, step) if count else None
    image = board_image.image(described.architecture, step)
    limit_s = _boot_timeout_s() if timeout_s is None else timeout_s
    server = private_server()
    step(f"booting {described.title}")
    slot = Slot.take(described.name)
    given_up = threading.Event()
    try:
        process, serial = _up(described, image, slot, plugin, server, Deadline(limit_s), given_up)
    except BaseException:
        slot.close()
        raise
    return Board(
        described,
        serial,
        server,
        image.kernel_version,
        slot.log_path,
        slot.counts_path if plugin else None,
        process,
        slot,
        image,
        plugin,
        _given_up=given_up,
    )


def _up(
    described: BoardDefinition,
    image: board_image.Image,
    slot: Slot,
    plugin: Path | None,
    server: Server,
    deadline: Deadline,
    given_up: threading.Event,
) -> tuple[subprocess.Popen[bytes], str]:
    """Starts the emulator and waits for adb to reach it: the process, and the serial. When it fails, nothing stays."""
    process, port = emulator.start(described, image, slot, plugin)
    try:
        serial = f"{loopback.HOST}:{port}"
        _wait_for_adb(described, process, slot.log_path, serial, server, deadline, given_up)
    except BaseException:
        lifeline.end(process)
        raise
    return process, serial


def _boot_timeout_s() -> float:
    given = os.environ.get("TENPASS_BOOT_TIMEOUT_S")
    try:
        return float(given) if given else BOOT_TIMEOUT_S
    except ValueError:
        raise BoardUnavailable(f"TENPASS_BOOT_TIMEOUT_S={given!r} is not a number of seconds") from None


def _wait_for_adb(
    described: BoardDefinition,
    process: subprocess.Popen[bytes],
    log: Path,
    serial: str,
    server: Server,
    deadline: Deadline,
    given_up: threading.Event,
) -> None:
    """Return when adb says "device". The port answers before the guest listens: adbd must say so first."""
    while not deadline.passed:
        if given_up.is_set():
            raise BoardUnavailable(f"the board {described.name} is no longer wanted")
        if process.poll() is not None:
            raise BoardUnavailable(
                f"the board {described.name} ended while booting (status {process.returncode}): {end_of(log)}"
            )
        if _STARTED in log.read_bytes():
            adb_server.rejoin(serial, server, deadline.left_s(_ADB_ANSWERS_S))
            with contextlib.suppress(DeviceUnavailable):
                adb_server.require_usable(serial, server, deadline.left_s(_ADB_ANSWERS_S))
                return
        time.sleep(0.05)
    raise BoardUnavailable(
        f"the board {described.name} was not up in time (TENPASS_BOOT_TIMEOUT_S sets how long to wait): {end_of(log)}"
    )


def end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = " | ".join(line.strip() for line in lines if line.strip())[-600:]
    return f'its console ends with "{last}", all of it is in {log}'


def _sync(serial: str, server: Server) -> None:
    with contextlib.suppress(DeviceUnavailable):
        Shell(serial, server).run("sync", timeout_s=3)


def _disconnect(serial: str, server: Server) -> None:
    with contextlib.suppress(DeviceUnavailable):
        adb_server.ask(f"host:disconnect:{serial}", server, limit_s=3)
