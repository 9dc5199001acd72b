"""What came of a run, on a terminal."""

# Only what is light is imported here: --help must answer at once.
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK

if TYPE_CHECKING:
    from harness.measure.run import RunResult
    from harness.record.plan import MissingCase, Plan
    from harness.report.write import Written


def print_result(result: RunResult, report: Written, folder: Path) -> int:
    """The table on stdout, what failed on stderr; the exit code says whether all is well."""
    from harness.record.plan import missing_cases
    from harness.record.units import seconds
    from harness.report import sections, terminal

    plan, records = result.plan, report.records
    click.echo(terminal.table(sections.brief_table(report.rows)) if report.rows else "nothing was measured")
    for line in sections.warning_lines(report.rows):
        click.echo(f"warning: {terminal.escaped(line)}")
    outside_ns = [record.outside_passes_ns for record in records if record.phases_ns]
    if outside_ns:
        click.echo(f"outside the passes the harness took {seconds(max(outside_ns))} per case at most")
    here = Path.cwd()
    click.echo(f"records, tables and plots: {folder.relative_to(here) if folder.is_relative_to(here) else folder}")
    missing = missing_cases(plan, records)
    for line in _failures(plan, missing, result.failures):
        click.echo(terminal.escaped(line), err=True)
    return EXIT_CASE_FAILED if missing or result.failures else EXIT_OK


def _failures(plan: Plan, missing: Sequence[MissingCase], failures: Mapping[str, Exception]) -> Iterator[str]:
    """A line for each case that failed or was left out, and for each device that kept its cases from being measured."""
    for one in missing:
        where = f"{one.device}: " if len(plan.devices) > 1 else ""
        if one.record is not None:
            yield f"failed: {where}{one.case_round.id}: {one.record.status}: {one.record.error}"
        elif one.device not in failures:
            yield f"not measured: {where}{one.case_round.id}: the run ended before it"
    for device, failure in failures.items():
        count = sum(one.device == device and one.record is None for one in missing)
        yield f"failed: {device}: {failure}; not measured: {count} cases"
