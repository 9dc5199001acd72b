"""How large a network's files are, in each format and precision, beside the paper's; as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.rows import Row, onnx_bytes
from harness.record.units import NOTHING
from harness.report import render
from harness.runtimes import files_titles

_INTRODUCTION = (
    "A megabyte is 1,000,000 bytes. A parameter is 4 bytes in fp32; the paper's clcNet files are larger than its own "
    "parameter counts fill."
)


@dataclass(frozen=True)
class Size:
    """What a network's files take, in megabytes of 10^6 bytes. The paper prints the size of ONNX files in fp32.

    `files_megabytes` are of what other runtimes load, by what that is called. None: not printed.
    """

    title: str
    params: int
    onnx_megabytes: float
    files_megabytes: dict[str, float]
    paper_megabytes: float | None
    paper_params: int | None


def of(table: Sequence[Row]) -> list[Size]:
    """One for each network and precision, in the order of the rows; none for what was never exported."""
    by_title: dict[str, list[Row]] = {}
    for row in table:
        if row.record.artifact is not None:
            by_title.setdefault(row.title, []).append(row)
    return [_size(title, rows) for title, rows in by_title.items()]


def _size(title: str, rows: Sequence[Row]) -> Size:
    first = rows[0].record
    paper = rows[0].spec.paper if rows[0].spec and first.case.precision == "fp32" else None
    artifacts = {row.record.case.runtime: row.record.artifact for row in reversed(rows)}
    files = {title: artifacts[name] for name, title in files_titles().items() if name in artifacts}
    return Size(
        title=title,
        params=first.artifact.params if first.artifact else 0,
        onnx_megabytes=onnx_bytes(first) / 1e6,
        files_megabytes={title: made.size_bytes / 1e6 for title, made in files.items() if made},
        paper_megabytes=paper.onnx_size_megabytes if paper else None,
        paper_params=paper.params if paper else None,
    )


def markdown(table: Sequence[Row]) -> str:
    """A row for each network and precision; empty where nothing was exported."""
    import pandas as pd

    found = of(table)
    if not found:
        return ""
    frame = pd.DataFrame([_cells(size) for size in found])
    shown = frame[[name for name in frame.columns if (frame[name] != NOTHING).any()]]
    return f"{_INTRODUCTION}\n\n{render.markdown(shown, set(shown.columns[1:]))}"


def _cells(size: Size) -> dict[str, str]:
    paper, paper_params = size.paper_megabytes, size.paper_params
    return {
        "Model": size.title,
        "Params, here": f"{size.params / 1e6:.2f}M",
        "ONNX, here": _megabytes(size.onnx_megabytes),
        **{f"{title}, here": _megabytes(size.files_megabytes.get(title)) for title in files_titles().values()},
        "ONNX, paper": _megabytes(paper),
        "Params, paper": f"{paper_params / 1e6:.2f}M" if paper_params else NOTHING,
        "at 4 bytes": _megabytes(paper_params * 4 / 1e6 if paper_params else None),
        "bytes a parameter": f"{paper * 1e6 / paper_params:.2f}" if paper and paper_params else NOTHING,
    }


def _megabytes(megabytes: float | None) -> str:
    return NOTHING if megabytes is None else f"{megabytes:.1f} MB"
