"""One session a device, all at the same time: open it, take its turns, close it. A failing one holds up no other.

A session is the same code here and on a farm's worker; only who listens to it differs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from device import wire
from device.adb.server import Server
from device.device import Device
from device.records import DeviceInfo, DeviceState
from device.thermal import hottest
from export.artifact import ExportError
from harness.measure import lanes, prepare, replay, session
from harness.measure.ledger import Ledger
from harness.measure.networks import Bundles, Subject
from harness.measure.session import Run, WallTime
from harness.measure.stop import Stop
from harness.record import plan as plans
from harness.record.errors import EXPECTED
from harness.record.plan import Plan, Turn
from harness.record.record import Record
from harness.record.units import milliseconds

_JOIN_S = 30  # for what is still running to end after a stop


class Stage(Protocol):
    """Something that takes a while, as it is shown."""

    def advance(self, steps: int = 1) -> None: ...

    def detail(self, text: str) -> None: ...


class Watcher(Protocol):
    """Who is told of a session's progress, from whichever thread."""

    def say(self, words: str) -> None: ...

    def stage(self, description: str, total: int | None = None) -> AbstractContextManager[Stage]: ...


@dataclass(frozen=True)
class Listener:
    """What comes of a session: the device once it is open, each record, and progress. Called from any thread."""

    met: Callable[[DeviceInfo], None]
    keep: Callable[[Record], None]
    watcher: Watcher


#: Takes the turns of one device until it is done or stopped. Raises EXPECTED errors when it cannot begin.
Session = Callable[[Listener, Stop], None]


def on(
    plan: Plan,
    device: str,
    turns: Sequence[Turn],
    subject: Callable[[Turn], Subject],
    bundles: Bundles,
    *,
    wait_s: float = 0,
    server: Server | None = None,
) -> Session:
    """The session of a device that this machine has, by the name that the plan gives it.

    `subject` gives the network of a turn, or raises ExportError where there is none. `server` is the adb server that
    has the device, `wait_s` how long another run with the device is waited for.
    """

    def take(listener: Listener, stop: Stop) -> None:
        watcher = listener.watcher
        with prepare.opened(plan, device, watcher, bundles, wait_s=wait_s, server=server) as devices:
            plans.require_same_device(plan, device, devices[0].info)
            listener.met(devices[0].info)
            run = Run(plan.run, plan.commit, plan.timeout_s, plan.limits, plan.profile, _time(device))

            def close() -> None:
                for one in devices:
                    one.close()

            with stop.closes(close):
                lanes.measure_all(
                    plan,
                    turns,
                    devices,
                    lambda turn, one: measure_and_show(turn, subject, one, run, watcher),
                    listener.keep,
                    watcher.say,
                    stop,
                )

    return take


def take_all(
    sessions: Mapping[str, Session],
    watchers: Mapping[str, Watcher],
    ledger: Ledger,
) -> dict[str, Exception]:
    """Takes the sessions at the same time; gives the expected errors that kept some from beginning, or ended them.

    The ledger is written in this thread. What else a session raises, and Ctrl-C, ends all of them: cases that are
    running then are not kept.
    """
    messages: queue.SimpleQueue[Callable[[], None] | _Ended] = queue.SimpleQueue()
    stop = Stop()

    def work(device: str, take: Session) -> None:
        listener = Listener(
            met=lambda info: messages.put(lambda: ledger.met(device, info)),
            keep=lambda record: messages.put(lambda: ledger.keep(record)),
            watcher=watchers[device],
        )
        error: BaseException | None = None
        try:
            take(listener, stop)
        except BaseException as raised:
            error = raised
        messages.put(_Ended(device, error))

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in sessions.items()]
    failures: dict[str, Exception] = {}
    try:
        for thread in threads:
            thread.start()
        at_work = len(threads)
        while at_work:
            message = messages.get()
            if not isinstance(message, _Ended):
                message()
                continue
            at_work -= 1
            if isinstance(message.error, EXPECTED):
                failures[message.device] = message.error
            elif message.error is not None:
                raise message.error
    finally:
        stop.set()
        for thread in threads:
            thread.join(_JOIN_S)
    return failures


@dataclass(frozen=True)
class _Ended:
    device: str
    error: BaseException | None


def _time(device: str) -> session.Timekeeper:
    return replay.RecordedTime() if replay.is_one(device) else WallTime()


def measure_and_show(
    turn: Turn, subject_of: Callable[[Turn], Subject], device: Device, run: Run, watcher: Watcher
) -> Record:
    """The record of `turn`; `watcher` is told how it goes."""
    try:
        subject = subject_of(turn)
    except ExportError as error:
        return session.failed(turn, device.info, run, "export_failed", str(error))
    with watcher.stage(turn.id, total=turn.case.warmup + turn.case.passes) as stage:
        pushed_bytes = 0

        def on_bytes(count: int) -> None:
            nonlocal pushed_bytes
            pushed_bytes += count
            stage.detail(f"push {pushed_bytes / 1e6:.1f} MB")

        def on_state(state: DeviceState, waited_s: float) -> None:
            limit_celsius, found = run.limits.max_start_celsius, hottest(state)
            if limit_celsius is not None and found is not None:
                zone, celsius = found
                stage.detail(f"cooling to {limit_celsius:g} °C: {zone} at {celsius:.1f} °C, {waited_s:.0f} s")

        def on_event(event: wire.Event) -> None:
            if isinstance(event, wire.PassEnded):
                stage.advance()
                stage.detail(f"{event.phase} pass: {milliseconds(event.ns)} ms")
            elif isinstance(event, wire.Hello):
                stage.detail(f"load, {event.runtime} {event.runtime_version}")

        return session.measure(turn, subject, device, run, on_event=on_event, on_bytes=on_bytes, on_state=on_state)
