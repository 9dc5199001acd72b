"""What does the harness itself cost? Asked of a runtime that computes nothing, and of ONNX Runtime's Python API.

On any device: what the harness adds to a sample, and what a case takes beyond its passes. On this machine also whether
the runner agrees with Python. Exit codes are those of harness.run; 1 is a target missed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from harness.cli.command import CONTEXT, guarded
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK

REPORT_NAME, RAW_NAME = "selfcheck.md", "selfcheck.json"


@click.command(help=__doc__, context_settings=CONTEXT)
@click.option(
    "--device", "name", default="host", show_default=True, metavar="SERIAL", help="host, board:NAME or an adb serial."
)
@click.option("--out", type=click.Path(path_type=Path), help=f"Folder for {REPORT_NAME} and {RAW_NAME}. Default: none.")
@guarded
def main(name: str, out: Path | None) -> int:
    from harness.report.files import writing
    from harness.study import selfcheck
    from harness.study.selfcheck_report import markdown, targets

    if out is not None:
        with writing(out):  # before it has taken minutes
            out.mkdir(parents=True, exist_ok=True)
    checked = selfcheck.measure(name, lambda step: click.echo(f"selfcheck: {step}", err=True))
    report = markdown(checked)
    click.echo(report)
    if out is not None:
        with writing(out):
            (out / REPORT_NAME).write_text(report)
            (out / RAW_NAME).write_text(json.dumps(asdict(checked), indent=1) + "\n")
    return EXIT_CASE_FAILED if any(target.met is False for target in targets(checked)) else EXIT_OK


if __name__ == "__main__":
    main()
