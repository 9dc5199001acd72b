"""The way to a farm's scheduler: is Dask installed, does anything answer there, and TLS. Imports no Dask by itself."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from device.errors import DeviceUnavailable
from harness.record.errors import UsageError

if TYPE_CHECKING:
    from distributed import Client, Security

_CONNECT_S = 15.0  # a choice: for the scheduler to answer


@contextlib.contextmanager
def connected(address: str, **tls: str | None) -> Iterator[Client]:
    """A client of the farm's scheduler at that address.

    Raises UsageError where the extra `farm` is not installed, DeviceUnavailable where nothing answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs Dask's distributed: pip install 'tenpass[farm]'") from None

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in our words
    credentials = security(**tls)
    require_scheduler(address)
    try:
        client = Client(address, security=credentials, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise _unreachable(address, error) from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.close()


def require_scheduler(address: str) -> None:
    """Raises DeviceUnavailable, in one line, where nothing listens: Dask tries for long, and leaves threads behind."""
    from distributed.comm.addressing import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from None


def security(tls_ca_file: str | None, tls_cert: str | None, tls_key: str | None) -> Security | None:
    """TLS for a client, a worker or a scheduler: all show a certificate of one authority. None: no file is given.

    Raises UsageError for some files without the others.
    """
    given = (tls_ca_file, tls_cert, tls_key)
    if not any(given):
        return None
    if not all(given):
        raise UsageError("TLS needs all of --tls-ca-file, --tls-cert and --tls-key")
    from distributed import Security

    roles = ("client", "worker", "scheduler")
    files = {f"tls_{who}_cert": tls_cert for who in roles} | {f"tls_{who}_key": tls_key for who in roles}
    return Security(require_encryption=True, tls_ca_file=tls_ca_file, **files)


def reason(error: BaseException) -> str:
    """The first cause, in one line: Dask's own words are further from what happened."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def _unreachable(address: str, error: BaseException) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"no scheduler of a farm at {address} ({reason(error)}); `tenpass farm scheduler` starts one"
    )
