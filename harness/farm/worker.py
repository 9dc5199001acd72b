"""The worker's side of a farm: tasks of Dask's that open a device of its host, run a case on it, and close it.

A device stays open between its cases. What holds it is the result of the task that opened it: as long as a run wants
that, Dask keeps it here, and makes it anew on a worker that comes back. When no run wants it any more, for the run is
over, was cancelled or killed, Dask releases it, and the device is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from distributed import Worker, WorkerPlugin, get_worker

from device.adb.server import Server
from device.device import Device
from device.errors import DeviceBusy, DeviceLost
from device.records import DeviceInfo
from harness.farm import store
from harness.measure.case import Run, measure_and_show
from harness.measure.device import Attachment, opened
from harness.measure.networks import Bundles, ExportedNetwork
from harness.record.errors import UsageError
from harness.record.plan import CaseRound, Plan
from harness.record.record import Record
from toolchain.paths import REPOSITORY

#: Before a device's full name, among a worker's resources: there is one of each. Progress has the same name as topic.
RESOURCE = "tenpass-device:"

_DETAIL_EVERY_S = 0.25  # a choice: nobody reads faster

#: Folders whose sources must be the same on both sides.
_SOURCES = ("models", "export", "device", "harness", "toolchain")


def resource(device: str, worker: str) -> str:
    """What a worker announces a device as, and what the device's tasks ask for."""
    return f"{RESOURCE}{device}@{worker}"


@cache
def sources_sha256() -> str:
    """Of this checkout's code: a record must not depend on which worker made it."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _SOURCES for path in (REPOSITORY / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Opened:
    """An open device of a worker's: the key of the task that opened it, and what the device is."""

    key: str
    info: DeviceInfo


@dataclass(frozen=True)
class _Held:
    devices: Sequence[Device]
    bundles: Bundles
    resource: str
    closing: contextlib.ExitStack


class OpenDevices(WorkerPlugin):
    """The devices that are open on this worker, by the task that opened each. `server` is the adb server of phones."""

    name = "tenpass"

    def __init__(self, server: Server | None) -> None:
        self.server = server
        self.held: dict[str, _Held] = {}

    def close(self, key: str) -> None:
        """Closes the device, once. A case that runs on it ends with an error."""
        if held := self.held.pop(key, None):
            held.closing.close()

    def transition(self, key: Any, start: Any, finish: str, **_: Any) -> None:  # noqa: ARG002
        """Hears of each task, above all of one whose result is let go."""
        if finish in ("released", "forgotten") and key in self.held:
            # Closing a device takes a while, and this is called in the worker's event loop.
            threading.Thread(target=self.close, args=(key,), daemon=True).start()

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        await asyncio.gather(*(asyncio.to_thread(self.close, key) for key in list(self.held)))


def _here() -> OpenDevices:
    plugin = get_worker().plugins[OpenDevices.name]
    assert isinstance(plugin, OpenDevices)  # noqa: S101 (this is the code of such a worker)
    return plugin


# --- tasks


def open_device(resource: str, plan: Plan, sources: str) -> Opened:
    """Opens a device for a run, with as many boards as the plan says. Raises DeviceError's children and UsageError.

    `sources` is what the worker's own must be.
    """
    worker, here = get_worker(), _here()
    if sources != sources_sha256():
        raise UsageError(f"worker {worker.name} has other code than this run: update it, and start it anew")
    name, key = resource.removeprefix(RESOURCE).partition("@")[0], str(worker.get_current_task())
    if any(held.resource == resource for held in here.held.values()):
        raise DeviceBusy(f"device {name}: another run has it on the farm; --wait SECONDS waits for it")
    bundles, closing = Bundles(), contextlib.ExitStack()
    opening = opened(plan, name, _Progress(resource), bundles, Attachment(here.server))
    devices = closing.enter_context(opening)
    here.held[key] = _Held(devices, bundles, resource, closing)
    return Opened(key, devices[0].info)


def measure(opened: Opened, board: int, turn: CaseRound, run: Run, artifact: str) -> Record:
    """The record of a case on one of the boards (0: a phone), by the same code as where the device hangs here."""
    held = _held(opened)
    return measure_and_show(
        turn,
        lambda _: ExportedNetwork(store.get(artifact), held.bundles),
        held.devices[board],
        run,
        _Progress(held.resource),
    )


def reconnect(opened: Opened, board: int, limit_s: float, reboot_after_s: float | None) -> None:
    """Waits until a device that was lost can be used again. Raises DeviceUnavailable."""
    _held(opened).devices[board].reconnect(limit_s, reboot_after_s=reboot_after_s)


def close(opened: Opened) -> None:
    """Closes the device at once, whether a case runs on it or not."""
    _here().close(opened.key)


def _held(opened: Opened) -> _Held:
    held = _here().held.get(opened.key)
    if held is None:
        raise DeviceLost(f"{opened.info.serial}: the farm's worker has closed it")
    return held


class _Progress:
    """Of the task that runs in this thread, as events of Dask's: the task's key, how many steps, what is done now."""

    def __init__(self, topic: str) -> None:
        self._worker, self._topic = get_worker(), topic
        self._key, self._told_s = str(self._worker.get_current_task()), 0.0

    def say(self, words: str) -> None:
        self._worker.log_event(self._topic, [self._key, 0, words])

    @contextlib.contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Self]:  # noqa: ARG002
        yield self  # the run shows a stage for each task

    def advance(self, steps: int = 1) -> None:
        self._worker.log_event(self._topic, [self._key, steps, None])

    def detail(self, text: str) -> None:
        if time.monotonic() - self._told_s >= _DETAIL_EVERY_S:
            self._told_s = time.monotonic()
            self.say(text)
