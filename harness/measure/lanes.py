"""The turns of one device: one lane a board, each with its share. What a failure leads to is in policy.py."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from device.errors import DeviceError
from harness.measure.policy import MAX_ATTEMPTS, Then, rule_for
from harness.measure.stop import Stop
from harness.record.plan import Plan, Turn
from harness.record.record import Record


class Recoverable(Protocol):
    """A device, here or on a farm, as far as a failure concerns it."""

    def reconnect(self, limit_s: float, *, reboot: bool = False) -> None: ...


D = TypeVar("D", bound=Recoverable)


def measure_all(
    plan: Plan,
    turns: Sequence[Turn],
    devices: Sequence[D],
    measure: Callable[[Turn, D], Record],
    keep: Callable[[Record], None],
    tell: Callable[[str], None],
    stop: Stop,
) -> None:
    """Takes these turns of the plan on devices that share them, until they are done or `stop` is set.

    `keep` gets each record as it comes, from the thread of its lane. Cases are dealt out in turn and not by who is
    free, and a case stays with its device in every round, so that a second run finds on each device what the first one
    pushed there. A case that is taken again has a record of each attempt. A device that is given up leaves its other
    turns without records; `tell` hears why. Raises what a lane raised, when all have ended.
    """
    places = {case.id: place for place, case in enumerate(plan.cases)}
    failures: list[BaseException] = []

    def work(lane: int) -> None:
        try:
            for turn in turns:
                if places[turn.case.id] % len(devices) == lane and not take(turn, devices[lane]):
                    return
        except BaseException as error:
            failures.append(error)  # the other lanes of this device end after their case; other devices go on

    def take(turn: Turn, device: D) -> bool:
        """Whether this lane goes on after the turn."""
        for attempt in itertools.count(1):
            if stop.is_set() or failures:
                return False
            record = replace(measure(turn, device), attempt=attempt)
            if stop.is_set():  # it ended because its device was closed: nothing is known of it
                return False
            keep(record)
            rule = rule_for(record)
            if rule is None or rule.then is Then.SKIP:
                return True
            if rule.then in (Then.GIVE_UP, Then.STOP):
                tell(f"{turn.id}: {record.error}; {rule.sentence}")
                if rule.then is Then.STOP:
                    stop.set()
                return False
            if rule.reconnect and not back(device, record):
                return False
            if attempt == MAX_ATTEMPTS:
                return True
        raise AssertionError  # the count has no end

    def back(device: D, record: Record) -> bool:
        limit_s = plan.timeouts.reconnect_s
        tell(f"{record.error}; waiting up to {limit_s:g} s for it to come back")
        try:
            device.reconnect(limit_s, reboot=plan.reboot)
        except DeviceError as error:
            tell(f"{error}; it is given up, --resume takes what is left")
            return False
        return True

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in range(1, len(devices))]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
