"""A table for programs as CSV. All escaping for it is here."""

from __future__ import annotations

import csv
import io

from harness.report.document import Data, Value
from harness.report.layout import one_line

#: What a spreadsheet takes text for that begins so: a formula, which it would run.
_FORMULA = ("=", "+", "-", "@")


def rendered(data: Data) -> str:
    """A line of names, then a line a row; numbers unrounded, an empty cell for what is not there.

    Text is never a formula: what would be one begins with an apostrophe, as OWASP advises (CSV injection).
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([data.names, *([_cell(value) for value in row] for row in data.rows)])
    return file.getvalue()


def _cell(value: Value) -> Value:
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if line.startswith(_FORMULA) else line
