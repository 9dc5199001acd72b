"""Lists the networks that can be measured by name."""

from __future__ import annotations

import click

from harness.cli.command import CONTEXT, guarded
from harness.record.errors import EXIT_OK
from models import registry


@click.command(help=__doc__, context_settings=CONTEXT)
@guarded
def main() -> int:
    return print_models()


def print_models() -> int:
    for spec in registry.REGISTRY:
        mark = "Table 6" if spec.name in registry.PAPER_TABLE6 else ""
        click.echo(f"{spec.name:<14} {mark:<8} {spec.title} ({spec.source})")
    return EXIT_OK


if __name__ == "__main__":
    main()
