"""ONNX to Caffe2: Caffe2's own converter called, and its nets run on this machine."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from export.caffe2.operators import refusals
from toolchain import caffe2
from toolchain import compile as compiling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

INIT_NET, PREDICT_NET = "init_net.pb", "predict_net.pb"

#: The engine that 3x3 depthwise convolutions can be given in place of the default one, im2col and GEMM.
DEPTHWISE_3X3 = "DEPTHWISE_3x3"

_CONVERTER = Path(__file__).with_name("to_caffe2.cpp")
_TIMEOUT_S = 300


class Caffe2Error(Exception):
    """A file is not for Caffe2, or Caffe2 failed on it; one line that says why."""


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as Caffe2's converter needs it; slow in ONNX Runtime, so for nothing else."""
    import onnx

    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    ready.ir_version = 3  # the newest it reads, in which every initializer has to be among the inputs
    known = {port.name for port in ready.graph.input}
    for tensor in ready.graph.initializer:
        if tensor.name not in known:
            port = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            ready.graph.input.append(port)
    for node in ready.graph.node:
        node.name = ""  # a name with "Pool" in it breaks GlobalAveragePool
    return ready


def to_caffe2(source: Path, folder: Path, engine: str = "") -> dict[str, int]:
    """Writes INIT_NET and PREDICT_NET into `folder`, equivalents of the ONNX file `source`.

    With an `engine`, each 3x3 depthwise convolution has it. Gives how many operators of each kind a pass runs;
    "Conv:DEPTHWISE_3x3" stands for a convolution with that engine. Raises Caffe2Error, and what
    `toolchain.caffe2` raises when Caffe2 cannot be had.
    """
    import onnx

    model = onnx.load(source)
    if reasons := refusals(model):
        raise Caffe2Error("; ".join(reasons))
    ready = prepared(model)
    filled = {tensor.name for tensor in ready.graph.initializer}
    [port] = [port for port in ready.graph.input if port.name not in filled]
    shape = [size.dim_value for size in port.type.tensor_type.shape.dim]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".converting-") as scratch:
        file = Path(scratch) / "prepared.onnx"
        onnx.save(ready, file)
        nets = (folder / INIT_NET, folder / PREDICT_NET)
        operators = _call("convert", file, *nets, _joined(shape), *([engine] if engine else [])).split()
    return dict(sorted(Counter(operators).items()))


def run_caffe2(folder: Path, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output of the nets in `folder` for the input `values`, by Caffe2 on one CPU thread here.

    Raises Caffe2Error.
    """
    from export import tensors

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "input.f32", Path(scratch) / "output.f32"
        values.astype("<f4").tofile(source)
        printed = _call("run", folder / INIT_NET, folder / PREDICT_NET, source, _joined(values.shape), target)
        shape = [int(size) for size in printed.strip().split(",") if size]
        return tensors.read_values(target, shape)


def recipe() -> str:
    """A text that changes when Caffe2 or the converter does."""
    return caffe2.recipe(compiling.native().abi) + " " + _CONVERTER.read_text(encoding="utf-8")


def _joined(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def _call(*words: str | Path) -> str:
    """What our C++ tool prints. Raises Caffe2Error with what it complains of."""
    command = [str(caffe2.program(_CONVERTER)), *map(str, words)]
    try:
        done = subprocess.run(
            command, env=caffe2.environment(), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Caffe2Error(f"Caffe2 did not end within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
        raise Caffe2Error(f"Caffe2: {complaint[:300]}")
    return done.stdout
