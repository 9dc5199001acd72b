"""How a report gets into files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.record.errors import UsageError
from harness.report.document import Figure


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns an error of the file system while a report is written into `folder` into a UsageError that says so."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}: the report could not be written ({error.strerror})") from None


def write_figures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Writes each as PNG and SVG; returns the files."""
    kinds = [(figure, kind) for figure in figures for kind in ("png", "svg")]
    files = [(folder / f"{it.name}.{kind}", it.png if kind == "png" else it.svg.encode()) for it, kind in kinds]
    for path, content in files:
        path.write_bytes(content)
    return [path for path, _ in files]
