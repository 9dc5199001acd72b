"""How a table of text becomes Markdown or LaTeX, and what happens when a report cannot be written."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


_LATEX = (
    *((sign, f"\\{sign}") for sign in "&%$#_{}"),
    *(("–", "--"), ("×", r"$\times$"), ("~", r"\textasciitilde{}"), ("^", r"\textasciicircum{}")),
)


#: What Markdown would take for marks, in text that is only meant to be read.
_MARKS = re.compile(r"([\\`*<\[\]|])")


def plain(text: str) -> str:
    """Text from a record or a plan, on one line, as Markdown that shows it as it is."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def markdown(frame: pd.DataFrame, right: Collection[str], style: str = "pipe") -> str:
    """`frame` with the columns in `right` aligned there, in Markdown or another style of tabulate's."""
    if style == "pipe":
        frame = frame.rename(columns=_cell).map(_cell)
        right = {_cell(name) for name in right}
    align = ["right" if name in right else "left" for name in frame.columns]
    return str(frame.to_markdown(index=False, tablefmt=style, disable_numparse=True, colalign=align)) + "\n"


def _cell(text: str) -> str:
    """So that a name with a bar or a line break does not make more cells of one."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def latex(frame: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table for a paper: `\\usepackage{booktabs}`."""
    frame = frame.map(lambda text: text.replace("\\", "/"))  # a backslash, in a name alone, would begin a command
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
