"""How far estimates were off where chips were measured, as `accuracy.toml` has it from the study of it."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from device.records import Chip

_KNOWN = Path(__file__).with_name("accuracy.toml")


def accuracy(chip: Chip) -> str:
    """In words, how far estimates for chips with this core were off."""
    found = _by_core().get(chip.core)
    if found is None:
        return "its error is not known yet"
    absolute, scaled = found["mean_error_percent"], found["mean_error_after_one_scale_percent"]
    networks = found["networks"]
    return f"this model was off by {absolute:g} % on {networks} networks, by {scaled:g} % after one scale a board"


@cache
def _by_core() -> dict[str, dict[str, float]]:
    return tomllib.loads(_KNOWN.read_text())
