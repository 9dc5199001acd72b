"""What an ONNX graph costs: multiply-adds as the clcNet paper counts them (Table 5), and parameters.

One multiply-add is one weight, or one element of a matrix, applied once; biases, normalisations, activations and
pooling are not counted (as `models.cost` counts PyTorch's modules).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx

Shape = tuple[int, ...]

#: Where a convolution has its weights among its inputs (ONNX, Operators).
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul")  # the left matrix is the first input of all
_RECURRENT = ("LSTM", "GRU", "RNN")

#: Operators of multiply-adds that are not counted, and those that run their subgraph an unknown number of times.
_UNCOUNTED = ("Attention", "DeformConv", "Einsum", "Loop", "Scan", "SequenceMap")

#: Operators that turn numbers into quantized ones and back; their second and third inputs are scales and zero points.
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def mult_adds(model: onnx.ModelProto) -> int | None:
    """The multiply-adds of one pass of `model`; None where an operator's cannot be told.

    Shapes are those of the graph and what onnx infers from them. Of the branches of an If, which must cost the same,
    one is counted.
    """
    from onnx import shape_inference

    if model.functions:
        return None
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    return _of_graph(inferred.graph, {})


def params(model: onnx.ModelProto) -> int:
    """The elements of all constant tensors of floating point or quantized numbers; scales and zero points apart."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    quantized = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4)
    of_scales = set()
    constants = []
    for graph in graphs(model.graph):
        constants += [(tensor.name, tensor) for tensor in graph.initializer]
        for node in graph.node:
            if node.op_type in _QUANTIZERS:
                of_scales |= set(node.input[1:])
            elif node.op_type == "Constant":
                constants += [(node.output[0], one.t) for one in node.attribute if one.name == "value"]
    return sum(
        prod(tensor.dims)
        for name, tensor in constants
        if tensor.data_type in (*floats, *quantized) and name not in of_scales
    )


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and all within it."""
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from graphs(inner)


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == attribute.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _of_graph(graph: onnx.GraphProto, outer: dict[str, Shape]) -> int | None:
    shapes = outer | dict(_known_shapes(graph))
    return _sum(_of_node(node, shapes) for node in graph.node)


def _known_shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, Shape]]:
    for port in (*graph.input, *graph.value_info, *graph.output):
        kind = port.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            yield port.name, tuple(size.dim_value for size in kind.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name, tuple(tensor.dims)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], tuple(one.t.dims)) for one in node.attribute if one.name == "value")


def _sum(costs: Iterable[int | None]) -> int | None:
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total


def _of_node(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int | None:
    """Raises nothing: a node whose shapes do not fit its operator costs what cannot be told."""
    try:
        return _of_operator(node, shapes)
    except (KeyError, IndexError):
        return None


def _of_operator(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int | None:
    op = node.op_type
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml") or op in _UNCOUNTED:
        return None
    if op == "If":
        branches = {_of_graph(branch, shapes) for branch in _inner(node)}
        return branches.pop() if len(branches) == 1 else None
    if op in _RECURRENT:  # at each step, each direction's weights (directions, gates, size) of input and state
        steps_and_batch = prod(shapes[node.input[0]][:2])
        return steps_and_batch * (prod(shapes[node.input[1]]) + prod(shapes[node.input[2]]))
    if (
        op == "ConvTranspose"
    ):  # each element of the input meets the weights (C_in, C_out / groups, kH, kW) of its channel
        return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
    for_each = _for_each_output(node, shapes)
    return for_each and prod(shapes[node.output[0]]) * for_each


def _for_each_output(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """The multiply-adds for each element of the output."""
    op = node.op_type
    if op in _CONVOLUTIONS:
        return prod(shapes[node.input[_CONVOLUTIONS[op]]][1:])
    if op == "Gemm":
        transposed = any(one.name == "transA" and one.i for one in node.attribute)
        return shapes[node.input[0]][0 if transposed else 1]
    return shapes[node.input[0]][-1] if op in _PRODUCTS else 0
