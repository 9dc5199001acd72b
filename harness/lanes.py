"""Cases side by side: one lane a device, each with its share of the plan."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from device.call import Device
from harness.plan import Plan, Turn
from harness.records import Record

_JOIN_TIMEOUT_S = 30


def measure_all(
    plan: Plan,
    turns: Sequence[Turn],
    devices: Sequence[Device],
    measure: Callable[[Turn, Device], Record],
    keep: Callable[[Record], None],
) -> None:
    """Takes these turns of the plan; `keep` gets each record, in the caller's thread, as it comes.

    The devices are closed after.
    Cases are dealt out in turn and not by who is free, and a case stays with its device in every round, so that a
    second run finds on each device what the first one pushed there. What ends this early, Ctrl-C too, ends the cases
    that are running, and none of them is kept.
    """
    results: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()
    places = {case.id: place for place, case in enumerate(plan.cases)}

    def work(lane: int) -> None:
        for turn in turns:
            if places[turn.case.id] % len(devices) != lane:
                continue
            if stopped.is_set():
                return
            try:
                results.put(measure(turn, devices[lane]))
            except BaseException as error:
                results.put(error)
                return

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in range(len(devices))]
    try:
        for thread in threads:
            thread.start()
        for _ in turns:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            keep(result)
    finally:
        stopped.set()
        for device in devices:
            device.close()
        for thread in threads:
            thread.join(_JOIN_TIMEOUT_S)
