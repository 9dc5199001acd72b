"""What Caffe2 takes of ONNX: every operator, and how it may be used.

Caffe2's converter (of pytorch 1.7.1) knows ONNX up to opset 9. What is newer, and some of what is not, it converts
without a word into nets that compute something else, or read memory that is not theirs. So a file is first held
against OPERATORS, and refused by name when something in it is not there; what is there is tested against PyTorch,
pattern by pattern (tests/export/test_caffe2.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

#: The one version of the ONNX operators that is converted.
OPSET = 9


@dataclass(frozen=True)
class Node:
    """A node of an ONNX graph: its attributes as Python values, and the shapes of its inputs (None: unknown)."""

    op: str
    attributes: Mapping[str, Any]
    shapes: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Operator:
    """How an ONNX operator may be used: `attributes` it may have, `required` ones it must.

    `refusal` says what else is wrong with a node, or gives "".
    """

    attributes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    refusal: Callable[[Node], str] = lambda _node: ""


def _default_padding(node: Node) -> str:
    """Caffe2 takes no notice of `auto_pad`."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    return "" if mode == "NOTSET" else f"auto_pad={mode}; write the pads out"


def _same_shapes(node: Node) -> str:
    """Caffe2 reads past the end of the smaller one."""
    return "" if len(set(node.shapes)) == 1 and None not in node.shapes else "inputs of several shapes"


def _slope_per_channel(node: Node) -> str:
    """Caffe2 goes by the slope's size alone."""
    data, slope = (*node.shapes, None, None)[:2]
    if data is None or slope is None:
        return "a shape that is not known"
    per_channel = (*data[1:2], *(1 for _ in data[2:]))
    if all(size == 1 for size in slope) or slope[-len(per_channel) :] == per_channel:
        return ""
    return f"a slope of shape {slope} for an input of shape {data}"


def _axes_from_the_front(node: Node) -> str:
    axes = node.attributes["axes"]
    return f"negative axes {axes}" if min(axes) < 0 else ""


def _one_axis(node: Node) -> str:
    """Caffe2 slices along one axis; a negative one corrupts its memory."""
    axes = node.attributes["axes"]
    return "" if len(axes) == 1 and axes[0] >= 0 else f"axes {axes}"


def _image_padding(node: Node) -> str:
    match node.attributes["pads"]:
        case [0, 0, top, left, 0, 0, bottom, right] if min(top, left, bottom, right) >= 0:
            return ""
        case pads:
            return f"pads {pads}: only height and width can be padded"


def _axis_0_or_1(node: Node) -> str:
    axis = node.attributes.get("axis", 0)
    return "" if axis in (0, 1) else f"axis {axis}"


def _nearest(node: Node) -> str:
    """Caffe2 takes no notice of `mode`."""
    mode = node.attributes.get("mode", "nearest")
    return "" if mode == "nearest" else f"mode {mode}"


_PLAIN = Operator()
_WINDOW = ("kernel_shape", "pads", "strides", "auto_pad")
_REDUCE = Operator(("axes", "keepdims"))
_ALIKE = Operator(refusal=_same_shapes)
_SOME_AXES = Operator(("axes",), ("axes",), _axes_from_the_front)

