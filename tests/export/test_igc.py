"""Interlaced grouped convolutions three ways: which blocks are found in a graph, and what each way makes of them."""

from __future__ import annotations

import os
import random
import string
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from math import gcd, prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from commands import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.artifact import IGC, ExportError, read_artifact
from export.caffe2.formats import AS_CONVERTED, DEPTHWISE
from export.clc import find
from export.clc import rewrite as igc
from export.clc.rewrite import DOMAIN, OPERATOR, IgcError, rewrite
from export.onnx.simplify import simplify
from export.onnx.to_onnx import to_onnx
from export.pipeline import ExportOptions, export_model
from export.verify import deviation, run_onnx
from harness.cli import export as export_command
from harness.record import journal
from harness.record.errors import EXIT_OK, EXIT_USAGE
from harness.run import main as measure_command
from models import cost, registry, weights
from models.clcnet import Interlace
from models.probe import one_thread
from toolchain import clc
from toolchain.paths import REPOSITORY

TINY = registry.get("clcnet-tiny")
TOLERANCE = 1e-4  # of an output's spread

Floats = NDArray[np.float32]

every_way = pytest.mark.parametrize("way", IGC)
some_examples = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """PyTorch on one thread, so that tests do not wait for cores that other processes keep busy."""
    with one_thread():
        yield


@pytest.fixture(autouse=True, scope="module")
def library_made_once() -> Iterator[None]:
    """Whether it is up to date is asked once, not for each session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clc, "library", cache(clc.library))
        yield


# Blocks as PyTorch has them


class Interlaced(nn.Module):
    """An interlacing as people write it."""

    order: Tensor

    def __init__(self, groups: int, channels: int, writing: str) -> None:
        super().__init__()
        self.groups, self.writing = groups, writing
        self.register_buffer("order", torch.arange(channels).reshape(groups, channels // groups).T.reshape(-1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if self.writing == "5-D":
            return x.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        if self.writing == "4-D":
            return x.view(n, self.groups, c // self.groups, h * w).transpose(1, 2).reshape(n, c, h, w)
        if self.writing == "index_select":
            return torch.index_select(x, 1, self.order)
        return x[:, self.order]


WRITINGS = ("5-D", "4-D", "index_select", "indexing")


@dataclass(frozen=True)
class General:
    """A CLC block with any channels: M to L in g1 groups, interlaced, to N in g2."""

    m: int
    l: int  # noqa: E741 (the paper's letter)
    n: int
    g1: int
    g2: int
    stride: int = 1
    writing: str | None = "4-D"  # None: not interlaced
    norms: frozenset[str] = frozenset()  # of "before" the interlacing, "after" it, "last"
    bias: bool = True
    relu_between: bool = False
    relu: bool = True

    @property
    def interlaces(self) -> bool:
        """Whether a channel comes to another place: fields of one channel stay where they are."""
        return self.writing is not None and self.l > self.g1

    def layers(self) -> list[nn.Module]:
        found: list[nn.Module] = [
            nn.Conv2d(self.m, self.l, 3, self.stride, padding=1, groups=self.g1, bias=self.bias),
        ]
        found += [nn.BatchNorm2d(self.l)] if "before" in self.norms else []
        found += [Interlaced(self.g1, self.l, self.writing)] if self.writing else []
        found += [nn.BatchNorm2d(self.l)] if "after" in self.norms else []
        found += [nn.ReLU()] if self.relu_between else []
        found += [nn.Conv2d(self.l, self.n, 1, groups=self.g2, bias=self.bias)]
        found += [nn.BatchNorm2d(self.n)] if "last" in self.norms else []
        return found + ([nn.ReLU()] if self.relu else [])


def eventful(module: nn.Module, seed: int = 0) -> nn.Module:
    """`module` for evaluation, its BatchNorms as if trained: no two statistics are alike."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert tensor is not None
                tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return module.eval()


def noise(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def by_pytorch(module: nn.Module, x: Floats) -> Floats:
    with torch.inference_mode():
        y: Floats = module(torch.from_numpy(x)).numpy()
    return y


def to_model(module: nn.Module, shape: Sequence[int], opset: int = 17, simplified: bool = False) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(module, shape, path, opset)
        if simplified:
            simplify(path, path)
        return onnx.load(path)


def run(model: onnx.ModelProto, x: Floats) -> Floats:
    with tempfile.TemporaryDirectory() as folder:
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, Path(folder) / "model.onnx")
        return run_onnx(Path(folder) / "model.onnx", x)


def close(output: Floats, reference: Floats) -> bool:
    """Alike within TOLERANCE of the spread; a reference of almost nothing is measured at what activations are like."""
    assert output.shape == reference.shape
    spread = max(np.ptp(reference), np.abs(reference).max(), 0.1)
    return bool(np.abs(output - reference).max() <= TOLERANCE * spread)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def with_other_names(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """`model`, its nodes and tensors called by random letters."""
    rng = random.Random(seed)
    names: dict[str, str] = {"": ""}

    def other(name: str) -> str:
        if name not in names:
            names[name] = f"{len(names)}{''.join(rng.choices(string.printable.strip(), k=9))}"
        return names[name]

    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    graph = renamed.graph
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        named.name = other(named.name)
    for node in graph.node:
        node.name = other(f"node {node.name}")
        node.input[:] = [other(name) for name in node.input]
        node.output[:] = [other(name) for name in node.output]
    return renamed


@st.composite
def generals(draw: st.DrawFn) -> General:
    g1 = draw(st.integers(2, 6))
    l = g1 * draw(st.integers(1, 4))  # noqa: E741
    g2 = draw(st.sampled_from([divisor for divisor in range(1, l + 1) if l % divisor == 0]))
    return General(
        m=g1 * draw(st.integers(2, 4)),
        l=l,
        n=g2 * draw(st.integers(1, 3)),
        g1=g1,
        g2=g2,
        stride=draw(st.integers(1, 3)),
        writing=draw(st.sampled_from([*WRITINGS, None])),
        norms=draw(st.frozensets(st.sampled_from(["before", "after", "last"]))),
        bias=draw(st.booleans()),
        relu_between=draw(st.booleans()),
        relu=draw(st.booleans()),
    )


sizes = st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9))  # batch, height, width


# Which blocks are found


