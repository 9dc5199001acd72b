"""This machine as a device: the bundle's runner as a subprocess, on the files where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import IO

from device import bundle, probe, runner_call
from device.device import OnBytes, OnEvent
from device.errors import DeviceError, HostDiskFull, RunTimedOut
from device.probe import Identity
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.thermal import ThermalZones
from device.wire import Transcript
from toolchain.paths import REPOSITORY

NAME = "host"
_PROBE_TIMEOUT_S = 20
_READ_BYTES = 64 * 1024

#: The highest priority there is (setpriority(2)). A choice: beside another busy process on its CPU, the runner has 99 %
#: of it instead of half (88761 : 1024, the kernel's weights of nice -20 and 0, sched_prio_to_weight).
_HIGHEST_PRIORITY = -20


class HostDevice:
    """The machine that this program runs on. Nothing is pushed; a case runs in its own process, before others."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self.zones = ThermalZones()
        self._info = probe.info(_ask(probe.INFO_SCRIPT), serial=NAME, kind="host")

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def state(self) -> DeviceState:
        return probe.state(_ask(probe.STATE_SCRIPT), serial=NAME, zones=self.zones)

    def free_bytes(self) -> int | None:
        return shutil.disk_usage(REPOSITORY).free

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:  # noqa: ARG002 (the files are here)
        return 0

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:
        folder = request.bundle.files[0].path.parent
        argv = bundle.command(request.bundle, str(folder)) + runner_call.arguments(
            request,
            self.zones,
            models=[str(file.path) for file in request.model_files],
            inputs=[str(tensor.file.path) for tensor in request.inputs],
            output_path=str(request.output_path),
        )
        transcript = Transcript.of(request)
        stderr = runner_call.Tail()
        with subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # for `go_first`
        ) as process:
            self._running = process
            go_first(process.pid)
            expired = threading.Event()
            reader = threading.Thread(target=_collect, args=(process.stderr, stderr))
            reader.start()

            def give_up() -> None:
                expired.set()
                process.kill()

            timer = threading.Timer(request.timeout_s, give_up)
            timer.start()
            try:
                assert process.stdout is not None  # noqa: S101 (it was asked for as a pipe)
                while chunk := process.stdout.read(_READ_BYTES):
                    for event in transcript.receive(chunk):
                        on_event(event)
                code = process.wait()
            except BaseException as error:
                process.kill()
                raise runner_call.as_full_disk(error, HostDiskFull) from None
            finally:
                self._running = None
                timer.cancel()
                reader.join()  # the process has ended, and with it its end of the pipe
            if expired.is_set():
                raise RunTimedOut(
                    f"{NAME}: the runner did not end within {request.timeout_s:g} s; --timeout allows more"
                )
            return runner_call.conclude(transcript, code if code >= 0 else 128 - code, stderr.kept(), where=NAME)

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        pass  # this machine is here

    def close(self) -> None:
        if (running := self._running) is not None:
            running.kill()


def identity() -> Identity | None:
    """What tells this machine from others."""
    return probe.identity(_ask(probe.IDENTITY_SCRIPT), serial=NAME)


def go_first(pid: int) -> None:
    """Lets this process, and the threads that it makes from now on, have the CPU before other programs, where the
    kernel allows that (to root): a process that shares its CPU is timed with the others' work in it.

    Where Linux groups processes by session (sched(7), "The autogroup feature"), a priority counts within its session
    alone, and the sessions share the CPUs alike: so that of the session is set as well. It should be the process's own.
    """
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, _HIGHEST_PRIORITY)
    with contextlib.suppress(OSError):  # there is no such file where the kernel does not group them
        Path(f"/proc/{pid}/autogroup").write_text(f"{_HIGHEST_PRIORITY}")


def _collect(pipe: IO[bytes], tail: runner_call.Tail) -> None:
    while data := pipe.read(_READ_BYTES):
        tail.add(data)


def _ask(script: str) -> str:
    try:
        answer = subprocess.run(["sh", "-c", script], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{NAME}: this machine did not describe itself: {error}") from None
    return answer.stdout.decode(errors="replace")
