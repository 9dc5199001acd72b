"""Where the devices of a run are had: on this machine, from an adb server elsewhere, or on a farm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import click

from device.adb.server import Server, parse_server

if TYPE_CHECKING:
    from harness.farm.client import Farm
    from harness.measure.run import Sessions


#: The options of a farm's TLS.
TLS_FILES = ("tls_ca_file", "tls_cert", "tls_key")


@dataclass(frozen=True)
class Where:
    """How the devices are reached: the adb server that has them, or a farm's scheduler and the files of its TLS.

    `wait_s` is how long another run that has a device is waited for.
    """

    adb_server: Server | None = None
    scheduler: str | None = None
    tls: Mapping[str, str | None] = field(default_factory=dict)
    wait_s: float = 0

    @classmethod
    def of(cls, recorded: Mapping[str, str], wait_s: float = 0) -> Where:
        """As it was recorded."""
        server = parse_server(recorded["adb_server"]) if "adb_server" in recorded else None
        tls = {name: recorded.get(name) for name in TLS_FILES}
        return cls(server, recorded.get("scheduler"), tls, wait_s)

    @property
    def recorded(self) -> dict[str, str]:
        """For a plan: by the names of the options, those that were given."""
        given: dict[str, str | None] = {"scheduler": self.scheduler, **self.tls}
        if (server := self.adb_server) is not None:
            host = f"[{server.host}]" if ":" in server.host else server.host
            given["adb_server"] = f"{host}:{server.port}"
        return {name: value for name, value in given.items() if value is not None}

    @contextlib.contextmanager
    def farm(self) -> Iterator[Farm | None]:
        """The farm, where there is a scheduler."""
        if self.scheduler is None:
            yield None
            return
        from harness.farm.connect import connected

        with connected(self.scheduler, **self.tls) as client:
            from harness.farm.client import Farm

            yield Farm(client, self.scheduler)

    def choose(self, named: Sequence[str]) -> tuple[str, ...]:
        """The devices to use, of those that were named, if any were."""
        from device.open import choose

        with self.farm() as farm:
            say = partial(click.echo, err=True)
            return choose(named, self.adb_server, say) if farm is None else farm.choose(named, say)

    @contextlib.contextmanager
    def sessions(self) -> Iterator[Sessions]:
        """How devices are measured on from here."""
        from harness.measure.device import Attachment
        from harness.measure.run import sessions_here

        with self.farm() as farm:
            if farm is None:
                yield sessions_here(Attachment(self.adb_server, self.wait_s))
                return
            from harness.farm.device import session_on

            yield lambda prepared, device, cases: session_on(
                farm, prepared.plan, device, cases, prepared.exports, wait_s=self.wait_s
            )
