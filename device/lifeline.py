"""Child processes that never outlive this program, not even when it is killed with SIGKILL."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

from device.errors import DeviceUnavailable

#: Linux ties a child to the *thread* that forked it (prctl(2), PR_SET_PDEATHSIG). So one thread forks them
#: all, and it lives as long as the program: callers may come from threads that end.
_requests: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], dict[str, str], Path, tuple[int, ...]]]
_requests = queue.SimpleQueue()
_END_S = 10.0  # a process that is killed ends in milliseconds
_started = threading.Lock()
_forker: list[threading.Thread] = []


def spawn(
    command: list[str], *, log: Path, environment: dict[str, str] | None = None, keep_open: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start `command`; the kernel kills it when this program ends, however that happens.

    Both its outputs go to `log`. It gets no terminal signals (Ctrl-C is this program's to handle) and
    inherits the file descriptors in `keep_open`. Raises DeviceUnavailable when it cannot be started.
    """
    with _started:
        if not _forker or not _forker[0].is_alive():  # not alive: in a process that was forked off
            _forker[:] = [threading.Thread(target=_fork_for_all, name="forker", daemon=True)]
            _forker[0].start()
    answer: Future[subprocess.Popen[bytes]] = Future()
    whole = ["setpriv", "--pdeathsig", "KILL", *command]
    _requests.put((answer, whole, environment or dict(os.environ), log, keep_open))
    try:
        return answer.result()
    except FileNotFoundError:
        raise DeviceUnavailable("setpriv is missing; install the package util-linux (`make setup` does)") from None


def _fork_for_all() -> None:
    while True:
        answer, command, environment, log, keep_open = _requests.get()
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=keep_open,
                    start_new_session=True,
                )
            answer.set_result(process)
        except BaseException as error:  # it is the caller's
            answer.set_exception(error)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and wait until it is gone; nothing happens when it is already."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel has it, stuck in a disk: it will go
        process.wait(_END_S)
