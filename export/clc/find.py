"""Finding channel local convolution blocks in an ONNX graph by what they compute, whatever its nodes are called.

A block is a grouped 3x3 convolution, an interlacing of its channels (or none), and a 1x1 convolution (clcNet paper,
section 3.2), with BatchNorms and activations where the paper has them, or folded away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

#: A dense 3x3 convolution may begin a chain when it has no more input channels than this: the network's first.
MOST_CHANNELS_OF_AN_IMAGE = 4

#: Nodes that only move values: between the two convolutions they may interlace channels.
_MOVES = ("Reshape", "Transpose", "Gather", "Flatten", "Squeeze", "Unsqueeze", "Identity")


@dataclass(frozen=True)
class Convolution:
    """Weights (C_out, C_in / groups, kH, kW), bias (C_out), BatchNorms folded into both."""

    weights: Floats
    bias: Floats
    groups: int
    stride: int = 1

    @property
    def c_in(self) -> int:
        return int(self.weights.shape[1]) * self.groups

    @property
    def c_out(self) -> int:
        return int(self.weights.shape[0])

    def scaled(self, scale: Floats, shift: Floats) -> Convolution:
        """This, followed by `scale * x + shift`, both (C_out)."""
        weights = self.weights * scale.reshape(-1, 1, 1, 1)
        return replace(self, weights=weights.astype(np.float32), bias=(self.bias * scale + shift).astype(np.float32))


@dataclass(frozen=True)
class Block:
    """A CLC block; with `pointwise` None a dense 3x3 convolution alone, the first of a network.

    `interlaced`: between the two convolutions channel j of group i becomes channel j * g1 + i (figure 5b); else
    channels stay where they are. `input` and `output` are names of tensors (N, C, H, W); `output_shape` is the
    latter's. `nodes` are the positions in the graph of all that the block replaces.
    """

    filter: Convolution
    pointwise: Convolution | None
    interlaced: bool
    relu_between: bool
    relu: bool
    input: str
    output: str
    middle_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    nodes: tuple[int, ...]

    @property
    def receptive_field(self) -> int:
        """Input channels per group of the 3x3 convolution."""
        return self.filter.c_in // self.filter.groups

    @property
    def fields(self) -> int:
        """Output channels per group of the 3x3 convolution."""
        return self.filter.c_out // self.filter.groups


def interlacing(channels: int, groups: int) -> NDArray[np.int64]:
    """For each channel after interlacing, where it was before: channel j of group i becomes j * groups + i."""
    return np.arange(channels).reshape(groups, channels // groups).T.reshape(-1)


def find(model: onnx.ModelProto, *, separable: bool = False) -> list[Block]:
    """The CLC blocks of `model`, in the graph's order; their nodes are used by nothing else.

    A 3x3 convolution counts when it is grouped, but not depthwise: for those every runtime has a kernel. With
    `separable` only depthwise ones count: a depthwise separable block is a CLC block too (section 3.1).
    """
    graph = _Graph(model)
    found = (_block(graph, position, separable) for position in graph.of_kind("Conv"))
    return [block for block in found if block is not None]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names of all tensors that a node reads, its branches' (If, Loop) too."""
    yield from node.input
    for attribute in node.attribute:
        for branch in (attribute.g, *attribute.graphs):
            yield from (port.name for port in branch.output)
            for inner in branch.node:
                yield from reads(inner)


@dataclass(frozen=True)
class Head:
    """A global average pool of a chain's output, (N, C, 1, 1), and, if `weights` are given, a linear layer on it.

    `weights` (classes, C), `bias` (classes); `output` is then (N, classes). `nodes` are the positions of all of it.
    """

    output: str
    nodes: tuple[int, ...]
    weights: Floats | None = None
    bias: Floats | None = None


@dataclass(frozen=True)
class Chain:
    """Blocks of which each one's output is the next one's input and nothing else's; `head`: all that reads the last."""

    blocks: tuple[Block, ...]
    head: Head | None = None

    @property
    def output(self) -> str:
        """The last block's."""
        return self.blocks[-1].output

    @property
    def nodes(self) -> tuple[int, ...]:
        """The positions in the graph of all that the blocks replace."""
        return tuple(position for block in self.blocks for position in block.nodes)


