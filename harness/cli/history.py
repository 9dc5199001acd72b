"""How did each case move over commits and versions? A table and a plot over any number of runs.

FOLDERS are runs, or folders with runs in them at any depth. A line is one case on one device; it begins anew where the
device or the model files changed. Steps are judged as tenpass compare judges two runs.

Exit codes: 0; 2 usage, or nothing there that can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.analyse.slower import EXACT_FACTOR, FACTOR
from harness.cli.command import CONTEXT, guarded
from harness.record.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from harness.compare.history import Line


@click.command(help=__doc__, context_settings=CONTEXT)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write tables and plot to this folder, too."
)
@click.option("--device", help="Show only the device of this serial.")
@click.option("--model", help="Show only the cases of this network.")
@guarded
def main(folders: Sequence[Path], out: Path | None, device: str | None, model: str | None) -> int:
    from harness.compare import history
    from harness.report import terminal

    runs = history.read(folders, on_skipped=lambda line: click.echo(f"note: {line}", err=True))
    lines = [
        line
        for line in history.lines(runs, factor=FACTOR, exact_factor=EXACT_FACTOR)
        if device in (None, line.device.serial) and model in (None, line.newest.record.case.model)
    ]
    if not lines:
        raise UsageError(
            f"none of the {len(runs)} runs has a case like that; without --device and --model all are shown"
        )
    click.echo(terminal.rendered(history.document(lines)), nl=False)
    if out is not None:
        for path in _write(lines, out):
            click.echo(f"wrote {path}", err=True)
    return EXIT_OK


def _write(lines: Sequence[Line], folder: Path) -> list[Path]:
    from harness.compare import history, history_plot
    from harness.report import csv, markdown
    from harness.report.files import write_figures, writing

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "history.csv": csv.rendered(history.data(lines)),
            "history.md": markdown.rendered(history.document(lines)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        return [*(folder / name for name in texts), *write_figures(history_plot.figures(lines), folder)]


if __name__ == "__main__":
    main()
