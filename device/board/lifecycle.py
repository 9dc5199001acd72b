"""Emulated ARM boards: QEMU, a Debian kernel, the real adbd. Once up, a board is an adb device like any other.

    python -m device.board [NAME]       boot a board and leave it up for `adb connect`
    python -m device.board --list       the boards there are

A board is reached on 127.0.0.1 only, cannot reach any network, needs no root, and dies with the program that
booted it. What is pushed to /data stays for the next boot, as on a phone. Several run at once.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from device import lifeline
from device.adb import server as adb_server
from device.adb.server import Server
from device.board import image as board_image
from device.board.counting import Cache, Caches
from device.errors import DeviceUnavailable
from device.records import Clock
from device.timeouts import Deadline
from toolchain import emulator as emulators
from toolchain.errors import ToolchainError

DEFAULT = "cortex-a7"
DEFINITIONS = Path(__file__).with_name("boards.toml")
DATA_BYTES = 1 << 30
#: Where the boards' data disks and consoles are, below data/ and logs/.
DISKS = board_image.FOLDER
BOOT_TIMEOUT_S = 60.0
_ADBD_PORT = 5555  # in the guest
_STARTED = b"adbd started"
_PORT_TAKEN = b"Could not set up host forwarding rule"
_MAX_SLOTS = 64
_ADB_ANSWERS_S = 5.0  # the private adb server, which is at hand
_DISK_TIMEOUT_S = 120.0  # checking or making a file system of DATA_BYTES takes a second or two

#: Debian's architecture -> emulator and machine. Without highmem=off a 32-bit kernel does not find its PCI window.
_MACHINES = {
    "armhf": ("qemu-system-arm", "virt,highmem=off"),
    "arm64": ("qemu-system-aarch64", "virt"),
}


class BoardUnavailable(DeviceUnavailable):
    """A board cannot be had; the message says why and what to do."""


class UnknownBoard(BoardUnavailable):
    """There is no board of this name."""


@dataclass(frozen=True)
class BoardDefinition:
    """A board as `boards.toml` describes it. `architecture` is Debian's name, `abi` Android's.

    `caches` are those that are simulated when it counts; None where it cannot count.
    """

    name: str
    title: str
    architecture: str
    abi: str
    cpu: str
    cores: int
    ram_bytes: int
    clock: Clock
    description: str
    caches: Caches | None = None


def definitions() -> dict[str, BoardDefinition]:
    """Every board by name, in the order of `boards.toml`."""
    described = tomllib.loads(DEFINITIONS.read_text())
    return {name: _definition(name, **fields) for name, fields in described.items()}


def _definition(name: str, *, caches: dict[str, dict[str, Any]] | None = None, **fields: Any) -> BoardDefinition:
    levels = {level: Cache(**geometry) for level, geometry in (caches or {}).items()}
    return BoardDefinition(name=name, caches=Caches(**levels) if levels else None, **fields)


def definition(name: str) -> BoardDefinition:
    """The board called `name`; raises UnknownBoard with the names there are."""
    known = definitions()
    if name not in known:
        raise UnknownBoard(f"there is no board {name!r}; the boards are: {', '.join(known)}")
    return known[name]


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
    _slot: _Slot = field(repr=False)
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
            server = _adb_server()
            if again or not self.alive():
                lifeline.end(self._emulator)
                _disconnect(self.serial, server)
                _prepare_disk(self._slot.disk)
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
    emulator, _machine = _MACHINES[described.architecture]
    plugin = _plugin(described, _tool(emulator, "qemu-system-arm"), step) if count else None
    image = board_image.image(described.architecture, step)
    limit_s = _boot_timeout_s() if timeout_s is None else timeout_s
    server = _adb_server()
    step(f"booting {described.title}")
    slot = _Slot.take(described.name)
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
    slot: _Slot,
    plugin: Path | None,
    server: Server,
    deadline: Deadline,
    given_up: threading.Event,
) -> tuple[subprocess.Popen[bytes], str]:
    """Starts the emulator and waits for adb to reach it: the process, and the serial. When it fails, nothing stays."""
    process, port = _start(described, image, slot, plugin)
    try:
        serial = f"127.0.0.1:{port}"
        _wait_for_adb(described, process, slot.log_path, serial, server, deadline, given_up)
    except BaseException:
        lifeline.end(process)
        raise
    return process, serial


def _plugin(described: BoardDefinition, emulator: str, step: Callable[[str], None]) -> Path:
    """The plugin that makes this board's emulator count; raises BoardUnavailable where there can be none."""
    if described.caches is None:
        able = ", ".join(name for name, other in definitions().items() if other.caches)
        raise BoardUnavailable(
            f"the board {described.name} cannot count: instructions are counted on boards with one core"
            f" and a clock that counts them too ({able})"
        )
    step("compiling what counts, where need be")
    try:
        return emulators.plugin(emulator)
    except ToolchainError as error:
        raise BoardUnavailable(f"the board {described.name} cannot count: {error}") from error


