"""Files that anyone may have written, such as a run's folder from elsewhere: read and parsed within bounds."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from harness.record.errors import UsageError

_LARGEST_INTEGER = 2**64  # all that is recorded is smaller: the largest are 64-bit masks


def read_bytes(path: Path, most_bytes: int) -> bytes:
    """The file's content. Raises OSError, and UsageError for what is no ordinary file, or a larger one."""
    # Without O_NONBLOCK, opening a pipe would wait for someone to write into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UsageError(f"{path}: not an ordinary file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise UsageError(f"{path}: larger than the {most_bytes} bytes that are read of such a file")
    return content


def parse_json(text: bytes) -> Any:
    """JSON whose numbers are finite and fit 64 bits. Raises ValueError for all else, however deeply nested it is."""
    try:
        return json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > len(str(_LARGEST_INTEGER)) or abs(int(digits)) >= _LARGEST_INTEGER:
        raise ValueError(f"a number of {len(digits)} digits: {digits[:30]}")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(value := float(digits)):
        raise ValueError(f"{digits[:30]} is not a finite number")
    return value


def printable(text: str) -> str:
    """The text in one line, for an error: what is no printable character is written as its escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
