"""The cost of any ONNX graph: what is counted, against PyTorch's count and by hand, and what is not guessed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.onnx import cost as onnx_cost
from export.pipeline import export_model
from models import cost
from models.registry import REGISTRY
from models.spec import ModelSpec
from toolchain.paths import EXPORTS

FLOAT = TensorProto.FLOAT


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int] | None],
    constants: dict[str, np.ndarray] | None = None,
    *,
    input_type: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, input_type, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8
    )


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize("spec", REGISTRY, ids=lambda spec: spec.name)
def test_the_files_of_the_registry_cost_what_pytorchs_modules_do(spec: ModelSpec) -> None:
    artifact = export_model(spec, EXPORTS)
    model = onnx.load(artifact.folder / artifact.model_files[0].name)
    assert onnx_cost.mult_adds(model) == cost.count(spec.build(), spec.input_shape).mult_adds == artifact.mult_adds


CASES = {
    "a grouped convolution": (
        helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1]),
        [1, 4, 5, 7],
        {"w": zeros(6, 2, 3, 3)},
        6 * 5 * 7 * 2 * 9,
    ),
    "a transposed convolution": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        [1, 4, 5, 7],
        {"w": zeros(4, 3, 2, 2)},
        4 * 5 * 7 * 3 * 4,
    ),
    "a linear layer": (
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        [2, 8],
        {"w": zeros(3, 8), "b": zeros(3)},
        48,
    ),
    "a transposed Gemm": (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), [8, 2], {"w": zeros(8, 3)}, 48),
    "a batch of products": (helper.make_node("MatMul", ["x", "w"], ["y"]), [5, 2, 8], {"w": zeros(8, 3)}, 5 * 48),
    "a vector from the right": (helper.make_node("MatMul", ["x", "w"], ["y"]), [2, 8], {"w": zeros(8)}, 16),
    "a recurrent layer": (
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3),
        [7, 2, 5],
        {"w": zeros(1, 12, 5), "r": zeros(1, 12, 3)},
        7 * 2 * 12 * (5 + 3),
    ),
    "what multiplies nothing by weights": (helper.make_node("Relu", ["x"], ["y"]), [2, 8], {}, 0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_operator_costs_one_for_each_weight_each_time_it_is_applied(
    case: tuple[onnx.NodeProto, list[int], dict[str, np.ndarray], int],
) -> None:
    node, shape, constants, expected = case
    assert onnx_cost.mult_adds(graph_of([node], {"x": shape}, {"y": None}, constants)) == expected


def test_a_quantized_convolution_costs_what_it_did() -> None:
    scale = {"s": np.float32(1), "z": np.int8(0)}
    node = helper.make_node("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"])
    constants = {"w": np.zeros((6, 4, 3, 3), np.int8), **{name: np.array(value) for name, value in scale.items()}}
    model = graph_of([node], {"x": [1, 4, 5, 5]}, {}, constants, input_type=TensorProto.INT8)
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.INT8, None))
    assert onnx_cost.mult_adds(model) == 6 * 9 * 4 * 9


def branching(first: int, second: int) -> onnx.ModelProto:
    def branch(columns: int) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", f"w{columns}"], ["inner"])],
            "branch",
            [],
            [helper.make_tensor_value_info("inner", FLOAT, [2, columns])],
        )

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch(first), else_branch=branch(second))
    constants = {f"w{columns}": zeros(8, columns) for columns in (first, second)}
    model = graph_of([node], {"x": [2, 8]}, {"y": None}, constants)
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    return model


def test_of_branches_that_cost_the_same_one_is_counted_and_of_others_none_is_guessed() -> None:
    assert onnx_cost.mult_adds(branching(3, 3)) == 48
    assert onnx_cost.mult_adds(branching(3, 4)) is None


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Einsum", ["x", "w"], ["y"], equation="ij,jk->ik"),
        helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft"),
    ],
    ids=["an operator that is not counted", "another domain"],
)
def test_what_cannot_be_told_is_none_and_not_zero(node: onnx.NodeProto) -> None:
    assert onnx_cost.mult_adds(graph_of([node], {"x": [2, 8]}, {"y": None}, {"w": zeros(8, 3)})) is None


def test_an_unknown_size_makes_the_cost_unknown() -> None:
    model = graph_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 8]}, {"y": None}, {"w": zeros(8, 3)})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert onnx_cost.mult_adds(model) is None


def test_parameters_are_numbers_and_not_scales_sizes_or_zero_points() -> None:
    constants = {
        "weights": np.zeros((6, 4), np.int8),
        "bias": zeros(6),
        "scale": zeros(6),
        "zero": np.zeros(6, np.int8),
        "sizes": np.array([2, 12]),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Reshape", ["w", "sizes"], ["r"]),
        helper.make_node("Constant", [], ["more"], value=numpy_helper.from_array(zeros(5))),
    ]
    assert onnx_cost.params(graph_of(nodes, {"x": [2]}, {"r": None}, constants)) == 24 + 6 + 5