def _boot_timeout_s() -> float:
    given = os.environ.get("TENPASS_BOOT_TIMEOUT_S")
    try:
        return float(given) if given else BOOT_TIMEOUT_S
    except ValueError:
        raise BoardUnavailable(f"TENPASS_BOOT_TIMEOUT_S={given!r} is not a number of seconds") from None


def _tool(name: str, package: str) -> str:
    """The path of a program, also from the system's folders; raises BoardUnavailable naming its package."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise BoardUnavailable(f"{name} is missing; install the package {package} (`make setup` does)")
    return path


# --- the data disk ------------------------------------------------------------------------------------


@dataclass
class _Slot:
    """A data disk of a board, and the lock that makes it this board's own while it runs.

    The emulator inherits the lock: should this program be killed, the disk is free when the emulator is gone.
    """

    number: int
    disk: Path
    log_path: Path
    counts_path: Path
    lock: int
    closed: bool = False

    @classmethod
    def take(cls, name: str) -> _Slot:
        """The first free slot of this board, its disk checked, and made where there is none."""
        folder, logs = DISKS / "data", DISKS / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        for number in range(_MAX_SLOTS):
            slot_name = f"{name}-{number}"
            lock = os.open(folder / f"{slot_name}.lock", os.O_CREAT | os.O_RDWR, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            console, counts = logs / f"{slot_name}.log", logs / f"{slot_name}.counts.jsonl"
            slot = cls(number, folder / f"{slot_name}.img", console, counts, lock)
            try:
                _prepare_disk(slot.disk)
            except BaseException:
                slot.close()
                raise
            return slot
        raise BoardUnavailable(f"{_MAX_SLOTS} boards {name} are running already; end one of them")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.lock)


def _prepare_disk(disk: Path) -> None:
    """Have a sound ext4 file system in `disk`: replay its journal, or make it anew when it is past repair."""
    if disk.exists():
        check = [_tool("e2fsck", "e2fsprogs"), "-p", str(disk)]
        status = _run(check).returncode
        repaired = 3  # e2fsck(8): 1 errors corrected, 2 "reboot"; 4 and up: errors left
        if status <= repaired:
            return
        print(f"board: {disk} is beyond repair and made anew; what was pushed to it is lost", file=sys.stderr)
    scratch = disk.with_suffix(".new")
    with scratch.open("wb") as file:
        file.truncate(DATA_BYTES)
    # Nothing is left for the kernel to initialise while the board measures (lazy_*=0).
    options = "lazy_itable_init=0,lazy_journal_init=0"
    make = [_tool("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-N", "8192", "-m", "0", "-J", "size=16"]
    made = _run([*make, "-E", options, str(scratch)])
    if made.returncode != 0:
        scratch.unlink()
        raise BoardUnavailable(f"{disk} cannot be made: {made.stderr.strip()}; is there room on this disk?")
    scratch.replace(disk)


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_DISK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BoardUnavailable(
            f"{Path(argv[0]).name} did not end within {_DISK_TIMEOUT_S:g} s; is the disk sound?"
        ) from None


# --- the emulator -------------------------------------------------------------------------------------


def _start(
    described: BoardDefinition, image: board_image.Image, slot: _Slot, plugin: Path | None
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the emulator on a free port; another one when somebody was faster to take it."""
    slot.counts_path.unlink(missing_ok=True)  # it is made when the first run starts
    for _attempt in range(5):
        port = _free_port()
        slot.log_path.write_bytes(b"")
        command = _command(described, image, slot, port) + _counting(described, slot, plugin)
        process = lifeline.spawn(command, log=slot.log_path, keep_open=(slot.lock,))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)  # a taken port shows at once
        if process.returncode is None or _PORT_TAKEN not in slot.log_path.read_bytes():
            return process, port
    raise BoardUnavailable("no free port was found for the board on 127.0.0.1 in five attempts")


def _command(described: BoardDefinition, image: board_image.Image, slot: _Slot, port: int) -> list[str]:
    emulator, machine = _MACHINES[described.architecture]
    deterministic = ["-icount", "shift=0,sleep=on,align=off"] if described.clock == "instructions" else []
    # norandmaps: a program has the same addresses in each run, and so the same alignments and cache sets.
    kernel = (
        "console=ttyAMA0 quiet panic=-1 cryptomgr.notests transparent_hugepage=never maxcpus=1 norandmaps"
        f" tenpass.board={described.name} tenpass.clock={described.clock} tenpass.cpu={described.cpu}"
    )
    return [
        *(_tool(emulator, "qemu-system-arm"), "-M", machine, "-cpu", described.cpu),
        *("-smp", str(described.cores), "-m", f"{described.ram_bytes >> 20}M", *deterministic),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel),
        *("-netdev", f"user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:{_ADBD_PORT}"),
        *("-device", "virtio-net-device,netdev=net"),
        *("-drive", f"if=none,id=data,format=raw,file={_escaped(slot.disk)}"),
        *("-device", "virtio-blk-device,drive=data"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-serial", "stdio"),
    ]


