"""Remakes what the documents show of the project: help texts, the example's table, the schema of a record, a drawing.

`make docs` runs it; a test fails while a document shows anything else. A shown part stands between
`<!-- shown: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLE = REPOSITORY / "results" / "example"
DRAWING = REPOSITORY / "docs" / "channels.svg"
ACCURACY = REPOSITORY / "device" / "board" / "accuracy.toml"

_MARK = "<!-- shown: "
#: All documents that show something.
DOCUMENTS = tuple(
    str(path.relative_to(REPOSITORY))
    for pattern in ("*.md", "docs/*.md", "results/README.md", "device/runner/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
    if _MARK in path.read_text()
)

_PART = re.compile(r"(<!-- shown: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _command(*argv: str) -> str:
    wide = os.environ | {"COLUMNS": "100"}
    answer = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=wide)
    return f"```\n{answer.stdout.rstrip()}\n```\n"


def _help() -> str:
    return _command(sys.executable, "-m", "harness", "run", "--help")


def _targets() -> str:
    return _command("make", "--no-print-directory", "help")


def _channels() -> str:
    return _command(sys.executable, "-m", "models.channels", "--in", "256", "--mid", "256", "--out", "512")


def _example_table() -> str:
    return (EXAMPLE / "table6.md").read_text()


def _example_short() -> str:
    """What the README has room for."""
    shown = ("Model", "Runtime", "Median of 3", "Relative to MobileNet", "Paper, relative")
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in _example_table().splitlines()]
    places = [next(at for at, name in enumerate(lines[0]) if name.startswith(start)) for start in shown]
    rows = [[line[place] for place in places] for line in (lines[0], *lines[2:])]
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---|---|--:|--:|--:|", *body]) + "\n"


def _igc_summary() -> str:
    return (EXAMPLE / "igc-study" / "igc-summary.md").read_text()


def _table5() -> str:
    with tempfile.TemporaryDirectory() as folder:
        _command(sys.executable, "-m", "harness.cli.study", "table5", "--out", folder)
        return (Path(folder) / "table5.md").read_text()


def _warnings() -> str:
    from harness.analyse.warnings import KINDS

    lines = [f"| {kind.words} | {'fails' if kind.strict else ''} | {kind.advice} |" for kind in KINDS.values()]
    return "\n".join(["| Warning | `--strict` | What to do |", "|---|---|---|", *lines]) + "\n"


def _counts() -> str:
    from harness.analyse import counts
    from harness.record.journal import read
    from harness.report import markdown, measured

    return markdown.table(measured.counts_table(counts.counted(read(EXAMPLE / "counts"))[0]))


def _selfcheck() -> str:
    return _first_table((EXAMPLE / "selfcheck" / "selfcheck.md").read_text())


def _first_table(text: str) -> str:
    table = re.search(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert table is not None, "there is no table"  # noqa: S101
    return table.group()


def _runtimes() -> str:
    """The paper's networks under all runtimes: a row for each network on each device, times over ONNX Runtime's."""
    from harness.analyse.rows import table_rows
    from harness.record.journal import read
    from harness.record.plan import Limits
    from harness.record.units import milliseconds

    folders = [EXAMPLE, EXAMPLE / "igc-study" / "board-cortex-a53"]
    folders += sorted(path.parent for path in (EXAMPLE / "runtimes").glob("*/records.jsonl"))
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in (row for folder in folders for row in table_rows(read(folder), Limits())):
        case = row.record.case
        if row.summary is not None and case.threads == 1 and case.igc in (None, "grouped"):
            found.setdefault((row.record.device.serial, row.title), {})[case.runtime] = row.summary.median_ns
    runtimes = ("onnxruntime", "caffe2", "ncnn")
    lines = ["| Device | Network | " + " | ".join(f"{name} (ms)" for name in runtimes) + " |"]
    lines.append("|---|---|" + "--:|" * len(runtimes))
    for (device, title), medians in sorted(found.items()):
        first = medians.get(runtimes[0])
        texts = [
            "–"
            if (ns := medians.get(name)) is None
            else milliseconds(ns) + (f" ({ns / first:.2f})" if first and name != runtimes[0] else "")
            for name in runtimes
        ]
        lines.append(f"| {device} | {title} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _own_models() -> str:
    """What ncnn took of ONNX files, and why it did not take others."""
    from harness.record.journal import read

    lines = ["| File | Under ncnn |", "|---|---|"]
    for record in read(EXAMPLE / "runtimes-own"):
        check = record.check
        told = f"runs; off by {check.relative:.0e} of the spread" if check and check.relative else "runs"
        why = (record.error or record.status).removeprefix(f"{record.case.model}: ")
        lines.append(f"| {record.case.model} | {told if record.status == 'ok' else why} |")
    return "\n".join(lines) + "\n"


def _timing() -> str:
    return (EXAMPLE / "timing" / "timing-summary.md").read_text()


def _worst() -> str:
    """The rows that are furthest off, of all boards, and why."""
    from harness.study.timing import report

    return report.worst_in_markdown(report.read(EXAMPLE / "timing"))


def _varied() -> str:
    """How far errors move by each constant that was fitted or guessed."""
    from harness.report import markdown
    from harness.study.timing import report

    return markdown.table(report.varied(report.read(EXAMPLE / "timing")))


def _fitted() -> str:
    from harness.study.timing.constants import fitted

    lines = [f"| {one.core} | {', '.join(f'`{row}`' for row in one.rows)} | {one.where} |" for one in fitted()]
    return "\n".join(["| Core | Rows | Chosen by |", "|---|---|---|", *lines]) + "\n"


def accuracy() -> str:
    """How far estimates were off, for the reports that show some."""
    from harness.study.timing import report

    return report.accuracy(report.read(EXAMPLE / "timing"))


def _policy() -> str:
    from harness.measure import policy

    return policy.table()


def _runner_statuses() -> str:
    from device import statuses

    return statuses.protocol_table()


def _record() -> str:
    first = json.loads((EXAMPLE / "records.jsonl").read_text().splitlines()[0])
    return f"```json\n{json.dumps(first, indent=1)}\n```\n"


PARTS: dict[str, Callable[[], str]] = {
    "help": _help,
    "targets": _targets,
    "channels": _channels,
    "example-short": _example_short,
    "igc-summary": _igc_summary,
    "table5": _table5,
    "record": _record,
    "warnings": _warnings,
    "timing": _timing,
    "timing-worst": _worst,
    "timing-fitted": _fitted,
    "timing-varied": _varied,
    "policy": _policy,
    "runtimes": _runtimes,
    "runtimes-own": _own_models,
    "runner-statuses": _runner_statuses,
    "counts": _counts,
    "selfcheck": _selfcheck,
}


def up_to_date(text: str) -> str:
    """The document's text with every shown part as it is now."""
    return _PART.sub(lambda found: found[1] + PARTS[found[2]]() + found[3], text)


def drawing() -> str:
    """A CLC block without and with its interlacing, as SVG."""
    from models.channels import drawings

    panels = [drawings.clc_panel(8, 8, 8, 4, 2, interlaced=interlaced) for interlaced in (False, True)]
    with tempfile.TemporaryDirectory() as folder:
        drawings.write({DRAWING.stem: panels}, Path(folder))
        return (Path(folder) / DRAWING.name).read_text()


def main() -> None:
    DRAWING.write_text(drawing())
    ACCURACY.write_text(accuracy())
    for name in DOCUMENTS:
        path = REPOSITORY / name
        path.write_text(up_to_date(path.read_text()))


if __name__ == "__main__":
    main()