def chains(model: onnx.ModelProto, *, separable: bool = False) -> list[Chain]:
    """The blocks of `find`, put together.

    A dense 3x3 convolution of an image begins a chain where it comes right before a block.
    """
    graph = _Graph(model)
    blocks = find(model, separable=separable)
    before = {block.output: block for block in blocks}
    following = {block.input: block for block in blocks}
    found = []
    for block in blocks:
        if block.input in before and graph.only_reader(block.input) is not None:
            continue  # it is in a chain already
        chain = [block]
        while (after := following.get(chain[-1].output)) is not None and graph.only_reader(after.input) is not None:
            chain.append(after)
        stem = _stem(graph, block.input)
        blocks_of_chain = (stem, *chain) if stem is not None else tuple(chain)
        found.append(Chain(blocks_of_chain, _head(graph, chain[-1].output)))
    return found


# --- the graph ----------------------------------------------------------------------------------------


@dataclass
class _Graph:
    """A model's graph, with what is asked of it at hand."""

    model: onnx.ModelProto
    nodes: list[onnx.NodeProto] = field(init=False)
    constants: dict[str, NDArray[Any]] = field(init=False)
    shapes: dict[str, tuple[int, ...]] = field(init=False)  # of tensors whose every size is known
    maker: dict[str, int] = field(init=False)
    readers: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        from onnx import numpy_helper, shape_inference

        graph = shape_inference.infer_shapes(self.model).graph
        self.nodes = list(graph.node)
        given = {port.name for port in graph.input}  # an initializer among them is only a default
        tensors = [tensor for tensor in graph.initializer if tensor.name not in given]
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:  # PyTorch stores equal ones once
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.shapes = {}
        for port in [*graph.input, *graph.value_info, *graph.output]:
            sizes = [size.dim_value for size in port.type.tensor_type.shape.dim]
            if all(size > 0 for size in sizes):
                self.shapes[port.name] = tuple(sizes)
        self.maker = {name: position for position, node in enumerate(self.nodes) for name in node.output}
        self.readers = {port.name: [-1] for port in graph.output}  # whoever runs the model reads them
        for position, node in enumerate(self.nodes):
            for name in reads(node):
                self.readers.setdefault(name, []).append(position)

    def of_kind(self, op_type: str) -> Iterator[int]:
        return (position for position, node in enumerate(self.nodes) if node.op_type == op_type)

    def only_reader(self, name: str) -> int | None:
        """The position of the one node that reads a tensor; None for none, several, or the model's own output."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0] >= 0 else None

    def next(self, position: int) -> int | None:
        """The one node that reads what the node at `position` makes."""
        return self.only_reader(self.nodes[position].output[0])

    def constant_inputs(self, position: int) -> list[NDArray[Any]] | None:
        """All inputs but the first; None if one is not constant."""
        names = [name for name in self.nodes[position].input[1:] if name]
        values = [self.constants.get(name) for name in names]
        return None if any(value is None for value in values) else [value for value in values if value is not None]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


# --- what a block is made of --------------------------------------------------------------------------


def _convolution(graph: _Graph, position: int, kernel: int) -> Convolution | None:
    """The convolution at `position`, if it is one of this size, square stride, "same" padding and constant weights."""
    node = graph.nodes[position]
    constants = graph.constant_inputs(position)
    if node.op_type != "Conv" or not constants or node.input[0] not in graph.shapes:
        return None
    weights = constants[0].astype(np.float32)
    attributes = _attributes(node)
    strides = list(attributes.get("strides", [1, 1]))
    padding = [kernel // 2] * 4
    if (
        weights.shape[2:] != (kernel, kernel)
        or list(attributes.get("pads", [0] * 4)) != padding
        or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
        or any(dilation != 1 for dilation in attributes.get("dilations", []))
        or len(set(strides)) != 1
    ):
        return None
    bias = constants[1] if len(constants) > 1 else np.zeros(weights.shape[0])
    return Convolution(weights, bias.astype(np.float32), int(attributes.get("group", 1)), int(strides[0]))


def _scale_and_shift(graph: _Graph, position: int) -> tuple[Floats, Floats] | None:
    """What the BatchNorm at `position` multiplies each channel with, and adds; None where it is none."""
    node, constants = graph.nodes[position], graph.constant_inputs(position)
    if node.op_type != "BatchNormalization" or constants is None or len(constants) != 4:  # noqa: PLR2004
        return None
    gamma, beta, mean, variance = (value.astype(np.float64) for value in constants)
    scale = gamma / np.sqrt(variance + float(_attributes(node).get("epsilon", 1e-5)))
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)


def _followed(graph: _Graph, position: int, convolution: Convolution) -> tuple[Convolution, bool, list[int]]:
    """`convolution` with the BatchNorm that follows, whether a ReLU does too, and the positions of all."""
    nodes = [position]
    while (after := graph.next(nodes[-1])) is not None and (affine := _scale_and_shift(graph, after)) is not None:
        convolution = convolution.scaled(*affine)
        nodes.append(after)
    after = graph.next(nodes[-1])
    relu = after is not None and graph.nodes[after].op_type == "Relu"
    return convolution, relu, [*nodes, after] if relu and after is not None else nodes


def _stem(graph: _Graph, output: str) -> Block | None:
    """The dense 3x3 convolution of an image that makes `output` for one reader, if that is what does."""
    position = graph.maker.get(output)
    if position is None or graph.only_reader(output) is None:
        return None
    while graph.nodes[position].op_type in ("Relu", "BatchNormalization"):
        before = graph.maker.get(graph.nodes[position].input[0])
        if before is None or graph.next(before) != position:
            return None
        position = before
    convolution = _convolution(graph, position, kernel=3)
    if convolution is None or convolution.groups != 1 or convolution.c_in > MOST_CHANNELS_OF_AN_IMAGE:
        return None
    convolution, relu, nodes = _followed(graph, position, convolution)
    if graph.nodes[nodes[-1]].output[0] != output or output not in graph.shapes:
        return None
    shape = graph.shapes[output]
    source = graph.nodes[position].input[0]
    return Block(convolution, None, False, False, relu, source, output, shape, shape, tuple(nodes))


def _head(graph: _Graph, name: str) -> Head | None:
    """The global average pool, with a linear layer behind it or without, that is all that reads the tensor `name`."""
    pool = graph.only_reader(name)
    if pool is None or graph.nodes[pool].op_type != "GlobalAveragePool":
        return None
    alone = Head(graph.nodes[pool].output[0], (pool,))
    flat = graph.next(pool)
    if flat is None or not _flattens(graph, flat):
        return alone
    linear = graph.next(flat)
    if linear is None or graph.nodes[linear].op_type != "Gemm":
        return alone
    attributes, constants = _attributes(graph.nodes[linear]), graph.constant_inputs(linear)
    plain = attributes.get("alpha", 1) == attributes.get("beta", 1) == 1 and not attributes.get("transA", 0)
    if not plain or not constants or graph.nodes[linear].input[0] != graph.nodes[flat].output[0]:
        return alone
    weights = constants[0] if attributes.get("transB", 0) else constants[0].T
    bias = constants[1].reshape(-1) if len(constants) > 1 else np.zeros(len(weights))
    if weights.dtype != np.float32 or bias.shape != weights.shape[:1]:
        return alone
    return Head(graph.nodes[linear].output[0], (pool, flat, linear), weights, bias.astype(np.float32))


def _flattens(graph: _Graph, position: int) -> bool:
    """Whether the node makes (N, C) of (N, C, 1, 1)."""
    node = graph.nodes[position]
    before, after = graph.shapes.get(node.input[0]), graph.shapes.get(node.output[0])
    known = node.op_type in ("Flatten", "Reshape", "Squeeze") and before is not None
    return known and before is not None and before[2:] == (1, 1) and after == before[:2]


def _block(graph: _Graph, position: int, separable: bool) -> Block | None:
    """The block that begins with the node at `position`, if one does."""
    convolution = _convolution(graph, position, kernel=3)
    if convolution is None or convolution.groups == 1 or (convolution.groups == convolution.c_in) != separable:
        return None
    middle_shape = graph.shapes.get(graph.nodes[position].output[0])
    if middle_shape is None:
        return None
    between = _between(graph, position, convolution, middle_shape)
    if between is None:
        return None
    convolution, order, relu_between, nodes, end = between
    straight = np.arange(convolution.c_out)
    crossed = interlacing(convolution.c_out, convolution.groups)
    pointwise = _convolution(graph, end, kernel=1)
    if pointwise is None or pointwise.stride != 1 or not any(np.array_equal(order, it) for it in (straight, crossed)):
        return None
    pointwise, relu, last_nodes = _followed(graph, end, pointwise)
    output = graph.nodes[last_nodes[-1]].output[0]
    if output not in graph.shapes:
        return None
    return Block(
        filter=convolution,
        pointwise=pointwise,
        interlaced=not np.array_equal(order, straight),
        relu_between=relu_between,
        relu=relu,
        input=graph.nodes[position].input[0],
        output=output,
        middle_shape=middle_shape,
        output_shape=graph.shapes[output],
        nodes=(*nodes, *last_nodes),
    )


def _between(
    graph: _Graph, position: int, convolution: Convolution, shape: tuple[int, ...]
) -> tuple[Convolution, NDArray[np.int64], bool, list[int], int] | None:
    """What lies between a 3x3 convolution and the next one, if that is no more than a block may have.

    Gives the convolution with BatchNorms folded in; for each channel that the next convolution reads, which one of
    the first it is; whether there is a ReLU; the positions of the nodes; and that of the next convolution.
    """
    order = np.arange(convolution.c_out)
    relu, nodes, moves = False, [position], list[int]()
    while (after := graph.next(nodes[-1])) is not None:
        node = graph.nodes[after]
        if node.op_type in _MOVES and node.input[0] == graph.nodes[nodes[-1]].output[0]:
            moves.append(after)
        else:
            if moves:
                moved = _moved_channels(graph, moves, shape)
                if moved is None:
                    return None
                order, moves = order[moved], []
            affine = _scale_and_shift(graph, after)
            if node.op_type == "Conv":
                return convolution, order, relu, nodes, after
            if node.op_type == "Relu":
                relu = True
            elif affine is not None and not relu:
                unmoved = np.argsort(order)  # the BatchNorm's channels in the order of the convolution's
                convolution = convolution.scaled(affine[0][unmoved], affine[1][unmoved])
            else:
                return None
        nodes.append(after)
    return None


def _moved_channels(graph: _Graph, moves: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Which channel each channel was before `moves`; None if they do more than to move whole channels.

    Found by sending numbers through them, so that it does not matter how the moves are written.
    """
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    nodes = [graph.nodes[position] for position in moves]
    source, target = nodes[0].input[0], nodes[-1].output[0]
    constants = {name for node in nodes for name in node.input[1:] if name}
    if not constants <= graph.constants.keys():
        return None
    body = helper.make_graph(
        nodes,
        "moves",
        [helper.make_tensor_value_info(source, TensorProto.INT64, shape)],
        [helper.make_tensor_value_info(target, TensorProto.INT64, None)],
        [numpy_helper.from_array(graph.constants[name], name) for name in sorted(constants)],
    )
    model = helper.make_model(body, opset_imports=graph.model.opset_import)
    numbers = np.arange(np.prod(shape)).reshape(shape)
    moved = next(iter(ReferenceEvaluator(model).run(None, {source: numbers})))
    if not isinstance(moved, np.ndarray) or moved.shape != shape:
        return None
    order: NDArray[np.int64] = moved[0, :, 0, 0] // int(np.prod(shape[2:]))
    return order if np.array_equal(moved, numbers[:, order]) and len(set(order)) == len(order) else None
