"""Times that others have published, as `published.toml` and the clcNet paper have them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from models import paper

#: Whether constants may have been chosen by a table, or were never.
Use = Literal["calibration", "seen"]

_DATA = Path(__file__).with_name("published.toml")

#: The library that the tables of its own networks are of.
NCNN = "ncnn"


@dataclass(frozen=True)
class Published:
    """One table of somebody's: milliseconds by network, on one board. `chip` is a board of ours with that chip."""

    board: str
    chip: str
    core: str
    clock_ghz: float
    threads: int
    statistic: str
    library: str
    version: str
    date: str
    use: Use
    source: str
    ms: dict[str, float]

    @property
    def is_ours(self) -> bool:
        """Whether its networks are those of models/, and not ncnn's own."""
        return self.library != NCNN

    @property
    def title(self) -> str:
        return f"{self.board}, {self.library}"


@cache
def published() -> tuple[Published, ...]:
    """All tables: those of ncnn's own networks, and the paper's last."""
    tables: list[dict[str, Any]] = tomllib.loads(_DATA.read_text(encoding="utf-8"))["table"]
    return (*(Published(**{**one, "date": str(one["date"])}) for one in tables), _papers())


def why(network: str) -> str:
    """What is known of why the estimate for a network is off; empty where nothing is."""
    return str(tomllib.loads(_DATA.read_text(encoding="utf-8")).get("why", {}).get(network, ""))


def _papers() -> Published:
    device = paper.table6_device()
    ms = {name: speed for name in paper.PAPER_TABLE6 if (speed := paper.printed(6, name).speed_ms) is not None}
    return Published(
        board=device.phone,
        chip="mt6580",
        core="cortex-a7",
        clock_ghz=device.max_khz / 1e6,
        threads=1,
        statistic=f"{device.statistic} of {device.passes} passes",
        library="caffe2",
        version="",
        date="2017-12",
        use="seen",
        source="clcNet (arXiv:1712.06145), Table 6",
        ms=ms,
    )
