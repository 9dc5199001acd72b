"""A farm: devices that hang on many hosts, measured by one run over a Dask scheduler.

On one host `tenpass farm scheduler`; on each host with devices `tenpass farm worker --scheduler
tcp://HOST:8786`; and anywhere `python -m harness.run --scheduler tcp://HOST:8786 --device all`.

Nothing listens beyond this machine unless --listen says so. Whoever can reach the scheduler can run code on all hosts
of the farm: beyond one machine, use TLS (--tls-ca-file, --tls-cert, --tls-key; addresses are then tls://).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from device.adb.server import Server
from harness.cli.command import CONTEXT, guarded
from harness.cli.options import AdbServer, tls_options
from harness.record.errors import EXIT_OK, UsageError

_LOOPBACK = "127.0.0.1"
_NO_DASHBOARD: dict[str, Any] = {"dashboard": False, "dashboard_address": f"{_LOOPBACK}:0"}
_WORKER_SILENT_S = 60.0  # a choice: a worker without a heartbeat for so long is lost; busy machines' are late
_THREADS = (
    32  # of a worker, for each device. A choice: more boards side by side are never of use; idle ones cost nothing
)

_listen = click.option(
    "--listen",
    default=_LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    help="This host's address to listen on: that at which the others reach it.",
)


@click.group(help=__doc__, context_settings=CONTEXT)
def main() -> None:
    pass


@main.command()
@_listen
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True, help="0: any that is free.")
@tls_options
@guarded
def scheduler(listen: str, port: int, **tls: str | None) -> int:
    """Brings runs and workers together, until Ctrl-C."""
    from distributed import Scheduler

    from harness.farm.connect import security

    credentials = security(**tls)

    def make() -> Scheduler:
        # What follows when a case's worker is lost, measure/policy.py says, as for all kinds of losses.
        return Scheduler(
            host=listen,
            port=port,
            security=credentials,
            allowed_failures=0,
            worker_ttl=_WORKER_SILENT_S,
            **_NO_DASHBOARD,
        )

    asyncio.run(_serve(make, lambda made: f"scheduler: {made.address}"))
    return EXIT_OK


@main.command()
@click.option("--scheduler", required=True, metavar="ADDRESS", help="The scheduler, such as tcp://192.168.1.10:8786.")
@click.option(
    "--device",
    "named",
    metavar="SERIAL",
    multiple=True,
    help="A device to announce: an adb serial, ssh:HOST, a name of tenpass.toml, board:NAME or host; repeatable. "
    "Default: all that are attached now, and those of tenpass.toml.",
)
@click.option("--adb-server", type=AdbServer(), metavar="HOST:PORT", help="The adb server that has the devices.")
@click.option(
    "--name", default=socket.gethostname(), show_default="this host's", help="What the farm calls this worker."
)
@_listen
@tls_options
@guarded
def worker(
    scheduler: str, named: tuple[str, ...], adb_server: Server | None, name: str, listen: str, **tls: str | None
) -> int:
    """Announces this host's devices, and measures on them, until Ctrl-C."""
    from distributed import Worker

    from device.open import ALL, choose
    from harness.farm import store
    from harness.farm.connect import require_scheduler, security
    from harness.farm.worker import OpenDevices, resource

    devices = choose(named or (ALL,), adb_server, partial(click.echo, err=True))
    for device in devices:
        if "@" in device:
            raise UsageError(
                f"--device {device}: names of a farm's devices have no @, which stands before the worker's; a user "
                "can be named in tenpass.toml or ~/.ssh/config"
            )
    require_scheduler(scheduler)
    store.sweep()
    credentials = security(**tls)

    def make() -> Worker:
        return Worker(
            scheduler,
            name=name,
            host=listen,
            nthreads=_THREADS * len(devices),
            resources={resource(device, name): 1 for device in devices},
            plugins=(OpenDevices(adb_server),),
            memory_limit=0,
            security=credentials,
            death_timeout=30,
            **_NO_DASHBOARD,
        )

    asyncio.run(_serve(make, lambda _: f"worker {name}: {', '.join(devices)}"))
    return EXIT_OK


async def _serve(make: Callable[[], Any], title: Callable[[Any], str]) -> None:
    """Runs a server of Dask's until SIGINT, SIGTERM or its own end. Raises UsageError when it does not start."""
    from harness.farm.connect import reason

    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)  # a task's failure is told to its run
    serving = asyncio.current_task()
    assert serving is not None  # noqa: S101 (it is what runs here)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        async with make() as made:
            click.echo(title(made))
            await made.finished()
    except asyncio.CancelledError:
        pass
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(f"it does not start: {reason(error)}") from None


if __name__ == "__main__":
    main()
