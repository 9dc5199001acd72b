"""ONNX to Caffe2's nets: what is taken, each pattern of it against PyTorch, and what is refused. And Caffe2 itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.caffe2 import convert
from export.caffe2.convert import DEPTHWISE_3X3, INIT_NET, PREDICT_NET, Caffe2Error, prepared, run_caffe2
from export.caffe2.operators import OPERATORS, OPSET, refusals
from export.onnx.simplify import simplify
from export.onnx.to_onnx import to_onnx
from export.verify import deviation
from models import registry, weights
from models.clcnet import Interlace
from models.spec import ModelSpec
from toolchain import caffe2
from toolchain import compile as compiling
from toolchain.compile import TOOLCHAINS
from toolchain.debian import DebianError

IMAGE = (1, 8, 13, 17)
TOLERANCE = 1e-5


def noise(*shape: int) -> NDArray[np.float32]:
    seed = sum(size * 31**place for place, size in enumerate(shape))
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


# What Caffe2 takes: each operator by itself


@dataclass(frozen=True)
class One:
    """A graph of one node: its input is x, then come `constants`; `torch` computes the same."""

    op: str
    torch: Callable[..., Tensor]
    constants: tuple[NDArray[Any], ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = IMAGE
    positive: bool = False

    @property
    def id(self) -> str:
        told = [f"{name}={value}" for name, value in self.attributes.items()]
        return " ".join([self.op, *("x".join(map(str, c.shape)) or "scalar" for c in self.constants), *told])

    @property
    def input(self) -> NDArray[np.float32]:
        x = noise(*self.shape)
        return np.abs(x) + np.float32(0.1) if self.positive else x

    @property
    def expected(self) -> NDArray[np.float32]:
        return self.torch(*(torch.from_numpy(np.array(value)) for value in (self.input, *self.constants))).numpy()


def one_node(
    op: str,
    constants: tuple[NDArray[Any], ...] = (),
    attributes: dict[str, Any] | None = None,
    shape: tuple[int, ...] = IMAGE,
    opset: int = OPSET,
) -> onnx.ModelProto:
    names = [f"w{index}" for index in range(len(constants))]
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *names], ["y"], **(attributes or {}))],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for value, name in zip(constants, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


W, B = noise(12, 8, 3, 3), noise(12)
GROUPED, DEPTHWISE = noise(12, 2, 3, 3), noise(8, 1, 3, 3)
WINDOW = {"kernel_shape": [3, 3]}
SAME = {**WINDOW, "pads": [1, 1, 1, 1]}
STATISTICS = (noise(8), noise(9)[:8], noise(10)[:8], np.abs(noise(11)[:8]) + np.float32(0.5))


def batch_norm(eps: float) -> Callable[..., Tensor]:
    return lambda x, scale, bias, mean, var: F.batch_norm(x, mean, var, scale, bias, eps=eps)


SINGLE = [
    One("Conv", F.conv2d, (W, B), WINDOW),
    One("Conv", lambda x, w: F.conv2d(x, w, stride=2, padding=1), (W,), {**SAME, "strides": [2, 2]}),
    One("Conv", lambda x, w: F.conv2d(F.pad(x, (1, 3, 0, 2)), w), (W,), {**WINDOW, "pads": [0, 1, 2, 3]}),
    One("Conv", lambda x, w: F.conv2d(x, w, padding=1, groups=4), (GROUPED,), {**SAME, "group": 4}),
    One("Conv", lambda x, w: F.conv2d(x, w, padding=1, groups=8), (DEPTHWISE,), {**SAME, "group": 8}),
    One("Conv", lambda x, w: F.conv2d(x, w, dilation=2), (W,), {**WINDOW, "dilations": [2, 2]}),
    One("Conv", F.conv2d, (W,), {**WINDOW, "auto_pad": "NOTSET"}),
    One("Conv", F.conv2d, (noise(5, 8, 1, 1),), {"kernel_shape": [1, 1]}, (2, 8, 7, 5)),
    One("MaxPool", lambda x: F.max_pool2d(x, 3, 2, 1), (), {**SAME, "strides": [2, 2], "auto_pad": "NOTSET"}),
    One("MaxPool", lambda x: F.max_pool2d(x, 3, 1), (), WINDOW),
    One("AveragePool", lambda x: F.avg_pool2d(x, 3, 2), (), {**WINDOW, "strides": [2, 2], "auto_pad": "NOTSET"}),
    One("AveragePool", lambda x: F.avg_pool2d(x, 3, 1, 1), (), {**SAME, "count_include_pad": 1}),
    One("AveragePool", lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), (), SAME),
    One("GlobalAveragePool", lambda x: F.adaptive_avg_pool2d(x, 1)),
    One("GlobalMaxPool", lambda x: F.adaptive_max_pool2d(x, 1)),
    One("BatchNormalization", batch_norm(1e-5), STATISTICS, {"momentum": 0.9}),
    One("BatchNormalization", batch_norm(0.1), STATISTICS, {"epsilon": 0.1}),
    One(
        "InstanceNormalization",
        lambda x, scale, bias: F.instance_norm(x, weight=scale, bias=bias, eps=0.1),
        STATISTICS[:2],
        {"epsilon": 0.1},
    ),
    One(
        "LRN",
        lambda x: F.local_response_norm(x, 5, alpha=0.9, beta=0.6, k=2.0),
        (),
        {"size": 5, "alpha": 0.9, "beta": 0.6, "bias": 2.0},
    ),
    One("LRN", lambda x: F.local_response_norm(x, 3, 0.9, 0.75), (), {"size": 3, "alpha": 0.9, "beta": 0.75}),
    # of an even window, ONNX has the odd channel behind, PyTorch in front
    One(
        "LRN",
        lambda x: F.local_response_norm(x.flip(1), 4, 0.9, 0.75).flip(1),
        (),
        {"size": 4, "alpha": 0.9, "beta": 0.75},
    ),
    One("Gemm", lambda x, w, b: x @ w.T + b, (noise(5, 8), noise(5)), {"transB": 1}, (3, 8)),
    One("Gemm", lambda x, w, b: x.T @ w + b, (noise(3, 5), noise(5)), {"transA": 1}, (3, 8)),
    One(
        "Gemm",
        lambda x, w, b: 0.5 * (x @ w) + 2 * b,
        (noise(8, 5), noise(3, 5)),
        {"alpha": 0.5, "beta": 2.0},
        (3, 8),
    ),
    One("MatMul", torch.matmul, (noise(17, 4),)),
    One("MatMul", torch.matmul, (noise(2, 5, 4),), {}, (2, 3, 5)),
    *(
        One(op, function, (constant,), positive=True)
        for op, function in {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}.items()
        for constant in (noise(*IMAGE), noise(8, 1, 1), np.float32(0.7))
    ),
    One("Sum", torch.add, (noise(*IMAGE),)),
    One("Max", torch.maximum, (-noise(*IMAGE),)),
    One("Min", torch.minimum, (-noise(*IMAGE),)),
    *(
        One(f"Reduce{name}", lambda x, f=function: f(x, (2, 3)), (), {"axes": [2, 3], "keepdims": 0})
        for name, function in {"Mean": torch.mean, "Sum": torch.sum, "Max": torch.amax, "Min": torch.amin}.items()
    ),
    One("ReduceMean", lambda x: x.mean(1, keepdim=True), (), {"axes": [1]}),
    One("Relu", F.relu),
    One("Clip", lambda x: x.clamp(-0.5, 0.25), (), {"min": -0.5, "max": 0.25}),
    One("LeakyRelu", lambda x: F.leaky_relu(x, 0.2), (), {"alpha": 0.2}),
    One("PRelu", lambda x, slope: F.prelu(x, slope.flatten()), (np.abs(noise(8, 1, 1)),)),
    One("PRelu", F.prelu, (np.abs(noise(1)),)),
    One("Elu", lambda x: F.elu(x, 2.0), (), {"alpha": 2.0}),
    One("Selu", F.selu),
    One("Selu", lambda x: 3 * F.elu(x, 2.0), (), {"alpha": 2.0, "gamma": 3.0}),
    One("Sigmoid", torch.sigmoid),
    One("HardSigmoid", lambda x: (0.3 * x + 0.4).clamp(0, 1), (), {"alpha": 0.3, "beta": 0.4}),
    One("Tanh", torch.tanh),
    One("Softplus", F.softplus),
    One("Erf", torch.erf),
    One("Exp", torch.exp),
    One("Log", torch.log, positive=True),
    One("Sqrt", torch.sqrt, positive=True),
    One("Abs", torch.abs),
    One("Neg", torch.neg),
    One("Softmax", lambda x: F.softmax(x, 1), (), {"axis": 1}, (3, 10)),
    # to opset 9, the axis parts a tensor in two: everything from there on sums to 1
    One("Softmax", lambda x: F.softmax(x.flatten(2), 2).view_as(x), (), {"axis": 2}),
    One("LogSoftmax", lambda x: F.log_softmax(x, 1), (), {"axis": 1}, (3, 10)),
    One("Reshape", lambda x, _shape: x.reshape(1, 4, -1), (ints(0, 4, -1),)),
    One("Flatten", lambda x: x.flatten(1), (), {"axis": 1}),
    One("Flatten", lambda x: x.reshape(8, -1), (), {"axis": 2}),
    One("Transpose", lambda x: x.permute(0, 2, 3, 1), (), {"perm": [0, 2, 3, 1]}),
    One("Squeeze", lambda x: x.reshape(2, 3), (), {"axes": [2, 3]}, (2, 3, 1, 1)),
    One("Unsqueeze", lambda x: x.reshape(1, 2, 3, 1), (), {"axes": [0, 3]}, (2, 3)),
    One("Concat", lambda x, y: torch.cat([x, y], 1), (noise(1, 3, 13, 17),), {"axis": 1}),
    One("Split", lambda x: x[:, :3], (), {"axis": 1, "split": [3, 5]}),
    One("Slice", lambda x: x[:, 2:5], (), {"axes": [1], "starts": [2], "ends": [5]}),
    One("Slice", lambda x: x[:, :, -4:-1], (), {"axes": [2], "starts": [-4], "ends": [-1]}),
    One("Slice", lambda x: x[:, 2:], (), {"axes": [1], "starts": [2], "ends": [2**63 - 1]}),
    One("Gather", lambda x, i: x[:, i], (ints(3, 1),), {"axis": 1}),
    One("Pad", lambda x: F.pad(x, (2, 0, 1, 3)), (), {"pads": [0, 0, 1, 2, 0, 0, 3, 0]}),
    One("Pad", lambda x: F.pad(x, (2, 0, 1, 3), value=1.5), (), {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 1.5}),
    One(
        "Pad",
        lambda x: F.pad(x, (2, 0, 1, 3), mode="reflect"),
        (),
        {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "mode": "reflect"},
    ),
    One(
        "Upsample",
        lambda x, _scales: F.interpolate(x, scale_factor=2),
        (np.array([1, 1, 2, 2], dtype=np.float32),),
        {"mode": "nearest"},
    ),
    One("Identity", lambda x: x),
    One("Dropout", lambda x: x, (), {"ratio": 0.3}),
]


def one_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with the shape of its output written out, and the other outputs of a Split taken care of."""
    node = model.graph.node[0]
    if node.op_type == "Split":
        node.output.append("rest")
    shapes = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].CopyFrom(shapes.graph.output[0])
    return model


