"""Outputs that hang on rounding: integers, bools and what they pick, which another order of additions may change.

Where two scores are nearly the same, ArgMax takes one on this machine and the other on a device, and both are right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from export.numbers import COARSENESS, Graphs

if TYPE_CHECKING:
    import onnx

#: Operators that make indices or whole numbers of floating point numbers: what is picked by them hangs on them as well.
_PICKS = re.compile(r"Arg(Max|Min)|TopK|NonMaxSuppression|NonZero|Unique|Hardmax|Round|Floor|Ceil|Cast|Multinomial")
#: Those whose results are mostly used where both sides of the step meet, as in a ReLU: only integers hang on them.
_COMPARES = re.compile(r"Equal|Greater(OrEqual)?|Less(OrEqual)?|Sign|(Dynamic)?QuantizeLinear|IsInf|IsNaN")


def rounding_of(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """The outputs of `model` that hang on rounding, and the kinds of operators that round."""
    from onnx import TensorProto

    graphs = Graphs(model)
    hangs_on: dict[str, frozenset[str]] = {}
    for node in graphs.nodes:
        if not graphs.varies(node):
            continue
        read = [*node.input, *(name for one in node.attribute for name in _results(one))]
        before = frozenset[str]().union(*(hangs_on.get(name, frozenset()) for name in read))
        for place, name in enumerate(node.output):
            hangs_on[name] = before | ({node.op_type} if _rounds(node, place, graphs) else set())
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
    found = {}
    for port in model.graph.output:
        kinds = hangs_on.get(port.name, frozenset())
        if port.type.tensor_type.elem_type in floats:
            kinds = frozenset(kind for kind in kinds if _PICKS.fullmatch(kind))
        if kinds:
            found[port.name] = tuple(sorted(kinds))
    return found


def _rounds(node: onnx.NodeProto, place: int, graphs: Graphs) -> bool:
    """Whether this output of a node is of another kind than the floating point numbers it is made of."""
    kind = node.op_type
    if not (_PICKS.fullmatch(kind) or _COMPARES.fullmatch(kind)):
        return False
    if not any(graphs.kinds.get(name) in COARSENESS and "int" not in graphs.kinds[name] for name in node.input):
        return False
    if kind == "TopK":
        return place == 1  # the values are what they are, whichever comes first
    if kind == "Cast":
        return graphs.kinds.get(node.output[0]) not in COARSENESS or "int" in graphs.kinds[node.output[0]]
    return True


def _results(attribute: onnx.AttributeProto) -> Iterator[str]:
    """What the graphs in an attribute give."""
    for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        yield from (port.name for port in inner.output)
