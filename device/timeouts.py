"""How long anything on the way to a device may take. Nothing waits without a limit."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds; how long a case may run is the plan's (`RunRequest.timeout_s`).

    `connect_s` is for the adb server, which runs on this machine: to start, and to answer. `command_s` is for a command
    on the device. A push or a pull may take `command_s`, and so long as its bytes do at `push_floor_bytes_per_s`.
    `reconnect_s` is for a device that was lost to come back.
    """

    connect_s: float = 20.0
    command_s: float = 60.0
    push_floor_bytes_per_s: int = 250_000  # a choice: slower than any USB 2.0 phone
    reconnect_s: float = 120.0  # a choice: phones take a minute to boot

    def transfer_s(self, size_bytes: int) -> float:
        """What moving so many bytes may take."""
        return self.command_s + size_bytes / self.push_floor_bytes_per_s


DEFAULT = Timeouts()


class Deadline:
    """A moment after which nobody waits any longer."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._end_s = time.monotonic() + limit_s

    def left_s(self, at_most_s: float = float("inf")) -> float:
        """Seconds from now; never quite none, for a socket takes 0 to mean "do not wait" rather than "too late"."""
        return max(0.001, min(self._end_s - time.monotonic(), at_most_s))

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._end_s
