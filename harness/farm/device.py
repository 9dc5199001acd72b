"""A device of a farm's in a run: opened, measured on and closed by tasks of Dask's, by the same policy as one here.

A case's task is submitted when the policy (harness/measure/policy.py) comes to it, not before: behind a task that waits
for its device, Dask would let tasks for the worker's other devices wait, too.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from distributed import Future, KilledWorker

from device.errors import DeviceBusy, DeviceError
from device.records import DeviceInfo
from device.timeouts import Deadline
from export.artifact import Artifact, ExportError
from harness.farm import worker
from harness.farm.client import NOWHERE, Farm, Place, WorkerLost
from harness.measure import case
from harness.measure.case import Run
from harness.measure.device import Listener, Session, Stop, measure_all
from harness.measure.networks import Files, files_of
from harness.measure.progress import Stage, Watcher
from harness.record.differences import require_same_device
from harness.record.plan import CaseRound, Plan
from harness.record.record import Record

_LOOK_EVERY_S = 1.0
_CLOSES_S = 20.0  # a choice: for a device, at the end
_FETCH_S = 60.0  # a choice: for a result that is there


def session_on(
    farm: Farm,
    plan: Plan,
    device: str,
    case_rounds: Sequence[CaseRound],
    networks: Mapping[Files, Artifact | ExportError],
    *,
    wait_s: float,
) -> Session:
    """The session of a device of the farm's, by the name that the plan gives it."""

    def take(listener: Listener, stop: Stop) -> None:
        found = FarmDevice(farm, plan, device, networks, listener.watcher, stop)
        with contextlib.closing(found), stop.closes(found.close):
            info = found.open(plan.timeouts.reconnect_s, wait_s)
            require_same_device(plan, device, info)
            listener.met(info)
            boards = [Board(found, number) for number in range(plan.boards)]
            keep, say = listener.keep, listener.watcher.say
            measure_all(plan, case_rounds, boards, lambda case_round, board: board.measure(case_round), keep, say, stop)

    return take


