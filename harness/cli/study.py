"""The paper's Table 5, what the fused kernel gains, and how far estimates are from published times."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.command import CONTEXT, guarded
from harness.cli.options import Names, Numbers, Texts
from harness.record import runtimes
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, UsageError
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


@main.command(context_settings=CONTEXT)
@click.option(
    "--ncnn-source",
    "sources",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="ncnn's sources, a folder or a .tar.xz: its own networks are timed, as published.",
)
@click.option(
    "--chips",
    "chosen",
    type=Texts(),
    metavar="NAMES",
    help="Boards that are chips, separated by commas. Default: all, or with --ncnn-source those with published times.",
)
@click.option(
    "--networks",
    type=Texts(),
    metavar="NAMES",
    help="With --ncnn-source: which of its benchmark/NAME.param. Default: those with published times.",
)
@click.option(
    "--models",
    type=Texts(),
    default=",".join(registry.PAPER_TABLE6),
    show_default=True,
    metavar="NAMES",
    help="Without --ncnn-source: networks of this project.",
)
@click.option(
    "--runtime",
    "wanted_runtimes",
    type=Names(lambda: [runtime.name for runtime in runtimes.offered()]),
    default=",".join(runtime.name for runtime in runtimes.offered()),
    show_default=True,
    metavar="NAMES",
    help="Without --ncnn-source: what runs them.",
)
@click.option(
    "--vary",
    "varies",
    is_flag=True,
    help="With --ncnn-source: small networks also with each fitted or guessed constant changed by a quarter.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: results/<time>-timing-study.")
@click.option("--resume", type=click.Path(path_type=Path), help="The folder of a study to go on with, or to add to.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="The folder of an earlier study to report on.")
@guarded
def timing(
    sources: Path | None,
    chosen: tuple[str, ...] | None,
    networks: tuple[str, ...] | None,
    models: tuple[str, ...],
    wanted_runtimes: tuple[str, ...],
    varies: bool,
    out: Path | None,
    resume: Path | None,
    source: Path | None,
) -> int:
    """How far estimates of the boards that are chips are from times that others have measured and published.

    With --ncnn-source, ncnn is compiled from it and its own networks are timed on each chip, beside what its authors
    published. Without, it is this project's networks under each runtime, beside the paper's. Both add up in one folder:
    --resume measures what is missing there.
    """
    from harness.measure.progress import Display
    from harness.record.run_folder import new_folder
    from harness.report import terminal
    from harness.study.timing import measure, report

    if len([folder for folder in (out, resume, source) if folder is not None]) > 1:
        raise UsageError("--out, --resume and --from: one folder at most; say which")
    if varies and sources is None:
        raise UsageError("--vary changes what ncnn's networks are timed with; say --ncnn-source")
    if networks and sources is None:
        raise UsageError("--networks are ncnn's own, of its sources; say --ncnn-source, or --models")
    is_whole, folder = True, source or resume
    if source is None:
        usual = measure.chips() if sources is None else measure.chips_with_published_times()
        names = measure.require_chips(chosen or tuple(usual))
        if resume is None:
            folder = new_folder(out or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-timing-study", ())
        elif not resume.is_dir():
            raise UsageError(f"--resume {resume}: no such folder; name that of a study")
        assert folder is not None  # noqa: S101
        display = Display()
        with display.shown():
            if sources is None:
                is_whole = measure.measure_own(names, models, wanted_runtimes, folder, display)
            else:
                is_whole = measure.measure_ncnn(sources, names, networks or None, folder, display, varies=varies)
    assert folder is not None  # noqa: S101
    try:
        study = report.read(folder)
    except UsageError:
        if is_whole:
            raise
        return EXIT_CASE_FAILED  # nothing could be timed, and why has been said
    click.echo(terminal.blocks([report.summary(study)]))
    for path in report.write(study, folder):
        click.echo(str(path), err=True)
    return EXIT_OK if is_whole else EXIT_CASE_FAILED


if __name__ == "__main__":
    main()
