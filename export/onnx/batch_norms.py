"""BatchNorms folded into the convolutions before them, in arithmetic that any CPU does alike.

PyTorch's exporter and onnxsim fold them as well, in float32 and by whatever kernels their libraries have for this CPU.
Here each weight is computed in double precision, one exactly rounded operation after another (numpy never contracts
two into one), and is rounded to float32 at the end.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from export.clc.find import reads

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


def fold(model: onnx.ModelProto) -> None:
    """Folds each BatchNormalization of `model` that alone reads what a Conv gives, where all is constant float32."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in constants:  # the exporter's, for equal weights
            constants[node.output[0]] = constants[node.input[0]]
    readers = Counter(name for node in graph.node for name in reads(node))
    readers.update(port.name for port in graph.output)
    makers = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    folded = set()
    for norm in graph.node:
        made = makers.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if made is None or readers[norm.input[0]] > 1 or not _only_evaluates(norm):
            continue
        names = [*made.input[1:], *norm.input[1:]]
        if not all(name in constants and constants[name].data_type == 1 for name in names):  # TensorProto.FLOAT
            continue
        wide = [numpy_helper.to_array(constants[name]).astype(np.float64) for name in names]
        convolution, statistics = wide[:-4], wide[-4:]
        weight, bias = _folded(convolution, statistics, _epsilon(norm))
        output = norm.output[0]
        for what, values in (("weight", weight), ("bias", bias)):
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), f"{output}/folded {what}"))
        del made.input[1:]
        made.input.extend(tensor.name for tensor in graph.initializer[-2:])
        made.output[0] = output
        folded.add(output)
    kept = [node for node in graph.node if node.op_type != "BatchNormalization" or node.output[0] not in folded]
    del graph.node[:]
    graph.node.extend(kept)
    if folded:
        _drop_unread(graph)


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Drops the constants, and the Identity nodes behind them, that nothing reads any more."""
    given = {port.name for port in graph.output}
    read = given | {name for node in graph.node for name in reads(node)}
    nodes = [node for node in graph.node if node.op_type != "Identity" or node.output[0] in read]
    read = given | {name for node in nodes for name in reads(node)}
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    inputs = {tensor.name for tensor in graph.initializer} - {tensor.name for tensor in tensors}
    ports = [port for port in graph.input if port.name not in inputs]  # old files have constants among the inputs
    for field, kept in ((graph.node, nodes), (graph.initializer, tensors), (graph.input, ports)):
        del field[:]
        field.extend(kept)


def _folded(
    convolution: list[NDArray[Any]], statistics: list[NDArray[Any]], epsilon: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight and bias of the convolution; `convolution` are those it had, the bias only if there was one."""
    weight, *biases = convolution
    gain, shift, mean, var = statistics
    scale = gain / np.sqrt(var + epsilon)
    offset = biases[0] - mean if biases else -mean
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), offset * scale + shift


def _only_evaluates(norm: onnx.NodeProto) -> bool:
    training = any(one.name == "training_mode" and one.i for one in norm.attribute)
    return not training and len([name for name in norm.output if name]) == 1


def _epsilon(norm: onnx.NodeProto) -> float:
    """The attribute, which is a float32; without one, the operator's own."""
    return next((one.f for one in norm.attribute if one.name == "epsilon"), float(np.float32(1e-5)))
