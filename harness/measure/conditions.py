"""How warm a device may be when a case starts, and the wait until it is no warmer."""

from __future__ import annotations

import time
from collections.abc import Callable

from device.device import Device
from device.records import DeviceState
from device.thermal import hottest
from harness.record.plan import Limits

#: A choice: a phone cools by a few tenths of a degree in it, and asking it costs a fraction of a second of work.
POLL_INTERVAL_S = 5.0


def wait_until_cool(
    device: Device,
    limits: Limits,
    on_state: Callable[[DeviceState, float], None],
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> DeviceState:
    """The device's state once it is no warmer than `limits.max_start_celsius`.

    Or once there is no more to wait for: the time is up, it tells no temperature (the warnings name both), or it is a
    recording, which has waited already.
    `on_state` hears of each state and of the seconds waited until then. Raises what `device.state` raises.
    """
    began = now()
    while True:
        state = device.state()
        waited_s = now() - began
        on_state(state, waited_s)
        found = hottest(state)
        left_s = limits.cool_timeout_s - waited_s
        if limits.max_start_celsius is None or found is None or found[1] <= limits.max_start_celsius:
            return state
        if left_s <= 0 or device.info.kind == "replay":
            return state
        sleep(min(POLL_INTERVAL_S, left_s))
