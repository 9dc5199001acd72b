"""Lists the devices that can be measured on, or removes from one all that was ever pushed to it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from device.adb.server import Server
from device.timeouts import DEFAULT, Timeouts
from harness.cli.command import CONTEXT, guarded
from harness.cli.options import AdbServer, tls_options
from harness.cli.where import Where
from harness.record.errors import EXIT_OK, UsageError


@click.command(help=__doc__, context_settings=CONTEXT)
@click.option("--adb-server", type=AdbServer(), metavar="HOST:PORT", help="The adb server that has the devices.")
@click.option("--scheduler", metavar="ADDRESS", help="List those of a farm, whose scheduler is there.")
@click.option("--clean", multiple=True, metavar="SERIAL", help="Remove from this device all that was pushed to it.")
@tls_options
@guarded
def main(adb_server: Server | None, scheduler: str | None, clean: tuple[str, ...], **tls: str | None) -> int:
    where = Where(adb_server, scheduler, tls)
    return clean_devices(clean, where) if clean else print_devices(where)


def print_devices(where: Where) -> int:
    from device.open import listed

    with where.farm() as farm:
        if farm is not None:
            for name, place in sorted(farm.devices.items()):
                click.echo(f"{name:<24} farm: worker {place.worker}")
            return EXIT_OK
    for name, description in listed(where.adb_server):
        click.echo(f"{name:<24} {description}")
    return EXIT_OK


def clean_devices(named: Sequence[str], where: Where, boards: int = 1, timeouts: Timeouts = DEFAULT) -> int:
    """Removes from devices all that was pushed to them, nothing else. Raises UsageError where nothing ever is."""
    from device.device import Opening
    from device.open import open_devices, reserve
    from device.remote.device import RemoteDevice

    opening = Opening(
        boards,
        estimating=False,
        timeouts=timeouts,
        server=where.adb_server,
        wait_s=where.wait_s,
        on_wait=partial(click.echo, err=True),
    )
    for chosen in where.choose(named):
        with reserve(chosen, opening.wait_s, opening.on_wait):
            for device in open_devices(chosen, opening):
                if not isinstance(device, RemoteDevice):
                    raise UsageError(f"--clean-device: nothing is ever pushed to {chosen}")
                device.clean()
                device.close()
                click.echo(f"{chosen}: {device.root} is removed")
    return EXIT_OK


if __name__ == "__main__":
    main()