def through_caffe2(file: Path, values: NDArray[np.float32], engine: str = "") -> NDArray[np.float32]:
    folder = file.parent / f"nets{engine}"
    folder.mkdir()
    convert.to_caffe2(file, folder, engine)
    return run_caffe2(folder, values)


#: The first of each operator; the others are long, for Caffe2 stays what it is.
FIRST = {one.op: one.id for one in reversed(SINGLE)}


@pytest.mark.parametrize(
    "one",
    [one if one.id == FIRST[one.op] else pytest.param(one, marks=pytest.mark.long) for one in SINGLE],
    ids=[one.id for one in SINGLE],
)
def test_an_operator_computes_what_pytorch_computes(one: One, tmp_path: Path) -> None:
    onnx.save(one_output(one_node(one.op, one.constants, one.attributes, one.shape)), tmp_path / "one.onnx")
    output = through_caffe2(tmp_path / "one.onnx", one.input)
    assert output.shape == one.expected.shape
    np.testing.assert_allclose(output, one.expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_every_operator_and_attribute_of_the_table_is_tested() -> None:
    attributes = {op: set(operator.attributes) for op, operator in OPERATORS.items() if op != "Constant"}
    tested: dict[str, set[str]] = {}
    for one in SINGLE:
        tested.setdefault(one.op, set()).update(one.attributes)
    assert tested == attributes


# What Caffe2 takes: what PyTorch makes of several operators


def shuffled(x: Tensor) -> Tensor:
    return x.view(1, 4, 2, 13, 17).transpose(1, 2).reshape(IMAGE)


class Of(nn.Module):
    def __init__(self, function: Callable[..., Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.function, self.layer = function, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.layer) if self.layer else self.function(x)


def flat(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x.flatten(1))


SEVERAL = {
    "channel shuffle": Of(shuffled),
    "squeeze and excite": Of(lambda x: x * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))),
    "hard swish": Of(F.hardswish),
    "constant arithmetic": Of(lambda x: (1 - x * 3.5) / 2),
    "halves exchanged": Of(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
    "slice of two axes": Of(lambda x: x[:, 1:4, 2:-2]),
    "average pool, rounded up": Of(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)),
    "max pool, rounded up": Of(lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
    "max pool of an even size, rounded up": Of(lambda x: F.max_pool2d(x[:, :, 1:, 1:], 3, 2, ceil_mode=True)),
    "max pool of negative values, rounded up": Of(lambda x: F.max_pool2d(-torch.exp(x), 3, 2, 1, ceil_mode=True)),
    "local response normalisation": nn.LocalResponseNorm(5, alpha=0.9, beta=0.75, k=2),
    "linear": Of(flat, nn.Linear(8 * 13 * 17, 5)),
    "linear without bias": Of(flat, nn.Linear(8 * 13 * 17, 5, bias=False)),
    "pixel shuffle": Of(lambda x: F.pixel_shuffle(x, 2)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_pattern_of_pytorchs_computes_what_pytorch_computes(name: str, tmp_path: Path) -> None:
    x = noise(*IMAGE)
    to_onnx(SEVERAL[name], IMAGE, tmp_path / "traced.onnx", OPSET)
    simplify(tmp_path / "traced.onnx", tmp_path / "several.onnx")
    with torch.inference_mode():
        expected = SEVERAL[name].eval()(torch.from_numpy(x)).numpy()
    output = through_caffe2(tmp_path / "several.onnx", x)
    assert output.shape == expected.shape
    np.testing.assert_allclose(output, expected, rtol=TOLERANCE, atol=TOLERANCE)


# What Caffe2 does not take, or takes and computes something else

HALVE = {"kernel_shape": [2, 2], "strides": [2, 2]}

REFUSED = {
    "a newer opset": (one_node("Relu", opset=11), "of opset ai.onnx 11, Caffe2 takes ai.onnx 9 only"),
    "an older opset": (one_node("Relu", opset=8), "of opset ai.onnx 8"),
    "an unknown operator": (one_node("DepthToSpace", attributes={"blocksize": 2}), "the operator DepthToSpace"),
    "pooling that rounds up": (one_node("MaxPool", attributes={**HALVE, "ceil_mode": 1}), "MaxPool with ceil_mode"),
    "average pooling that rounds up": (
        one_node("AveragePool", attributes={**HALVE, "ceil_mode": 1}),
        "AveragePool with ceil_mode",
    ),
    "padding by rule": (
        one_node("Conv", (W,), {**WINDOW, "auto_pad": "SAME_UPPER"}),
        "Conv with auto_pad=SAME_UPPER; write the pads out",
    ),
    "no kernel's shape": (one_node("Conv", (W,)), "Conv without kernel_shape"),
    "response normalisation by default values": (one_node("LRN", (), {"size": 5}), "LRN without alpha"),
    "maximum of several shapes": (one_node("Max", (noise(8, 1, 1),)), "Max with inputs of several shapes"),
    "sum of several shapes": (one_node("Sum", (noise(17),)), "Sum with inputs of several shapes"),
    "a slope along the width": (
        one_node("PRelu", (noise(8),), shape=(1, 8, 5, 8)),
        r"PRelu with a slope of shape \(8,",
    ),
    "slice of two axes": (
        one_node("Slice", (), {"axes": [1, 2], "starts": [0, 0], "ends": [2, 2]}),
        r"Slice with axes \[1, 2\]",
    ),
    "slice from the back": (
        one_node("Slice", (), {"axes": [-1], "starts": [0], "ends": [2]}),
        r"Slice with axes \[-1\]",
    ),
    "slice without axes": (one_node("Slice", (), {"starts": [0], "ends": [1]}), "Slice without axes"),
    "squeeze from the back": (one_node("Squeeze", (), {"axes": [-1]}, (2, 3, 1)), "Squeeze with negative axes"),
    "padding of channels": (one_node("Pad", (), {"pads": [0, 4, 0, 0, 0, 0, 0, 0]}), "only height and width"),
    "gather along the height": (one_node("Gather", (ints(1),), {"axis": 2}), "Gather with axis 2"),
    "bilinear upsampling": (
        one_node("Upsample", (np.array([1, 1, 2, 2], dtype=np.float32),), {"mode": "linear"}),
        "Upsample with mode linear",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_caffe2_would_get_wrong_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, says = REFUSED[name]
    onnx.save(model, tmp_path / "refused.onnx")
    monkeypatch.setattr(convert, "_call", lambda *_words: pytest.fail("it came to a conversion"))
    with pytest.raises(Caffe2Error, match=says) as error:
        convert.to_caffe2(tmp_path / "refused.onnx", tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["refused.onnx"]


def test_a_file_with_two_inputs_or_an_input_of_any_size_is_refused() -> None:
    model = one_node("Relu", shape=("N", 8))  # type: ignore[arg-type]
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    assert refusals(model) == [
        "it has 2 inputs; one is supported",
        "its input 'x' is not a float32 tensor of a fixed shape",
    ]


def test_each_reason_is_told_once() -> None:
    model = one_node("ThresholdedRelu")
    model.graph.node.append(model.graph.node[0])
    assert refusals(model) == ["Caffe2 cannot take the operator ThresholdedRelu"]


def test_caffe2s_own_complaint_is_one_line(tmp_path: Path) -> None:
    model = one_node("Gather", (ints(-1),), {"axis": 1})  # a negative index: seen only when it is run
    onnx.save(one_output(model), tmp_path / "model.onnx")
    with pytest.raises(Caffe2Error, match=r"^Caffe2: .*INDICES element is out of DATA bounds") as error:
        through_caffe2(tmp_path / "model.onnx", noise(*IMAGE))
    assert "\n" not in str(error.value)


# The networks


def exported(network: nn.Module, shape: tuple[int, ...], folder: Path) -> Path:
    to_onnx(network, shape, folder / "traced.onnx", OPSET)
    simplify(folder / "traced.onnx", folder / "model.onnx")
    return folder / "model.onnx"


def seeded(spec: ModelSpec) -> nn.Module:
    network = spec.build().eval()
    weights.seed(network, spec.input_shape)
    return network


@pytest.mark.parametrize(
    "engine", ["", pytest.param(DEPTHWISE_3X3, marks=pytest.mark.long)], ids=["default", "depthwise"]
)
@pytest.mark.parametrize(
    "spec",
    [
        spec if spec.name in ("clcnet-tiny", "shufflenet") else pytest.param(spec, marks=pytest.mark.long)
        for spec in registry.REGISTRY
    ],
    ids=[spec.name for spec in registry.REGISTRY],
)
def test_a_network_computes_what_pytorch_computes(spec: ModelSpec, engine: str, tmp_path: Path) -> None:
    network, x = seeded(spec), noise(*spec.input_shape)
    with torch.inference_mode():
        reference = network(torch.from_numpy(x)).numpy()
    found = deviation(through_caffe2(exported(network, spec.input_shape, tmp_path), x, engine), reference)
    assert found.ok, found.failure
    assert found.relative is not None
    assert found.relative < 1e-4


def test_a_network_with_one_interlace_missing_computes_something_else(tmp_path: Path) -> None:
    spec = registry.get("clcnet-tiny")
    right, wrong, x = seeded(spec), seeded(spec), noise(*spec.input_shape)
    parent, name = next(
        (parent, name)
        for parent in wrong.modules()
        for name, child in parent.named_children()
        if isinstance(child, Interlace)
    )
    setattr(parent, name, nn.Identity())
    with torch.inference_mode():
        reference = right(torch.from_numpy(x)).numpy()
    assert not deviation(through_caffe2(exported(wrong, spec.input_shape, tmp_path), x), reference).ok


def test_the_depthwise_engine_is_on_depthwise_convolutions_of_3x3_and_on_no_other(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, groups=8),  # this one
        nn.Conv2d(8, 8, 3, groups=4),
        nn.Conv2d(8, 16, 3, groups=8),
        nn.Conv2d(16, 16, 5, groups=16),
        nn.Conv2d(16, 16, 3, groups=16, dilation=2, padding=2),
        nn.Conv2d(16, 16, 3, groups=16, stride=2, padding=1),  # and this one
    )
    file = exported(network, (1, 8, 20, 20), tmp_path)
    assert convert.to_caffe2(file, tmp_path) == {"Conv": 6}
    assert convert.to_caffe2(file, tmp_path, DEPTHWISE_3X3) == {"Conv": 4, "Conv:DEPTHWISE_3x3": 2}


def test_the_same_file_gives_the_same_nets(tmp_path: Path) -> None:
    spec = registry.get("clcnet-tiny")
    file = exported(seeded(spec), spec.input_shape, tmp_path)
    nets = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        convert.to_caffe2(file, tmp_path / name)
        nets.append([(tmp_path / name / net).read_bytes() for net in (INIT_NET, PREDICT_NET)])
    assert nets[0] == nets[1]
    assert {path.name for path in (tmp_path / "one").iterdir()} == {INIT_NET, PREDICT_NET}
    assert str(tmp_path).encode() not in nets[0][1]
    # Caffe2's own order of the init net's outputs is that of a hash table, and seldom differs: it is sorted.
    names = sorted(tensor.name.encode() for tensor in onnx.load(file).graph.initializer)
    tagged = [b"B" + bytes([len(name)]) + name for name in names]  # NetDef's field 8
    places = [nets[0][0].rindex(one) for one in tagged]
    assert places == sorted(places)


def test_preparing_leaves_the_file_it_is_given_alone() -> None:
    model = one_node("Conv", (W,), WINDOW)
    before = model.SerializeToString()
    ready = prepared(model)
    assert model.SerializeToString() == before
    assert [port.name for port in ready.graph.input] == ["x", "w0"]


# Caffe2 itself: its libraries, for each architecture


@pytest.fixture(params=TOOLCHAINS)
def abi(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def dynamic(abi: str, path: Path) -> str:
    command = [f"{TOOLCHAINS[abi].triplet}-readelf", "--wide", "--dynamic", "--version-info", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_library_that_is_needed_is_there_or_the_compilers(abi: str) -> None:
    found = caffe2.libraries(abi)
    for path in found.values():
        for name in re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic(abi, path)):
            assert name in found or re.match(r"lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp)\.so|ld-linux", name), name


def test_a_stub_has_the_name_and_the_versions_that_are_asked_of_it(abi: str) -> None:
    stub = dynamic(abi, caffe2.libraries(abi)["libavcodec.so.58"])
    assert "[libavcodec.so.58]" in stub
    assert "Name: LIBAVCODEC_58" in stub


@pytest.mark.parametrize(("abi", "limit_bytes"), [("armeabi-v7a", 41_600_000), ("arm64-v8a", 62_000_000)])
def test_the_libraries_are_as_small_as_was_found_possible(abi: str, limit_bytes: int) -> None:
    assert sum(path.stat().st_size for path in caffe2.libraries(abi).values()) < limit_bytes


def test_libraries_that_are_there_are_not_made_again(abi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = caffe2.libraries(abi)
    monkeypatch.setattr(caffe2, "_collect", lambda *_arguments: pytest.fail("made again"))
    assert caffe2.libraries(abi) == found


def test_libraries_of_which_one_is_gone_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abi = compiling.native().abi
    monkeypatch.setattr(caffe2, "FOLDER", tmp_path)
    found = caffe2.libraries(abi)
    gone = found["libc10.so.1.7"]
    gone.unlink()
    gone.symlink_to("nowhere")
    assert caffe2.libraries(abi) == found
    assert gone.is_file()


def test_a_mirror_without_bullseye_is_told_with_the_way_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caffe2.debian, "FOLDER", tmp_path / "debian")
    monkeypatch.setattr(caffe2, "FOLDER", tmp_path / "caffe2")
    monkeypatch.setenv("DEBIAN_MIRROR", (tmp_path / "mirror").as_uri())
    with pytest.raises(DebianError, match=r"Debian bullseye.*DEBIAN_MIRROR=<URL") as error:
        caffe2.headers()
    assert "\n" not in str(error.value)
