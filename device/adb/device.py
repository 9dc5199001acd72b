"""A device behind adb: a phone, or any ARM board that runs adbd. Android 7 or newer (shell protocol 2).

All that reaches the device's shell is made of constants, numbers, hexadecimal digests and words quoted with shlex.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from device import bundle, probe, runner_call
from device.adb import server as adb_server
from device.adb import shell as adb_shell
from device.adb.cache import HASH_TOOLS, REMOTE_ROOT, FileCache, folder_of
from device.adb.server import Attached, Server, default_server
from device.adb.shell import Shell
from device.device import OnBytes, OnEvent
from device.errors import DeviceError, DeviceLost, DeviceUnavailable, NoAnswer, NoSpace, RunTimedOut, ServerGone
from device.lock import DeviceLock
from device.probe import Identity
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.thermal import ThermalZones
from device.timeouts import DEFAULT, Deadline, Timeouts
from device.wire import Output, Transcript

_STACK_TOP_BYTES = 4096  # a choice: longer than the arguments of a network with a few inputs
_PAUSE_S = 0.25  # between two looks at a device that is waited for
_REJOIN_EVERY_S = 10.0  # a choice: a connection that is being made must be left time to

#: Has an emulated board up and reached, within so many seconds, booted anew if it must be or (True) in any case; says
#: its serial and its adb server.
Revive = Callable[[float, bool], tuple[str, Server]]


class _Found(NamedTuple):
    attached: Attached
    info: DeviceInfo
    identity: Identity | None


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
        self.server = server or default_server()
        self._name, self._timeouts = name or serial, timeouts
        self._on_close, self._revive = on_close, revive
        try:
            device = adb_server.require_usable(serial, self.server, timeouts.connect_s)
        except ServerGone:
            if not self.server.is_default or adb_server.answers(self.server):
                raise
            adb_server.start(self.server, timeouts.connect_s)
            device = adb_server.require_usable(serial, self.server, timeouts.connect_s)
        self.shell = Shell(device, self.server, timeouts)
        self.zones = ThermalZones()
        try:
            # In one question: a farm's devices are many, and the way there and back takes longest.
            answer = self.shell.ask(f"{probe.INFO_SCRIPT}command -v {' || command -v '.join(HASH_TOOLS)}")
        except DeviceLost:
            self.shell.require_protocol()
            raise
        self._info, self._identity = self._described(answer)
        tools = answer.rpartition(probe.END)[2].split()
        hash_tool = PurePosixPath(tools[0]).name if tools else None
        self._cache = FileCache(self.shell, self._name, hash_tool if hash_tool in HASH_TOOLS else None, timeouts)
        self._scratch: str | None = None  # the folder of the case that runs
        self._at_work = False
        self._closed = threading.Event()
        self._locks: dict[Identity, DeviceLock] = {}

    @property
    def serial(self) -> str:
        """What the adb server calls it."""
        return self.shell.device.name

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def state(self) -> DeviceState:
        return probe.state(self.shell.ask(probe.STATE_SCRIPT), serial=self._name, zones=self.zones)

    def free_bytes(self) -> int | None:
        return self._cache.free_bytes()

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:
        with self._working():
            return self._cache.push(request, on_bytes)

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:
        scratch = f"run-{uuid.uuid4().hex}"
        output = REMOTE_ROOT / scratch / "output"
        bundle_folder = folder_of(request.bundle.files)
        models = [str(folder_of(request.model_files) / file.name) for file in request.model_files]
        argv = bundle.command(request.bundle, str(bundle_folder)) + runner_call.arguments(
            request,
            self.zones,
            models=models,
            inputs=[str(folder_of((tensor.file,)) / tensor.file.name) for tensor in request.inputs],
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
                measurement = runner_call.conclude(transcript, ended.exit_code, ended.stderr, where=self._name)
                self._pull(output, request.output_path, output_bytes)
            except NoAnswer:
                self._end(scratch)  # raises NoAnswer when it is not the runner alone that does not answer
                raise RunTimedOut(
                    f"{self._name}: the runner did not end within {request.timeout_s:g} s; --timeout allows more"
                ) from None
            except BaseException as error:
                with contextlib.suppress(DeviceUnavailable):
                    self._end(scratch)
                raise runner_call.as_full_disk(error, NoSpace) from None
            finally:
                self._scratch = None
        return measurement

    def reserve(self, wait_s: float = 0, on_wait: Callable[[str], None] = lambda _: None) -> None:
        """Has the device for this program alone, among the runs of this machine, until `close`: under all its names.

        Waits up to `wait_s` for another run to end. Raises DeviceBusy, which says who has it.
        """
        known = self._identity
        if known is not None and known not in self._locks:
            self._locks[known] = DeviceLock.take(self._name, wait_s, on_wait, key=known.key)

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
        self._cache.clean()

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        """Waits until the device can be used again. Where `reboot_after_s` is given, it is restarted after so long.

        The adb server is asked to connect anew; the default one is started where there is none, and none is ever ended.
        A board that has died is booted anew. Raises DeviceUnavailable when that does not help in time, or when it is
        another device now.
        """
        deadline = Deadline(limit_s)
        restart = None if reboot_after_s is None else Deadline(reboot_after_s)
        rejoin = Deadline(0)
        while True:
            try:
                if self._revive is not None:
                    self._move(*self._revive(deadline.left_s(), False))
                elif self.server.is_default and not adb_server.answers(self.server):
                    adb_server.start(self.server, deadline.left_s(self._timeouts.connect_s))
                if found := self._found(restart or deadline, deadline):
                    break
                reason = "it does not answer"
            except DeviceUnavailable as error:
                reason = str(error)
            if rejoin.passed:
                rejoin = Deadline(_REJOIN_EVERY_S)
                adb_server.rejoin(self.shell.device, self.server, deadline.left_s(adb_shell.PING_S))
            if self._closed.is_set() or deadline.passed:
                raise DeviceUnavailable(f"{self._name}: it did not come back within {limit_s:g} s: {reason}")
            if restart is not None and restart.passed:
                restart = None
                self._restart(deadline)
            self._closed.wait(deadline.left_s(_PAUSE_S))
        self._meet(found)
        with contextlib.suppress(NoAnswer):  # the next case will tell
            self.take_over(deadline)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(DeviceUnavailable):
            if self._scratch is not None:
                self._end(self._scratch)
            elif not self._at_work:
                self._cache.tidy()
        self.shell.break_off()
        self._on_close()
        for lock in self._locks.values():
            lock.release()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work = True
        yield
        self._at_work = False  # not after an error: then `close` asks nothing more of the device than it must

    def _limit_s(self, deadline: Deadline | None) -> float:
        """What a command may take; with a deadline, no longer than a few seconds beyond it."""
        longest_s = self._timeouts.command_s
        return longest_s if deadline is None else min(longest_s, max(deadline.left_s(), adb_shell.PING_S))

    def _found(self, soon: Deadline, deadline: Deadline) -> list[_Found]:
        """What answers now and may be the device. Raises DeviceUnavailable's children when nothing is there."""
        known, found = self.shell.device, []
        try:
            for one in adb_server.namesakes(known, self.server, adb_shell.PING_S):
                self.shell.device = one
                with contextlib.suppress(DeviceLost):
                    if self.shell.run("echo here", timeout_s=soon.left_s(adb_shell.PING_S)).stdout.strip() == b"here":
                        answer = self.shell.ask(probe.INFO_SCRIPT, self._limit_s(deadline))
                        found.append(_Found(one, *self._described(answer)))
        finally:
            self.shell.device = known
        return found

    def _meet(self, found: list[_Found]) -> None:
        """Goes on with the one that is the device. Raises DeviceUnavailable when none is, or nobody can tell which."""
        same = [one for one in found if one.info.is_same_as(self._info) and self._may_be(one.identity)]
        same = [one for one in same if one.identity == self._identity] or same
        if not same:
            other = found[0].info
            raise DeviceUnavailable(
                f"{self._name}: what came back is another device: {other.model}, {other.os}, not {self._info.model}, "
                f"{self._info.os}"
            )
        if len(same) > 1:
            names = ", ".join(one.attached.name for one in same)
            raise DeviceUnavailable(f"{self._name}: several devices came back that may be it: {names}")
        self.shell.device, self._identity = same[0].attached, same[0].identity
        if self._locks:
            self.reserve()  # it may have been booted anew

    def _may_be(self, found: Identity | None) -> bool:
        """Whether this is the device's own serial number; it may have been booted anew."""
        return found is None or self._identity is None or found.serialno == self._identity.serialno

    def _described(self, answer: str) -> tuple[DeviceInfo, Identity | None]:
        return (
            probe.info(answer, serial=self._name, kind="phone"),
            probe.identity(answer, serial=self._name),
        )

    def _move(self, serial: str, server: Server) -> None:
        self.shell.device, self.server = Attached(serial), server
        self.shell.server = server

    def _restart(self, deadline: Deadline) -> None:
        if self._revive is not None:
            self._move(*self._revive(deadline.left_s(), True))
        else:
            with contextlib.suppress(DeviceUnavailable):
                self.shell.reboot(deadline.left_s(adb_shell.PING_S))

    def _pull(self, source: PurePosixPath, target: Path, size_bytes: int) -> None:
        """Fetches the file and removes its folder, in one go."""
        timeout_s = self._timeouts.transfer_s(size_bytes)
        command = f"cat {source} || exit 1; rm -rf {source.parent}; true"
        data = self.shell.output_of(
            command, f"{self._name}: the output cannot be read", timeout_s=timeout_s, most_bytes=size_bytes
        )
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
            timeout_s=adb_shell.CLEAN_UP_S,
        )


def identity_of(name: str, server: Server | None) -> Identity | None:
    """What an attached device says it is; None where it cannot be asked now."""
    try:
        server = server or default_server()
        shell = Shell(adb_server.require_usable(name, server, adb_shell.PING_S), server)
        return probe.identity(shell.ask(probe.IDENTITY_SCRIPT, adb_shell.PING_S), serial=name)
    except DeviceError:
        return None


def _environment(argv: list[str], abi: str) -> str:
    """Words before a command that make the top of its stack as large as any other's, whatever its arguments are.

    Where stack and heap lie decides how much work copies and searches are: 0.6 % of a network of 36,000 instructions.
    """
    pointer_bytes = 8 if "64" in abi else 4
    used_bytes = sum(len(word.encode()) + 1 + pointer_bytes for word in argv)
    return f"env -i PAD={'x' * (-used_bytes % _STACK_TOP_BYTES)} "
