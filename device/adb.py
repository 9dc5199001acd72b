"""A device behind adb: a phone, or any ARM board that runs adbd. Android 7 or newer (shell protocol 2).

Everything on the device lives below REMOTE_ROOT, each set of files in a folder named after its content, so
that a second push of the same bytes is no push. Nothing outside is touched. What has not been used for long goes.

All that reaches the device's shell is made of constants, numbers, hexadecimal digests and words quoted with shlex.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from device import adb_server, bundle, call, probe
from device.adb_server import Connection, Server, default_server
from device.errors import (
    DeviceLost,
    DeviceUnavailable,
    NoAnswer,
    NoSpace,
    PushCorrupted,
    PushFailed,
    RunTimedOut,
    ServerGone,
)
from device.records import DeviceInfo, DeviceState, File, Measurement, RunRequest
from device.timeouts import DEFAULT, Deadline, Timeouts
from device.wire import Output, Transcript

REMOTE_ROOT = PurePosixPath("/data/local/tmp/tenpass")

#: What is kept on a device for the next run. A choice: both runtimes with all networks take about half a gigabyte.
CACHE_MAX_AGE_S = 30 * 24 * 3600
CACHE_MAX_BYTES = 2 << 30

_CLEAN_UP_S = 5.0  # for what is done after a failure: it must not make the wait much longer
_PING_S = 5.0  # a choice: a device that takes longer for an `echo` is not usable
_PAUSE_S = 0.25  # between two looks at a device that is waited for
_REJOIN_EVERY_S = 10.0  # a choice: a connection that is being made must be left time to
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)  # packet ids of adb's shell protocol 2
_PACKET_BYTES = 64 * 1024
_MOST_PACKET_BYTES = 1024 * 1024  # AOSP, adb.h: MAX_PAYLOAD
_MOST_ANSWER_BYTES = 4 * 1024 * 1024  # a choice: of a command's stdout; the longest, a probe's, have some 10 KB
_STACK_TOP_BYTES = 4096  # a choice: longer than the arguments of a network with a few inputs
_MAX_NAME_BYTES = 255  # Linux, NAME_MAX
#: Hash tools a device may have, best first: Android 7's toybox has no sha256sum yet.
_HASH_TOOLS = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}
_USED = ".used"  # in each folder: when it was last used, in seconds since 1970 by this machine's clock


class ShellFlooded(DeviceLost):
    """The device answered with more than the answer to a command can be."""


@dataclass(frozen=True)
class ShellResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


class Shell:
    """Commands on one device, over adb's shell protocol 2: stdout, stderr and exit status kept apart."""

    def __init__(self, serial: str, server: Server, timeouts: Timeouts = DEFAULT) -> None:
        self.serial, self.server = serial, server
        self._timeouts = timeouts
        self._open: set[Connection] = set()

    def run(
        self,
        command: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        most_bytes: int = _MOST_ANSWER_BYTES,
    ) -> ShellResult:
        """What `command` (a line for the device's shell) answered; `on_stdout` gets its output as it comes.

        Of stderr the end is kept. Raises NoAnswer when it does not end in time, ShellFlooded when more than
        `most_bytes` are to be kept of stdout, another of DeviceLost's when the connection breaks before the exit status
        has come.
        """
        limit_s = self._timeouts.command_s if timeout_s is None else timeout_s
        stdout, stderr = bytearray(), call.Tail()
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
                                f"{self.serial}: more than {most_bytes} bytes came in answer to a command"
                            )
            raise DeviceLost(f"{self.serial}: the connection closed before the command ended; see `adb devices`")
        except TimeoutError:
            raise NoAnswer(
                f"{self.serial}: no answer within {limit_s:.0f} s; is the device awake and its cable sound?"
            ) from None
        except (OSError, EOFError) as error:
            raise self._broken(str(error) or type(error).__name__) from None

    def _packets(self, connection: Connection) -> Iterator[tuple[int, bytes]]:
        while True:
            header = connection.read(5)
            size_bytes = int.from_bytes(header[1:], "little")
            if size_bytes > _MOST_PACKET_BYTES:
                raise ShellFlooded(f"{self.serial}: a packet of {size_bytes} bytes; adb's have {_MOST_PACKET_BYTES}")
            yield header[0], connection.read(size_bytes)

    def break_off(self) -> None:
        """From another thread: what is waiting for an answer ends with DeviceLost at once."""
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
                connection.request(f"host:transport:{self.serial}")
                yield connection
            finally:
                self._open.discard(connection)

    def _broken(self, reason: str) -> DeviceLost:
        """Why a connection broke: the server is gone, or it says what it knows of the device."""
        if not adb_server.answers(self.server):
            return ServerGone(f"{self.serial}: the adb server {self.server} went away; see `adb devices`")
        try:
            adb_server.require_usable(self.serial, self.server, _PING_S)
        except DeviceLost as error:
            return type(error)(f"{self.serial}: the connection broke: {error}")
        except DeviceUnavailable as error:
            return DeviceLost(f"{self.serial}: the connection broke: {error}")
        return DeviceLost(f"{self.serial}: the connection broke ({reason}); see `adb devices`")


