"""Every table and plot of a run, remade from its records alone."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.command import guarded
from harness.record.errors import EXIT_CASE_FAILED


@click.command(help=__doc__)
@click.argument("run", type=click.Path(path_type=Path))
@guarded
def main(run: Path) -> int:
    from harness.report.write import write

    written = write(run)
    for path in written.files:
        click.echo(str(path))
    return EXIT_CASE_FAILED if any(record.status != "ok" for record in written.records) else 0


if __name__ == "__main__":
    main()
