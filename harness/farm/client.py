"""A run's side of a farm: which devices there are, and a session on each, on the worker that has it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from device.errors import DeviceBusy, DeviceError, DeviceNotChosen, DeviceUnavailable
from device.open import ALL
from device.records import DeviceInfo
from export.artifact import Artifact, ExportError
from harness.farm import worker as remote
from harness.farm.address import require_scheduler, unreachable
from harness.farm.orders import LEASE_S, RENEW_EVERY_S, RESOURCE, SILENT_S, Message, Order, sources_sha256
from harness.measure import session
from harness.measure.policy import MAX_ATTEMPTS, is_over
from harness.measure.prepare import Files
from harness.measure.session import Run
from harness.measure.sessions import Listener, Session, Stage
from harness.measure.stop import Stop
from harness.record import plan as plans
from harness.record.errors import EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE, UsageError
from harness.record.plan import CaseRound, Plan
from harness.record.record import Record, record_adapter

if TYPE_CHECKING:
    from distributed import Client, Future, Security

_CONNECT_S = 15.0  # a choice: for the scheduler to answer
_LOOK_EVERY_S = 1.0
_STARTS_S = 10.0  # a choice: for a session to have its thread, where nobody else has the device
_ENDS_S = 20.0  # for a session that was told to stop


def connected(address: str, **tls: str | None) -> Farm:
    """The farm at that address. Raises UsageError where the extra `farm` is not installed, DeviceUnavailable."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UsageError("--scheduler needs Dask's distributed: pip install 'tenpass[farm]'") from None
    from harness.farm.security import security

    return Farm(address, security(**tls))


@dataclass(frozen=True)
class Place:
    """Where a device is: the worker's address, and its name there."""

    address: str
    worker: str
    local_name: str

    @property
    def full_name(self) -> str:
        return f"{self.local_name}@{self.worker}"


class WorkerLost(DeviceError):
    """The worker that had the device is no longer there, or says nothing."""

    status = "worker_lost"


