"""Commands on a device over ssh: each is a session of one connection."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator

from device import runner_call
from device.errors import DeviceUnavailable, NoAnswer
from device.remote.shell import MOST_ANSWER_BYTES, Shell, ShellFlooded, ShellResult
from device.ssh.address import Address
from device.ssh.client import Connection, environment
from device.timeouts import DEFAULT, Deadline, Timeouts

#: What the user's login shell is given, whichever that is (fish and csh, too): the command itself comes by stdin, in
#: one line. `read` is of the shell and takes no more than the line, so that the rest is the command's own.
_BOOTSTRAP = """exec sh -c 'IFS= read -r line; eval "$(printf %b "$line")"'"""

_LOST = 255  # ssh(1), "EXIT STATUS": its own for "an error occurred"
_CHUNK_BYTES = 64 * 1024
_MOST_NOISE_BYTES = 1024 * 1024  # a choice: of what a login shell prints before a command's own
_ENDS_S = 5.0


class SshShell(Shell):
    """Commands on one device. `connect` first; messages call it `name`."""

    def __init__(self, address: Address, name: str, timeouts: Timeouts = DEFAULT) -> None:
        self._name, self._timeouts = name, timeouts
        self.connection = Connection(address, name)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._changing = threading.Lock()

    def run(
        self,
        command: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> ShellResult:
        limit_s = self._timeouts.command_s if timeout_s is None else timeout_s
        if not self.connection.alive():
            raise self.connection.trouble()
        mark = uuid.uuid4().hex
        with self._session() as process:
            talk = _Talk(process, mark, on_stdout, most_bytes)
            try:
                talk.until_it_ends(_sent(command, mark, stdin), limit_s, self._timeouts.command_s)
                code = process.wait(_ENDS_S)
            except (TimeoutError, subprocess.TimeoutExpired):
                raise NoAnswer(
                    f"{self._name}: no answer within {limit_s:.0f} s; is it awake, and its network sound?"
                ) from None
            except _TooMuch as error:
                raise ShellFlooded(f"{self._name}: more than {error} bytes came in answer to a command") from None
        if code < 0 or code == _LOST:
            raise self.connection.trouble(talk.stderr.kept().rpartition(f"{mark}\n".encode())[2])
        if not talk.has_begun:
            said = (talk.stderr.kept() + talk.noise).decode(errors="replace").split("\n")
            words = [line.strip() for line in said if line.strip()][-1:] or [f"exit status {code}"]
            raise DeviceUnavailable(
                f"{self._name}: its login shell ran no command ({words[0][:300]}); may this user log in?"
            )
        return ShellResult(bytes(talk.stdout), talk.stderr.kept().rpartition(f"{mark}\n".encode())[2], code)

    def break_off(self) -> None:
        with self._changing:
            for process in self._running:
                process.kill()

    @contextlib.contextmanager
    def _session(self) -> Iterator[subprocess.Popen[bytes]]:
        """The client of a command, without a terminal: Ctrl-C is this program's to handle, and nothing is asked."""
        process = subprocess.Popen(
            self.connection.argv(_BOOTSTRAP),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            bufsize=0,
            start_new_session=True,
        )
        with self._changing:
            self._running.add(process)
        try:
            yield process
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDS_S)
            with self._changing:
                self._running.discard(process)


class _TooMuch(Exception):
    """More came than can be an answer; the number of bytes that could."""


class _Talk:
    """What goes to a command and comes from it, at the same time.

    What comes before `mark` is not the command's but its login shell's, and goes.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        mark: str,
        on_stdout: Callable[[bytes], None] | None,
        most_bytes: int,
    ) -> None:
        self._process, self._on_stdout, self._most_bytes = process, on_stdout, most_bytes
        self._mark = f"\n{mark}\n".encode()
        self.noise, self.has_begun = b"\n", False
        self.stdout, self.stderr = bytearray(), runner_call.Tail()

    def until_it_ends(self, stdin: Iterator[bytes], limit_s: float, stalls_s: float) -> None:
        """Returns once both outputs have ended.

        Raises TimeoutError when that takes longer than `limit_s`, or nothing of `stdin` is taken for `stalls_s`; and
        _TooMuch.
        """
        to_it, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert to_it is not None and stdout is not None and stderr is not None  # noqa: S101 (they are pipes)
        deadline, stalled = Deadline(limit_s), Deadline(stalls_s)
        waiting = memoryview(next(stdin, b""))
        os.set_blocking(to_it.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(to_it, selectors.EVENT_WRITE)
            selector.register(stdout, selectors.EVENT_READ, self._take)
            selector.register(stderr, selectors.EVENT_READ, self.stderr.add)
            while selector.get_map():
                is_sending = not to_it.closed
                ready = selector.select(stalled.left_s(deadline.left_s()) if is_sending else deadline.left_s())
                if deadline.passed or (is_sending and stalled.passed and not ready):
                    raise TimeoutError
                for key, _events in ready:
                    if key.fileobj is to_it:
                        waiting, stalled = self._sent(waiting, stdin), Deadline(stalls_s)
                        if not waiting:
                            selector.unregister(to_it)
                            to_it.close()
                    elif data := os.read(key.fd, _CHUNK_BYTES):
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)

    def _sent(self, waiting: memoryview, stdin: Iterator[bytes]) -> memoryview:
        """What is to be sent next; nothing at the end, or when it takes no more."""
        try:
            waiting = waiting[os.write(self._process.stdin.fileno(), waiting) :]  # type: ignore[union-attr]
        except BlockingIOError:
            return waiting
        except BrokenPipeError:
            return memoryview(b"")
        return waiting or memoryview(next(stdin, b""))

    def _take(self, data: bytes) -> None:
        if not self.has_begun:
            before, mark, data = (self.noise + data).partition(self._mark)
            self.noise, self.has_begun = before, bool(mark)
            if len(before) > _MOST_NOISE_BYTES:
                raise _TooMuch(_MOST_NOISE_BYTES)
        if not self.has_begun or not data:
            return
        if self._on_stdout is not None:
            self._on_stdout(data)
            return
        self.stdout += data
        if len(self.stdout) > self._most_bytes:
            raise _TooMuch(self._most_bytes)


def _sent(command: str, mark: str, stdin: Iterator[bytes] | None) -> Iterator[bytes]:
    """What goes to the device: the script in one line, then the command's own stdin."""
    script = (
        f"LC_ALL=C; export LC_ALL; printf '\\n%s\\n' {mark}; echo {mark} >&2\n(\n{command}\n)\n"
        f"code=$?; test $code = {_LOST} && code={_LOST - 1}; exit $code"  # which ssh has for itself
    )
    yield _as_one_line(script) + b"\n"
    if stdin is not None:
        yield from stdin


def _as_one_line(script: str) -> bytes:
    """As `printf %b` makes it what it was (POSIX, printf): any byte that is not a plain sign, in octal digits."""
    return b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte != ord("\\") else b"\\0%03o" % byte  # noqa: PLR2004
        for byte in script.encode(errors="surrogateescape")
    )