@dataclass
class FarmDevice:
    """The plan's device of this name, while the run has it. `open` it first; `close` may come from any thread.

    `info` and `place` are what it is and where, once it was open.
    """

    farm: Farm
    plan: Plan
    name: str
    networks: Mapping[Files, Artifact | ExportError]
    watcher: Watcher
    stop: Stop
    info: DeviceInfo = field(init=False)
    place: Place = NOWHERE
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _opened: Future[worker.Opened] | None = None
    _stages: dict[str, Stage] = field(default_factory=dict)

    def open(self, limit_s: float, wait_s: float) -> DeviceInfo:
        """What the device is, once it is open on the worker that has it.

        Waits so long at most for a worker to have it, and for another run with it to end. Raises WorkerLost,
        DeviceBusy, and what else opening it raises.
        """
        gone, busy = Deadline(limit_s), Deadline(wait_s)
        with self._opening, self.watcher.stage(f"ready {self.name}") as stage:
            while True:
                try:
                    opened: worker.Opened = self._result(self._task_that_opens(), stage)
                    break
                except (WorkerLost, DeviceBusy) as error:
                    limit = busy if isinstance(error, DeviceBusy) else gone
                    if limit.passed or self.stop.wait(_LOOK_EVERY_S):
                        raise
        self.info = replace(opened.info, serial=self.name)
        return self.info

    def close(self) -> None:
        """Gives the device back; a case that runs on it ends."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with contextlib.suppress(Exception):  # then Dask lets go of it, as nobody wants it any more
                self.farm.client.unsubscribe_topic(self.place.resource)
                if opened.status == "finished":
                    self._submit(worker.close, opened, share=0).result(_CLOSES_S)

    def do(self, task: Callable[..., Any], *arguments: Any, stage: Stage | None = None) -> Any:
        """What a task says that has its share of the open device to itself. Raises WorkerLost, and what it raises."""
        if self._opened is None:
            raise WorkerLost(f"{self.name} is closed")
        parts = 1 << (self.plan.boards - 1).bit_length()  # halves add up exactly
        return self._result(self._submit(task, self._opened, *arguments, share=1 / parts), stage)

    def _task_that_opens(self) -> Future[worker.Opened]:
        """The one there is, which Dask runs again on a worker that comes back; another when that failed, or would."""
        place = self.farm.find(self.name, self.place)
        if place is None:
            raise WorkerLost(f"{self.name}: no worker of the farm has it")
        has_moved, self.place = place.resource != self.place.resource, place
        if self._opened is None or self._opened.status in ("error", "cancelled") or has_moved:
            self.farm.client.subscribe_topic(place.resource, self._show)
            plan = replace(self.plan, devices=(place.local_name,), order=(), device_infos={})
            self._opened = self._submit(worker.open_device, place.resource, plan, worker.sources_sha256(), share=0)
        return self._opened

    def _submit(self, task: Callable[..., Any], *arguments: Any, share: float) -> Future[Any]:
        return self.farm.client.submit(
            task,
            *arguments,
            key=f"tenpass-{task.__name__}-{uuid4().hex}",
            resources={self.place.resource: share},
            priority=0 if share else 1,  # what frees a device does not wait for another
            pure=False,
        )

    def _result(self, task: Future[Any], stage: Stage | None) -> Any:
        """What the task says. Raises WorkerLost when its worker is gone, and what the task raises."""
        place = self.place
        if stage is not None:
            self._stages[str(task.key)] = stage
        try:
            while place in self.farm.places:
                was_done = task.done()
                try:
                    return task.result(_FETCH_S if was_done else _LOOK_EVERY_S)
                except TimeoutError:  # of the wait, unless it is the task's own
                    if was_done and task.status == "error":
                        raise
        except Exception as error:
            if task.status == "error" and not isinstance(error, KilledWorker):
                raise  # the task's own
        finally:
            self._stages.pop(str(task.key), None)
        raise WorkerLost(f"worker {place.worker} is gone")

    def _show(self, event: tuple[float, tuple[str, int, str]]) -> None:
        key, steps, words = event[1]
        if stage := self._stages.get(key):
            stage.advance(steps)
            stage.detail(words)


@dataclass(frozen=True)
class Board:
    """One of the boards that share a device's cases; a phone is the only one."""

    device: FarmDevice
    number: int

    def measure(self, case_round: CaseRound) -> Record:
        """The record of a case; one that says so when the worker was lost."""
        device, plan = self.device, self.device.plan
        run = Run(plan.run, plan.commit, plan.timeout_s, plan.limits, plan.profile)
        network = device.networks[files_of(case_round.case)]
        if isinstance(network, ExportError):
            return case.failed(case_round, device.info, run, "export_failed", str(network))
        with device.watcher.stage(case_round.id, total=case.certain_passes(case_round.case)) as stage:
            try:
                name = device.farm.send(network, device.place, stage.detail)
                record: Record = device.do(worker.measure, self.number, case_round, run, name, stage=stage)
            except DeviceError as error:
                return case.failed(case_round, device.info, run, error.status, str(error))
        return replace(record, device=replace(record.device, serial=device.name))

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        """Waits until the device can be used again, on whichever worker has it then. Raises DeviceUnavailable.

        The scheduler learns late that a worker has died: what was open there still looks open for a while.
        """
        limit = Deadline(limit_s)
        while True:
            self.device.open(limit.left_s(), limit.left_s())
            try:
                self.device.do(worker.reconnect, self.number, limit.left_s(), reboot_after_s)
            except WorkerLost:
                if limit.passed or self.device.stop.wait(_LOOK_EVERY_S):
                    raise
            else:
                if self.device.place in self.device.farm.look():  # not where it ran: Dask knew of a newer worker first
                    return
