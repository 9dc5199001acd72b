"""Cases side by side: one lane a device, each with its share of the plan. What a failure leads to is in policy.py."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from device.call import Device
from device.errors import DeviceError
from harness.plan import Plan, Turn
from harness.policy import MAX_ATTEMPTS, Then, rule_for
from harness.records import Record

_JOIN_TIMEOUT_S = 30


def measure_all(
    plan: Plan,
    turns: Sequence[Turn],
    devices: Sequence[Device],
    measure: Callable[[Turn, Device], Record],
    keep: Callable[[Record], None],
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Takes these turns of the plan; `keep` gets each record, in the caller's thread, as it comes.

    The devices are closed after.
    Cases are dealt out in turn and not by who is free, and a case stays with its device in every round, so that a
    second run finds on each device what the first one pushed there. A case that is taken again has a record of each
    attempt. A device that is given up leaves its other turns without records; `tell` hears why. What ends this early,
    Ctrl-C too, ends the cases that are running, and none of them is kept.
    """
    results: queue.SimpleQueue[Record | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()
    places = {case.id: place for place, case in enumerate(plan.cases)}

    def work(lane: int) -> None:
        try:
            for turn in turns:
                if places[turn.case.id] % len(devices) == lane and not take(turn, devices[lane]):
                    return
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    def take(turn: Turn, device: Device) -> bool:
        """Whether this lane goes on after the turn."""
        for attempt in itertools.count(1):
            if stopped.is_set():
                return False
            record = replace(measure(turn, device), attempt=attempt)
            results.put(record)
            rule = rule_for(record)
            if rule is None or rule.then is Then.SKIP:
                return True
            if rule.then in (Then.GIVE_UP, Then.STOP):
                tell(f"{turn.id}: {record.error}; {rule.sentence}")
                if rule.then is Then.STOP:
                    stopped.set()
                return False
            if rule.reconnect and not stopped.is_set() and not back(device, record):
                return False
            if attempt == MAX_ATTEMPTS:
                return True
        raise AssertionError  # the count has no end

    def back(device: Device, record: Record) -> bool:
        limit_s = plan.timeouts.reconnect_s
        tell(f"{record.error}; waiting up to {limit_s:g} s for it to come back")
        try:
            device.reconnect(limit_s, reboot=plan.reboot)
        except DeviceError as error:
            tell(f"{error}; it is given up, --resume takes what is left")
            return False
        return True

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in range(len(devices))]
    try:
        for thread in threads:
            thread.start()
        at_work = len(threads)
        while at_work:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                at_work -= 1
            else:
                keep(result)
    finally:
        stopped.set()
        for device in devices:
            device.close()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S)
