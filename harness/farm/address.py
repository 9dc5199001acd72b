"""Where a farm's scheduler is, and whether anything answers there."""

from __future__ import annotations

import socket

from device.errors import DeviceUnavailable


def require_scheduler(address: str, limit_s: float) -> None:
    """Raises DeviceUnavailable, in one line, where nothing listens: Dask tries for long, and leaves threads behind."""
    from distributed.comm.addressing import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), timeout=limit_s).close()
    except (OSError, ValueError) as error:
        raise unreachable(address, error) from None


def unreachable(address: str, error: BaseException) -> DeviceUnavailable:
    """What to say of a scheduler that cannot be reached."""
    while error.__cause__ is not None:  # Dask's own words are further from what happened
        error = error.__cause__
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DeviceUnavailable(
        f"no scheduler of a farm at {address} ({reason.splitlines()[0]}); `python -m harness.farm scheduler` starts one"
    )
