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

from device import bundle, probe, runner_call
from device.adb import server as adb_server
from device.adb import shell as adb_shell
from device.adb.cache import HASH_TOOLS, REMOTE_ROOT, FileCache, folder_of
from device.adb.server import Server, default_server
from device.adb.shell import Shell
from device.device import OnBytes, OnEvent
from device.errors import DeviceLost, DeviceUnavailable, NoAnswer, NoSpace, RunTimedOut, ServerGone
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.timeouts import DEFAULT, Deadline, Timeouts
from device.wire import Output, Transcript

_STACK_TOP_BYTES = 4096  # a choice: longer than the arguments of a network with a few inputs
_PAUSE_S = 0.25  # between two looks at a device that is waited for
_REJOIN_EVERY_S = 10.0  # a choice: a connection that is being made must be left time to

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
            if not self.server.is_default or adb_server.answers(self.server):
                raise
            adb_server.start(self.server, timeouts.connect_s)
            adb_server.require_usable(serial, self.server, timeouts.connect_s)
        self.shell = Shell(serial, self.server, timeouts)
        # In one question: a farm's devices are many, and the way there and back takes longest.
        answer = self.shell.ask(f"{probe.INFO_SCRIPT}command -v {' || command -v '.join(HASH_TOOLS)}")
        self._info = probe.info(answer, serial=self._name, kind="phone")
        tools = answer.rpartition(probe.END)[2].split()
        hash_tool = PurePosixPath(tools[0]).name if tools else None
        self._cache = FileCache(self.shell, self._name, hash_tool if hash_tool in HASH_TOOLS else None, timeouts)
        self._scratch: str | None = None  # the folder of the case that runs
        self._at_work = False
        self._closed = threading.Event()

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def state(self) -> DeviceState:
        return probe.state(self.shell.ask(probe.STATE_SCRIPT), serial=self._name)

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
                if self._reached(restart or deadline):
                    answer = self.shell.ask(probe.INFO_SCRIPT, self._limit_s(deadline))
                    found = probe.info(answer, serial=self._name, kind="phone")
                    break
                if rejoin.passed:
                    rejoin = Deadline(_REJOIN_EVERY_S)
                    adb_server.rejoin(self.serial, self.server, deadline.left_s(adb_shell.PING_S))
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
            elif not self._at_work:
                self._cache.tidy()
        self.shell.break_off()
        self._on_close()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        self._at_work = True
        yield
        self._at_work = False  # not after an error: then `close` asks nothing more of the device than it must

    def _limit_s(self, deadline: Deadline | None) -> float:
        """What a command may take; with a deadline, no longer than a few seconds beyond it."""
        longest_s = self._timeouts.command_s
        return longest_s if deadline is None else min(longest_s, max(deadline.left_s(), adb_shell.PING_S))

    def _reached(self, deadline: Deadline) -> bool:
        """Whether the device answers a command now. Raises ServerGone."""
        try:
            answer = self.shell.run("echo here", timeout_s=deadline.left_s(adb_shell.PING_S))
        except ServerGone:
            raise
        except DeviceLost:
            return False
        return answer.stdout.strip() == b"here"

    def _move(self, serial: str, server: Server) -> None:
        self.serial, self.server = self.shell.serial, self.shell.server = serial, server

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


def _environment(argv: list[str], abi: str) -> str:
    """Words before a command that make the top of its stack as large as any other's, whatever its arguments are.

    Where stack and heap lie decides how much work copies and searches are: 0.6 % of a network of 36,000 instructions.
    """
    pointer_bytes = 8 if "64" in abi else 4
    used_bytes = sum(len(word.encode()) + 1 + pointer_bytes for word in argv)
    return f"env -i PAD={'x' * (-used_bytes % _STACK_TOP_BYTES)} "
