"""Of a gain by the fused kernel: which part is the network's, and which the kernel's. Pure functions of rows."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.rows import BASELINE, Row
from harness.record.record import Record

#: The way to compute IGC that is a kernel of ours; all others run on the runtime's own kernels.
FUSED = "fused"


def explained(rows: Sequence[Row]) -> list[str]:
    """What the fused rows gained over MobileNet and why, in sentences; nothing where there are none.

    Rows are compared only within one device, runtime and number of threads.
    """
    lines = []
    for row in rows:
        if row.record.case.igc == FUSED and row.record.case.model != BASELINE and row.relative is not None:
            lines += _explained(row, [other for other in rows if _beside(other, row)])
    if not lines:
        return []
    return [*lines, *_cautions(rows)]


def _beside(row: Row, other: Row) -> bool:
    """Whether the two were measured on the same device with the same runtime and threads."""
    a, b = row.record, other.record
    return _shared(a) == _shared(b)


def _shared(record: Record) -> tuple[object, ...]:
    case = record.case
    return (record.device.serial, case.runtime, case.provider, case.threads, case.precision)


def _explained(row: Row, beside: Sequence[Row]) -> list[str]:
    baseline, fused_baseline = _find(beside, BASELINE, None), _find(beside, BASELINE, FUSED)
    grouped = _find(beside, row.record.case.model, "grouped")
    promised = promise(row, baseline)
    threads = f", {row.record.case.threads} threads" if row.record.case.threads > 1 else ""
    text = f"- {row.title} on {row.record.device.serial}{threads} takes {row.relative:.3f} of MobileNet's time"
    text += f" (the mult-adds promise {promised:.3f})" if promised is not None else ""
    lines = [text + ", MobileNet on the runtime's own kernels."]
    if fused_baseline is not None and fused_baseline.relative and row.relative:
        network, kernel = row.relative / fused_baseline.relative, fused_baseline.relative
        lines.append(
            f"  Of that the **network**: {network:.3f}, its time over MobileNet's when both run in our kernel. "
            f"The **kernel**: {kernel:.3f}, MobileNet in our kernel over MobileNet on the runtime's. "
            f"{network:.3f} x {kernel:.3f} = {row.relative:.3f}."
        )
    if grouped is not None and grouped.relative and row.relative:
        lines.append(
            f"  Against the same network as grouped convolutions on the runtime's own kernels it takes "
            f"{row.relative / grouped.relative:.3f} of the time: that is the kernel alone."
        )
    return lines


def _find(rows: Sequence[Row], model: str, igc: str | None) -> Row | None:
    found = (row for row in rows if (row.record.case.model, row.record.case.igc) == (model, igc))
    return next(found, None)


def promise(row: Row, baseline: Row | None) -> float | None:
    """The ratio of the mult-adds to the baseline's; None where either cannot be told."""
    if baseline is None or row.record.artifact is None or baseline.record.artifact is None:
        return None
    mult_adds, of_baseline = row.record.artifact.mult_adds, baseline.record.artifact.mult_adds
    return mult_adds / of_baseline if mult_adds and of_baseline else None


def _cautions(rows: Sequence[Row]) -> list[str]:
    lines = [
        "",
        "MobileNet runs on ONNX Runtime's general kernels, unless a row says fused: a ratio of a fused clcNet to it "
        "holds what the network saves and what a kernel written for its blocks saves.",
    ]
    if not any(row.record.case.model == BASELINE and row.record.case.igc == FUSED for row in rows):
        lines.append("`--fuse-separable` measures MobileNet in our kernel too, and so tells the two apart.")
    if any(row.record.device.clock == "instructions" for row in rows):
        lines.append(
            "Modelled time counts instructions, each as one nanosecond. On an in-order core such as Cortex-A7 or A53 a "
            "128-bit vector multiply-add takes several cycles where a scalar instruction takes one: the fewer, wider "
            "instructions of a fused kernel gain less there than they do here."
        )
    return lines
