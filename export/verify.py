"""Does a runtime compute what it should? Used on this machine, and on what devices give back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from export.artifact import Random
from export.onnx import session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: The largest error that is allowed in fp32, as a part of the reference's spread. Another order of additions in float32
#: makes about 1e-5 of it in these networks; one missing interlace makes 0.3 and more.
RELATIVE_TOLERANCE = 1e-3

#: A choice: a spread below this bears no comparison by its parts, whatever the largest value: the error of a sigmoid or
#: a softmax is relative to 1, and the tolerance would be less than eight times float32's own resolution (2^-23).
CONSTANT_BELOW = 1e-3


@dataclass(frozen=True)
class Deviation:
    """How far an output is from its reference.

    `spread` is the reference's largest minus its smallest value, `relative` the largest error as a part of it. A
    number that cannot be told is None; then, or above the tolerance, `failure` says what is wrong. `unverified` are
    outputs that differ, for which rounding may be the reason, each with the sentence that says so.
    """

    max_abs_error: float | None
    spread: float | None
    relative: float | None
    failure: str | None
    unverified: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.failure is None


def deviation(
    output: NDArray[Any], reference: NDArray[Any], tolerance: float | None = None, *, may_be_constant: bool = False
) -> Deviation:
    """Compares `output` with `reference`, of any ElementType.

    `tolerance` is for floating point numbers, a part of the reference's spread (default: RELATIVE_TOLERANCE). Above
    that one, 8-bit integers are compared likewise: they are quantized numbers then. All other integers and bools must
    be the same; infinities and NaN must be where the reference has them, and are left out of all numbers. A comparison
    that would say nothing is a failure, unless the reference `may_be_constant`: then a spread
    below the tolerance of the largest value (or below CONSTANT_BELOW) that an error exceeds is told as 0, and the error
    counts as a part of the largest value (or of CONSTANT_BELOW, where that is more).
    """
    tolerance = RELATIVE_TOLERANCE if tolerance is None else tolerance
    if not may_be_constant and (reference.size == 0 or not np.isfinite(reference).all()):
        return Deviation(None, None, None, "the reference is empty or not finite")
    finite = np.isfinite(reference)
    wide = reference[finite].astype(np.float64)
    spread = float(wide.max()) - float(wide.min()) if wide.size else 0.0
    if unlike := _unlike(output, reference):
        return Deviation(None, spread, None, unlike)
    error = float(np.abs(output[finite].astype(np.float64) - wide).max(initial=0))
    if spread == 0 and not may_be_constant:
        return Deviation(error, spread, None, "the reference has the same value everywhere: it proves nothing")
    magnitude = float(np.abs(wide).max(initial=0))
    if may_be_constant and error > tolerance * spread and spread < max(tolerance * magnitude, CONSTANT_BELOW):
        spread = 0.0
    of, whole = ("spread", spread) if spread else ("largest value", max(magnitude, CONSTANT_BELOW))
    relative = error / whole
    failure = None
    is_quantized = tolerance > RELATIVE_TOLERANCE and reference.dtype in (np.int8, np.uint8)
    if reference.dtype.kind != "f" and not is_quantized:
        if differing := int(np.count_nonzero(output != reference)):
            failure = f"{differing} of its {output.size} values, which are {reference.dtype}, differ"
    elif error > tolerance * whole:
        failure = f"its largest error is {error:.3g}, {relative:.2g} of the {of} (allowed {tolerance:g})"
    return Deviation(error, spread, relative, failure)


def _unlike(output: NDArray[Any], reference: NDArray[Any]) -> str | None:
    """Why the two cannot be compared value by value."""
    if output.shape != reference.shape:
        return f"the output's shape is {output.shape}, not {reference.shape}"
    if output.dtype.kind != reference.dtype.kind:
        return f"the output's type is {output.dtype}, not {reference.dtype}"
    here, there = np.isfinite(output), np.isfinite(reference)
    if bad := int(np.count_nonzero(there & ~here)):
        return f"{bad} of the output's {output.size} values are not finite"
    same = (output == reference) | (np.isnan(output) & np.isnan(reference)) if not there.all() else there
    if bad := int(np.count_nonzero(~there & ~same)):
        return f"{bad} of the output's {output.size} values are not the infinity or NaN that they should be"
    return None


def deviations(
    outputs: Sequence[NDArray[Any]],
    references: Mapping[str, NDArray[Any]],
    tolerance: float | None = None,
    *,
    may_be_constant: bool = False,
    random: Random = Random(),  # noqa: B008 (it is frozen)
    rounding: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Deviation:
    """The worst deviation of several outputs from their references, by name in their order; see `deviation`.

    With `may_be_constant` its spread is 0 only where no output has any. Those that are `random` are compared with
    nothing, and unverified; where all are, there is no number. `rounding` are the outputs that hang on
    rounding, each with the kinds of operators that round: where one of these differs in no more than half of its
    values (or in one), and all others are right, it is unverified and no failure.
    """
    if len(outputs) != len(references):
        return Deviation(None, None, None, f"there are {len(outputs)} outputs, not {len(references)}")
    found, unverified = [], {}
    for output, (name, reference) in zip(outputs, references.items(), strict=True):
        if name in random.outputs:
            unverified[name] = random.consequence
            continue
        one = deviation(output, reference, tolerance, may_be_constant=may_be_constant)
        if one.failure and name in rounding and _may_be_rounding(output, reference, tolerance, rounding[name]):
            unverified[name] = f"output {name!r} hangs on rounding ({', '.join(rounding[name])}): {one.failure}"
            continue
        which = f"output {name!r}: " if len(references) > 1 and one.failure else ""
        found.append(replace(one, failure=which + one.failure) if one.failure else one)
    nothing = Deviation(None, None, None, None)
    worst = max(found, key=lambda one: (not one.ok, bool(one.spread), one.relative or 0.0), default=nothing)
    return replace(worst, unverified=unverified)


#: Operators whose results may move to other places when one of them comes or goes.
_ORDERED = ("TopK", "NonMaxSuppression", "NonZero", "Unique")


def _may_be_rounding(
    output: NDArray[Any], reference: NDArray[Any], tolerance: float | None, kinds: Sequence[str]
) -> bool:
    """Whether what differs can be due to scores that are nearly the same: one value, or up to half of them."""
    if output.dtype.kind != reference.dtype.kind or output.ndim != reference.ndim or not np.isfinite(output).all():
        return False
    step, most = 0.0, max(1, reference.size // 2)
    if reference.dtype.kind == "f" and reference.size:
        step = (tolerance or RELATIVE_TOLERANCE) * float(np.ptp(reference.astype(np.float64)))
    here, there = output.astype(np.float64), reference.astype(np.float64)
    if here.shape == there.shape and np.count_nonzero(np.abs(here - there) > step) <= most:
        return True
    if not any(kind in _ORDERED for kind in kinds):
        return False
    counts = [Counter(np.rint(values / (2 * step or 1.0)).ravel().tolist()) for values in (here, there)]
    return max(here.size, there.size) - (counts[0] & counts[1]).total() <= most


def largest_part(outputs: Sequence[NDArray[Any]], references: Mapping[str, NDArray[Any]]) -> float | None:
    """The largest error of outputs of floating point numbers, each as a part of its reference's spread.

    None where no output has a spread, or one cannot be compared: another shape, or infinities and NaN elsewhere.
    """
    known = []
    for output, reference in zip(outputs, references.values(), strict=True):
        finite = reference[np.isfinite(reference)] if reference.dtype.kind == "f" else np.empty(0)
        if not finite.size or not np.ptp(finite.astype(np.float64)):
            continue
        relative = deviation(output, reference, np.inf, may_be_constant=True).relative
        if relative is None:
            return None
        known.append(relative)
    return max(known, default=None)


def run_onnx(model: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output of the ONNX file `model` for the input `values`, by ONNX Runtime on one CPU thread here."""
    output: NDArray[np.float32] = next(iter(run_onnx_on(model, [values]).values()))
    return output


def run_onnx_on(model: Path, inputs: Sequence[NDArray[Any]], *, optimized: bool = True) -> dict[str, NDArray[Any]]:
    """All outputs by name, in their order, of the ONNX file `model`, by ONNX Runtime on one CPU thread here.

    `inputs` are in the order of the model's. Not `optimized`, each operator is computed as the file has it; quantized
    numbers then go through float32 between QuantizeLinear and DequantizeLinear.
    """
    return session.run(session.open_session(model, optimized=optimized), inputs)