#: Has an emulated board up and reached, within so many seconds, booted anew if it must be or (True) in any case; says
#: its serial and its adb server.
Revive = Callable[[float, bool], tuple[str, Server]]


class AdbDevice:
    """The device with this serial on an adb server.

    `name` is what records call it (the serial, if nothing else); `on_close` runs when it is given back. Raises
    DeviceUnavailable's children when it cannot be used.
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
        self.serial, self.server = serial, server or default_server()
        self._name, self._timeouts = name or serial, timeouts
        self._on_close, self._revive = on_close, revive
        try:
            adb_server.require_usable(serial, self.server, timeouts.connect_s)
        except ServerGone:
            if adb_server.answers(self.server):
                raise
            adb_server.start(self.server, timeouts.connect_s)
            adb_server.require_usable(serial, self.server, timeouts.connect_s)
        self.shell = Shell(serial, self.server, timeouts)
        # In one question: a farm's devices are many, and the way there and back takes longest.
        answer = self._ask(f"{probe.INFO_SCRIPT}command -v {' || command -v '.join(_HASH_TOOLS)}")
        self._info = probe.info(answer, serial=self._name, kind="phone")
        tools = answer.rpartition(probe.END)[2].split()
        self._hash_tool = PurePosixPath(tools[0]).name if tools else None
        self._hash_tool = self._hash_tool if self._hash_tool in _HASH_TOOLS else None
        self._scratch: str | None = None  # the folder of the case that runs
        self._at_work = False
        self._has_pushed = False
        self._used: set[str] = set()
        self._closed = threading.Event()

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def state(self) -> DeviceState:
        return probe.state(self._ask(probe.STATE_SCRIPT), serial=self._name)

    def push(self, request: RunRequest, on_bytes: call.OnBytes) -> int:
        sets = tuple(_file_sets(request))
        for files in sets:
            _require_names(files)
        self._used |= {_digest(files) for files in sets}
        with self._working():
            pushed_bytes = sum(self._push_set(files, on_bytes) for files in self._missing(sets))
        self._has_pushed |= pushed_bytes > 0
        return pushed_bytes

    def run(self, request: RunRequest, on_event: call.OnEvent) -> Measurement:
        scratch = f"run-{uuid.uuid4().hex}"
        output = REMOTE_ROOT / scratch / "output"
        bundle_folder = _folder(request.bundle.files)
        models = [str(_folder(request.model_files) / file.name) for file in request.model_files]
        argv = bundle.command(request.bundle, str(bundle_folder)) + call.arguments(
            request,
            models=models,
            inputs=[str(_folder((tensor.file,)) / tensor.file.name) for tensor in request.inputs],
            output_path=str(output),
        )
        transcript = Transcript.of(request)
        output_bytes = 0

        def receive(chunk: bytes) -> None:
            nonlocal output_bytes
            for event in transcript.receive(chunk):
                output_bytes = event.bytes if isinstance(event, Output) else output_bytes
                on_event(event)

        with self._working():
            self._scratch = scratch
            try:
                alone = _environment(argv, request.bundle.abi) if request.repeatable else ""
                line = f"mkdir -p {REMOTE_ROOT / scratch} && cd {bundle_folder} && exec {alone}{shlex.join(argv)}"
                ended = self.shell.run(line, timeout_s=request.timeout_s, on_stdout=receive)
                measurement = call.conclude(transcript, ended.exit_code, ended.stderr, where=self._name)
                self._pull(output, request.output_path, output_bytes)
            except NoAnswer:
                self._end(scratch)  # raises NoAnswer when it is not the runner alone that does not answer
                raise RunTimedOut(
                    f"{self._name}: the runner did not end within {request.timeout_s:g} s; --timeout allows more"
                ) from None
            except BaseException as error:
                with contextlib.suppress(DeviceUnavailable):
                    self._end(scratch)
                raise call.sorted_out(error, NoSpace) from None
            finally:
                self._scratch = None
        return measurement

    def take_over(self, deadline: Deadline | None = None) -> None:
        """Ends runners of ours that an earlier run left, and removes what it left half done.

        Only who has the device to himself may do that. A runner is ours when its program lies below REMOTE_ROOT.
        """
        self.shell.run(
            # One look at all processes: each program that is started takes an emulated board milliseconds.
            f"for pid in $(ls -l /proc/[0-9]*/exe 2>/dev/null | grep -F ' -> {REMOTE_ROOT}/' |"
            r" sed 's|.*/proc/\([0-9]*\)/exe -> .*|\1|'); do kill -9 $pid; done; "
            f"rm -rf {REMOTE_ROOT}/run-* {REMOTE_ROOT}/*.partial-*",
            timeout_s=self._limit_s(deadline),
        )

    def clean(self) -> None:
        """Removes all that this program has ever put on the device, and nothing else."""
        self._must(f"rm -rf {REMOTE_ROOT}", f"{self._name}: {REMOTE_ROOT} cannot be removed")

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        """Waits until the device can be used again. Where `reboot_after_s` is given, it is restarted after so long.

        The adb server is asked to connect anew; it is started where there is none, and never ended. A board that has
        died is booted anew. Raises DeviceUnavailable when that does not help in time, or when it is another device now.
        """
        deadline = Deadline(limit_s)
        restart = None if reboot_after_s is None else Deadline(reboot_after_s)
        rejoin = Deadline(0)
        while True:
            try:
                if self._revive is not None:
                    self._move(*self._revive(deadline.left_s(), False))
                elif not adb_server.answers(self.server):
                    adb_server.start(self.server, deadline.left_s(self._timeouts.connect_s))
                if self._reached(restart or deadline):
                    found = self._ask_info(deadline)
                    break
                if rejoin.passed:
                    rejoin = Deadline(_REJOIN_EVERY_S)
                    adb_server.rejoin(self.serial, self.server, deadline.left_s(_PING_S))
                reason = "it does not answer"
            except DeviceUnavailable as error:
                reason = str(error)
            if self._closed.is_set() or deadline.passed:
                raise DeviceUnavailable(f"{self._name}: it did not come back within {limit_s:g} s: {reason}")
            if restart is not None and restart.passed:
                restart = None
                self._restart(deadline)
            self._closed.wait(deadline.left_s(_PAUSE_S))
        if not found.is_same_as(self._info):
            raise DeviceUnavailable(
                f"{self._name}: what came back is another device: {found.model}, {found.os}, not {self._info.model}, "
                f"{self._info.os}"
            )
        with contextlib.suppress(NoAnswer):  # the next case will tell
            self.take_over(deadline)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(DeviceUnavailable):
            if self._scratch is not None:
                self._end(self._scratch)
            elif self._has_pushed and not self._at_work:  # else nothing has grown
                self._sweep()
        self.shell.break_off()
        self._on_close()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work = True
        yield
        self._at_work = False  # not after an error: then `close` asks nothing more of the device than it must

    def _ask(self, script: str, deadline: Deadline | None = None) -> str:
        return self.shell.run(script, timeout_s=self._limit_s(deadline)).stdout.decode(errors="replace")

    def _ask_info(self, deadline: Deadline | None = None) -> DeviceInfo:
        return probe.info(self._ask(probe.INFO_SCRIPT, deadline), serial=self._name, kind="phone")

    def _limit_s(self, deadline: Deadline | None) -> float:
        """What a command may take; with a deadline, no longer than a few seconds beyond it."""
        longest_s = self._timeouts.command_s
        return longest_s if deadline is None else min(longest_s, max(deadline.left_s(), _PING_S))

    def _reached(self, deadline: Deadline) -> bool:
        """Whether the device answers a command now."""
        try:
            answer = self.shell.run("echo here", timeout_s=deadline.left_s(_PING_S))
        except DeviceLost:
            return False
        return answer.stdout.strip() == b"here"

    def _move(self, serial: str, server: Server) -> None:
        if (serial, server) != (self.serial, self.server):
            self.serial, self.server = serial, server
            self.shell = Shell(serial, server, self._timeouts)

    def _restart(self, deadline: Deadline) -> None:
        if self._revive is not None:
            self._move(*self._revive(deadline.left_s(), True))
        else:
            with contextlib.suppress(DeviceUnavailable):
                self.shell.reboot(deadline.left_s(_PING_S))

    def _missing(self, sets: tuple[tuple[File, ...], ...]) -> list[tuple[File, ...]]:
        """Those that the device does not have; the others are marked as used.

        One question for all, as the way there and back takes longest.
        """
        folders = {_digest(files): files for files in sets}
        look = f'test -d $name && echo $name && echo {int(time.time())} > "$name/{_USED}"'
        there = self._ask(f"cd {REMOTE_ROOT} 2>/dev/null && for name in {' '.join(folders)}; do {look}; done").split()
        return [files for name, files in folders.items() if name not in there]

    def _push_set(self, files: tuple[File, ...], on_bytes: call.OnBytes) -> int:
        """Carries the files over, checks what arrived, and only then gives their folder its name."""
        folder = _folder(files)
        partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
        size_bytes = sum(file.size_bytes for file in files)
        self._require_room(size_bytes)
        if self._hash_tool is None:
            raise PushFailed(f"{self._name}: it has none of {', '.join(_HASH_TOOLS)}; what arrives can't be checked")
        try:
            self._must(f"mkdir -p {partial}", f"{self._name}: cannot make {partial}")
            for file in files:
                self._push_file(file, partial / file.name, on_bytes)
            names = " ".join(shlex.quote(f"./{file.name}") for file in files)
            answer = self._must(
                # By stdin: given a name, the tools print it, each escaping line ends in its own way or not at all.
                f'cd {partial} && for f in {names}; do {self._hash_tool} < "$f" || exit; done',
                f"{self._name}: cannot read back what was pushed",
                self._timeouts.transfer_s(size_bytes),
            )
            arrived = [line.split()[0] for line in answer.decode(errors="replace").splitlines() if line.strip()]
            sent = [_hexdigest(file, _HASH_TOOLS[self._hash_tool]) for file in files]
            if arrived != sent:
                raise PushCorrupted(
                    f"{self._name}: {_names(files)} arrived other than they left; check the cable, push again"
                )
            # Another run may have been faster with the same bytes: then this copy is not needed.
            named = f"{{ test -d {folder} || mv {partial} {folder}; }}"
            used = f"echo {int(time.time())} > {partial}/{_USED}"
            self._must(f"{used} && sync && {named} && sync", f"{self._name}: cannot name {folder}")
        finally:
            with contextlib.suppress(DeviceUnavailable):
                self.shell.run(f"rm -rf {partial}", timeout_s=_CLEAN_UP_S)
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
        ended = self.shell.run(command, stdin=content(), timeout_s=self._timeouts.transfer_s(file.size_bytes))
        if ended.exit_code != 0:
            reason = ended.stderr.decode(errors="replace").strip()
            kind = NoSpace if "space" in reason.lower() else PushFailed
            raise kind(f"{self._name}: {_names((file,))} could not be pushed: {reason[:300]}")

    def _require_room(self, size_bytes: int) -> None:
        """Sees to `size_bytes` free on the device, and a little more to work with: what is not used goes, oldest first.

        Raises NoSpace when that is not enough.
        """
        headroom_bytes = 1024 * 1024
        free_bytes = self._free_bytes()
        if free_bytes is None:
            return  # the push itself will tell
        lacking = size_bytes + headroom_bytes - free_bytes
        if lacking > 0:
            self._remove(self._oldest(lacking))
            free_bytes = self._free_bytes() or 0
        if free_bytes < size_bytes + headroom_bytes:
            raise NoSpace(
                f"{self._name}: {size_bytes / 1e6:.1f} MB must be pushed and {free_bytes / 1e6:.1f} MB are free; make "
                f"room on the device (--clean-device removes what this and earlier runs left in {REMOTE_ROOT})"
            )

    def _free_bytes(self) -> int | None:
        """None when the device does not tell."""
        answer = self._must(
            f"mkdir -p {REMOTE_ROOT} && df -k {REMOTE_ROOT}", f"{self._name}: cannot make {REMOTE_ROOT}"
        )
        fields = answer.decode(errors="replace").split()
        # The last line is "device blocks used available use% mount"; a long device name breaks it in two.
        available = fields[-3] if len(fields) > 5 else ""  # noqa: PLR2004
        return int(available) * 1024 if available.isascii() and available.isdecimal() else None

    def _cached(self) -> list[_Cached]:
        """What this run does not use, oldest use first. The device's words are not trusted: only our names count."""
        # /dev/null as well: of a single file, grep would not tell the name.
        listing = self._ask(f"cd {REMOTE_ROOT} && {{ du -sk -- *; grep . */{_USED} /dev/null; }} 2>/dev/null")
        sizes = re.findall(r"^(\d{1,12})\s+([0-9a-f]{64})$", listing, re.MULTILINE | re.ASCII)
        used = dict(
            re.findall(rf"^([0-9a-f]{{64}})/{re.escape(_USED)}:(\d{{1,12}})$", listing, re.MULTILINE | re.ASCII)
        )
        found = [_Cached(name, int(kib) * 1024, int(used.get(name, 0))) for kib, name in sizes]
        return sorted((one for one in found if one.name not in self._used), key=lambda one: one.used_s)

    def _oldest(self, size_bytes: int) -> list[_Cached]:
        """So many of the oldest sets of files that they make up that size, or all."""
        chosen: list[_Cached] = []
        for one in self._cached():
            if sum(other.size_bytes for other in chosen) >= size_bytes:
                break
            chosen.append(one)
        return chosen

    def _sweep(self) -> None:
        """Keeps what is left on the device bounded in age and size; what this run has used stays."""
        cached = self._cached()
        too_old = [one for one in cached if one.used_s < time.time() - CACHE_MAX_AGE_S]
        kept = cached[len(too_old) :]
        total_bytes = sum(one.size_bytes for one in kept)
        while kept and total_bytes > CACHE_MAX_BYTES:
            total_bytes -= kept[0].size_bytes
            too_old.append(kept.pop(0))
        self._remove(too_old)

    def _remove(self, sets: list[_Cached]) -> None:
        if sets:
            self.shell.run(f"rm -rf {' '.join(str(REMOTE_ROOT / one.name) for one in sets)}")

    def _pull(self, source: PurePosixPath, target: Path, size_bytes: int) -> None:
        """Fetches the file and removes its folder, in one go."""
        timeout_s = self._timeouts.transfer_s(size_bytes)
        command = f"cat {source} || exit 1; rm -rf {source.parent}; true"
        data = self._must(command, f"{self._name}: the output cannot be read", timeout_s, size_bytes)
        if len(data) != size_bytes:
            raise DeviceLost(f"{self._name}: {len(data)} bytes of output arrived, the runner wrote {size_bytes}")
        target.write_bytes(data)

    def _end(self, scratch: str) -> None:
        """Ends the runner that works in this folder, if it still does, and removes the folder.

        Raises NoAnswer when the device does not answer.
        """
        # The brackets keep the shell that runs this from finding its own command line.
        pattern = f"[{scratch[0]}]{scratch[1:]}"
        self.shell.run(
            f"for f in $(grep -l '{pattern}' /proc/[0-9]*/cmdline 2>/dev/null); do "
            f"pid=${{f#/proc/}}; kill -9 ${{pid%/cmdline}}; done; rm -rf {REMOTE_ROOT}/{pattern}",
            timeout_s=_CLEAN_UP_S,
        )

    def _must(
        self, command: str, otherwise: str, timeout_s: float | None = None, most_bytes: int = _MOST_ANSWER_BYTES
    ) -> bytes:
        ended = self.shell.run(command, timeout_s=timeout_s, most_bytes=most_bytes)
        if ended.exit_code != 0:
            reason = ended.stderr.decode(errors="replace").strip()[:300]
            kind = NoSpace if "no space" in reason.lower() else PushFailed
            raise kind(f"{otherwise}: {reason or f'exit status {ended.exit_code}'}")
        return ended.stdout


