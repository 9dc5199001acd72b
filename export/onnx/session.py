"""ONNX Runtime on this machine, in Python: the one place where it is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PROVIDER = "CPUExecutionProvider"


def open_session(model: Path, *, threads: int = 1, optimized: bool = True) -> Any:
    """An `InferenceSession` of the ONNX file `model` on the CPU, with our operators if it has any.

    The options are those of the runner (device/runner/src/engines/onnxruntime.cpp). Not `optimized`, each operator is
    computed as the file has it; quantized numbers then go through float32 between QuantizeLinear and DequantizeLinear.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    from export.clc.rewrite import operators_for

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # one: the same sums in the same order each time
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is an exception; the rest is how it runs a file
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    if library := operators_for(model):
        options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(str(model), options, providers=[PROVIDER])


def run(session: Any, inputs: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All outputs by name, in their order; `inputs` are in the order of the model's."""
    names = [port.name for port in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, inputs, strict=True)))
    return dict(zip((port.name for port in session.get_outputs()), outputs, strict=True))


def operators() -> set[tuple[str, str]]:
    """Domain and name of each operator that ONNX Runtime here has by itself."""
    from onnxruntime.capi import onnxruntime_pybind11_state as built

    return {(schema.domain, schema.name) for schema in built.get_all_operator_schema()}


def version() -> str:
    """The version of ONNX Runtime here."""
    import onnxruntime

    return str(onnxruntime.__version__)
