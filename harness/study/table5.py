"""Prints Table 5 of the clcNet paper: the costs counted here, beside the paper's figures.

Mult-adds and parameters are counted on the networks themselves. Accuracies, of Tables 3 to 5, are quoted from the
paper: nothing here measures any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from harness.record.units import NOTHING
from harness.report import render
from models import paper, registry
from models.paper import PaperFigures
from models.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

    from models.cost import Cost

#: The widths of a column's heading and of a line of text in a terminal.
_HEADING_WIDTH, _TEXT_WIDTH = 14, 120

_ABOVE_TABLE_5 = (
    "Table 5 of the clcNet paper. Mult-adds and parameters are counted here; the paper's, rounded, stand beside them. "
    "Accuracies are quoted from the paper, not measured: no network here has been trained."
)
_ABOVE_TABLES_3_AND_4 = (
    "Tables 3 and 4 of the clcNet paper, which print accuracies alone: quoted, not measured. "
    "Mult-adds and parameters are counted here."
)


@dataclass(frozen=True)
class Row:
    """A row of one of the paper's tables: what that table prints, and what the network costs as counted here."""

    table: int
    spec: ModelSpec
    counted: Cost
    printed: PaperFigures

    @property
    def mult_adds_difference(self) -> float | None:
        return _difference(self.counted.mult_adds, self.printed.mult_adds)

    @property
    def params_difference(self) -> float | None:
        return _difference(self.counted.params, self.printed.params)


def _difference(counted: int, printed: int | None) -> float | None:
    """By which part of the paper's figure ours is larger."""
    return counted / printed - 1 if printed else None


def rows() -> list[Row]:
    """The rows of Tables 5, 3 and 4, each in the paper's order. Builds the networks and counts: some seconds."""
    from models import cost

    names = dict.fromkeys(name for table in (5, 3, 4) for name in paper.rows(table))
    specs = {name: registry.get(name) for name in names}
    counted = {name: cost.count(spec.build(), spec.input_shape) for name, spec in specs.items()}
    return [
        Row(table, specs[name], counted[name], paper.printed(table, name))
        for table in (5, 3, 4)
        for name in paper.rows(table)
    ]


def shown_table5(table: Sequence[Row]) -> pd.DataFrame:
    """Table 5 as people read it. Its top-5 accuracies are in Table 3, which has them of the clcNets only."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Model": row.spec.title,
            "Mult-Adds, counted": _millions(row.counted.mult_adds, 0),
            "Mult-Adds, paper": _as_printed(row.printed.mult_adds),
            "Mult-Adds, difference": _percent(row.mult_adds_difference),
            "Params, counted": _millions(row.counted.params, 2),
            "Params, paper": _as_printed(row.printed.params),
            "Params, difference": _percent(row.params_difference),
            "Top-1, quoted from the paper (Table 5)": _accuracy(row.printed.top1),
            "Top-5, quoted from the paper (Table 3)": _accuracy(paper.printed(3, row.spec.name).top5),
        }
        for row in table
        if row.table == 5  # noqa: PLR2004
    )


def shown_tables3_and_4(table: Sequence[Row]) -> pd.DataFrame:
    """Tables 3 and 4 as people read them, in one."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Model": row.spec.title,
            "Mult-Adds, counted": _millions(row.counted.mult_adds, 0),
            "Params, counted": _millions(row.counted.params, 2),
            "Top-1, quoted from the paper": _accuracy(row.printed.top1),
            "Top-5, quoted from the paper": _accuracy(row.printed.top5),
            "Quoted from": f"Table {row.table}",
        }
        for row in table
        if row.table in (3, 4)
    )


def _millions(count: int, digits: int) -> str:
    return f"{count / 1e6:.{digits}f}M"


def _as_printed(count: int | None) -> str:
    """With as many digits as the paper has."""
    return NOTHING if count is None else f"{count / 1e6:g}M"


def _percent(difference: float | None) -> str:
    return NOTHING if difference is None else f"{difference:+z.1%}"


def _accuracy(fraction: float | None) -> str:
    return NOTHING if fraction is None else f"{fraction:.1%}"


def markdown(table: Sequence[Row]) -> str:
    return _document(table, lambda frame: render.markdown(frame, _right(frame)), lambda text: text)


def for_terminal(table: Sequence[Row]) -> str:
    """The same in narrow columns and short lines."""

    def narrow(frame: pd.DataFrame) -> str:
        wrapped = frame.rename(columns=lambda name: fill(name, _HEADING_WIDTH))
        return render.markdown(wrapped, _right(wrapped), "simple")

    return _document(
        table, narrow, lambda text: fill(text, _TEXT_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    )


def _right(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if name not in ("Model", "Quoted from")]


def _document(table: Sequence[Row], rendered: Callable[[pd.DataFrame], str], wrapped: Callable[[str], str]) -> str:
    notes = {row.spec.title: row.spec.note for row in table if row.spec.note}
    parts = [wrapped(_ABOVE_TABLE_5), rendered(shown_table5(table)).rstrip()]
    parts += [wrapped(_ABOVE_TABLES_3_AND_4), rendered(shown_tables3_and_4(table)).rstrip()]
    parts += ["\n".join(wrapped(f"- {title}: {note}") for title, note in notes.items())]
    return "\n\n".join(parts) + "\n"


def csv(table: Sequence[Row]) -> str:
    """The tables as programs read them: a line a row of the paper's, unrounded, differences and accuracies of 1."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "table": row.table,
            "model": row.spec.name,
            "counted_mult_adds": row.counted.mult_adds,
            "paper_mult_adds": row.printed.mult_adds,
            "mult_adds_difference": row.mult_adds_difference,
            "counted_params": row.counted.params,
            "paper_params": row.printed.params,
            "params_difference": row.params_difference,
            "quoted_top1": row.printed.top1,
            "quoted_top5": row.printed.top5,
        }
        for row in table
    )
    whole = frame.astype({"paper_mult_adds": "Int64", "paper_params": "Int64"})  # nothing makes them floats else
    return str(whole.to_csv(index=False, lineterminator="\n"))


def latex(table: Sequence[Row]) -> str:
    """Two booktabs tables: `\\usepackage{booktabs}`."""
    quoted = "Accuracies are quoted from the clcNet paper, not measured."
    return "\n".join(
        [
            render.latex(shown_table5(table), f"Counted costs beside those of the paper. {quoted}", "tab:costs"),
            render.latex(shown_tables3_and_4(table), f"Counted costs. {quoted}", "tab:accuracies"),
        ]
    )


def write(table: Sequence[Row], folder: Path) -> list[Path]:
    """Writes the tables into `folder`; gives the files. Raises UsageError when it cannot be written."""
    texts = {"table5.md": markdown(table), "table5.csv": csv(table), "table5.tex": latex(table)}
    with render.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    return [folder / name for name in texts]
