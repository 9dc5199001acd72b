"""Builds the runners' bundles that are not up to date; without it a run builds those that it needs."""

from __future__ import annotations

import sys

import click

from device.errors import DeviceError
from harness.cli.command import CONTEXT
from harness.record import runtimes
from harness.record.units import size


@click.command(help=__doc__, context_settings=CONTEXT)
@click.option("--abi", "abis", multiple=True, metavar="ABI", help="Default: all that the runtime is there for.")
@click.option(
    "--runtime", default=runtimes.ONNXRUNTIME.name, show_default=True, help=f"One of {', '.join(runtimes.RUNTIMES)}."
)
@click.option("--provider", default=runtimes.CPU, show_default=True, help=f"One of {', '.join(runtimes.providers())}.")
def main(abis: tuple[str, ...], runtime: str, provider: str) -> None:
    try:
        for abi in abis or runtimes.get(runtime).build(provider).abis:
            made = runtimes.build_bundle(abi, runtime, provider, lambda step: click.echo(f"bundle: {step}", err=True))
            what = f"{made.runtime}-{abi}: {made.runtime} {made.runtime_version}"
            click.echo(f"bundle: {what}, {len(made.files)} files, {size(made.size_bytes)}", err=True)
    except DeviceError as error:
        click.echo(f"bundle: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
