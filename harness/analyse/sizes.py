"""How large a network's files are, in each format and precision, beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.rows import Row, onnx_bytes
from harness.record.runtimes import files_titles


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


def file_sizes(table: Sequence[Row]) -> list[Size]:
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