def _counting(described: BoardDefinition, slot: _Slot, plugin: Path | None) -> list[str]:
    """The emulator's options for counting with this plugin; none without."""
    if plugin is None or described.caches is None:
        return []
    arguments = [_escaped(plugin), f"out={_escaped(slot.counts_path)}", *described.caches.plugin_arguments()]
    return ["-plugin", ",".join(arguments)]


def _escaped(path: Path) -> str:
    """A path as QEMU's option syntax wants it."""
    return str(path).replace(",", ",,")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
                f"the board {described.name} ended while booting (status {process.returncode}): {_end_of(log)}"
            )
        if _STARTED in log.read_bytes():
            adb_server.rejoin(serial, server, deadline.left_s(_ADB_ANSWERS_S))
            with contextlib.suppress(DeviceUnavailable):
                adb_server.require_usable(serial, server, deadline.left_s(_ADB_ANSWERS_S))
                return
        time.sleep(0.05)
    raise BoardUnavailable(
        f"the board {described.name} was not up in time (TENPASS_BOOT_TIMEOUT_S sets how long to wait): {_end_of(log)}"
    )


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    last = " | ".join(line.strip() for line in lines if line.strip())[-600:]
    return f'its console ends with "{last}", all of it is in {log}'


# --- adb ----------------------------------------------------------------------------------------------

_server_lock = threading.Lock()
_server: list[tuple[subprocess.Popen[bytes], Server]] = []


def _adb_server() -> Server:
    """This program's own adb server, started once; it leaves phones and the user's keys alone."""
    with _server_lock:
        if _server and _server[0][0].poll() is None:
            return _server[0][1]
        _server.clear()
        for _attempt in range(5):
            port = _free_port()
            process = _start_adb_server(port)
            if _answers(process, port):
                _server.append((process, Server(port)))
                return Server(port)
            lifeline.end(process)
        raise BoardUnavailable(f"adb's server does not start; see {_adb_log()}")


def _start_adb_server(port: int) -> subprocess.Popen[bytes]:
    import adbutils

    home = board_image.FOLDER / "adb"
    home.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ADB_", "ANDROID_"))}
    environment |= {
        "HOME": str(home),  # its keys, not the user's
        "ANDROID_USER_HOME": str(home),
        "ADB_USB": "0",
        "ADB_MDNS": "0",
        "ADB_EMU": "0",  # nor look for emulators on ports 5555 to 5585
    }
    command = [_bundled_adb(adbutils), "-L", f"tcp:localhost:{port}", "server", "nodaemon"]  # an address is refused
    return lifeline.spawn(command, log=_adb_log(), environment=environment)


def _bundled_adb(adbutils: Any) -> str:
    """The adb that comes with adbutils; the one on PATH may be far older."""
    bundled = Path(adbutils.__file__).parent / "binaries" / "adb"
    return str(bundled) if bundled.exists() else str(adbutils.adb_path())


def _adb_log() -> Path:
    return board_image.FOLDER / "adb" / "server.log"


def _answers(process: subprocess.Popen[bytes], port: int, timeout_s: float = 10) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process.poll() is None
    return False


def _sync(serial: str, server: Server) -> None:
    from device.adb.device import Shell

    with contextlib.suppress(DeviceUnavailable):
        Shell(serial, server).run("sync", timeout_s=3)


def _disconnect(serial: str, server: Server) -> None:
    with contextlib.suppress(DeviceUnavailable):
        adb_server.ask(f"host:disconnect:{serial}", server, limit_s=3)


@atexit.register
def _end_adb_server() -> None:
    for process, _port in _server:
        lifeline.end(process)
    _server.clear()


# --- the command --------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when ended by Ctrl-C or SIGTERM, 2 for an unknown board, 3 when it does not boot."""
    parser = argparse.ArgumentParser(
        prog="python -m device.board", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", default=DEFAULT, help=f"which board (default: {DEFAULT})")
    parser.add_argument("--list", action="store_true", help="list the boards")
    options = parser.parse_args(arguments)
    if options.list:
        for described in definitions().values():
            print(f"{described.name:16} {described.description}")
        return 0
    try:
        with _ended_by_signals(), boot(options.name, on_step=_print_step) as board:
            print(_how_to_use(board), flush=True)
            while board.alive():
                time.sleep(0.5)
            print(f"board: it has ended by itself: {_end_of(board.log_path)}", file=sys.stderr)
            return 3
    except UnknownBoard as error:
        print(f"board: {error}", file=sys.stderr)
        return 2
    except DeviceUnavailable as error:
        print(f"board: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 0


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; while it ends, further signals change nothing."""

    def interrupt(_signal: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_step(step: str) -> None:
    print(f"board: {step}", file=sys.stderr)


def _how_to_use(board: Board) -> str:
    described = board.definition
    clock = {
        "instructions": "its clock counts instructions (1 ns each): times repeat, and are not a phone's",
        "emulated": "its times mean nothing",
        "wall": "",
    }[described.clock]
    return (
        f"{described.title} is up: Linux {board.kernel_version}, {described.abi}; {clock}.\n"
        f"    adb connect {board.serial}\n"
        f"    python -m harness.run --device {board.serial}\n"
        f"Its console is in {os.path.relpath(board.log_path)}. Ctrl-C switches it off."
    )
