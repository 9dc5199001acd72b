"""Of a gain by the fused kernel: which part is the network's, and which the kernel's. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analyse.rows import BASELINE, Row
from harness.record.record import Record

#: The way to compute IGC that is a kernel of ours; all others run on the runtime's own kernels.
FUSED = "fused"


@dataclass(frozen=True)
class Gain:
    """What a fused row takes of MobileNet's time (`relative`), and whose that is.

    `network` is its time over MobileNet's when both run in our kernel, `kernel` MobileNet's in our kernel over
    MobileNet's on the runtime's: their product is `relative`. `over_grouped` is over the same network as grouped
    convolutions on the runtime's own kernels; `promised` the ratio of the mult-adds. None: not to be had.
    """

    row: Row
    relative: float
    promised: float | None
    network: float | None
    kernel: float | None
    over_grouped: float | None


def fused_gains(rows: Sequence[Row]) -> list[Gain]:
    """One for each fused row but MobileNet's; compared only within one device, runtime and number of threads."""
    return [
        _gain(row, row.relative, [other for other in rows if _shared(other.record) == _shared(row.record)])
        for row in rows
        if row.record.case.igc == FUSED and row.record.case.model != BASELINE and row.relative is not None
    ]


def fuses_baseline(rows: Sequence[Row]) -> bool:
    return _find(rows, BASELINE, FUSED) is not None


def _gain(row: Row, relative: float, beside: Sequence[Row]) -> Gain:
    fused, grouped = _find(beside, BASELINE, FUSED), _find(beside, row.record.case.model, "grouped")
    kernel = fused.relative if fused is not None else None
    return Gain(
        row=row,
        relative=relative,
        promised=promise(row, _find(beside, BASELINE, None)),
        network=relative / kernel if kernel and relative else None,
        kernel=kernel if relative else None,
        over_grouped=relative / grouped.relative if grouped is not None and grouped.relative and relative else None,
    )


def _shared(record: Record) -> tuple[object, ...]:
    case = record.case
    return (record.device.serial, case.runtime, case.provider, case.threads, case.precision)


def _find(rows: Sequence[Row], model: str, igc: str | None) -> Row | None:
    found = (row for row in rows if (row.record.case.model, row.record.case.igc) == (model, igc))
    return next(found, None)


def promise(row: Row, baseline: Row | None) -> float | None:
    """The ratio of the mult-adds to the baseline's; None where either cannot be told."""
    if baseline is None or row.record.artifact is None or baseline.record.artifact is None:
        return None
    mult_adds, of_baseline = row.record.artifact.mult_adds, baseline.record.artifact.mult_adds
    return mult_adds / of_baseline if mult_adds and of_baseline else None
