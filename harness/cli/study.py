"""The paper's Table 5, and what the fused kernel gains."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.command import CONTEXT, guarded
from harness.cli.options import Numbers, Texts
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK
from models import registry
from toolchain.paths import RESULTS


@click.group(help=__doc__, context_settings=CONTEXT)
def main() -> None:
    pass


@main.command(context_settings=CONTEXT)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write table5.md, table5.csv and table5.tex there, too.",
)
@guarded
def table5(out: Path | None) -> int:
    """Prints Table 5 of the clcNet paper: the costs counted here, beside the paper's figures.

    Mult-adds and parameters are counted on the networks themselves. Accuracies, of Tables 3 to 5, are quoted from the
    paper: nothing here measures any.
    """
    from harness.study import table5

    table = table5.counted_rows()
    click.echo(table5.for_terminal(table), nl=False)
    if out is not None:
        for path in table5.write(table, out):
            click.echo(str(path), err=True)
    return EXIT_OK


@main.command(context_settings=CONTEXT)
@click.option(
    "--devices",
    type=Texts(),
    default="host,board:cortex-a7,board:cortex-a53",
    show_default=True,
    metavar="NAMES",
    help="Where to measure, separated by commas: adb serials, board:NAME, host.",
)
@click.option(
    "--models",
    type=Texts(),
    default=",".join(registry.PAPER_TABLE6),
    show_default=True,
    metavar="NAMES",
    help="Networks, separated by commas.",
)
@click.option(
    "--threads", type=Numbers(1, 64), default="1,2", show_default=True, metavar="NUMBERS", help="Counts of threads."
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: results/<time>-igc-study.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="The folder of an earlier study to report on.")
@guarded
def kernel(
    devices: tuple[str, ...], models: tuple[str, ...], threads: tuple[int, ...], out: Path | None, source: Path | None
) -> int:
    """Interlaced grouped convolution three ways: as grouped convolutions, depthwise ones, and in the fused kernel.

    Measures on each device in a folder below --out, and on this machine also pass by pass in turn; then tells what of a
    gain is the network's, and what the kernel's.
    """
    from harness.measure.progress import Display
    from harness.study import igc_study

    code, folder = EXIT_OK, source
    if folder is None:
        folder = out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-igc-study"
        display = Display()
        with display.shown():
            code = igc_study.measure(dict.fromkeys(devices), models, threads, folder, display)
    report = igc_study.write_report(folder)
    click.echo(report.text)
    for path in report.files:
        click.echo(str(path), err=True)
    return max(code, EXIT_CASE_FAILED if report.has_failures else EXIT_OK)


if __name__ == "__main__":
    main()
