"""A farm: devices that hang on many hosts, measured by one run over a Dask scheduler.

On one host `python -m harness.farm scheduler`; on each host with devices `python -m harness.farm worker --scheduler
tcp://HOST:8786`; and anywhere `python -m harness.run --scheduler tcp://HOST:8786 --device all`.

Nothing listens beyond this machine unless --listen says so. Whoever can reach the scheduler can run code on all hosts
of the farm: beyond one machine, use TLS (--tls-ca-file, --tls-cert, --tls-key; addresses are then tls://).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any

import click

from device.adb.server import Server
from harness.cli.command import guarded
from harness.cli.options import AdbServer, tls_options
from harness.farm.address import require_scheduler
from harness.record.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from distributed import Scheduler, Worker

LOOPBACK = "127.0.0.1"
_CONNECT_S = 15.0  # a choice: for the scheduler to answer


@click.group(help=__doc__, context_settings={"max_content_width": 100})
def main() -> None:
    pass


@main.command()
@click.option(
    "--listen", default=LOOPBACK, show_default=True, metavar="ADDRESS", help="This host's address to listen on."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8786, show_default=True, help="0: any that is free.")
@tls_options
@guarded
def scheduler(listen: str, port: int, **tls: str | None) -> int:
    """Brings runs and workers together, until Ctrl-C."""
    from harness.farm.security import security

    asyncio.run(_schedule(listen, port, security(**tls)))
    return EXIT_OK


@main.command()
@click.option("--scheduler", required=True, metavar="ADDRESS", help="The scheduler, such as tcp://192.168.1.10:8786.")
@click.option(
    "--device",
    "named",
    metavar="SERIAL",
    multiple=True,
    help="A device to announce: an adb serial, board:NAME or host; repeatable. Default: all that are attached now.",
)
@click.option("--adb-server", type=AdbServer(), metavar="HOST:PORT", help="The adb server that has the devices.")
@click.option(
    "--name", default=socket.gethostname(), show_default="this host's", help="What the farm calls this worker."
)
@click.option(
    "--listen",
    default=LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    help="This host's address, at which the scheduler reaches it.",
)
@tls_options
@guarded
def worker(
    scheduler: str, named: tuple[str, ...], adb_server: Server | None, name: str, listen: str, **tls: str | None
) -> int:
    """Announces this host's devices, and takes the sessions on them, until Ctrl-C."""
    from device.open import ALL, choose
    from harness.farm import worker as sessions
    from harness.farm.security import security

    devices = choose(named or (ALL,), adb_server)
    for device in devices:
        if "@" in device:
            raise UsageError(
                f"--device {device}: names of a farm's devices have no @, which stands before the worker's"
            )
    require_scheduler(scheduler, _CONNECT_S)
    sessions.adb_server = adb_server
    sessions.sweep()
    asyncio.run(_work(scheduler, devices, name, listen, security(**tls)))
    return EXIT_OK


async def _schedule(listen: str, port: int, security: Any) -> None:
    from distributed import Scheduler

    await _until_told(
        lambda: Scheduler(
            host=listen, port=port, security=security, dashboard=False, dashboard_address=f"{LOOPBACK}:0"
        ),
        lambda made: f"scheduler: {made.address}",
    )


async def _work(scheduler: str, devices: tuple[str, ...], name: str, listen: str, security: Any) -> None:
    from distributed import Worker

    from harness.farm import worker as sessions
    from harness.farm.orders import RESOURCE

    try:
        await _until_told(
            lambda: Worker(
                scheduler,
                name=name,
                host=listen,
                nthreads=len(devices),  # one session a device, all at once
                resources={RESOURCE + device: 1 for device in devices},
                memory_limit=0,
                security=security,
                dashboard=False,
                dashboard_address=f"{LOOPBACK}:0",
                death_timeout=30,
            ),
            lambda _: f"worker {name}: {', '.join(devices)}",
        )
    finally:
        sessions.end_all()


async def _until_told(make: Any, ready: Any) -> None:
    """Runs a server until SIGINT or SIGTERM, or its own end."""
    logging.getLogger("distributed").setLevel(logging.WARNING)
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)

    async def start() -> Any:
        return await make()

    starting, ending = asyncio.ensure_future(start()), asyncio.ensure_future(told.wait())
    await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        return
    try:
        made: Scheduler | Worker = starting.result()
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # Dask's own words are further from what happened
            cause = cause.__cause__
        raise UsageError(f"it does not start: {(str(cause) or type(cause).__name__).splitlines()[0]}") from None
    async with made:
        click.echo(ready(made))
        finished = asyncio.ensure_future(made.finished())
        await asyncio.wait([ending, finished], return_when=asyncio.FIRST_COMPLETED)


if __name__ == "__main__":
    main()
