"""TLS of a farm, as Dask offers it: both sides show a certificate of one authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.record.errors import UsageError

if TYPE_CHECKING:
    from distributed import Security


def security(tls_ca_file: str | None, tls_cert: str | None, tls_key: str | None) -> Security | None:
    """For a client, a worker or a scheduler; None where no file is given. Raises UsageError for some without others."""
    given = (tls_ca_file, tls_cert, tls_key)
    if not any(given):
        return None
    if not all(given):
        raise UsageError("TLS needs all of --tls-ca-file, --tls-cert and --tls-key")
    from distributed import Security

    return Security(
        require_encryption=True,
        tls_ca_file=tls_ca_file,
        **{
            f"tls_{who}_{what}": path
            for who in ("client", "worker", "scheduler")
            for what, path in (("cert", tls_cert), ("key", tls_key))
        },
    )
