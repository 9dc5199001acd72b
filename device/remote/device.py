"""A device that is reached through a shell, whatever carries that: a phone over adb, a board over ssh.

All that reaches the device's shell is made of constants, numbers, hexadecimal digests and words quoted with shlex.
"""

from __future__ import annotations

import abc
import contextlib
import shlex
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Generic, NamedTuple, TypeVar

from device import bundle, probe, runner_call
from device.device import OnBytes, OnEvent
from device.errors import DeviceLost, DeviceUnavailable, NoAnswer, NoSpace, RunTimedOut
from device.lock import DeviceLock
from device.probe import Identity
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.remote import shell as remote_shell
from device.remote.cache import HASH_TOOLS, FileCache
from device.remote.shell import Shell
from device.thermal import ThermalZones
from device.timeouts import Deadline, Timeouts
from device.wire import Output, Transcript

_STACK_TOP_BYTES = 4096  # a choice: longer than the arguments of a network with a few inputs
_PAUSE_S = 0.25  # between two looks at a device that is waited for
_REJOIN_EVERY_S = 10.0  # a choice: a connection that is being made must be left time to

#: Asks for what does not change, and for a hash tool. In one question: a farm's devices are many, and the way there and
#: back takes longest.
DESCRIBE_SCRIPT = f"{probe.INFO_SCRIPT}command -v {' || command -v '.join(HASH_TOOLS)}"

S = TypeVar("S", bound=Shell)


class Found(NamedTuple):
    """A device that answers: what the transport knows it by, and what it says of itself."""

    name: str
    adopt: Callable[[], None]  # goes on with this one
    answer: str


class RemoteDevice(abc.ABC, Generic[S]):
    """A device behind a shell. `name` is what records call it; `answer` is its own to DESCRIBE_SCRIPT.

    All that is put on it lies below `root`. `on_close` runs when it is given back. What a transport adds is how the
    device is reached again when it was lost.
    """

    def __init__(
        self,
        shell: S,
        name: str,
        answer: str,
        root: PurePosixPath,
        timeouts: Timeouts,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.shell, self.root = shell, root
        self._name, self._timeouts, self._on_close = name, timeouts, on_close
        self.zones = ThermalZones()
        self._info, self._identity = self._described(answer)
        tools = answer.rpartition(probe.END)[2].split()
        hash_tool = PurePosixPath(tools[0]).name if tools else None
        self._cache = FileCache(shell, name, root, hash_tool if hash_tool in HASH_TOOLS else None, timeouts)
        self._scratch: str | None = None  # the folder of the case that runs
        self._at_work = False
        self._closed = threading.Event()
        self._locks: dict[Identity, DeviceLock] = {}

    @abc.abstractmethod
    def _reach(self, deadline: Deadline) -> None:
        """Sees to what must be there before the device can be asked. Raises DeviceUnavailable's children."""

    @abc.abstractmethod
    def _found(self, soon: Deadline, deadline: Deadline) -> list[Found]:
        """What answers now and may be the device. Raises DeviceUnavailable's children when nothing is there."""

    @abc.abstractmethod
    def _rejoin(self, limit_s: float) -> None:
        """Has the connection to a device that does not answer made anew; called now and then."""

    @abc.abstractmethod
    def _restart(self, deadline: Deadline) -> None:
        """Restarts the device, where that can be done."""

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
        output = self.root / scratch / "output"
        bundle_folder = self._cache.folder_of(request.bundle.files)
        models = [str(self._cache.folder_of(request.model_files) / file.name) for file in request.model_files]
        argv = bundle.command(request.bundle, str(bundle_folder)) + runner_call.arguments(
            request,
            self.zones,
            models=models,
            inputs=[str(self._cache.folder_of((tensor.file,)) / tensor.file.name) for tensor in request.inputs],
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
                line = f"mkdir -p {self.root / scratch} && cd {bundle_folder} && exec {alone}{shlex.join(argv)}"
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

        Only who has the device to himself may do that. A runner is ours when its program lies below the root.
        """
        self.shell.run(
            # One look at all processes: each program that is started takes an emulated board milliseconds.
            f"for pid in $(ls -l /proc/[0-9]*/exe 2>/dev/null | grep -F ' -> {self.root}/' |"
            r" sed 's|.*/proc/\([0-9]*\)/exe -> .*|\1|'); do kill -9 $pid; done; "
            f"rm -rf {self.root}/run-* {self.root}/*.partial-*",
            timeout_s=self._limit_s(deadline),
        )

    def clean(self) -> None:
        """Removes all that this program has ever put on the device, and nothing else."""
        self._cache.clean()

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        """Waits until the device can be used again. Where `reboot_after_s` is given, it is restarted after so long.

        Raises DeviceUnavailable when that does not help in time, or when it is another device now.
        """
        deadline = Deadline(limit_s)
        restart = None if reboot_after_s is None else Deadline(reboot_after_s)
        rejoin = Deadline(0)
        while True:
            try:
                self._reach(deadline)
                if found := self._found(restart or deadline, deadline):
                    break
                reason = "it does not answer"
            except DeviceUnavailable as error:
                reason = str(error)
            if rejoin.passed:
                rejoin = Deadline(_REJOIN_EVERY_S)
                self._rejoin(deadline.left_s(remote_shell.PING_S))
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
        return longest_s if deadline is None else min(longest_s, max(deadline.left_s(), remote_shell.PING_S))

    def _meet(self, found: list[Found]) -> None:
        """Goes on with the one that is the device. Raises DeviceUnavailable when none is, or nobody can tell which."""
        described = [(one, *self._described(one.answer)) for one in found]
        same = [one for one in described if one[1].is_same_as(self._info) and self._may_be(one[2])]
        same = [one for one in same if one[2] == self._identity] or same
        if not same:
            other = described[0][1]
            raise DeviceUnavailable(
                f"{self._name}: what came back is another device: {other.model}, {other.os}, not {self._info.model}, "
                f"{self._info.os}"
            )
        if len(same) > 1:
            names = ", ".join(one.name for one, _info, _identity in same)
            raise DeviceUnavailable(f"{self._name}: several devices came back that may be it: {names}")
        ((it, _info, self._identity),) = same
        it.adopt()
        if self._locks:
            self.reserve()  # it may have been booted anew

    def _may_be(self, found: Identity | None) -> bool:
        """Whether this is the device's own serial number; it may have been booted anew."""
        return found is None or self._identity is None or found.serialno == self._identity.serialno

    def _described(self, answer: str) -> tuple[DeviceInfo, Identity | None]:
        return probe.info(answer, serial=self._name, kind="phone"), probe.identity(answer, serial=self._name)

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
            f"pid=${{f#/proc/}}; kill -9 ${{pid%/cmdline}}; done; rm -rf {self.root}/{pattern}",
            timeout_s=remote_shell.CLEAN_UP_S,
        )


def _environment(argv: list[str], abi: str) -> str:
    """Words before a command that make the top of its stack as large as any other's, whatever its arguments are.

    Where stack and heap lie decides how much work copies and searches are: 0.6 % of a network of 36,000 instructions.
    """
    pointer_bytes = 8 if "64" in abi else 4
    used_bytes = sum(len(word.encode()) + 1 + pointer_bytes for word in argv)
    return f"env -i PAD={'x' * (-used_bytes % _STACK_TOP_BYTES)} "
