"""The interlaced grouped convolution three ways (clcNet paper, section 4.2), as rewrites of an ONNX graph.

- `grouped`: a grouped convolution, then its channels interlaced, as the paper ran it: one Transpose a block, and
  nothing else that moves data.
- `depthwise`: what the paper suggests for TensorFlow, in standard operators: for groups of two channels, sums of
  depthwise convolutions. The permutations are folded into the weights before and after.
- `fused`: chains of blocks as one operator, tenpass.ChannelLocalChain (device/runner/clc/README.md), which reads the
  channels that it needs where they lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from export.clc import find
from export.clc.find import Block, Chain, Convolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

#: The operator of `fused`, and its domain with its version.
OPERATOR, DOMAIN, DOMAIN_VERSION = "ChannelLocalChain", "tenpass", 1


class IgcError(Exception):
    """A graph cannot be written this way; the message names the block and says why."""


def rewrite(model: onnx.ModelProto, igc: str, *, separable: bool = False) -> onnx.ModelProto:
    """`model` with each of its CLC blocks written the way `igc`, one of `export.artifact.IGC`, says.

    It is as it was where it has none. `separable` is that of `clc_blocks.find`. Raises IgcError for a block that
    cannot be written that way.
    """
    from onnx import helper

    write = {"grouped": _grouped, "depthwise": _depthwise, "fused": _fused}[igc]
    made: dict[int, list[onnx.NodeProto]] = {}  # by the position of the last node that they replace
    replaced: set[int] = set()
    written = type(model)()
    written.CopyFrom(model)
    taken = {name for node in model.graph.node for name in node.output} | {it.name for it in model.graph.initializer}
    for chain in find.chains(model, separable=separable):
        emitter = _Emitter(written.graph, _unused(f"{chain.output}/{igc}", taken))
        write(chain, emitter)
        gone = {*chain.nodes, *(chain.head.nodes if igc == "fused" and chain.head is not None else ())}
        made[max(gone)] = emitter.nodes
        replaced |= gone
    if not made:
        return written
    nodes = []
    for position, node in enumerate(model.graph.node):
        if position not in replaced:
            nodes.append(node)
        nodes += made.get(position, [])
    del written.graph.node[:]
    written.graph.node.extend(nodes)
    _drop_what_nothing_reads(written.graph)
    if igc == "fused" and all(opset.domain != DOMAIN for opset in written.opset_import):
        written.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return written


def _unused(prefix: str, names: Iterable[str]) -> str:
    """`prefix`, or as many more dashes as it takes that none of `names` begins with it: a graph rewritten again."""
    while any(name.startswith(f"{prefix}/") for name in names):
        prefix += "-"
    return prefix


def rewrite_file(source: Path, target: Path, igc: str | None, *, separable: bool = False) -> None:
    """Writes the model `source` to `target`, its CLC blocks the way `igc` says; unchanged for None.

    `separable` is that of `clc_blocks.find`. Raises IgcError, also when `igc` is given and no CLC block is found.
    """
    import onnx

    if igc is None:
        target.write_bytes(source.read_bytes())
        return
    model = onnx.load(source)
    if not find.find(model, separable=separable):
        raise IgcError("no channel local convolution block is found in it")
    rewritten = rewrite(model, igc, separable=separable)
    onnx.checker.check_model(rewritten)
    onnx.save(rewritten, target)


def operators_for(model: Path) -> Path | None:
    """The library with the operator that the ONNX file `model` needs beyond ONNX's; None where it needs none.

    Raises ToolchainError when it cannot be compiled.
    """
    import onnx

    from toolchain import clc

    domains = {opset.domain for opset in onnx.load(model, load_external_data=False).opset_import}
    return clc.library() if DOMAIN in domains else None


@dataclass
class _Emitter:
    """Collects new nodes, and puts their constants into the graph."""

    graph: onnx.GraphProto
    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: int = 0

    def node(self, kind: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """A node of one output, whose name is given back: `output`, or a new one."""
        from onnx import helper

        name = output or f"{self.prefix}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"{self.prefix}/constant {self.constants}"
        self.constants += 1
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def convolution(self, source: str, convolution: Convolution, relu: bool, output: str = "") -> str:
        kernel = list(convolution.weights.shape[2:])
        made = self.node(
            "Conv",
            [source, self.constant(convolution.weights), self.constant(convolution.bias)],
            output="" if relu else output,
            kernel_shape=kernel,
            pads=[size // 2 for size in kernel] * 2,
            strides=[convolution.stride] * 2,
            group=convolution.groups,
        )
        return self.node("Relu", [made], output=output) if relu else made


# --- grouped ------------------------------------------------------------------------------------------


def _grouped(chain: Chain, emit: _Emitter) -> None:
    for block in chain.blocks:
        if block.pointwise is None:
            emit.convolution(block.input, block.filter, block.relu, block.output)
            continue
        filtered = emit.convolution(block.input, block.filter, block.relu_between)
        if block.interlaced:
            n, c, h, w = block.middle_shape
            apart = np.array(
                [n, block.filter.groups, block.fields, h * w]
            )  # four dimensions: mobile runtimes stop there
            filtered = emit.node("Reshape", [filtered, emit.constant(apart)])
            filtered = emit.node("Transpose", [filtered], perm=[0, 2, 1, 3])
            filtered = emit.node("Reshape", [filtered, emit.constant(np.array([n, c, h, w]))])
        emit.convolution(filtered, block.pointwise, block.relu, block.output)


# --- depthwise ----------------------------------------------------------------------------------------


def _depthwise(chain: Chain, emit: _Emitter) -> None:
    """A block's input is kept in two tensors: the first channel of each group, and the second.

    Field j of the IGC is then the sum of two depthwise convolutions, one of each, and the fields one after the other
    are the interlaced order. The convolution before makes the two tensors, each with half of its weights.
    """
    halves: tuple[str, str] | None = None
    for position, block in enumerate(chain.blocks):
        last = position + 1 == len(chain.blocks)
        if block.pointwise is None:
            source, convolution = block.input, block.filter
        else:
            _require_depthwise(block, last)
            halves = halves or _apart(block.input, block.filter.c_in, emit)
            source, convolution = _fields(block, halves, emit), block.pointwise
        if last:
            emit.convolution(source, convolution, block.relu, block.output)
        else:
            first, second = (_rows(convolution, parity) for parity in (0, 1))
            halves = (emit.convolution(source, first, block.relu), emit.convolution(source, second, block.relu))


def _require_depthwise(block: Block, last: bool) -> None:
    reason = ""
    if block.receptive_field != 2:  # noqa: PLR2004
        reason = f"its groups have {block.receptive_field} input channels, and only two can be split this way"
    elif not block.interlaced and block.fields > 1:  # one field is interlaced as it is
        reason = "its channels are not interlaced"
    elif block.pointwise is not None and not last and block.pointwise.c_out // block.pointwise.groups % 2:
        reason = "a group of its 1x1 convolution has an odd number of output channels"
    if reason:
        raise IgcError(f"the block that ends in {block.output!r} cannot be written as depthwise convolutions: {reason}")


def _apart(source: str, channels: int, emit: _Emitter) -> tuple[str, str]:
    """The even and the odd channels of what no convolution of the chain made."""
    orders = (np.arange(parity, channels, 2) for parity in (0, 1))
    # not Slice, which has no steps before opset 10
    first, second = (emit.node("Gather", [source, emit.constant(order)], axis=1) for order in orders)
    return first, second


def _rows(convolution: Convolution, parity: int) -> Convolution:
    """The output channels of that parity; as many of each group."""
    return replace(convolution, weights=convolution.weights[parity::2], bias=convolution.bias[parity::2])


def _fields(block: Block, halves: tuple[str, str], emit: _Emitter) -> str:
    """The 3x3 convolution of a block, interlaced."""
    groups = block.filter.groups
    weights = block.filter.weights.reshape(groups, block.fields, 2, 1, 3, 3)
    biases = block.filter.bias.reshape(groups, block.fields)

    def summand(number: int, half: int) -> str:
        bias = biases[:, number] if half == 0 else np.zeros(groups, np.float32)
        convolution = Convolution(weights[:, number, half], bias, groups, block.filter.stride)
        return emit.convolution(halves[half], convolution, relu=False)

    fields = [emit.node("Add", [summand(number, 0), summand(number, 1)]) for number in range(block.fields)]
    joined = emit.node("Concat", fields, axis=1) if len(fields) > 1 else fields[0]
    return emit.node("Relu", [joined]) if block.relu_between else joined


# --- fused --------------------------------------------------------------------------------------------


def _fused(chain: Chain, emit: _Emitter) -> None:
    inputs = [chain.blocks[0].input]
    for block in chain.blocks:
        for convolution in (block.filter, block.pointwise):
            if convolution is not None:
                inputs += [emit.constant(convolution.weights), emit.constant(convolution.bias)]

    head = chain.head
    has_linear = head is not None and head.weights is not None
    if head is not None and head.weights is not None and head.bias is not None:
        inputs += [emit.constant(head.weights), emit.constant(head.bias)]

    def each(value: Callable[[Block], int]) -> list[int]:
        return [int(value(block)) for block in chain.blocks]

    emit.node(
        OPERATOR,
        inputs,
        output=head.output if head is not None else chain.output,
        domain=DOMAIN,
        groups_3x3=each(lambda block: block.filter.groups),
        groups_1x1=each(lambda block: block.pointwise.groups if block.pointwise else 0),
        strides=each(lambda block: block.filter.stride),
        interlaced=each(lambda block: block.interlaced),
        relu_between=each(lambda block: block.relu_between),
        relu=each(lambda block: block.relu),
        averaged=int(head is not None),
        linear=int(has_linear),
    )


# --- what is left over --------------------------------------------------------------------------------


def _drop_what_nothing_reads(graph: onnx.GraphProto) -> None:
    """Constants of nodes that are gone, and the shapes of tensors that are."""
    shown = {port.name for port in graph.output}

    def used() -> set[str]:
        return {name for node in graph.node for name in find.reads(node)} | shown

    read = used()
    _keep(graph.node, lambda node: node.op_type not in ("Constant", "Identity") or bool({*node.output} & read))
    read = used()
    made = {name for node in graph.node for name in node.output}
    _keep(graph.initializer, lambda tensor: tensor.name in read)
    _keep(graph.value_info, lambda port: port.name in made)


def _keep(items: Any, wanted: Callable[[Any], bool]) -> None:
    """Removes from a list of the graph what is not wanted."""
    kept = [item for item in items if wanted(item)]
    del items[:]
    items.extend(kept)
