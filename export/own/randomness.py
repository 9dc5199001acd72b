"""Which outputs of a network hang on random numbers that it draws itself: no two passes give the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from export.artifact import Random
from export.clc.find import reads

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    _Values = Mapping[str, NDArray[Any]]

#: Operators that draw, with a seed or without: ONNX Runtime goes on from pass to pass where the last one ended.
_DRAW = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli", "Sampling"}
)
#: Those that draw only where they are told to train: which of their inputs say how much is dropped, and whether to.
#: Before operator set 12 Dropout had no such input, and runtimes never drew.
_DROPOUTS = {"Dropout": (1, 2), "BitmaskDropout": (1, 2), "BiasDropout": (3, 4), "BitmaskBiasDropout": (3, 4)}


def random_in(model: onnx.ModelProto, inputs: _Values) -> Random:
    """What of `model` is random for these `inputs`, by name; wherever a node is, in branches and functions too.

    Where it cannot be told whether a dropout trains, it is taken to.
    """
    import onnx.inliner

    flat = onnx.inliner.inline_local_functions(model) if model.functions else model
    drawn: set[str] = set()
    kinds: list[str] = []
    for node, found in _drawing(flat.graph, inputs):
        if found or any(name in drawn for name in reads(node)):
            drawn |= {name for name in node.output if name}
            kinds += found
    outputs = tuple(port.name for port in model.graph.output if port.name in drawn)
    return Random(tuple(dict.fromkeys(kinds)), outputs) if outputs else Random()


def _drawing(graph: onnx.GraphProto, outer: _Values) -> Iterator[tuple[onnx.NodeProto, list[str]]]:
    """Each node of a graph, in its order, and the kinds of operators in it, or in the graphs in it, that draw.

    `outer` are the values that are known outside, by name.
    """
    from onnx import numpy_helper

    values = {**outer, **{tensor.name: numpy_helper.to_array(tensor) for tensor in _small(graph.initializer)}}
    for node in graph.node:
        if node.op_type == "Constant":
            for tensor in _small(one.t for one in node.attribute if one.name == "value"):
                values[node.output[0]] = numpy_helper.to_array(tensor)
        elif node.op_type in ("Identity", "Cast") and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
        draws = node.op_type in _DRAW or (node.op_type in _DROPOUTS and _trains(node, values))
        found = [node.op_type] if draws else []
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                found += [kind for _, kinds in _drawing(inner, values) for kind in kinds]
        yield node, found


def _small(tensors: Iterable[onnx.TensorProto]) -> Iterator[onnx.TensorProto]:
    """Those that can be a switch or a part: of one element."""
    return (tensor for tensor in tensors if prod(tensor.dims) == 1)


def _trains(node: onnx.NodeProto, values: _Values) -> bool:
    """Whether a dropout drops anything; where a value is not known, it is taken to."""
    share, training = (node.input[at] if at < len(node.input) else "" for at in _DROPOUTS[node.op_type])
    return training != "" and all(name not in values or bool(values[name].any()) for name in (share, training))
