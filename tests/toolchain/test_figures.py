"""How figures are written, over all magnitudes: what is not zero never reads as zero, and its digits are right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.record import units
from toolchain import figures

SIZES = {" byte": 1.0, " bytes": 1.0, " kB": 1e3, " MB": 1e6, " GB": 1e9}
UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "%": 0.01, " s": 1e9, **SIZES}

#: How it is written, the least and the largest value that there is, and by which part what is read may be off.
WRITTEN: dict[str, tuple[Callable[[float], str], float, float, float]] = {
    "milliseconds": (lambda ns: units.milliseconds(ns) + "ms", 0.5, 1e13, 0.0005),
    "seconds": (units.seconds, 1, 1e15, 0.005),
    "ratio": (units.ratio, 1e-9, 1e6, 0.005),
    "factor": (units.factor, 1e-9, 1e6, 0.05),
    "percent": (units.percent, 1e-9, 1, 0.05),
    "size": (lambda size_bytes: units.size(round(size_bytes)), 1, 1e12, 0.05),
    "count": (lambda number: units.count(round(number)), 1, 1e13, 0.005),
}
UNITS["ms"] = 1e6


def read(text: str) -> float:
    """What a reader takes the text for."""
    found = re.fullmatch(r"([-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?)(\D*)", text)
    assert found is not None, text
    return float(found[1]) * UNITS[found[2]]


@pytest.mark.parametrize("quantity", WRITTEN)
@given(st.data())
def test_what_is_not_zero_never_reads_as_zero_and_its_digits_are_right(quantity: str, data: st.DataObject) -> None:
    shown, least, largest, off = WRITTEN[quantity]
    exponent = data.draw(st.floats(math.log10(least), math.log10(largest)))
    value = data.draw(st.sampled_from([10**exponent, float(f"{10**exponent:.0e}"), math.nextafter(10**exponent, 0)]))
    text = shown(value)
    assert read(text) > 0, text
    assert read(text) == pytest.approx(value, rel=off, abs=0.51 if quantity in ("size", "count") else 0), text


@pytest.mark.parametrize("quantity", WRITTEN)
def test_zero_reads_as_zero(quantity: str) -> None:
    assert read(WRITTEN[quantity][0](0)) == 0


@given(st.floats(1e-9, 1e9), st.integers(1, 6))
@example(9.9996, 4)
@example(999.95, 4)
@example(0.00099999, 3)
def test_a_number_has_the_digits_that_were_asked_for(value: float, digits: int) -> None:
    text = figures.significant(value, digits)
    assert float(text) == pytest.approx(value, rel=0.5 * 10 ** (1 - digits) * 1.001)
    assert len(text.partition("e")[0].replace(".", "").lstrip("0")) >= digits


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (units.milliseconds, 5_312_400, "5.312"),
        (units.milliseconds, 5_312_400_000, "5312.4"),
        (units.milliseconds, 53_124, "0.05312"),
        (units.milliseconds, 999_999, "1.000"),
        (units.size, 16_908_113, "16.9 MB"),
        (units.size, 104_300_000, "104.3 MB"),
        (units.size, 999_999, "1.0 MB"),
        (units.size, 12_345, "12.3 kB"),
        (units.size, 999, "999 bytes"),
        (units.size, 1, "1 byte"),
        (units.count, 568_740_352, "569M"),
        (units.count, 1_583_000_000, "1583M"),
        (units.count, 4_231_976, "4.23M"),
        (units.count, 999_999, "1.00M"),
        (units.count, 12_345, "12.3k"),
        (units.count, 17, "17"),
        (units.ratio, 0.7021, "0.702"),
        (units.ratio, 0.01234, "0.0123"),
        (units.ratio, 1356.0, "1356.000"),
        (units.factor, 1.4245, "1.42"),
        (units.percent, 0.0000123, "0.0012%"),
        (units.percent, 0.555, "55.5%"),
        (units.seconds, 12_300_000, "0.0123 s"),
        (units.seconds, 123_400_000_000, "123 s"),
    ],
)
def test_figures_look_as_people_write_them(shown: Callable[[float], str], value: float, text: str) -> None:
    assert shown(value) == text
