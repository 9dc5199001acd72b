"""Prints Table 5 of the clcNet paper: the costs counted here, beside the paper's figures.

Mult-adds and parameters are counted on the networks themselves. Accuracies, of Tables 3 to 5, are quoted from the
paper: nothing here measures any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record.units import NOTHING, count
from harness.report import csv, latex, terminal
from harness.report import markdown as as_markdown
from harness.report.document import Block, Data, Table, Value, bullets, paragraph, table_of
from harness.report.files import writing
from models import paper, registry
from models.paper import PaperFigures
from models.spec import ModelSpec

if TYPE_CHECKING:
    from models.cost import Cost

_ABOVE_TABLE_5 = (
    "Table 5 of the clcNet paper. Mult-adds and parameters are counted here; the paper's, rounded, stand beside them. "
    "Accuracies are quoted from the paper, not measured: no network here has been trained."
)
_ABOVE_TABLES_3_AND_4 = (
    "Tables 3 and 4 of the clcNet paper, which print accuracies alone: quoted, not measured. "
    "Mult-adds and parameters are counted here."
)


@dataclass(frozen=True)
class CostRow:
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


def counted_rows() -> list[CostRow]:
    """The rows of Tables 5, 3 and 4, each in the paper's order. Builds the networks and counts: some seconds."""
    from models import cost

    names = dict.fromkeys(name for table in (5, 3, 4) for name in paper.rows(table))
    specs = {name: registry.get(name) for name in names}
    counted = {name: cost.count(spec.build(), spec.input_shape) for name, spec in specs.items()}
    return [
        CostRow(table, specs[name], counted[name], paper.printed(table, name))
        for table in (5, 3, 4)
        for name in paper.rows(table)
    ]


def table5(rows: Sequence[CostRow]) -> Table:
    """Table 5 as people read it. Its top-5 accuracies are in Table 3, which has them of the clcNets only."""
    return table_of(
        [
            {
                "Model": row.spec.title,
                "Mult-Adds, counted": count(row.counted.mult_adds),
                "Mult-Adds, paper": _as_printed(row.printed.mult_adds),
                "Mult-Adds, difference": _percent(row.mult_adds_difference),
                "Params, counted": count(row.counted.params),
                "Params, paper": _as_printed(row.printed.params),
                "Params, difference": _percent(row.params_difference),
                "Top-1, quoted from the paper (Table 5)": _accuracy(row.printed.top1),
                "Top-5, quoted from the paper (Table 3)": _accuracy(paper.printed(3, row.spec.name).top5),
            }
            for row in rows
            if row.table == 5  # noqa: PLR2004
        ]
    )


def tables3_and_4(rows: Sequence[CostRow]) -> Table:
    """Tables 3 and 4 as people read them, in one."""
    return table_of(
        [
            {
                "Model": row.spec.title,
                "Mult-Adds, counted": count(row.counted.mult_adds),
                "Params, counted": count(row.counted.params),
                "Top-1, quoted from the paper": _accuracy(row.printed.top1),
                "Top-5, quoted from the paper": _accuracy(row.printed.top5),
                "Quoted from": f"Table {row.table}",
            }
            for row in rows
            if row.table in (3, 4)
        ],
        left=("Model", "Quoted from"),
    )


def _as_printed(number: int | None) -> str:
    """With as many digits as the paper has."""
    return NOTHING if number is None else f"{number / 1e6:g}M"


def _percent(difference: float | None) -> str:
    return NOTHING if difference is None else f"{difference:+z.1%}"


def _accuracy(fraction: float | None) -> str:
    return NOTHING if fraction is None else f"{fraction:.1%}"


def blocks(rows: Sequence[CostRow]) -> list[Block]:
    """Both tables, and what there is to say of them."""
    notes = {row.spec.title: row.spec.note for row in rows if row.spec.note}
    return [
        paragraph(_ABOVE_TABLE_5),
        table5(rows),
        paragraph(_ABOVE_TABLES_3_AND_4),
        tables3_and_4(rows),
        bullets([f"{title}: {note}" for title, note in notes.items()]),
    ]


def markdown(rows: Sequence[CostRow]) -> str:
    return as_markdown.blocks(blocks(rows)) + "\n"


def for_terminal(rows: Sequence[CostRow]) -> str:
    """The same in narrow columns and short lines."""
    return terminal.blocks(blocks(rows)) + "\n"


def data(rows: Sequence[CostRow]) -> Data:
    """The tables as programs read them: a line a row of the paper's, unrounded, differences and accuracies of 1."""
    values: dict[str, Callable[[CostRow], Value]] = {
        "table": lambda row: row.table,
        "model": lambda row: row.spec.name,
        "counted_mult_adds": lambda row: row.counted.mult_adds,
        "paper_mult_adds": lambda row: row.printed.mult_adds,
        "mult_adds_difference": lambda row: row.mult_adds_difference,
        "counted_params": lambda row: row.counted.params,
        "paper_params": lambda row: row.printed.params,
        "params_difference": lambda row: row.params_difference,
        "quoted_top1": lambda row: row.printed.top1,
        "quoted_top5": lambda row: row.printed.top5,
    }
    return Data(tuple(values), tuple(tuple(value(row) for value in values.values()) for row in rows))


def in_latex(rows: Sequence[CostRow]) -> str:
    quoted = "Accuracies are quoted from the clcNet paper, not measured."
    costs = latex.rendered(table5(rows), f"Counted costs beside those of the paper. {quoted}", "tab:costs")
    accuracies = latex.rendered(tables3_and_4(rows), f"Counted costs. {quoted}", "tab:accuracies")
    return f"{costs}\n{accuracies}"


def write(rows: Sequence[CostRow], folder: Path) -> list[Path]:
    """Writes the tables into `folder`; gives the files. Raises UsageError when it cannot be written."""
    texts = {"table5.md": markdown(rows), "table5.csv": csv.rendered(data(rows)), "table5.tex": in_latex(rows)}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    return [folder / name for name in texts]