class Farm:
    """A farm's scheduler, as a run sees it. Raises DeviceUnavailable when there is none at that address."""

    def __init__(self, address: str, security: Security | None = None) -> None:
        from distributed import Client

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in our words
        self.address = address
        require_scheduler(address, _CONNECT_S)
        try:
            self._client: Client = Client(address, security=security, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise unreachable(address, error) from None
        self._closed = threading.Event()
        self._leases: set[str] = set()
        self._sending = threading.Lock()
        self._places: tuple[Place, ...] = ()
        self._look()
        self._watch = threading.Thread(target=self._keep_looking, daemon=True)
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._watch.join(_ENDS_S)
        with contextlib.suppress(Exception):
            self._client.close()

    @property
    def devices(self) -> dict[str, Place]:
        """The devices there are now, by name: NAME@WORKER for those that several workers have."""
        count = Counter(place.local_name for place in self._places)
        return {place.local_name if count[place.local_name] == 1 else place.full_name: place for place in self._places}

    def choose(self, named: Sequence[str]) -> tuple[str, ...]:
        """The devices to use: those named, all, or the only one. Raises DeviceNotChosen, DeviceUnavailable."""
        there = sorted(self.devices)
        if not there:
            raise DeviceUnavailable(
                f"the farm at {self.address} has no devices; `python -m harness.farm worker` adds some"
            )
        if not named and len(there) > 1:
            raise DeviceNotChosen(
                f"the farm has several devices; name some with --device, or {ALL}: {', '.join(there)}"
            )
        wanted = [one for name in named or there for one in (there if name == ALL else [name])]
        known = {*there, *(place.full_name for place in self._places)}
        if unknown := [name for name in wanted if name not in known]:
            raise DeviceUnavailable(f"the farm has no device {unknown[0]!r}; it has {', '.join(there)}")
        return tuple(dict.fromkeys(wanted))

    def find(self, device: str, worker: str | None = None) -> Place | None:
        """Where a device is now; of several with its name, that of `worker`. None: nowhere."""
        places = [place for place in self._places if device in (place.full_name, place.local_name)]
        return next((place for place in places if place.worker == worker), places[0] if len(places) == 1 else None)

    def session(
        self,
        plan: Plan,
        device: str,
        turns: Sequence[CaseRound],
        networks: dict[Files, Artifact | ExportError],
        wait_s: float,
    ) -> Session:
        """The session of a device of the farm's. A lost worker's turn is taken again, once a worker has the device."""

        def take(listener: Listener, stop: Stop) -> None:
            left, wait = list(turns), wait_s
            info: DeviceInfo | None = None
            worker: str | None = None
            lost_in: Counter[CaseRound] = Counter()
            run = Run(plan.run, plan.commit, plan.timeout_s)
            by_place = {(turn.round, turn.case.id): turn for turn in turns}

            def keep(record: Record) -> None:
                earlier = lost_in[by_place[record.round, record.id]]
                listener.keep(replace(record, attempt=record.attempt + earlier))

            while left and not stop.is_set():
                place = self._place(device, worker, plan.timeouts.reconnect_s, listener, stop)
                if place is None:
                    return
                worker = place.worker
                going = _Going(self, plan, device, left, networks, wait, place, info)
                try:
                    going.go(replace(listener, keep=keep), stop)
                except WorkerLost as lost:
                    left, info, wait = going.left, going.info, max(wait_s, LEASE_S)
                    listener.watcher.say(f"{lost}; waiting up to {plan.timeouts.reconnect_s:g} s for it to come back")
                    if info is not None and going.turn in left:
                        keep(session.failed(going.turn, info, run, lost.status, str(lost)))
                        lost_in[going.turn] += 1
                        if lost_in[going.turn] == MAX_ATTEMPTS:
                            left = [turn for turn in left if turn != going.turn]
                else:
                    return

        return take

    def _place(self, device: str, worker: str | None, limit_s: float, listener: Listener, stop: Stop) -> Place | None:
        """Where the device is, once it is there; None when stopped. Raises DeviceUnavailable after `limit_s`."""
        deadline_s = time.monotonic() + limit_s
        with listener.watcher.stage(f"find {device}"):
            while not stop.wait(0.2):
                if place := self.find(device, worker):
                    return place
                if time.monotonic() > deadline_s:
                    raise DeviceUnavailable(f"{device}: no worker of the farm has it; --resume takes what is left")
        return None

    def is_there(self, place: Place) -> bool:
        return place in self._places

    @contextlib.contextmanager
    def leased(self, id_: str) -> Iterator[None]:
        """While this lasts, the worker is told that the session is wanted."""
        self._leases.add(id_)
        try:
            yield
        finally:
            self._leases.discard(id_)

    def send_files(self, networks: dict[Files, Artifact | ExportError], place: Place, stage: Stage) -> None:
        """Puts onto the worker what it lacks of the networks' files. Raises WorkerLost."""
        paths: dict[str, Path] = {}
        for network in networks.values():
            if isinstance(network, Artifact):
                paths |= {file.sha256: network.folder / file.name for file in network.files}
        with self._sending:  # one after the other: several sessions on one worker send the same files
            for digest in self._call(remote.lacking, list(paths), place=place):
                stage.detail(f"{paths[digest].name} to {place.worker}")
                self._call(remote.put, digest, paths[digest].read_bytes(), place=place)

    def submit(self, order: Order, place: Place) -> Future[None]:
        return self._client.submit(
            remote.take,
            order,
            key=f"tenpass-{order.id}",
            workers=[place.address],
            allow_other_workers=False,
            resources={RESOURCE + place.local_name: 1},
            retries=0,
            pure=False,
        )

    def listen(self, topic: str, handler: Callable[[Any], None]) -> None:
        self._client.subscribe_topic(topic, handler)

    def forget(self, topic: str) -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.unsubscribe_topic(topic)

    def end(self, id_: str, place: Place) -> None:
        with contextlib.suppress(WorkerLost):
            self._call(remote.end, id_, place=place)

    def _call(self, function: Callable[..., Any], *arguments: Any, place: Place) -> Any:
        """What the function says on the worker. Raises WorkerLost."""
        try:
            return self._client.run(function, *arguments, workers=[place.address])[place.address]
        except Exception as error:  # Dask's own, of many kinds
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise WorkerLost(f"worker {place.worker} does not answer ({reason})") from None

    def _look(self) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        self._places = tuple(
            Place(address, str(info["name"]), resource.removeprefix(RESOURCE))
            for address, info in workers.items()
            for resource in info["resources"]
            if resource.startswith(RESOURCE)
        )

    def _keep_looking(self) -> None:
        renewed_s = time.monotonic()
        while not self._closed.wait(_LOOK_EVERY_S):
            try:
                self._look()
                if self._leases and time.monotonic() - renewed_s > RENEW_EVERY_S:
                    renewed_s = time.monotonic()
                    self._client.run(remote.renew, list(self._leases), on_error="ignore")
            except Exception:
                self._places = ()


class _Going:
    """One go at the turns of a device, on one worker: until they are done, or the worker is lost."""

    def __init__(
        self,
        farm: Farm,
        plan: Plan,
        device: str,
        turns: list[CaseRound],
        networks: dict[Files, Artifact | ExportError],
        wait_s: float,
        place: Place,
        info: DeviceInfo | None,
    ) -> None:
        self._farm, self._place, self._wait_s = farm, place, wait_s
        self._networks = networks
        self.left = list(turns)
        self.turn: CaseRound | None = None
        self.info = info
        known = plan.device_infos if info is None else {**plan.device_infos, device: info}
        self._order = Order(
            id=uuid.uuid4().hex,
            plan=replace(plan, device_infos={name: one for name, one in known.items() if name == device}),
            name=device,
            local_name=place.local_name,
            turns=tuple(turns),
            networks={
                files: network if isinstance(network, Artifact) else str(network) for files, network in networks.items()
            },
            wait_s=wait_s,
            sources=sources_sha256(),
        )

    def go(self, listener: Listener, stop: Stop) -> None:
        """Raises WorkerLost, and what the session ended with."""
        messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        with listener.watcher.stage(f"send to {self._place.worker}") as stage:
            self._farm.send_files(self._networks, self._place, stage)
        self._farm.listen(self._order.id, lambda event: messages.put(event[1]))
        future = self._farm.submit(self._order, self._place)
        try:
            with (
                self._farm.leased(self._order.id),
                stop.closes(lambda: self._farm.end(self._order.id, self._place)),
                contextlib.ExitStack() as stages,
            ):
                self._follow(messages, future, listener, stop, stages)
        finally:
            self._farm.forget(self._order.id)
            with contextlib.suppress(Exception):  # the scheduler may be gone
                future.cancel()

    def _follow(
        self,
        messages: queue.SimpleQueue[Message],
        future: Future[None],
        listener: Listener,
        stop: Stop,
        stages: contextlib.ExitStack,
    ) -> None:
        shown: dict[int, tuple[contextlib.ExitStack, Stage]] = {}
        begun, heard_s = False, time.monotonic()
        while True:
            try:
                kind, content = messages.get(timeout=0.5)
            except queue.Empty:
                silent_s = time.monotonic() - heard_s
                if stop.is_set() and silent_s > _ENDS_S:
                    return None
                if not self._farm.is_there(self._place):
                    raise WorkerLost(f"worker {self._place.worker} is gone") from None
                if not begun and silent_s > self._wait_s + _STARTS_S:
                    raise DeviceBusy(
                        f"{self._order.name}: another run has it on the farm; --wait SECONDS waits for it"
                    ) from None
                if begun and silent_s > SILENT_S:
                    raise WorkerLost(f"worker {self._place.worker} has said nothing for {silent_s:.0f} s") from None
                if future.status in ("error", "cancelled", "lost"):
                    raise WorkerLost(f"worker {self._place.worker} ended the session ({future.status})") from None
                continue
            heard_s, begun = time.monotonic(), True
            if kind == "ended":
                return _raise(*content)
            self._take_in(kind, content, listener, shown, stages)

    def _take_in(
        self,
        kind: str,
        content: Any,
        listener: Listener,
        shown: dict[int, tuple[contextlib.ExitStack, Stage]],
        stages: contextlib.ExitStack,
    ) -> None:
        if kind == "met":
            self.info = plans.device_adapter().validate_json(content)
            listener.met(self.info)
        elif kind == "turn":
            round_, id_ = content
            self.turn = next(turn for turn in self.left if (turn.round, turn.case.id) == (round_, id_))
        elif kind == "record":
            record = record_adapter().validate_json(content)
            listener.keep(record)
            if is_over(record):
                self.left = [turn for turn in self.left if (turn.round, turn.case.id) != (record.round, record.id)]
        elif kind == "say":
            listener.watcher.say(content)
        elif kind == "stage":
            number, description, total = content
            own = stages.enter_context(contextlib.ExitStack())
            shown[number] = (own, own.enter_context(listener.watcher.stage(description, total)))
        elif kind == "advance":
            shown[content[0]][1].advance(content[1])
        elif kind == "detail":
            shown[content[0]][1].detail(content[1])
        elif kind == "over":
            shown.pop(content)[0].close()


def _raise(code: int, words: str) -> None:
    if code != EXIT_OK:
        kinds: dict[int, type[Exception]] = {EXIT_USAGE: UsageError, EXIT_DEVICE_UNAVAILABLE: DeviceUnavailable}
        raise kinds.get(code, DeviceError)(words)