def assert_found(block: General, model: onnx.ModelProto) -> None:
    (found,) = find.find(model)
    assert found.pointwise is not None
    assert found.filter.weights.shape == (block.l, block.m // block.g1, 3, 3)
    assert found.pointwise.weights.shape == (block.n, block.l // block.g2, 1, 1)
    assert (found.filter.groups, found.pointwise.groups) == (block.g1, block.g2)
    assert (found.filter.stride, found.pointwise.stride) == (block.stride, 1)
    assert (found.interlaced, found.relu_between, found.relu) == (block.interlaces, block.relu_between, block.relu)


@given(generals(), sizes, st.sampled_from([9, 13, 17]), st.booleans(), st.integers(0, 9))
@some_examples
def test_a_block_is_found_however_it_is_written_and_whatever_its_nodes_are_called(
    block: General, size: tuple[int, int, int], opset: int, simplified: bool, seed: int
) -> None:
    module = eventful(nn.Sequential(*block.layers()), seed)
    n, h, w = size
    model = with_other_names(to_model(module, (n, block.m, h, w), opset, simplified), seed)
    assert_found(block, model)


@pytest.mark.parametrize("simplified", [False, True], ids=["raw", "simplified"])
@pytest.mark.parametrize("opset", [9, 13, 17])
@pytest.mark.parametrize("writing", WRITINGS)
def test_a_block_is_found_between_other_layers(writing: str, opset: int, simplified: bool) -> None:
    block = General(8, 12, 6, 4, 2, writing=writing, norms=frozenset({"after", "last"}))
    layers = [nn.Conv2d(3, 8, 5), nn.Sigmoid(), *block.layers(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, groups=1)]
    module = eventful(nn.Sequential(*layers))
    model = to_model(module, (1, 3, 14, 12), opset, simplified)
    assert_found(block, model)
    before, after = kinds(model), kinds(rewrite(model, "grouped"))
    for kind in ("Sigmoid", "MaxPool"):
        assert after[kind] == before[kind] == 1
    assert close(run(rewrite(model, "fused"), noise(1, 3, 14, 12)), by_pytorch(module, noise(1, 3, 14, 12)))


@pytest.mark.parametrize("opset", [9, 17])
def test_batch_norms_as_they_are_before_training_are_found_too(opset: int) -> None:
    """The exporter writes equal constants once, and reads them elsewhere through an Identity."""
    block = General(8, 12, 6, 4, 2, norms=frozenset({"before", "after", "last"}), bias=False)
    assert_found(block, to_model(nn.Sequential(*block.layers()), (1, 8, 5, 7), opset))


def test_several_blocks_that_follow_each_other_are_one_chain_with_the_first_convolution_and_the_pool() -> None:
    blocks = [General(8, 8, 8, 4, 2), General(8, 16, 12, 2, 4, stride=2)]
    stem = [nn.Conv2d(3, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    module = eventful(nn.Sequential(*stem, *blocks[0].layers(), *blocks[1].layers(), nn.AdaptiveAvgPool2d(1)))
    (chain,) = find.chains(to_model(module, (1, 3, 16, 16)))
    assert [block.pointwise is None for block in chain.blocks] == [True, False, False]
    assert chain.head is not None
    assert chain.head.weights is None
    assert chain.head.output == "output"


class Fork(nn.Module):
    """Two chains that part after the first block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = (nn.Sequential(*General(8, 8, 8, 4, 2).layers()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.left(x) + self.right(x)


@every_way
def test_a_chain_ends_where_two_read_its_output(way: str) -> None:
    model, x = to_model(eventful(module := Fork()), (1, 8, 6, 5)), noise(1, 8, 6, 5)
    assert [len(chain.blocks) for chain in find.chains(model)] == [1, 1, 1]
    assert close(run(rewrite(model, way), x), by_pytorch(module, x))


# Which are not


class Permuted(nn.Module):
    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order]


class Of(nn.Module):
    """A function of the input and layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


def igc_layer(**changes: Any) -> nn.Conv2d:
    options = {"padding": 1, "groups": 4} | changes
    return nn.Conv2d(8, 8, 3, **options)


def gc_layer(**changes: Any) -> nn.Conv2d:
    return nn.Conv2d(8, 6, 1, **({"groups": 2} | changes))


def in_turn(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def with_weights_of_the_input(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    return pointwise(Interlaced(4, 8, "4-D")(F.conv2d(x, filter_.weight * x.mean(), None, padding=1, groups=4)))


def with_pointwise_weights_of_the_input(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    return F.conv2d(Interlaced(4, 8, "4-D")(filter_(x)), pointwise.weight * x.mean(), None, groups=2)


def read_twice_before_interlacing(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    y = filter_(x)
    return pointwise(Interlaced(4, 8, "4-D")(y)) + y.mean()


def read_twice_after_interlacing(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    y = Interlaced(4, 8, "4-D")(filter_(x))
    return pointwise(y) + y.mean()


def shown_between(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> tuple[Tensor, Tensor]:
    y = filter_(x)
    return pointwise(Interlaced(4, 8, "4-D")(y)), y


def shown_after_interlacing(x: Tensor, filter_: nn.Conv2d, pointwise: nn.Conv2d) -> tuple[Tensor, Tensor]:
    y = Interlaced(4, 8, "4-D")(filter_(x))
    return pointwise(y), y


def height_for_width(x: Tensor) -> Tensor:
    return x.transpose(2, 3)


INTERLACE = Interlaced(4, 8, "4-D")
OTHER_ORDER = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])
NOT_BLOCKS = {
    "another permutation": in_turn(igc_layer(), Permuted(OTHER_ORDER), gc_layer()),
    "the interlacing of other groups": in_turn(igc_layer(), Interlaced(2, 8, "4-D"), gc_layer()),
    "channels left out": in_turn(igc_layer(), Permuted(torch.arange(0, 8, 2)), nn.Conv2d(4, 6, 1)),
    "a channel twice": in_turn(igc_layer(), Permuted(torch.tensor([0, 2, 4, 6, 1, 3, 5, 5])), gc_layer()),
    "interlaced, and height for width": in_turn(igc_layer(), INTERLACE, Of(height_for_width), gc_layer()),
    "a depthwise 3x3": in_turn(igc_layer(groups=8), Interlaced(8, 8, "4-D"), gc_layer()),
    "an ungrouped 3x3": in_turn(igc_layer(groups=1), gc_layer()),
    "dilation 2": in_turn(igc_layer(dilation=2, padding=2), INTERLACE, gc_layer()),
    "padding 0": in_turn(igc_layer(padding=0), INTERLACE, gc_layer()),
    "padding 2": in_turn(igc_layer(padding=2), INTERLACE, gc_layer()),
    "two strides": in_turn(igc_layer(stride=(1, 2)), INTERLACE, gc_layer()),
    "a 5x5": in_turn(nn.Conv2d(8, 8, 5, padding=2, groups=4), INTERLACE, gc_layer()),
    "a 3x3 for the 1x1": in_turn(igc_layer(), INTERLACE, nn.Conv2d(8, 6, 3, padding=1, groups=1)),
    "a 1x1 with stride 2": in_turn(igc_layer(), INTERLACE, gc_layer(stride=2)),
    "a 1x1 with padding": in_turn(igc_layer(), INTERLACE, gc_layer(padding=1)),
    "a BatchNorm after a ReLU": in_turn(igc_layer(), nn.ReLU(), INTERLACE, eventful(nn.BatchNorm2d(8)), gc_layer()),
    "another activation": in_turn(igc_layer(), INTERLACE, nn.Sigmoid(), gc_layer()),
    "weights that are computed": Of(with_weights_of_the_input, igc_layer(), gc_layer()),
    "1x1 weights that are computed": Of(with_pointwise_weights_of_the_input, igc_layer(), gc_layer()),
    "read twice before the interlacing": Of(read_twice_before_interlacing, igc_layer(), gc_layer()),
    "read twice after it": Of(read_twice_after_interlacing, igc_layer(), gc_layer()),
    "an output before the interlacing": Of(shown_between, igc_layer(), gc_layer()),
    "an output after it": Of(shown_after_interlacing, igc_layer(), gc_layer()),
}


@pytest.mark.parametrize("simplified", [False, True], ids=["raw", "simplified"])
@pytest.mark.parametrize("name", NOT_BLOCKS)
def test_what_is_no_block_is_not_found_and_is_left_alone(name: str, simplified: bool) -> None:
    model = to_model(NOT_BLOCKS[name], (1, 8, 6, 5), 17, simplified)
    assert find.find(model) == []
    for way in IGC:
        assert rewrite(model, way) == model


def test_an_interlacing_in_two_parts_with_a_batch_norm_between_them_is_one() -> None:
    first = torch.tensor([3, 0, 1, 2, 5, 7, 6, 4])
    second = torch.argsort(first)[Interlaced(4, 8, "4-D").order]
    parts = [Permuted(first), nn.BatchNorm2d(8), Permuted(second)]
    module, x = eventful(in_turn(igc_layer(), *parts, gc_layer(), nn.ReLU())), noise(1, 8, 6, 5)
    model = to_model(module, x.shape)
    assert_found(General(8, 8, 6, 4, 2), model)
    assert close(run(rewrite(model, "fused"), x), by_pytorch(module, x))


def test_without_what_is_wrong_with_them_they_would_be_found() -> None:
    assert len(find.find(to_model(in_turn(igc_layer(), INTERLACE, gc_layer()), (1, 8, 6, 5)))) == 1


def test_a_tensor_that_a_branch_reads_is_read() -> None:
    model = to_model(in_turn(igc_layer(), INTERLACE, gc_layer()), (1, 8, 6, 5))
    between = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    branch = helper.make_graph(
        [helper.make_node("Identity", [between], ["seen"])], "branch", [], [helper.make_empty_tensor_value_info("seen")]
    )
    position = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    choice = helper.make_node("If", ["always"], ["either"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(position + 1, choice)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "always"))
    model.graph.output.append(helper.make_tensor_value_info("either", TensorProto.FLOAT, (1, 8, 6, 5)))
    onnx.checker.check_model(model, full_check=True)
    assert find.find(model) == []


def test_an_initializer_that_can_be_given_with_the_input_is_no_constant() -> None:
    model = to_model(in_turn(igc_layer(), INTERLACE, gc_layer()), (1, 8, 6, 5))
    filter_ = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [8, 2, 3, 3])
    model.graph.input.append(helper.make_tensor_value_info(filter_.name, TensorProto.FLOAT, filter_.dims))
    assert find.find(model) == []


def test_a_batch_of_any_size_is_left_alone() -> None:
    model = to_model(in_turn(igc_layer(), INTERLACE, gc_layer()), (1, 8, 6, 5), 17, simplified=True)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
    assert find.find(model) == []


# What is written computes the same


@st.composite
def chains(draw: st.DrawFn, receptive_fields: Sequence[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """Up to four interlaced blocks, perhaps with a first convolution and a pool, and the shape of their input."""
    channels = draw(st.sampled_from([4, 8, 12]))
    layers: list[nn.Module] = []
    n, h, w = draw(sizes)
    shape = (n, channels, h, w)
    if draw(st.booleans()):
        layers = [nn.Conv2d(3, channels, 3, 2, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        shape = (n, 3, h, w)
    for _ in range(draw(st.integers(1, 4))):
        g1 = channels // draw(
            st.sampled_from([field for field in receptive_fields if channels % field == 0 and channels > field])
        )
        l = g1 * draw(st.integers(1, 3))  # noqa: E741
        out = draw(st.sampled_from([4, 8, 12]))
        g2s = [divisor for divisor in range(1, l + 1) if gcd(l, out) % divisor == 0 and out // divisor % 2 == 0]
        g2 = draw(st.sampled_from(g2s))
        norms = draw(st.frozensets(st.sampled_from(["before", "after", "last"])))
        writing, relu_between, relu = draw(st.sampled_from(WRITINGS)), draw(st.booleans()), draw(st.booleans())
        block = General(channels, l, out, g1, g2, draw(st.integers(1, 2)), writing, norms, False, relu_between, relu)
        layers += block.layers()
        channels = out
    if draw(st.booleans()):
        layers.append(nn.AdaptiveAvgPool2d(1))
    return eventful(nn.Sequential(*layers), draw(st.integers(0, 9))), shape


def assert_computes_the_same(
    module: nn.Module, shape: tuple[int, ...], way: str, opset: int, simplified: bool
) -> onnx.ModelProto:
    model, x = to_model(module, shape, opset, simplified), noise(*shape)
    before = model.SerializeToString()
    rewritten = rewrite(model, way)
    assert model.SerializeToString() == before
    assert close(run(rewritten, x), by_pytorch(module, x))
    return rewritten


opsets = st.sampled_from([9, 13, 17])


@pytest.mark.parametrize("way", ["grouped", "fused"])
@given(data=st.data())
@some_examples
def test_a_general_block_computes_what_pytorch_computes(way: str, data: st.DataObject) -> None:
    block, (n, h, w) = data.draw(generals()), data.draw(sizes)
    module = eventful(nn.Sequential(*block.layers()))
    assert_computes_the_same(module, (n, block.m, h, w), way, data.draw(opsets), data.draw(st.booleans()))


@pytest.mark.parametrize("way", ["grouped", "fused"])
@given(chain=chains(receptive_fields=(2, 4)), opset=opsets, simplified=st.booleans())
@some_examples
def test_a_chain_computes_what_pytorch_computes(
    way: str, chain: tuple[nn.Module, tuple[int, ...]], opset: int, simplified: bool
) -> None:
    rewritten = assert_computes_the_same(*chain, way, opset, simplified)
    if way == "fused":
        assert kinds(rewritten) == {OPERATOR: 1}
        assert [imported.version for imported in rewritten.opset_import if imported.domain == DOMAIN] == [1]


@given(chain=chains(receptive_fields=(2,)), opset=opsets, simplified=st.booleans())
@some_examples
def test_a_chain_of_groups_of_two_computes_the_same_as_depthwise_convolutions(
    chain: tuple[nn.Module, tuple[int, ...]], opset: int, simplified: bool
) -> None:
    module, shape = chain
    rewritten = assert_computes_the_same(module, shape, "depthwise", opset, simplified)
    assert {node.domain for node in rewritten.graph.node} == {""}
    assert not {"Transpose", "Reshape", "BatchNormalization"} & set(kinds(rewritten))
    assert mult_adds(rewritten) == cost.count(module, shape).mult_adds


@every_way
def test_a_graph_of_which_the_names_are_taken_is_rewritten_again(way: str) -> None:
    module, x = eventful(nn.Sequential(*General(8, 8, 8, 4, 2).layers())), noise(1, 8, 6, 5)
    grouped = rewrite(to_model(module, (1, 8, 6, 5)), "grouped")
    again = rewrite(grouped, way)
    assert close(run(again, x), by_pytorch(module, x))
    names = [tensor.name for tensor in again.graph.initializer]
    assert len(set(names)) == len(names)
    if way == "grouped":
        assert kinds(again) == kinds(grouped)


def test_the_operators_domain_is_imported_once_also_where_it_was_already() -> None:
    model = to_model(eventful(nn.Sequential(*General(8, 8, 8, 4, 2).layers())), (1, 8, 6, 5))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    assert [imported.domain for imported in rewrite(model, "fused").opset_import] == ["", DOMAIN]


def test_what_only_a_branch_reads_stays() -> None:
    module, x = eventful(nn.Sequential(*General(8, 8, 8, 4, 2).layers())), noise(1, 8, 6, 5)
    model = to_model(module, x.shape)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["seven"], ["seen"])],
        "branch",
        [],
        [helper.make_tensor_value_info("seen", TensorProto.FLOAT, (1,))],
    )
    model.graph.node.append(helper.make_node("If", ["always"], ["either"], then_branch=branch, else_branch=branch))
    for name, value in (("always", np.array(True)), ("seven", np.array([7], np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.output.append(helper.make_tensor_value_info("either", TensorProto.FLOAT, (1,)))
    assert close(run(rewrite(model, "fused"), x), by_pytorch(module, x))


# What cannot be written as depthwise convolutions


REFUSED = {
    "a receptive field of four": (General(8, 8, 8, 2, 2), "its groups have 4 input channels, and only two can be"),
    "a receptive field of three": (General(9, 9, 8, 3, 1), "its groups have 3 input channels, and only two can be"),
    "not interlaced": (General(8, 8, 8, 4, 2, writing=None), "its channels are not interlaced"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_depthwise_form_is_refused_with_its_name_and_the_reason(name: str) -> None:
    block, reason = REFUSED[name]
    with pytest.raises(IgcError, match=rf"^the block that ends in 'output' cannot be written .*: {reason}") as error:
        rewrite(to_model(eventful(nn.Sequential(*block.layers())), (1, block.m, 6, 5)), "depthwise")
    assert "\n" not in str(error.value)


def test_an_odd_number_of_output_channels_is_refused_where_another_block_follows() -> None:
    first, second = General(8, 8, 6, 4, 2), General(6, 6, 8, 3, 2)
    model = to_model(eventful(nn.Sequential(*first.layers(), *second.layers())), (1, 8, 6, 5))
    with pytest.raises(IgcError, match="a group of its 1x1 convolution has an odd number of output channels"):
        rewrite(model, "depthwise")
    rewrite(to_model(eventful(nn.Sequential(*first.layers())), (1, 8, 6, 5)), "depthwise")


def test_a_file_without_a_block_is_refused(tmp_path: Path) -> None:
    to_onnx(in_turn(igc_layer(groups=8), gc_layer()), (1, 8, 6, 5), tmp_path / "model.onnx")
    with pytest.raises(IgcError, match="no channel local convolution block is found"):
        igc.rewrite_file(tmp_path / "model.onnx", tmp_path / "rewritten.onnx", "grouped")
    igc.rewrite_file(tmp_path / "model.onnx", tmp_path / "rewritten.onnx", None)
    assert (tmp_path / "rewritten.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


# The networks, and what is promised of each way


Simplified = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="module")
def as_exported() -> Simplified:
    """A network with its seeded weights, as PyTorch's exporter and onnxsim give it, made once. Not to be changed."""
    made: dict[str, onnx.ModelProto] = {}

    def get(name: str) -> onnx.ModelProto:
        if name not in made:
            spec = registry.get(name)
            network = spec.build().eval()
            weights.seed(network, spec.input_shape)
            made[name] = to_model(network, spec.input_shape, simplified=True)
        return made[name]

    return get


clcnets = pytest.mark.parametrize("name", ["clcnet-tiny", "clcnet-a"])


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    ports = [*graph.input, *graph.value_info, *graph.output]
    found = {port.name: tuple(size.dim_value for size in port.type.tensor_type.shape.dim) for port in ports}
    return found | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def mult_adds(model: onnx.ModelProto) -> int:
    of = shapes(model)
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    return sum(
        prod(of[node.output[0]]) * (prod(of[node.input[1]][1:]) if node.op_type == "Conv" else of[node.input[0]][1])
        for node in convolutions
    )


def interlaces(name: str) -> int:
    return sum(isinstance(layer, Interlace) for layer in registry.get(name).build().modules())


@pytest.mark.parametrize("name", ["mobilenet", "shufflenet"])
def test_a_network_without_such_blocks_is_left_as_it_is(name: str, as_exported: Simplified) -> None:
    model = as_exported(name)
    assert find.find(model) == []
    for way in IGC:
        assert rewrite(model, way) == model


@clcnets
def test_all_of_clcnet_is_one_chain(name: str, as_exported: Simplified) -> None:
    (chain,) = find.chains(as_exported(name))
    assert [block.interlaced for block in chain.blocks] == [False] + [True] * interlaces(name)
    assert chain.head is not None
    assert chain.head.weights is not None


@clcnets
def test_grouped_is_one_transpose_a_block_and_never_more_than_four_dimensions(
    name: str, as_exported: Simplified
) -> None:
    model = rewrite(as_exported(name), "grouped")
    assert kinds(model)["Transpose"] == interlaces(name)
    assert "BatchNormalization" not in kinds(model)
    assert all(0 < len(shape) <= 4 for shape in shapes(model).values())
    assert mult_adds(model) == cost.count(registry.get(name).build(), registry.get(name).input_shape).mult_adds


@clcnets
def test_grouped_has_no_more_nodes_and_moves_no_more_data_than_the_plain_export(
    name: str, as_exported: Simplified
) -> None:
    plain, grouped = as_exported(name), rewrite(as_exported(name), "grouped")

    def moved(model: onnx.ModelProto) -> dict[str, int]:
        of = shapes(model)
        values: Counter[str] = Counter()
        for node in model.graph.node:
            if node.op_type in ("Transpose", "Reshape"):
                values[node.op_type] += prod(of[node.output[0]])
        return values

    assert kinds(grouped) == kinds(plain)
    assert moved(grouped) == moved(plain)


@clcnets
def test_depthwise_is_standard_operators_that_move_nothing_and_add_up_as_much(
    name: str, as_exported: Simplified
) -> None:
    model = rewrite(as_exported(name), "depthwise")
    assert {node.domain for node in model.graph.node} == {""}
    assert [imported.domain for imported in model.opset_import] == [""]
    assert not {"Gather", "Transpose", "Slice", "Split", "BatchNormalization"} & set(kinds(model))
    assert mult_adds(model) == mult_adds(as_exported(name))
    filters = [
        (node, numpy_helper.to_array(tensor))
        for node in model.graph.node
        for tensor in model.graph.initializer
        if node.op_type == "Conv" and tensor.name == node.input[1] and tensor.dims[2] == 3
    ]
    attributes = [{item.name: helper.get_attribute_value(item) for item in node.attribute} for node, _ in filters]
    depthwise = [a["group"] == w.shape[0] and w.shape[1] == 1 for a, (_, w) in zip(attributes, filters, strict=True)]
    assert [a["group"] for a, it in zip(attributes, depthwise, strict=True) if not it] == [1, 1]  # the first, halved


@clcnets
def test_fused_is_one_operator(name: str, as_exported: Simplified) -> None:
    model = rewrite(as_exported(name), "fused")
    assert [node.op_type for node in model.graph.node] == [OPERATOR]
    assert [imported.version for imported in model.opset_import if imported.domain == DOMAIN] == [1]
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


# The operator itself


@dataclass(frozen=True)
class Step:
    """A block as the operator takes it; `g2` 0: a dense 3x3 convolution alone."""

    m: int
    l: int  # noqa: E741
    n: int
    g1: int
    g2: int
    stride: int = 1
    interlaced: bool = True
    relu_between: bool = False
    relu: bool = True

    def parameters(self, seed: int) -> list[Floats]:
        filter_ = noise(self.l, self.m // self.g1, 3, 3, seed=seed) / np.sqrt(9 * self.m // self.g1)
        values = [filter_, noise(self.l, seed=seed + 1)]
        if self.g2:
            pointwise = noise(self.n, self.l // self.g2, 1, 1, seed=seed + 2) / np.sqrt(self.l // self.g2)
            values += [pointwise, noise(self.n, seed=seed + 3)]
        return [value.astype(np.float32) for value in values]


@dataclass(frozen=True)
class Operation:
    """A node of the operator, with the weights of all its blocks, and what it computes by PyTorch."""

    steps: tuple[Step, ...]
    averaged: bool = False
    classes: int = 0  # of a linear layer on the averages; 0: there is none

    @property
    def weights(self) -> list[list[Floats]]:
        return [step.parameters(10 * index) for index, step in enumerate(self.steps)] + self.linear

    @property
    def linear(self) -> list[list[Floats]]:
        if not self.classes:
            return []
        return [[noise(self.classes, self.steps[-1].n, seed=990), noise(self.classes, seed=991)]]

    def model(
        self,
        shape: Sequence[int | str] | None = None,
        weights: Sequence[Floats] | None = None,
        given: Sequence[int] = (),
        **attributes: Any,
    ) -> onnx.ModelProto:
        """The model; `weights`, `attributes` replace the right ones, and weights whose number is `given` are inputs."""
        values = [value for of in self.weights for value in of] if weights is None else list(weights)
        names = [f"w{index}" for index in range(len(values))]
        right = {
            "groups_3x3": [step.g1 for step in self.steps],
            "groups_1x1": [step.g2 for step in self.steps],
            "strides": [step.stride for step in self.steps],
            "interlaced": [int(step.interlaced) for step in self.steps],
            "relu_between": [int(step.relu_between) for step in self.steps],
            "relu": [int(step.relu) for step in self.steps],
            "averaged": int(self.averaged),
            "linear": int(self.classes > 0),
        }
        chosen = {name: value for name, value in (right | attributes).items() if value is not None}
        node = helper.make_node(OPERATOR, ["x", *names], ["y"], domain=DOMAIN, **chosen)
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or ["N", self.steps[0].m, "H", "W"])]
        inputs += [helper.make_tensor_value_info(names[i], TensorProto.FLOAT, values[i].shape) for i in given]
        constants = [
            numpy_helper.from_array(value, name)
            for i, (name, value) in enumerate(zip(names, values, strict=True))
            if i not in given
        ]
        graph = helper.make_graph(
            [node], "one", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], constants
        )
        imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def by_pytorch(self, x: Floats) -> Floats:
        y = torch.from_numpy(x)
        for step, values in zip(self.steps, self.weights[: len(self.steps)], strict=True):
            filter_, bias, *pointwise = map(torch.from_numpy, values)
            y = F.conv2d(y, filter_, bias, step.stride, padding=1, groups=step.g1)
            y = F.relu(y) if step.relu_between and pointwise else y
            if pointwise:
                y = Interlaced(step.g1, step.l, "4-D")(y) if step.interlaced else y
                y = F.conv2d(y, *pointwise, groups=step.g2)
            y = F.relu(y) if step.relu else y
        y = F.adaptive_avg_pool2d(y, 1) if self.averaged else y
        for matrix, bias in self.linear:
            y = F.linear(y.flatten(1), torch.from_numpy(matrix), torch.from_numpy(bias))
        return np.asarray(y)


def session(model: onnx.ModelProto, threads: int = 1, library: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what is refused is raised, too
    if library:
        options.register_custom_ops_library(str(clc.library()))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answer(made: onnxruntime.InferenceSession, x: Floats) -> Floats:
    y: Floats = made.run(None, {"x": x})[0]
    return y


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    steps: list[Step] = []
    channels = draw(st.integers(1, 4))
    if draw(st.booleans()):
        out = draw(st.integers(1, 40))
        steps.append(Step(channels, out, out, 1, 0, draw(st.integers(1, 3)), False, False, draw(st.booleans())))
        channels = out
    else:
        channels = draw(st.integers(1, 40))
    for _ in range(draw(st.integers(0 if steps else 1, 3))):
        g1 = draw(st.sampled_from([divisor for divisor in range(1, channels + 1) if channels % divisor == 0]))
        l = g1 * draw(st.integers(1, 4))  # noqa: E741
        g2 = draw(st.sampled_from([divisor for divisor in range(1, l + 1) if l % divisor == 0]))
        n = g2 * draw(st.integers(1, max(1, 40 // g2)))
        stride, flags = draw(st.integers(1, 3)), [draw(st.booleans()) for _ in range(3)]
        steps.append(Step(channels, l, n, g1, g2, stride, *flags))
        channels = n
    averaged = draw(st.booleans())
    return Operation(tuple(steps), averaged, draw(st.integers(0, 40)) if averaged else 0)


@given(operations(), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 33), st.integers(1, 33)), min_size=1))
@settings(deadline=None, max_examples=60)
def test_the_operator_computes_what_pytorch_computes_on_any_number_of_threads_for_one_size_after_the_other(
    operation: Operation, many: list[tuple[int, int, int]]
) -> None:
    sessions = [session(operation.model(), threads) for threads in (1, 2, 4)]
    for n, h, w in many[:4]:
        x = noise(n, operation.steps[0].m, h, w)
        first, *others = (answer(made, x) for made in sessions)
        assert close(first, operation.by_pytorch(x))
        for other in others:
            np.testing.assert_array_equal(other, first)


WIDE = Operation(
    (Step(3, 32, 32, 1, 0, 2), Step(32, 32, 64, 16, 2), Step(64, 64, 96, 32, 2, 2), Step(96, 96, 64, 48, 2))
)


def test_an_image_of_a_common_size_is_computed_the_same_on_any_number_of_threads() -> None:
    x = noise(2, 3, 224, 160)
    first, *others = (answer(session(WIDE.model(), threads), x) for threads in (1, 2, 4))
    assert close(first, WIDE.by_pytorch(x))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_several_threads_may_run_one_session_at_once_each_with_its_own_size() -> None:
    made = session(WIDE.model(), threads=2)
    images = [noise(1, 3, 17 + 8 * index, 40 - 5 * index, seed=index) for index in range(6)]
    right = [answer(made, x) for x in images]
    with ThreadPoolExecutor(6) as pool:
        for got in pool.map(lambda _turn: [answer(made, x) for x in images], range(6)):
            for output, expected in zip(got, right, strict=True):
                np.testing.assert_array_equal(output, expected)


def test_no_image_at_all_gives_no_output() -> None:
    assert answer(session(WIDE.model()), noise(0, 3, 8, 8)).shape == (0, 64, 2, 2)


def instruction_sets() -> list[str]:
    """Those that this machine's library has, as it tells them."""
    done = by_the_instructions_of("none", WIDE.model(), noise(1, 3, 4, 4))
    assert isinstance(done, str)
    return done.rpartition("this machine has ")[2].split("\n")[0].split(", ")


def by_the_instructions_of(isa: str, model: onnx.ModelProto, x: Floats) -> Floats | str:
    """The output of another process, or what it complains of."""
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "model.onnx")
        np.save(Path(folder) / "x.npy", x)
        script = (
            "import sys, numpy, pathlib, export.verify as v; f = pathlib.Path(sys.argv[1]); "
            "numpy.save(f / 'y.npy', v.run_onnx(f / 'model.onnx', numpy.load(f / 'x.npy')))"
        )
        variables = {**os.environ, "TENPASS_CLC_ISA": isa}
        command = [sys.executable, "-c", script, folder]
        done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr
        y: Floats = np.load(Path(folder) / "y.npy")
    return y


def test_every_instruction_set_computes_the_same() -> None:
    x = noise(1, 3, 45, 39)
    expected = WIDE.by_pytorch(x)
    names = instruction_sets()
    assert names
    for isa in names:
        output = by_the_instructions_of(isa, WIDE.model(), x)
        assert not isinstance(output, str), output
        assert close(output, expected), isa


def test_an_instruction_set_that_there_is_not_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENPASS_CLC_ISA", "abacus")
    with pytest.raises(Exception, match="TENPASS_CLC_ISA is 'abacus'; this machine has "):
        session(WIDE.model())


# What the operator refuses

ONE = Operation((Step(8, 12, 6, 4, 2),))
RIGHT = ONE.weights[0]


def swapped(index: int, shape: tuple[int, ...]) -> list[Floats]:
    return [noise(*shape) if position == index else value for position, value in enumerate(RIGHT)]


REFUSED_MODELS = {
    "weights of the 3x3 that are no initializer": (ONE.model(given=[0]), "input 1 must be an initializer"),
    "a bias that is no initializer": (ONE.model(given=[3]), "input 4 must be an initializer"),
    "weights of a 5x5": (ONE.model(weights=swapped(0, (12, 2, 5, 5))), r"input 1 must have the shape \(12, 2, 3, 3\)"),
    "weights of rank 3": (ONE.model(weights=swapped(0, (12, 2, 9))), "input 1 must have 4 dimensions, it has 3"),
    "a bias too short": (ONE.model(weights=swapped(1, (11,))), r"input 2 must have the shape \(12\)"),
    "a bias of rank 2": (ONE.model(weights=swapped(1, (12, 1))), "input 2 must have 1 dimensions, it has 2"),
    "1x1 weights of other groups": (
        ONE.model(weights=swapped(2, (6, 12, 1, 1))),
        r"input 3 must have the shape \(6, 6, 1, 1\)",
    ),
    "a 1x1 bias too long": (ONE.model(weights=swapped(3, (7,))), r"input 4 must have the shape \(6\)"),
    "an attribute too short": (WIDE.model(strides=[2, 1, 2]), "its attributes must all have one value for each block"),
    "an attribute too long": (ONE.model(relu=[1, 1]), "its attributes must all have one value for each block"),
    "an attribute left out": (ONE.model(interlaced=None), "attribute interlaced: "),
    "the one attribute left out": (ONE.model(averaged=None), "attribute averaged: "),
    "one number for a list": (ONE.model(strides=1), "its attributes must all have one value for each block"),
    "groups that do not divide": (ONE.model(groups_3x3=[5]), "block 0: the groups of the 3x3 convolution must divide"),
    "no groups": (ONE.model(groups_3x3=[0]), "attribute groups_3x3 is 0, not from 1 to"),
    "fewer than no groups": (ONE.model(groups_3x3=[-4]), "attribute groups_3x3 is -4, not from 1 to"),
    "fewer than no 1x1 groups": (ONE.model(groups_1x1=[-2]), "attribute groups_1x1 is -2, not from 0 to"),
    "stride 0": (ONE.model(strides=[0]), "attribute strides is 0, not from 1 to"),
    "too few weights": (ONE.model(weights=RIGHT[:2]), "its blocks need 5 inputs, it has 3"),
    "too many weights": (ONE.model(weights=[*RIGHT, *RIGHT]), "its blocks need 5 inputs, it has 9"),
    "a first convolution in groups": (
        Operation((Step(8, 12, 12, 4, 0),)).model(),
        "block 0: only the first block can be a 3x3 convolution alone, and in one group",
    ),
    "a 3x3 convolution alone in the middle": (
        Operation((Step(8, 12, 6, 4, 2), Step(6, 6, 6, 1, 0))).model(),
        "block 1: only the first block",
    ),
    "blocks that do not fit each other": (
        Operation((Step(8, 12, 6, 4, 2), Step(8, 12, 6, 4, 2))).model(),
        "block 1: its input is not the output of the block before it",
    ),
}


@pytest.mark.parametrize("name", REFUSED_MODELS)
def test_a_node_that_makes_no_sense_is_refused_when_it_is_loaded(name: str) -> None:
    model, says = REFUSED_MODELS[name]
    with pytest.raises(Exception, match=says) as error:
        session(model)
    assert type(error.value).__module__.startswith("onnxruntime.")


@pytest.mark.parametrize("shape", [(1, 7, 5, 5), (1, 8, 5), (8, 5), (1, 8, 0, 5), (1, 8, 5, 5, 1)], ids=str)
def test_an_input_that_does_not_fit_is_refused_when_it_comes_and_the_next_one_is_computed(
    shape: tuple[int, ...],
) -> None:
    model = ONE.model()
    del model.graph.input[0].type.tensor_type.shape.dim[:]
    model.graph.input[0].type.tensor_type.ClearField("shape")
    made = session(model)
    with pytest.raises(Exception, match=r"its first input must be \(N, 8, H, W\)") as error:
        answer(made, noise(*shape))
    assert type(error.value).__module__.startswith("onnxruntime.")
    assert close(answer(made, noise(1, 8, 5, 5)), ONE.by_pytorch(noise(1, 8, 5, 5)))


def test_a_session_without_the_library_refuses_the_model() -> None:
    with pytest.raises(Exception, match=OPERATOR) as error:
        session(ONE.model(), library=False)
    assert type(error.value).__module__.startswith("onnxruntime.")


# Artifacts


def test_each_way_has_an_artifact_of_its_own(tmp_path: Path) -> None:
    made = {way: export_model(TINY, tmp_path, ExportOptions(igc=way)) for way in IGC}
    assert {way: artifact.folder.name for way, artifact in made.items()} == {
        "grouped": "clcnet-tiny",
        "depthwise": "clcnet-tiny.depthwise",
        "fused": "clcnet-tiny.fused",
    }
    for way, artifact in made.items():
        assert artifact.igc == way
        assert read_artifact(artifact.folder) == artifact
        assert artifact.max_abs_error < TOLERANCE * artifact.output_spread
        steps: list[str] = []
        assert export_model(TINY, tmp_path, ExportOptions(igc=way), on_step=steps.append) == artifact
        assert steps == []
    assert len({artifact.recipe_sha256 for artifact in made.values()}) == len(IGC)
    assert len({artifact.outputs[0] for artifact in made.values()}) == 1
    assert len({(artifact.mult_adds, artifact.params) for artifact in made.values()}) == 1
    assert made["fused"].op_counts == {OPERATOR: 1}
    assert export_model(TINY, tmp_path) == made["grouped"]


def test_caffe2_has_no_operator_for_fused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^clcnet-tiny: Caffe2 has no operator for igc fused; .*$") as error:
        export_model(TINY, tmp_path, ExportOptions(form=AS_CONVERTED, igc="fused"))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_caffe2_computes_what_is_written_as_depthwise_convolutions(tmp_path: Path) -> None:
    artifact = export_model(TINY, tmp_path, ExportOptions(form=DEPTHWISE, igc="depthwise"))
    assert artifact.folder.name == "clcnet-tiny.depthwise.caffe2-depthwise"
    assert artifact.op_counts["Conv:DEPTHWISE_3x3"] == 4 * interlaces("clcnet-tiny")
    assert "Transpose" not in artifact.op_counts


def test_a_network_without_such_blocks_says_so(tmp_path: Path) -> None:
    other = replace(TINY, name="other", family="other")
    artifact = export_model(other, tmp_path)
    assert (artifact.igc, artifact.folder.name) == (None, "other")
    assert "Transpose" in artifact.op_counts


def test_depthwise_separable_blocks_run_in_the_same_kernel_when_asked_for(tmp_path: Path) -> None:
    artifact = export_model(registry.get("mobilenet"), tmp_path, ExportOptions(igc="fused"))
    assert (artifact.igc, artifact.folder.name) == ("fused", "mobilenet.fused")
    assert artifact.op_counts == {OPERATOR: 1}


def test_a_network_without_depthwise_separable_blocks_cannot_be_asked_for_them(tmp_path: Path) -> None:
    other = replace(TINY, name="other", family="other")
    with pytest.raises(ExportError, match=r"^other: .* igc fused failed: no channel local convolution block is found"):
        export_model(other, tmp_path, ExportOptions(igc="fused"))


def test_a_network_that_has_no_depthwise_form_is_an_error_that_names_it(tmp_path: Path) -> None:
    network = registry.get("clcnet-ap")
    small = replace(network, input_shape=(1, 3, 32, 32))
    with pytest.raises(ExportError, match=r"^clcnet-ap: writing its .* as igc depthwise failed: .*not interlaced$"):
        export_model(small, tmp_path, ExportOptions(igc="depthwise"))


def test_a_fused_artifact_is_out_of_date_when_the_operators_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in ("grouped", "fused"):
        export_model(TINY, tmp_path, ExportOptions(igc=way))
    monkeypatch.setattr(clc, "recipe", lambda: "changed")
    for way, steps_wanted in (("grouped", False), ("fused", True)):
        steps: list[str] = []
        export_model(TINY, tmp_path, ExportOptions(igc=way), on_step=steps.append)
        assert bool(steps) == steps_wanted


# A wrong network is noticed


def test_a_fused_network_without_one_interlace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = igc.rewrite

    def wrongly(model: onnx.ModelProto, way: str, **options: bool) -> onnx.ModelProto:
        rewritten = right(model, way, **options)
        for attribute in rewritten.graph.node[0].attribute:
            if attribute.name == "interlaced":
                attribute.ints[5] = 0
        return rewritten

    monkeypatch.setattr(igc, "rewrite", wrongly)
    with pytest.raises(ExportError, match=r"^clcnet-tiny: the simplified file does not compute what PyTorch does"):
        export_model(TINY, tmp_path, ExportOptions(igc="fused"))
    assert not (tmp_path / "clcnet-tiny.fused").exists()


@pytest.mark.parametrize("block", range(9))
@pytest.mark.parametrize("way", ["grouped", "fused"])
def test_whichever_interlace_is_missing_the_output_is_not_the_right_one(
    way: str, block: int, as_exported: Simplified
) -> None:
    network = TINY.build().eval()
    weights.seed(network, TINY.input_shape)
    x = noise(*TINY.input_shape)
    network.blocks[block][2] = nn.Identity()  # type: ignore[index, operator, union-attr]
    wrong = rewrite(to_model(network, TINY.input_shape, simplified=True), way)
    assert not deviation(run(wrong, x), run(as_exported("clcnet-tiny"), x)).ok


# The commands


def test_the_export_of_several_ways_has_a_row_for_each_and_format_that_can(tmp_path: Path) -> None:
    options = ["--models", "clcnet-tiny", "--igc", "fused,depthwise", "--out", tmp_path]
    result = invoke(export_command.main, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    heading, _, *rows = result.stdout.splitlines()
    assert heading.split()[:3] == ["model", "format", "igc"]
    assert [row.split()[:3] for row in rows] == [
        ["clcnet-tiny", "onnx", "fused"],
        ["clcnet-tiny", "onnx", "depthwise"],
        ["clcnet-tiny", "caffe2", "depthwise"],
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--igc", "grouped,folded"], "'folded' is not one of grouped, depthwise, fused"),
        (["--igc", ""], "'' is not one of grouped"),
        (
            ["--igc", "fused", "--formats", "caffe2"],
            "Caffe2 has no operator for igc fused; ONNX Runtime has, or take another igc",
        ),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    result = invoke(export_command.main, "--models", "clcnet-tiny", "--out", tmp_path, *arguments)
    assert result.exit_code == 2
    *usage, error = result.stderr.splitlines()
    assert says in error
    assert not usage or usage[0].startswith("Usage: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--igc", "folded"], "'folded' is not one of grouped, depthwise, fused"),
        (["--igc", "fused,"], "'' is not one of grouped"),
        (["--igc", "fused", "--runtime", "caffe2"], "--igc fused is for ONNX Runtime alone: add --runtime onnxruntime"),
        (["--threads", "0"], "'0' is no number from 1 to 64"),
        (["--threads", "x"], "'x' is no number from 1 to 64"),
        (["--threads", "1,65"], "'65' is no number from 1 to 64"),
        (["--threads", "1,"], "'' is no number from 1 to 64"),
        (["--threads", "²"], "'²' is no number"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(arguments: list[str], says: str, tmp_path: Path) -> None:
    options = ["--device", "host", "--models", "clcnet-tiny", "--out", tmp_path / "run"]
    result = invoke(measure_command, *options, *arguments)
    assert result.exit_code == EXIT_USAGE
    assert says in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


def test_each_way_is_measured_with_each_number_of_threads(tmp_path: Path) -> None:
    options = ["--models", "clcnet-tiny,mobilenet", "--igc", ",".join(IGC), "--threads", "1,2", "--passes", "2"]
    result = invoke(measure_command, "--device", "host", *options, "--out", tmp_path / "run")
    assert result.exit_code == EXIT_OK, result.stderr
    records = journal.read(tmp_path / "run")
    assert [record.case.id for record in records] == [
        *[f"clcnet-tiny-{way}-onnxruntime-t{threads}" for way in IGC for threads in (1, 2)],
        "mobilenet-onnxruntime-t1",
        "mobilenet-onnxruntime-t2",
    ]
    assert all(record.check and record.check.passed for record in records)
    assert [record.artifact.op_counts.get(OPERATOR, 0) for record in records if record.artifact] == [
        *[0, 0, 0, 0, 1, 1],
        *[0, 0],
    ]
