"""How a table of text becomes Markdown or LaTeX, and what happens when a report cannot be written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

#: What stands for a value that is not there, or not to be had.
NOTHING = "–"

_LATEX = (("–", "--"), ("%", r"\%"), ("_", r"\_"), ("×", r"$\times$"))


def markdown(frame: pd.DataFrame, right: Collection[str], style: str = "pipe") -> str:
    """`frame` with the columns in `right` aligned there, in Markdown or another style of tabulate's."""
    align = ["right" if name in right else "left" for name in frame.columns]
    return str(frame.to_markdown(index=False, tablefmt=style, disable_numparse=True, colalign=align)) + "\n"


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table for a paper: `\\usepackage{booktabs}`."""
    for sign, command in _LATEX:
        frame = frame.map(lambda text, sign=sign, command=command: text.replace(sign, command))
    text: str = frame.style.hide(axis="index").to_latex(
        hrules=True, column_format="l" * len(frame.columns), caption=caption, label=label
    )
    return text


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns an error of the file system while a report is written into `folder` into a UsageError that says so."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}: the report could not be written ({error.strerror})") from None
