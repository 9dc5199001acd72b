"""Cases side by side: one lane a device, each with its share of the plan."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from device.call import Device
from harness.records import Case, Record

_JOIN_TIMEOUT_S = 30


def measure_all(
    cases: Sequence[Case],
    devices: Sequence[Device],
    measure: Callable[[Case, Device], Record],
    keep: Callable[[Record], None],
) -> None:
    """Measures every case; `keep` gets each record, in the caller's thread, as it comes. The devices are closed after.

    Shares are dealt out in turn and not by who is free, so that a second run finds on each device what the first
    one pushed there. What ends this early, Ctrl-C too, ends the cases that are running, and none of them is kept.
    """
    results: queue.SimpleQueue[Record | BaseException] = queue.SimpleQueue()
    stopped = threading.Event()

    def work(lane: int) -> None:
        for case in cases[lane :: len(devices)]:
            if stopped.is_set():
                return
            try:
                results.put(measure(case, devices[lane]))
            except BaseException as error:
                results.put(error)
                return

    threads = [threading.Thread(target=work, args=(lane,), daemon=True) for lane in range(len(devices))]
    try:
        for thread in threads:
            thread.start()
        for _ in cases:
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