@dataclass(frozen=True)
class _Cached:
    """A set of files on the device: its folder's name, its size, and when it was last used (seconds since 1970)."""

    name: str
    size_bytes: int
    used_s: int


def _environment(argv: list[str], abi: str) -> str:
    """Words before a command that make the top of its stack as large as any other's, whatever its arguments are.

    Where stack and heap lie decides how much work copies and searches are: 0.6 % of a network of 36,000 instructions.
    """
    pointer_bytes = 8 if "64" in abi else 4
    used_bytes = sum(len(word.encode()) + 1 + pointer_bytes for word in argv)
    return f"env -i PAD={'x' * (-used_bytes % _STACK_TOP_BYTES)} "


def _require_names(files: tuple[File, ...]) -> None:
    """Raises PushFailed for a name that is none of a file in its folder."""
    for file in files:
        inside = file.name not in ("", ".", "..") and "/" not in file.name and "\0" not in file.name
        if not inside or len(file.name.encode(errors="surrogateescape")) > _MAX_NAME_BYTES or file.name == _USED:
            raise PushFailed(f"{_names((file,))} is no name that a file can have on a device; rename it")


def _names(files: tuple[File, ...]) -> str:
    return ", ".join(file.name for file in files)


def _file_sets(request: RunRequest) -> Iterator[tuple[File, ...]]:
    yield request.bundle.files
    yield request.model_files
    for tensor in request.inputs:
        yield (tensor.file,)


def _digest(files: tuple[File, ...]) -> str:
    """A hexadecimal digest of exactly these names with exactly these bytes."""
    listing = "\n".join(sorted(f"{file.sha256} {file.name!a}" for file in files))
    return hashlib.sha256(listing.encode()).hexdigest()


def _folder(files: tuple[File, ...]) -> PurePosixPath:
    """The folder on the device for these files."""
    return REMOTE_ROOT / _digest(files)


def _hexdigest(file: File, algorithm: str) -> str:
    if algorithm == "sha256":
        return file.sha256
    with file.path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
