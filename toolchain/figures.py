"""How figures are written: with significant digits, so that what is not zero never reads as zero."""

from __future__ import annotations

import math

#: A choice: below this a number is written as 1.23e-07.
_LEAST_IN_FULL = 1e-6

_THOUSAND = 1000


def significant(value: float, digits: int = 3, decimals: int = 0) -> str:
    """So many digits at least, and so many decimals: 0.00123, 1.23, 1234; with one decimal 1234.5. Zero is "0"."""
    if not value or not math.isfinite(value):
        return f"{value:.0f}"
    rounded = f"{value:.{digits - 1}e}"
    if abs(value) < _LEAST_IN_FULL:
        return rounded
    return f"{value:.{max(decimals, digits - 1 - int(rounded.partition('e')[2]))}f}"


def size(size_bytes: float) -> str:
    """Of 1,000, of 1,000,000 and of 1,000,000,000 bytes: 512 bytes, 12.3 kB, 1.2 MB, 104.3 MB, 8.0 GB."""
    if size_bytes < _THOUSAND - 0.5:
        return f"{size_bytes:.0f} byte{'' if size_bytes == 1 else 's'}"
    if size_bytes >= 1e9 - 5e4:  # what would be 1000.0 MB
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{significant(size_bytes / 1e3)} kB" if _in_thousands(size_bytes) else f"{size_bytes / 1e6:.1f} MB"


def count(number: float, digits: int = 3, decimals: int = 0) -> str:
    """Of multiply-adds, parameters, instructions, in thousands and millions: 17, 12.3k, 4.23M, 569M, 1583M."""
    if number < _THOUSAND - 0.5:
        return significant(number, digits) if number % 1 else f"{number:.0f}"
    unit, scale = ("k", 1e3) if _in_thousands(number) else ("M", 1e6)
    return f"{significant(number / scale, digits, decimals)}{unit}"


def _in_thousands(number: float) -> bool:
    """Whether it is below a million still when it is rounded to three digits."""
    return float(f"{number:.2e}") < _THOUSAND**2
