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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self, cast

from distributed import Semaphore, Worker, WorkerPlugin, get_client, get_worker

from device.adb.server import Server
from device.device import Device
from device.errors import DeviceBusy
from device.open import opener_of
from device.probe import Identity
from device.records import DeviceInfo
from harness.farm import store
from harness.measure import device as measuring
from harness.measure.case import Run, measure_and_show
from harness.measure.device import Attachment
from harness.measure.networks import Bundles, ExportedNetwork
from harness.record.errors import UsageError
from harness.record.plan import CaseRound, Plan
from harness.record.record import Record
from toolchain.paths import REPOSITORY

#: Before a device's full name, among a worker's resources: there is one of each. Progress has the same name as topic.
RESOURCE = "tenpass-device:"

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


@dataclass(eq=False)
class Opened:
    """An open device, with as many boards as the run asked for. Of all that, only `info` travels to the run."""

    info: DeviceInfo
    resource: str = ""
    devices: Sequence[Device] = ()
    bundles: Bundles = field(default_factory=Bundles)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __reduce__(self) -> tuple[type[Opened], tuple[DeviceInfo]]:
        return Opened, (self.info,)


class OpenDevices(WorkerPlugin):
    """What is open on this worker, by the key of the task that opened it. `server` is the adb server of its phones."""

    name = "tenpass"

    def __init__(self, server: Server | None) -> None:
        self.server = server
        self.opened: dict[Any, Opened] = {}

    def transition(self, key: Any, start: Any, finish: str, **_: Any) -> None:  # noqa: ARG002
        """Hears of each task, above all of one whose result is let go."""
        if finish in ("released", "forgotten") and (opened := self.opened.pop(key, None)):
            # Closing a device takes a while, and this is called in the worker's event loop.
            threading.Thread(target=close, args=(opened,), daemon=True).start()

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        await asyncio.gather(*(asyncio.to_thread(close, opened) for opened in self.opened.values()))


# --- tasks


def open_device(resource: str, plan: Plan, sources: str) -> Opened:
    """Opens a device for a run. Raises DeviceError's children and UsageError.

    `sources` is what the worker's own must be.
    """
    worker = get_worker()
    here, name = cast(OpenDevices, worker.plugins[OpenDevices.name]), resource.removeprefix(RESOURCE).partition("@")[0]
    if sources != sources_sha256():
        raise UsageError(f"worker {worker.name} has other code than this run: update it, and start it anew")
    if any(one.resource == resource and one.devices for one in here.opened.values()):
        raise DeviceBusy(f"device {name}: another run has it on the farm; --wait SECONDS waits for it")
    bundles, closing = Bundles(), contextlib.ExitStack()
    closing.callback(_reserved(name, here.server))
    opening = measuring.opened(plan, name, _Progress(resource), bundles, Attachment(here.server))
    try:
        devices = closing.enter_context(opening)
    except BaseException:
        closing.close()
        raise
    opened = Opened(devices[0].info, resource, devices, bundles, closing)
    here.opened[worker.get_current_task()] = opened
    return opened


def _reserved(name: str, server: Server | None) -> Callable[[], object]:
    """Has a device for this worker alone, in all of the farm, until what is returned is called.

    Another host's worker may have the phone under another name. The scheduler keeps which worker it is; one that is
    gone has nothing. Raises DeviceBusy.
    """
    identity = opener_of(name).identity(name, server)
    if identity is None:
        return lambda: None
    worker, client, place = get_worker(), get_client(), ["tenpass", identity.key]
    with Semaphore(max_leases=1, name="tenpass"):  # one at a time looks and writes
        has_it = client.get_metadata(place, None)
        others = client.scheduler_info(n_workers=-1)["workers"].keys() - {worker.address}
        if has_it in others:
            raise DeviceBusy(
                f"device {name}: another worker of the farm has it ({has_it}); --wait SECONDS waits for it"
            )
        client.set_metadata(place, worker.address)

    def release() -> None:
        with contextlib.suppress(Exception):  # Dask's own, of many kinds: then the worker itself goes away
            client.set_metadata(place, None)

    return release


async def identities(dask_worker: Worker) -> dict[str, Identity | None]:
    """What each device that a worker announces says it is now, by its full name."""
    server = cast(OpenDevices, dask_worker.plugins[OpenDevices.name]).server
    names = [name.removeprefix(RESOURCE) for name in dask_worker.state.total_resources if name.startswith(RESOURCE)]

    def of(full_name: str) -> Identity | None:
        local_name = full_name.partition("@")[0]
        return opener_of(local_name).identity(local_name, server)

    said = await asyncio.gather(*(asyncio.to_thread(of, name) for name in names))
    return dict(zip(names, said, strict=True))


def measure(opened: Opened, board: int, case_round: CaseRound, run: Run, artifact: str) -> Record:
    """The record of a case on one of the boards (0: a phone), by the same code as where the device hangs here."""
    device = opened.devices[board]
    network, progress = lambda _: ExportedNetwork(store.get(artifact), opened.bundles), _Progress(opened.resource)
    return measure_and_show(case_round, network, device, run, progress)


def reconnect(opened: Opened, board: int, limit_s: float, reboot_after_s: float | None) -> None:
    """Waits until a device that was lost can be used again. Raises DeviceUnavailable."""
    opened.devices[board].reconnect(limit_s, reboot_after_s=reboot_after_s)


def close(opened: Opened) -> None:
    """Closes the device, whether a case runs on it or not: that ends with an error."""
    opened.closing.close()
    opened.devices = ()


class _Progress:
    """Of the task that runs in this thread, as events of Dask's: the task's key, how many steps, what is done now."""

    def __init__(self, topic: str) -> None:
        self._worker, self._topic = get_worker(), topic
        self._key = str(self._worker.get_current_task())

    @contextlib.contextmanager
    def stage(self, description: str, total: int | None = None) -> Iterator[Self]:  # noqa: ARG002
        yield self  # the run shows a stage for each task

    def advance(self, steps: int = 1) -> None:
        self._worker.log_event(self._topic, [self._key, steps, ""])

    def detail(self, text: str) -> None:
        self._worker.log_event(self._topic, [self._key, 0, text])

    say = detail