#: Every operator of opset 9 that may be in a file for Caffe2, and how it may be used.
OPERATORS: Mapping[str, Operator] = {
    "Conv": Operator((*_WINDOW, "dilations", "group"), ("kernel_shape",), _default_padding),
    "MaxPool": Operator(_WINDOW, ("kernel_shape",), _default_padding),
    "AveragePool": Operator((*_WINDOW, "count_include_pad"), ("kernel_shape",), _default_padding),
    "GlobalAveragePool": _PLAIN,
    "GlobalMaxPool": _PLAIN,
    "BatchNormalization": Operator(("epsilon", "momentum")),
    "InstanceNormalization": Operator(("epsilon",)),
    # where they are left out, Caffe2 has other values for alpha and beta than ONNX
    "LRN": Operator(("size", "alpha", "beta", "bias"), ("size", "alpha", "beta")),
    "Gemm": Operator(("alpha", "beta", "transA", "transB")),
    "MatMul": _PLAIN,
    "Add": _PLAIN,
    "Sub": _PLAIN,
    "Mul": _PLAIN,
    "Div": _PLAIN,
    "Sum": _ALIKE,
    "Max": _ALIKE,
    "Min": _ALIKE,
    "ReduceMean": _REDUCE,
    "ReduceSum": _REDUCE,
    "ReduceMax": _REDUCE,
    "ReduceMin": _REDUCE,
    "Relu": _PLAIN,
    "Clip": Operator(("min", "max")),
    "LeakyRelu": Operator(("alpha",)),
    "PRelu": Operator(refusal=_slope_per_channel),
    "Elu": Operator(("alpha",)),
    "Selu": Operator(("alpha", "gamma")),
    "Sigmoid": _PLAIN,
    "HardSigmoid": Operator(("alpha", "beta")),
    "Tanh": _PLAIN,
    "Softplus": _PLAIN,
    "Erf": _PLAIN,
    "Exp": _PLAIN,
    "Log": _PLAIN,
    "Sqrt": _PLAIN,
    "Abs": _PLAIN,
    "Neg": _PLAIN,
    "Softmax": Operator(("axis",)),
    "LogSoftmax": Operator(("axis",)),
    "Reshape": _PLAIN,
    "Flatten": Operator(("axis",)),
    "Transpose": Operator(("perm",)),
    "Squeeze": _SOME_AXES,
    "Unsqueeze": _SOME_AXES,
    "Concat": Operator(("axis",)),
    "Split": Operator(("axis", "split")),
    "Slice": Operator(("axes", "starts", "ends"), ("axes",), _one_axis),
    "Gather": Operator(("axis",), refusal=_axis_0_or_1),
    "Pad": Operator(("mode", "pads", "value"), ("pads",), _image_padding),
    "Upsample": Operator(("mode",), refusal=_nearest),
    "Identity": _PLAIN,
    "Dropout": Operator(("ratio",)),
    "Constant": Operator(("value",)),
}


def refusals(model: onnx.ModelProto) -> list[str]:
    """Why Caffe2 cannot take `model`, each reason once; none if it can."""
    import onnx

    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(opsets.items()))
        return [f"its operators are of opset {found}, Caffe2 takes ai.onnx {OPSET} only"]
    reasons = []
    graph = model.graph
    filled = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in filled]
    for what, ports in (("inputs", inputs), ("outputs", list(graph.output))):
        if len(ports) != 1:
            reasons.append(f"it has {len(ports)} {what}; one is supported")
    for port in inputs:
        kind = port.type.tensor_type
        if kind.elem_type != onnx.TensorProto.FLOAT or any(size.dim_value < 1 for size in kind.shape.dim):
            reasons.append(f"its input {port.name!r} is not a float32 tensor of a fixed shape")
    shapes = _shapes(model)
    for proto in graph.node:
        node = Node(
            proto.op_type,
            {attribute.name: _value(attribute) for attribute in proto.attribute},
            tuple(shapes.get(name) for name in proto.input),
        )
        reasons += _refusals_of_node(node)
    return list(dict.fromkeys(reasons))


def _refusals_of_node(node: Node) -> list[str]:
    operator = OPERATORS.get(node.op)
    if operator is None:
        return [f"Caffe2 cannot take the operator {node.op}"]
    unknown = [f"{node.op} with {name}" for name in node.attributes if name not in operator.attributes]
    absent = [f"{node.op} without {name}" for name in operator.required if name not in node.attributes]
    wrong = unknown + absent
    if not wrong and (refusal := operator.refusal(node)):
        wrong.append(f"{node.op} with {refusal}")
    return [f"Caffe2 cannot take {what}" for what in wrong]


def _value(attribute: onnx.AttributeProto) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor whose shape is fixed and can be found."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for port in (*graph.input, *graph.output, *graph.value_info):
        kind = port.type.tensor_type
        if kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim):
            found[port.name] = tuple(size.dim_value for size in kind.shape.dim)
    return found
