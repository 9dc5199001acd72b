"""Remakes every table and plot of the run in the folder RUN, from its records alone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import CONTEXT, guarded
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK


@click.command(help=__doc__, context_settings=CONTEXT)
@click.argument("run", type=click.Path(path_type=Path))
@guarded
def main(run: Path) -> int:
    from harness.report.write import write

    written = write(run)
    for path in written.files:
        click.echo(str(path))
    return EXIT_CASE_FAILED if any(record.status != "ok" for record in written.records) else EXIT_OK


if __name__ == "__main__":
    main()
