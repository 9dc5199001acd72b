"""Commands on a device, whatever carries them there. adb/shell.py and ssh/shell.py are the two ways."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from device.errors import DeviceLost, NoSpace, PushFailed

CLEAN_UP_S = 5.0  # for what is done after a failure: it must not make the wait much longer
PING_S = 5.0  # a choice: a device that takes longer for an `echo` is not usable
PACKET_BYTES = 64 * 1024
MOST_ANSWER_BYTES = 4 * 1024 * 1024  # a choice: of a command's stdout; the longest, a probe's, have some 10 KB


class ShellFlooded(DeviceLost):
    """The device answered with more than the answer to a command can be."""


@dataclass(frozen=True)
class ShellResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


class Shell(abc.ABC):
    """Commands on one device: stdout, stderr and exit status kept apart."""

    @abc.abstractmethod
    def run(
        self,
        command: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> ShellResult:
        """What `command` (a line for the device's shell) answered; `on_stdout` gets its output as it comes.

        Of stderr the end is kept. Raises NoAnswer when it does not end in time, ShellFlooded when more than
        `most_bytes` are to be kept of stdout, another of DeviceLost's when the connection breaks before the exit status
        has come.
        """

    @abc.abstractmethod
    def break_off(self) -> None:
        """From another thread: what is waiting for an answer ends with DeviceLost at once."""

    def ask(self, script: str, timeout_s: float | None = None) -> str:
        """What a script prints, as text, however it ends."""
        return self.run(script, timeout_s=timeout_s).stdout.decode(errors="replace")

    def output_of(
        self,
        command: str,
        otherwise: str,
        *,
        stdin: Iterator[bytes] | None = None,
        timeout_s: float | None = None,
        most_bytes: int = MOST_ANSWER_BYTES,
    ) -> bytes:
        """As `run`, but for a command that must succeed. Raises PushFailed or NoSpace, which begin with `otherwise`."""
        ended = self.run(command, stdin=stdin, timeout_s=timeout_s, most_bytes=most_bytes)
        if ended.exit_code != 0:
            reason = ended.stderr.decode(errors="replace").strip()[:300]
            kind = NoSpace if "no space" in reason.lower() else PushFailed
            raise kind(f"{otherwise}: {reason or f'exit status {ended.exit_code}'}")
        return ended.stdout
