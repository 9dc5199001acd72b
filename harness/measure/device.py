"""All cases of one device: it is opened, measured on and closed, side by side with other devices.

A session is the same here and on a farm; only how a case gets to its device differs. What a failure leads to is in
policy.py.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from device.adb.server import Server
from device.device import Device, Opening
from device.errors import BundleError, DeviceError
from device.open import open_devices, reserve
from device.records import DeviceInfo
from harness.measure.case import Run, measure_and_show
from harness.measure.networks import Bundles, Networks
from harness.measure.policy import MAX_ATTEMPTS, Then, rule_for
from harness.measure.progress import Watcher
from harness.record.differences import require_same_device
from harness.record.plan import CaseRound, Plan
from harness.record.record import Record


class Stop:
    """Ends work that other threads do: they ask whether to go on, and what they wait for is closed at once.

    Set once, for good, from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = threading.Event()
        self._open: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        return self._set.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits so long at most; whether to stop."""
        return self._set.wait(seconds)

    def set(self) -> None:
        with self._lock:
            self._set.set()
            closing, self._open = self._open, []
        # Side by side, for a device that is gone takes seconds to be sure of it.
        threads = [threading.Thread(target=close, daemon=True) for close in closing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    @contextmanager
    def closes(self, close: Callable[[], None]) -> Iterator[None]:
        """While this lasts, stopping calls `close`, from the thread that stops; at once, if that has happened."""
        with self._lock:
            too_late = self._set.is_set()
            if not too_late:
                self._open.append(close)
        if too_late:
            close()
        try:
            yield
        finally:
            with self._lock:
                if close in self._open:
                    self._open.remove(close)


@dataclass(frozen=True)
class Listener:
    """What comes of a session: the device once it is open, each record, and progress. Called from any thread."""

    met: Callable[[DeviceInfo], None]
    keep: Callable[[Record], None]
    watcher: Watcher


#: Measures the cases of one device until they are done or it is stopped. Raises EXPECTED errors when it cannot begin.
Session = Callable[[Listener, Stop], None]


@dataclass(frozen=True)
class Attachment:
    """How devices of this machine are had: `server` is the adb server that has them (None: this machine's).

    `wait_s` is how long another run with a device is waited for.
    """

    server: Server | None = None
    wait_s: float = 0


def session_here(
    plan: Plan,
    device: str,
    cases: Sequence[CaseRound],
    networks: Networks,
    bundles: Bundles,
    attachment: Attachment,
) -> Session:
    """The session of a device that this machine has, by the name that the plan gives it."""

    def take(listener: Listener, stop: Stop) -> None:
        watcher = listener.watcher
        with opened(plan, device, watcher, bundles, attachment) as devices:
            require_same_device(plan, device, devices[0].info)
            listener.met(devices[0].info)
            run = Run.of_plan(plan)

            def close() -> None:
                for one in devices:
                    one.close()

            def measure(one: CaseRound, board: Device) -> Record:
                return measure_and_show(one, networks, board, run, watcher)

            with stop.closes(close):
                measure_all(plan, cases, devices, measure, listener.keep, watcher.say, stop)

    return take


@contextmanager
def opened(
    plan: Plan, device: str, watcher: Watcher, bundles: Bundles, attachment: Attachment
) -> Iterator[Sequence[Device]]:
    """The device that the plan names so, ready and this run's alone, with as many boards as the plan says.

    Raises DeviceError's children, and UsageError.
    """
    with reserve(device, attachment.wait_s, on_wait=watcher.say), contextlib.ExitStack() as open_ones:
        with watcher.stage(f"ready {device}") as stage:
            opening = Opening(
                plan.boards,
                stage.detail,
                plan.counting,
                clock_mhz=plan.clock_mhz,
                timeouts=plan.timeouts,
                server=attachment.server,
                wait_s=attachment.wait_s,
                on_wait=watcher.say,
            )
            devices = open_devices(device, opening)
            for one in devices:
                open_ones.callback(one.close)
            if devices[0].info.kind != "replay":
                # Now, for the compilers would disturb what is measured; what cannot be built fails its cases, with
                # the reason.
                abi = plan.cases[0].abi or devices[0].info.abi
                for runtime, provider in dict.fromkeys((case.runtime, case.provider) for case in plan.cases):
                    with contextlib.suppress(BundleError):
                        bundles.get(abi, runtime, provider, on_step=stage.detail)
        yield devices


class Recoverable(Protocol):
    """A device, here or on a farm, as far as a failure concerns it."""

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None: ...


D = TypeVar("D", bound=Recoverable)


def measure_all(
    plan: Plan,
    cases: Sequence[CaseRound],
    devices: Sequence[D],
    measure: Callable[[CaseRound, D], Record],
    keep: Callable[[Record], None],
    tell: Callable[[str], None],
    stop: Stop,
) -> None:
    """Measures these cases of the plan on devices that share them, until they are done or `stop` is set.

    `keep` gets each record as it comes, from the thread of its device. Cases are dealt out in turn and not by who is
    free, and a case stays with its device in every round, so that a second run finds on each device what the first one
    pushed there. A case that is taken again has a record of each attempt. A device that is given up leaves its other
    cases without records; `tell` hears why. Raises what measuring on a device raised, when all have ended.
    """
    places = {case.id: place for place, case in enumerate(plan.cases)}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for one in cases:
                if places[one.case.id] % len(devices) == number and not take(one, devices[number]):
                    return
        except BaseException as error:
            failures.append(error)  # the other boards of this device end after their case; other devices go on

    def take(one: CaseRound, device: D) -> bool:
        """Whether the device goes on after the case."""
        for attempt in itertools.count(1):
            if stop.is_set() or failures:
                return False
            record = replace(measure(one, device), attempt=attempt)
            if stop.is_set():  # it ended because its device was closed: nothing is known of it
                return False
            keep(record)
            rule = rule_for(record)
            if rule is None or rule.then is Then.SKIP:
                return True
            if rule.then in (Then.GIVE_UP, Then.STOP):
                tell(f"{one.id}: {record.error}; {rule.sentence}")
                if rule.then is Then.STOP:
                    stop.set()
                return False
            if rule.reconnect and not _is_back(plan, device, record, tell):
                return False
            if attempt == MAX_ATTEMPTS:
                return True
        raise AssertionError  # the count has no end

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(1, len(devices))]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _is_back(plan: Plan, device: Recoverable, record: Record, tell: Callable[[str], None]) -> bool:
    """Whether a device that was lost can be used again, once it has been waited for."""
    limit_s = plan.timeouts.reconnect_s
    tell(f"{record.error}; waiting up to {limit_s:g} s for it to come back")
    try:
        device.reconnect(limit_s, reboot_after_s=limit_s / 2 if plan.reboot else None)
    except DeviceError as error:
        tell(f"{error}; it is given up, --resume takes what is left")
        return False
    return True
