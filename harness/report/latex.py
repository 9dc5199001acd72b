"""A table as LaTeX, for a paper. All escaping for it is here."""

from __future__ import annotations

from harness.report.document import Table
from harness.report.layout import one_line

_SIGNS = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "×": r"$\times$",
    }
)


def escaped(text: str) -> str:
    """A bracket or a star at the start of a row would be taken for an argument of the row's end before it."""
    line = one_line(text).translate(_SIGNS)
    return f"{{{line[0]}}}{line[1:]}" if line[:1] in ("[", "*") else line


def rendered(table: Table, caption: str, label: str) -> str:
    """A booktabs table: `\\usepackage{booktabs}`."""
    head, *rows = [
        f"{' & '.join(map(escaped, cells))} \\\\"
        for cells in (table.headings, *([cell.text for cell in row] for row in table.rows))
    ]
    lines = [
        r"\begin{table}",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{''.join('r' if column.is_right else 'l' for column in table.columns)}}}",
        *(r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
