"""Is NEW slower than BASE? Compares two runs, case by case: a gate for CI.

BASE and NEW are folders that harness.run has left. A case is faster or slower only when both a statistical test over
its rounds and a factor say so; where times are exact (an emulated board's clock, counted instructions) the figure
itself decides. On hardware, measure with --rounds 5 --passes 100 for that.

Exit codes: 0 no regression; 1 a case that was well in BASE is slower, failed or missing in NEW; 2 usage, or runs that
may not be compared (other device, clock or model files).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from harness.analyse.slower import EXACT_FACTOR, FACTOR
from harness.cli.command import guarded
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE


class _Factor(click.FloatRange):
    """A range that NaN is outside of, too: it is neither below nor above any limit."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        factor = super().convert(value, param, ctx)
        return self.fail(f"{value} is no number.", param, ctx) if math.isnan(factor) else factor


_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_STDOUT = Path("-")


@click.command(help=__doc__, context_settings={"max_content_width": 100})
@click.argument("base", type=_FOLDER)
@click.argument("new", type=_FOLDER)
@click.option(
    "--factor",
    type=_Factor(1, min_open=True, max=100),
    default=FACTOR,
    show_default=True,
    help="A time that is so many times the other is different, where a test over the rounds says so, too. A smaller "
    "one finds more, and is wrong more often.",
)
@click.option(
    "--exact-factor",
    type=_Factor(1, max=100),
    default=EXACT_FACTOR,
    show_default=True,
    help="The same of exact figures: modelled times, counted instructions.",
)
@click.option("--allow-other-models", is_flag=True, help="Compare networks that have changed, as after rewriting one.")
@click.option("--markdown", type=_FILE, help="Write the outcome as Markdown, for a job's summary; - is stdout.")
@click.option("--junit", type=_FILE, help="Write it as JUnit XML, for CI systems.")
@click.option("--json", "as_json", type=_FILE, help="Write it as JSON, for programs (results/README.md).")
@guarded
def main(
    base: Path,
    new: Path,
    factor: float,
    exact_factor: float,
    allow_other_models: bool,
    markdown: Path | None,
    junit: Path | None,
    as_json: Path | None,
) -> int:
    from harness.compare import formats, two_runs

    runs = two_runs.read(base), two_runs.read(new)
    found = two_runs.compare(*runs, factor=factor, exact_factor=exact_factor, other_models=allow_other_models)
    for line in found.refusals:
        click.echo(f"error: {line}", err=True)
    for line in found.remarks:
        click.echo(f"note: {line}", err=True)
    outputs = (
        (markdown, formats.markdown),
        (junit, formats.junit),
        (as_json, formats.as_json),
    )
    for path, write in outputs:
        if path is not None:
            _write(path, write(found))
    if _STDOUT not in (markdown, junit, as_json) and not found.refusals:
        click.echo(formats.for_terminal(found))
    return EXIT_USAGE if found.refusals else EXIT_CASE_FAILED if found.regressions else EXIT_OK


def _write(path: Path, text: str) -> None:
    from harness.report.files import writing

    if path == _STDOUT:
        click.echo(text, nl=False)
        return
    with writing(path):
        path.write_text(text)


if __name__ == "__main__":
    main()
