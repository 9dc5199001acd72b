"""A board's life: booted, reached over adb, revived, closed. Once up, it is an adb device like any other.

A board is reached on 127.0.0.1 only, cannot reach any network, needs no root, and dies with the program that
booted it. What is pushed to /data stays for the next boot, as on a phone. Several run at once.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from device import lifeline, loopback
from device.adb import server as adb_server
from device.adb.private import private_server
from device.adb.server import Attached, Server
from device.adb.shell import AdbShell
from device.board import disk, emulator, ssh
from device.board.definitions import BoardDefinition, BoardUnavailable, definition
from device.board.disk import Slot
from device.board.image import Image, image
from device.errors import DeviceUnavailable
from device.timeouts import Deadline

BOOT_TIMEOUT_S = 60.0
_STARTED = b"adbd started"
_ADB_ANSWERS_S = 5.0  # the private adb server, which is at hand


class Board:
    """A board that is up: an adb device `serial` at the private adb server `adb_server`.

    `ssh` says how to reach its sshd. `log_path` is its console's, `counts_paths` where the emulator's counts go (see
    `CountingDevice`), with each setting of a chip's memory; empty when it does not count. Making one boots it, within
    `limit_s`.
    """

    def __init__(
        self,
        described: BoardDefinition,
        image: Image,
        slot: Slot,
        plugins: Sequence[Path],
        limit_s: float,
    ) -> None:
        self.definition, self._image, self._slot, self._plugins = described, image, slot, plugins
        self.log_path, self.counts_paths = slot.log_path, tuple(map(slot.counts_path, range(len(plugins))))
        self.kernel_version = image.kernel_version
        self._changing, self._given_up = threading.Lock(), threading.Event()
        self.adb_server = private_server()
        self._known_to: Server | None = None
        self._start(Deadline(limit_s))

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
            self.adb_server = private_server()
            if again or not self.alive():
                lifeline.end(self._emulator)
                _disconnect(self.serial, self.adb_server)
                disk.prepare(self._slot.disk)
                self._start(deadline)
            elif self._known_to != self.adb_server:  # another server, which knows nothing yet
                self._wait_for_adb(deadline)
            return self.serial, self.adb_server

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

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def _start(self, deadline: Deadline) -> None:
        """Starts the emulator and waits for adb to reach it. When it fails, no emulator stays."""
        self._emulator, ports = emulator.start(self.definition, self._image, self._slot, self._plugins)
        self.serial = f"{loopback.HOST}:{ports.adbd}"
        try:
            self._wait_for_adb(deadline)
            self.ssh = ssh.note(self._slot, ports.sshd)
        except BaseException:
            lifeline.end(self._emulator)
            raise

    def _wait_for_adb(self, deadline: Deadline) -> None:
        """Return when adb says "device". The port answers before the guest listens: adbd must say so first."""
        name = self.definition.name
        while not deadline.passed:
            if self._given_up.is_set():
                raise BoardUnavailable(f"the board {name} is no longer wanted")
            if not self.alive():
                status = self._emulator.returncode
                raise BoardUnavailable(
                    f"the board {name} ended while booting (status {status}): {console_end(self.log_path)}"
                )
            if _STARTED in self.log_path.read_bytes():
                adb_server.rejoin(Attached(self.serial), self.adb_server, deadline.left_s(_ADB_ANSWERS_S))
                with contextlib.suppress(DeviceUnavailable):
                    adb_server.require_usable(self.serial, self.adb_server, deadline.left_s(_ADB_ANSWERS_S))
                    self._known_to = self.adb_server
                    return
            time.sleep(0.05)
        raise BoardUnavailable(
            f"the board {name} was not up in time (TENPASS_BOOT_TIMEOUT_S sets how long to wait): "
            f"{console_end(self.log_path)}"
        )


def boot(
    name: str | BoardDefinition,
    on_step: Callable[[str], None] = lambda _: None,
    timeout_s: float | None = None,
    *,
    count: bool = False,
    every_memory: bool = False,
    clock_mhz: float | None = None,
) -> Board:
    """Boot the board called `name`, or a changed one, and wait until adb reaches it.

    `on_step` hears what is being waited for. `timeout_s` is for the boot alone, not for building the image
    the first time; by default $TENPASS_BOOT_TIMEOUT_S, else 60. `count` makes the emulator count what lies between a
    runner's marks (device/emulator/README.md), for about a fifth of its speed, and say what that takes on the board's
    chip, which `clock_mhz` sets to another clock: with the first setting of its memory, or, which costs as much again
    for each, with `every_memory`. Raises DeviceUnavailable with the end of the board's console when it does not come
    up, with the package to install when the emulator is missing, and for a board that cannot count, or has no chip to
    set.
    """
    described = (definition(name) if isinstance(name, str) else name).at_clock(clock_mhz)
    plugins = emulator.plugins(described, on_step, every_memory=every_memory) if count else ()
    built = image(described.architecture, described.page_bytes, on_step)
    limit_s = _boot_timeout_s() if timeout_s is None else timeout_s
    on_step(f"booting {described.title}")
    slot = Slot.take(described.name)
    try:
        return Board(described, built, slot, plugins, limit_s)
    except BaseException:
        slot.close()
        raise


def _boot_timeout_s() -> float:
    given = os.environ.get("TENPASS_BOOT_TIMEOUT_S")
    try:
        return float(given) if given else BOOT_TIMEOUT_S
    except ValueError:
        raise BoardUnavailable(f"TENPASS_BOOT_TIMEOUT_S={given!r} is not a number of seconds") from None


def console_end(log: Path) -> str:
    """The end of a board's console, in words."""
    lines = log.read_text(errors="replace").split("\n")
    last = " | ".join(line.strip() for line in lines if line.strip())[-600:]
    return f'its console ends with "{last}", all of it is in {log}'


def _sync(serial: str, server: Server) -> None:
    with contextlib.suppress(DeviceUnavailable):
        AdbShell(Attached(serial), server).run("sync", timeout_s=3)


def _disconnect(serial: str, server: Server) -> None:
    with contextlib.suppress(DeviceUnavailable):
        adb_server.ask(f"host:disconnect:{serial}", server, limit_s=3)
