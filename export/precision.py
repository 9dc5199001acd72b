"""A network in fp16 or int8: an ONNX file rewritten by ONNX Runtime's own tools, and how far it may deviate.

- fp16: all of it in half precision, but for its inputs and outputs. A runtime without kernels for that computes in
  float32 between casts.
- int8: QuantizeLinear and DequantizeLinear around each operator that can be quantized ("QDQ"), both sides signed,
  weights by channel, the ranges those of the calibration (onnxruntime.ai/docs, "Quantize ONNX Models").

Neither is the network in fp32: the outputs that a device must give are those of the file itself, computed operator by
operator here; how far they are from the fp32 network's is told beside the time.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import verify
from export.artifact import PRECISIONS, ExportError
from export.clc.find import reads
from export.numbers import COARSENESS, Numbers, numbers_of
from export.own.foreign import admit_constants
from export.store import naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from export.calibration import Calibration
    from toolchain.tensors import Port

FP32, FP16, INT8 = PRECISIONS

#: The largest errors that are allowed, as parts of the reference's spread; a missing interlace makes 0.48 and more.
#: fp16: a runtime without such kernels came to at most 1.3e-3 (x86-64 and armv7, shufflenet), for it computes in
#: float32 between casts, as the reference does; PyTorch, which rounds after each layer, to 5.9e-2 (mobilenet).
FP16_TOLERANCE = 0.1
#: int8: kernels round sums where the reference rounds floating point numbers, one step apart now and then, which
#: mobilenet, clcnet-a, clcnet-tiny and shufflenet, with seeded weights, made at most 0.12 (x86-64) and 0.17 (armv7) of.
INT8_TOLERANCE = 0.3
#: fp32 with weights of few bits, where ONNX Runtime may round the other operand of products (export/numbers.py): 1 to
#: 32 products in a row made 0.001 to 0.018 of that (x86-64).
ROUNDED_TOLERANCE = 0.05

#: int8's scales come from the ranges of tensors in float32 runs, whose last bits are those of this CPU's kernels. For
#: the file to be the same nonetheless, each end of a range is widened to so many significant bits: by a sixteenth at
#: most, which costs less than a tenth of a bit. Where two machines' ends differ by 1e-6, one of a hundred ends is
#: rounded to another number with a chance of some 1e-3; `tenpass compare` then refuses the two files, as any that
#: differ by more than rounding.
RANGE_BITS = 5
#: What values on either side of a round number (6 behind a ReLU6, 1 behind a sigmoid) may differ by and not be parted.
RANGE_SLACK = 2.0**-16

#: By channel, a scale has an axis: operator set 13 is the first whose DequantizeLinear has one.
_OPSET_OF_CHANNELS = 13
#: The first with QuantizeLinear.
_OPSET_OF_QUANTIZING = 10


class PrecisionError(Exception):
    """A file cannot be had in a precision; the message says why."""


def tolerance(numbers: str | Numbers) -> float:
    """The largest error of a network that computes so that is allowed, as a part of its reference's spread."""
    if isinstance(numbers, Numbers) and numbers.may_round:
        return ROUNDED_TOLERANCE
    computes = numbers.computes if isinstance(numbers, Numbers) else numbers
    if COARSENESS[computes] <= COARSENESS[FP32]:
        return verify.RELATIVE_TOLERANCE
    return FP16_TOLERANCE if COARSENESS[computes] <= COARSENESS["bf16"] else INT8_TOLERANCE


def convert(
    source: Path, target: Path, precision: str, samples: Sequence[Mapping[str, NDArray[Any]]], scratch: Path
) -> None:
    """Writes the fp32 network in the ONNX file `source` to `target`, in fp16 or int8.

    int8 is calibrated with `samples`, values by input; `scratch` is a folder for files that may stay. IR version and
    operator set remain the source's, for a device's runtime may be older than the tools here. Raises PrecisionError,
    and whatever ONNX Runtime's tools do.
    """
    import onnx

    model = onnx.load(source)
    if not (found := numbers_of(model)).are_fp32:
        halves = {"fp16": "half precision", "bf16": "half precision", "fp32": f"stored as {found.weights}"}
        what = halves.get(found.computes, "quantized")
        raise PrecisionError(f"it is {what} already: measure it as it is (--precision fp32)")
    original = onnx.load(source)  # the tools may write into what they are given
    with _quietly():
        made = _fp16(model) if precision == FP16 else _int8(model, samples, scratch)
    made.ir_version = original.ir_version
    admit_constants(made)
    _sort(made.graph)
    del made.opset_import[:]
    made.opset_import.extend(original.opset_import)
    onnx.checker.check_model(made)
    onnx.save(made, target)


@dataclass(frozen=True)
class Lowered:
    """A network in fp16 or int8.

    `outputs` are what its file `model` gives for the reference inputs, operator by operator; `here` is how far ONNX
    Runtime's optimized kernels on this machine are from that: nothing fails by it, for the outputs of a device are what
    counts. `calibration` is as in `Artifact`.
    """

    precision: str
    model: Path
    outputs: dict[str, NDArray[Any]]
    here: verify.Deviation
    calibration: str | None


