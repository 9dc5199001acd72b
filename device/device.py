"""The one seam for hardware: what a device can do, and how one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from device.adb.server import Server
from device.records import DeviceInfo, DeviceState, Measurement, RunRequest
from device.timeouts import DEFAULT, Timeouts
from device.wire import Event

OnEvent = Callable[[Event], None]
OnBytes = Callable[[int], None]


class Device(Protocol):
    """A thing that networks can be pushed to and timed on: phone, board, this machine.

    `free_bytes` is the room for what is pushed, in the folder that it goes to (None: the device does not tell); raises
    PushFailed where that folder cannot be. `push` carries over what the request needs and the device lacks, and returns
    the bytes it moved (0: all was there); `run` measures one case. All raise DeviceError's children; `close` gives the
    device back and may be called from another thread: a case that is running then ends with an error. `reconnect`
    waits, for `limit_s` at most, until a device that was lost can be used again; it raises DeviceUnavailable when it
    cannot.
    """

    @property
    def info(self) -> DeviceInfo: ...

    def state(self) -> DeviceState: ...

    def free_bytes(self) -> int | None: ...

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int: ...

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement: ...

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Opening:
    """How a device is to be opened.

    Of a device that there can be several of side by side (boards), `count` are wanted. `on_step` hears what is being
    waited for. With `counting`, a board's passes carry its emulator's counts; what is no board takes no notice. Those
    of a chip always do, and are timed as the chip's, unless `estimating` is off; `clock_mhz` is another clock for it.
    `server` is the adb server that has the device (None: this machine's); boards have their own. Another run that has
    the device is waited for, `wait_s` at most, and `on_wait` hears of it.
    """

    count: int = 1
    on_step: Callable[[str], None] = lambda _: None
    counting: bool = False
    estimating: bool = True
    clock_mhz: float | None = None
    timeouts: Timeouts = DEFAULT
    server: Server | None = None
    wait_s: float = 0
    on_wait: Callable[[str], None] = lambda _: None
