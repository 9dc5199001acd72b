"""Does a runtime compute what PyTorch computes? Used on this machine, and on what devices give back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from export.igc import operators_for

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: The largest error that is allowed, as a part of the reference's spread. Another order of additions in float32
#: makes about 1e-5 of it in these networks; one missing interlace makes 0.3 and more.
RELATIVE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Deviation:
    """How far an output is from its reference.

    `spread` is the reference's largest minus its smallest value, `relative` the largest error as a part of it. A
    number that cannot be told is None; then, or above the tolerance, `failure` says what is wrong.
    """

    max_abs_error: float | None
    spread: float | None
    relative: float | None
    failure: str | None

    @property
    def ok(self) -> bool:
        return self.failure is None


def deviation(output: NDArray[Any], reference: NDArray[Any]) -> Deviation:
    """Compares `output` with `reference`; a comparison that would say nothing is a failure too."""
    if reference.size == 0 or not np.isfinite(reference).all():
        return Deviation(None, None, None, "the reference is empty or not finite")
    spread = float(reference.max()) - float(reference.min())
    if output.shape != reference.shape:
        return Deviation(None, spread, None, f"the output's shape is {output.shape}, not {reference.shape}")
    if not np.isfinite(output).all():
        bad = int(np.count_nonzero(~np.isfinite(output)))
        return Deviation(None, spread, None, f"{bad} of the output's {output.size} values are not finite")
    error = float(np.abs(output.astype(np.float64) - reference.astype(np.float64)).max())
    if spread == 0:
        return Deviation(error, spread, None, "the reference has the same value everywhere: it proves nothing")
    relative = error / spread
    failure = None
    if relative > RELATIVE_TOLERANCE:
        failure = f"its largest error is {error:.3g}, {relative:.2g} of the spread (allowed {RELATIVE_TOLERANCE:g})"
    return Deviation(error, spread, relative, failure)


def run_onnx(model: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output of the ONNX file `model` for the input `values`, by ONNX Runtime on one CPU thread here."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order each time
    if library := operators_for(model):
        options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    output: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: values})[0]
    return output