@dataclass(frozen=True)
class Network:
    """An ONNX file in fp32: the name of its network, a value for each of its inputs, and what it computes of them."""

    name: str
    file: Path
    ports: Sequence[Port]
    inputs: Sequence[NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


def lowered(network: Network, precision: str, calibration: Calibration, scratch: Path) -> Lowered:
    """The network in fp16 or int8, as a file in the folder `scratch`.

    Raises ExportError, also where its outputs for its inputs are not finite that are so in fp32.
    """
    name = network.name
    target = scratch / f"{precision}.onnx"
    samples = calibration.samples(network.ports) if precision == INT8 else []
    with naming(name, f"making {precision} of the ONNX file"):
        convert(network.file, target, precision, samples, scratch)
    with naming(name, f"running the {precision} file"):
        outputs = verify.run_onnx_on(target, network.inputs, optimized=False)
        optimized = verify.run_onnx_on(target, network.inputs)
    _require_finite(network, precision, outputs)
    here = verify.deviations([*optimized.values()], outputs, tolerance(precision), may_be_constant=True)
    calibrated = None
    if precision == INT8:
        calibrated = calibration.description(len(samples))
        if not _is_by_channel(network.file):
            calibrated += "; weights by tensor, for operator set 13 is the first with channels"
    return Lowered(precision, target, outputs, here, calibrated)


def _require_finite(network: Network, precision: str, outputs: Mapping[str, NDArray[Any]]) -> None:
    """Raises ExportError for values that the precision cannot hold, and fp32 can."""
    for output, values in outputs.items():
        in_fp32 = network.outputs[output]
        bad = np.count_nonzero(~np.isfinite(values) & np.isfinite(in_fp32)) if values.shape == in_fp32.shape else 0
        if bad:
            raise ExportError(
                f"{network.name}: in {precision}, {bad} of the {values.size} values of its output {output!r} are NaN "
                "or infinite, and in fp32 they are not: give other inputs (--input) or take another precision"
            )


def _is_by_channel(source: Path) -> bool:
    import onnx

    return _opset(onnx.load(source, load_external_data=False)) >= _OPSET_OF_CHANNELS


def _opset(model: onnx.ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def _fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return converted


def _sort(graph: onnx.GraphProto) -> None:
    """Puts each node behind those whose outputs it reads, as ONNX demands (onnx/docs/IR.md, "Nodes"): the tools append
    theirs. What is in order stays in it."""
    made = {name for node in graph.node for name in node.output if name}
    ordered: list[onnx.NodeProto] = []
    waiting = list(graph.node)
    while waiting:
        still: list[onnx.NodeProto] = []
        for node in waiting:
            if any(name in made for name in reads(node)):
                still.append(node)
            else:
                ordered.append(node)
                made -= set(node.output)
        if len(still) == len(waiting):
            raise PrecisionError("the nodes of the rewritten file read one another in a circle")
        waiting = still
    del graph.node[:]
    graph.node.extend(ordered)


def _constants_as_initializers(model: onnx.ModelProto) -> None:
    """Only what is an initializer counts as a weight for the quantizer; some exporters write Constant nodes."""
    kept = []
    for node in model.graph.node:
        values = [one.t for one in node.attribute if one.name == "value"] if node.op_type == "Constant" else []
        if not values:
            kept.append(node)
            continue
        model.graph.initializer.add().CopyFrom(values[0])
        model.graph.initializer[-1].name = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _int8(model: onnx.ModelProto, samples: Sequence[Mapping[str, NDArray[Any]]], scratch: Path) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if _opset(model) < _OPSET_OF_QUANTIZING:
        raise PrecisionError(
            f"int8 needs operator set {_OPSET_OF_QUANTIZING} or newer, the file has {_opset(model)}: export it anew"
        )

    _constants_as_initializers(model)
    admit_constants(model)
    source, target = scratch / "to-quantize.onnx", scratch / "quantized.onnx"
    onnx.save(model, source)
    quantize_static(
        str(source),
        str(target),
        None,  # no data: the ranges are known
        quant_format=QuantFormat.QDQ,
        per_channel=_opset(model) >= _OPSET_OF_CHANNELS,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibration_cache_path=_ranges(source, samples, scratch),
    )
    made = onnx.load(target)
    if numbers_of(made).computes != INT8:
        raise PrecisionError("int8: none of its operators can be quantized")
    return made


def _ranges(source: Path, samples: Sequence[Mapping[str, NDArray[Any]]], scratch: Path) -> Path:
    """A file with the range of each tensor of the network in `source` over `samples`, each end rounded outwards."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return dict(one) if (one := next(self.left, None)) is not None else None

    method = CalibrationMethod.MinMax
    calibrator = create_calibrator(
        source,
        sorted({*QLinearOpsRegistry, *QDQRegistry}),
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=method,
    )
    calibrator.collect_data(Samples())
    found = calibrator.compute_data()
    rounded = {name: (_outwards(one.lowest), _outwards(one.highest)) for name, one in found.items()}
    file = scratch / "ranges.json"
    save_tensors_data(TensorsData(method, rounded), file)
    return file


def _outwards(end: NDArray[Any]) -> NDArray[Any]:
    """The end of a range, away from 0 to the next number of RANGE_BITS bits."""
    mantissa, exponent = np.frexp(end.astype(np.float64) * (1 - RANGE_SLACK))
    steps = 2.0**RANGE_BITS
    rounded = np.copysign(np.ceil(np.abs(mantissa) * steps), mantissa) / steps
    return np.asarray(np.ldexp(rounded, exponent)).astype(end.dtype)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the tools advise on the way; what goes wrong is an exception."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
