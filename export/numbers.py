"""The numbers of an ONNX file: what its weights are stored in, and what it computes in. These are two facts.

Weights of four bits may be turned into fp32 before they are multiplied, and weights in fp32 be quantized on the way.
How far the outputs of two runtimes may be apart follows from what is computed in alone.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from export.onnx import cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

#: What is computed in -> how coarse that is, the finest first. Of several the coarsest decides.
COARSENESS = {"fp64": 0, "fp32": 1, "int16": 2, "fp16": 3, "bf16": 4, "fp8": 5, "int8": 6}

#: onnx.TensorProto's names of element types that weights have -> ours, and how many bits an element has.
_KINDS = {
    "DOUBLE": ("fp64", 64),
    "FLOAT": ("fp32", 32),
    "FLOAT16": ("fp16", 16),
    "BFLOAT16": ("bf16", 16),
    "INT16": ("int16", 16),
    "UINT16": ("uint16", 16),
    "INT8": ("int8", 8),
    "UINT8": ("uint8", 8),
    "INT4": ("int4", 4),
    "UINT4": ("uint4", 4),
    "INT2": ("int2", 2),
    "UINT2": ("uint2", 2),
    **{f"FLOAT8E{name}": ("fp8", 8) for name in ("4M3FN", "4M3FNUZ", "5M2", "5M2FNUZ", "8M0")},
    "FLOAT4E2M1": ("fp4", 4),
}
_PRODUCTS = re.compile(r".*(MatMul|Conv|Gemm|Attention|LSTM|GRU|RNN|Einsum|MoE).*")
_QUANTIZES = ("QuantizeLinear", "DynamicQuantizeLinear")
_IN_INTEGERS = re.compile(r"QLinear.*|QGemm|QAttention|QEmbed.*|.*Integer.*|DynamicQuantize(?!Linear).*")
_MOVES = re.compile(
    r"Cast|CastLike|Identity|Reshape|Transpose|Flatten|(Uns|S)queeze|Slice|Concat|Split|Gather.*|Expand|Pad|Dropout|"
    r"Shape|Size|(Dynamic)?(Q|Deq)uantizeLinear|If|Loop|Scan|Constant.*"
)

#: Accuracy levels of MatMulNBits (ONNX Runtime's ContribOperators.md) that let its other operand be rounded: to fp16,
#: bf16 and int8.
_ROUNDING_LEVELS = (2, 3, 4)
_FEW_BITS = ("int8", "uint8", "int4", "uint4", "int2", "uint2")


@dataclass(frozen=True)
class Numbers:
    """What the largest part of the weights is stored in (by bytes), and the coarsest that products are computed in.

    `may_round`: the file computes in fp32, with weights of few bits; ONNX Runtime may multiply these without making
    them fp32 first, for which it rounds the other operand to int8, block by block (its MatMulNBits).
    """

    weights: str
    computes: str
    may_round: bool = False

    def __str__(self) -> str:
        return f"weights {self.weights}, computed in {self.computes}"

    @property
    def are_fp32(self) -> bool:
        return self == FP32_NUMBERS


FP32_NUMBERS = Numbers("fp32", "fp32")


def numbers_of(model: onnx.ModelProto) -> Numbers:
    """The numbers of `model`, with all its values in it."""
    import onnx.inliner

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    graphs = Graphs(model)
    quantized = {kind for node in graphs.nodes if (kind := graphs.quantizes_to(node))}
    at_work = [node for node in graphs.nodes if graphs.varies(node) and not _MOVES.fullmatch(node.op_type)]
    products = [node for node in at_work if _PRODUCTS.fullmatch(node.op_type)]
    floats = {kind for node in products or at_work for name in node.output if (kind := graphs.kinds.get(name))}
    computes = max((*quantized, *(floats & COARSENESS.keys())), key=COARSENESS.__getitem__, default="fp32")
    weights = graphs.weights.most_common(1)
    may_round = computes == "fp32" and any(graphs.may_round(node) for node in products)
    return Numbers(weights[0][0] if weights else computes, computes, may_round)


class Graphs:
    """All graphs of a model as one, inner ones before the nodes that hold them: `kinds` are those of tensors that hold
    numbers as weights have, by name, `weights` the bits of constants by kind."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        try:
            inferred = onnx.shape_inference.infer_shapes(model)
        except Exception:  # it is too large for that, or it has operators that onnx does not know
            inferred = model
        self.kinds: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.makers: dict[str, onnx.NodeProto] = {}
        self.weights: Counter[str] = Counter()
        self._constant: set[str] = set()
        self._typed: set[str] = set()  # whose type the file says, or onnx infers
        packed = dict(_packed(inferred.graph))
        for graph in cost.graphs(inferred.graph):
            for port in (*graph.input, *graph.value_info, *graph.output):
                self._has_kind(port.name, port.type.tensor_type.elem_type)
            held = [(one.name, one) for one in graph.initializer]
            held += [(node.output[0], one) for node in graph.node for one in _values(node)]
            for name, tensor in held:
                self._constant.add(name)
                self._has_kind(name, tensor.data_type)
                kind, bits = _kind(tensor.data_type)
                if kind:
                    stored = packed.get(name, kind) if kind in ("uint8", "int8") else kind
                    self.weights[stored] += prod(tensor.dims) * bits
        self._add_graph(inferred.graph)

    def varies(self, node: onnx.NodeProto) -> bool:
        """Whether it has something to compute in each pass: it does not follow from constants alone."""
        return not set(node.output) <= self._constant

    def quantizes_to(self, node: onnx.NodeProto) -> str | None:
        """What numbers that are computed are turned into, or computed in, that are integers or as coarse."""
        if not self.varies(node):
            return None
        if _IN_INTEGERS.fullmatch(node.op_type):
            return "int8"
        if node.op_type not in _QUANTIZES:
            return None
        kind = self.kinds.get(node.output[0]) or "uint8"
        return {"int16": "int16", "uint16": "int16", "fp8": "fp8"}.get(kind, "int8")

    def may_round(self, node: onnx.NodeProto) -> bool:
        """As `Numbers.may_round` says, of a product."""
        if node.op_type == "MatMulNBits":
            return _attribute(node, "accuracy_level") in _ROUNDING_LEVELS
        if node.op_type not in ("MatMul", "Gemm"):
            return False
        maker = self.makers.get(node.input[1])
        while maker is not None and maker.op_type in ("Identity", "Transpose", "Reshape", "Cast"):
            maker = self.makers.get(maker.input[0])
        is_stored = maker is not None and maker.op_type == "DequantizeLinear" and not self.varies(maker)
        return is_stored and maker is not None and self.kinds.get(maker.input[0]) in _FEW_BITS

    def _add_graph(self, graph: onnx.GraphProto) -> None:
        for node in graph.node:
            for one in node.attribute:
                for inner in (*([one.g] if one.HasField("g") else []), *one.graphs):
                    self._add_graph(inner)
            self._add(node)

    def _add(self, node: onnx.NodeProto) -> None:
        """Nodes come in their order: what they read is known."""
        self.nodes.append(node)
        self.makers |= dict.fromkeys(node.output, node)
        read = [name for name in node.input if name]
        is_constant = bool(read) and all(name in self._constant for name in read) and not _has_graphs(node)
        if is_constant or node.op_type in ("Constant", "Shape", "Size"):  # sizes are fixed
            self._constant |= set(node.output)
        known = [self.kinds[name] for name in read if name in self.kinds]
        guess = next((kind for kind in known if kind in COARSENESS), None)
        if node.op_type == "Cast":
            guess, _bits = _kind(_attribute(node, "to"))
        if node.op_type == "DequantizeLinear" and len(read) > 1:
            guess = self.kinds.get(read[1])
        if node.op_type in _QUANTIZES:
            guess = self.kinds.get(read[2]) if len(read) > 2 else "uint8"  # noqa: PLR2004
        for name in node.output:
            if guess and name not in self._typed and node.op_type not in ("Shape", "Size"):
                self.kinds[name] = guess

    def _has_kind(self, name: str, data_type: int) -> None:
        kind, _bits = _kind(data_type)
        if data_type:
            self._typed.add(name)
        if kind:
            self.kinds.setdefault(name, kind)


def _kind(data_type: int) -> tuple[str | None, int]:
    from onnx import TensorProto

    return _KINDS.get(TensorProto.DataType.Name(data_type), (None, 0))


def _packed(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """Constants of bytes in which operators of ONNX Runtime's keep numbers of fewer bits, and what these are."""
    for inner in cost.graphs(graph):
        for node in inner.node:
            bits = _attribute(node, "bits") or _attribute(node, "expert_weight_bits")
            if node.op_type in ("MatMulNBits", "GatherBlockQuantized", "QMoE"):
                yield from ((name, f"int{bits or 4}") for name in node.input)
            elif node.op_type == "MatMulBnb4":
                yield node.input[1], "nf4" if _attribute(node, "quant_type") else "fp4"


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((one.i for one in node.attribute if one.name == name), 0)


def _has_graphs(node: onnx.NodeProto) -> bool:
    return any(one.HasField("g") or one.graphs for one in node.attribute)


def _values(node: onnx.NodeProto) -> list[Any]:
    return [one.t for one in node.attribute if one.name == "value"] if node.op_type == "Constant" else []
