"""Integers that hang on rounding: the same, or marked, and never a coin toss; what rounding cannot explain is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from export.numbers import numbers_of
from export.onnx.rounding import rounding_of
from export.own.model import OwnModel, export_own
from export.verify import deviations
from toolchain.files import file_sha256

WEIGHTS = np.random.default_rng(0).standard_normal((8, 100)).astype(np.float32)
K = numpy_helper.from_array(np.array([5]), "k")


def node(op: str, reads: str, makes: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, reads.split(), makes.split(), **attributes)


def model_of(
    *nodes: onnx.NodeProto, outputs: dict[str, int], constants: tuple[onnx.TensorProto, ...] = ()
) -> onnx.ModelProto:
    """Scores of 100 classes, and what is made of them."""
    graph = helper.make_graph(
        [node("MatMul", "x w", "scores"), *nodes],
        "g",
        [helper.make_tensor_value_info("x", T.FLOAT, [1, 8]), helper.make_tensor_value_info("n", T.INT64, [1, 8])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(WEIGHTS, "w"), *constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


ZERO = numpy_helper.from_array(np.float32(0), "zero")
ONE = numpy_helper.from_array(np.array([[1.0]], np.float32), "one")


@pytest.mark.parametrize(
    ("nodes", "constants", "outputs", "expected"),
    [
        ([node("ArgMax", "scores", "y")], (), {"y": T.INT64}, {"y": ("ArgMax",)}),
        ([node("TopK", "scores k", "v y")], (K,), {"v": T.FLOAT, "y": T.INT64}, {"y": ("TopK",)}),
        ([node("Round", "scores", "y")], (), {"y": T.FLOAT}, {"y": ("Round",)}),
        ([node("Cast", "scores", "y", to=T.INT32)], (), {"y": T.INT32}, {"y": ("Cast",)}),
        ([node("Greater", "scores zero", "y")], (ZERO,), {"y": T.BOOL}, {"y": ("Greater",)}),
        ([node("NonZero", "scores", "y")], (), {"y": T.INT64}, {"y": ("NonZero",)}),
        # what is picked by an index hangs on it
        ([node("ArgMax", "scores", "i"), node("Gather", "x i", "y", axis=1)], (), {"y": T.FLOAT}, {"y": ("ArgMax",)}),
        ([node("ArgMax", "scores", "i"), node("Cast", "i", "y", to=T.INT32)], (), {"y": T.INT32}, {"y": ("ArgMax",)}),
        # ... and what a comparison chooses does not, where both sides meet
        ([node("Greater", "scores zero", "b"), node("Where", "b scores zero", "y")], (ZERO,), {"y": T.FLOAT}, {}),
        ([node("Relu", "scores", "y")], (), {"y": T.FLOAT}, {}),
        ([node("Cast", "scores", "y", to=T.FLOAT16)], (), {"y": T.FLOAT16}, {}),
        # integers that were so from the start, sizes, and what follows from constants alone
        ([node("Equal", "n n", "y")], (), {"y": T.BOOL}, {}),
        ([node("ArgMax", "n", "y")], (), {"y": T.INT64}, {}),
        ([node("Shape", "scores", "s"), node("Cast", "s", "f", to=T.FLOAT), node("Floor", "f", "g"),
          node("Cast", "g", "y", to=T.INT64)], (), {"y": T.INT64}, {}),
        ([node("ArgMax", "one", "i"), node("Add", "n i", "y")], (ONE,), {"y": T.INT64}, {}),
    ],
)  # fmt: skip
def test_the_outputs_that_hang_on_rounding_are_known(
    nodes: list[onnx.NodeProto],
    constants: tuple[onnx.TensorProto, ...],
    outputs: dict[str, int],
    expected: dict[str, tuple[str, ...]],
) -> None:
    assert rounding_of(model_of(*nodes, outputs=outputs, constants=constants)) == expected


def test_a_branch_is_looked_into() -> None:
    inner = helper.make_graph(
        [node("ArgMax", "scores", "b")], "b", [], [helper.make_tensor_value_info("b", T.INT64, None)]
    )
    flag = numpy_helper.from_array(np.array(True), "c")
    made = model_of(
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        outputs={"y": T.INT64},
        constants=(flag,),
    )
    assert rounding_of(made) == {"y": ("ArgMax",)}
    assert numbers_of(made).are_fp32


def compared(output: object, reference: object, kind: str, scores_are_right: bool = True) -> tuple[bool, list[str]]:
    """Whether it fails, and what is unverified, where it stands beside scores."""
    scores = np.linspace(0, 1, 50, dtype=np.float32)
    others = scores if scores_are_right else scores[::-1]
    found = deviations(
        [others, np.asarray(output)],
        {"scores": scores, "ids": np.asarray(reference)},
        may_be_constant=True,
        rounding={"ids": (kind,)},
    )
    return found.failure is not None, list(found.unverified)


OK, MARKED, WRONG = (False, []), (False, ["ids"]), (True, [])


@pytest.mark.parametrize(
    ("output", "reference", "kind", "expected"),
    [
        ([7], [7], "ArgMax", OK),
        ([7], [8], "ArgMax", MARKED),  # two classes that are nearly the same
        ([1, 2, 3, 5, 4], [1, 2, 3, 4, 5], "TopK", MARKED),
        ([9, 1, 2, 3, 4], [1, 2, 3, 4, 5], "TopK", MARKED),  # all have moved, one has come
        ([9, 8, 7, 6, 0], [1, 2, 3, 4, 5], "TopK", WRONG),
        ([[0, 0, 3]], [[0, 0, 3], [0, 0, 9]], "NonMaxSuppression", MARKED),  # one box less
        ([[0, 0, 3]] * 9, [[0, 0, 3], [0, 0, 9]], "NonMaxSuppression", WRONG),
        ([7, 8], [7], "ArgMax", WRONG),  # another shape
        ([True, False, True, True], [True, True, True, True], "Greater", MARKED),
        ([1.0], [1], "Cast", WRONG),  # another type
    ],
)
def test_what_rounding_may_do_is_marked_and_what_it_cannot_is_wrong(
    output: object, reference: object, kind: str, expected: tuple[bool, list[str]]
) -> None:
    assert compared(output, reference, kind) == expected


@given(st.lists(st.integers(0, 20), min_size=1, max_size=200))
def test_a_few_pixels_of_another_class_are_marked_and_more_than_half_are_wrong(classes: list[int]) -> None:
    ids = np.array(classes)
    few, many = max(1, len(ids) // 2), len(ids) // 2 + 1
    changed = ids.copy()
    changed[:few] += 1
    assert compared(changed, ids, "ArgMax") == MARKED
    if many > 1:
        changed = ids.copy()
        changed[:many] += 1
        assert compared(changed, ids, "ArgMax") == WRONG


def test_where_the_scores_are_wrong_no_rounding_is_to_blame() -> None:
    failed, _unverified = compared([7], [8], "ArgMax", scores_are_right=False)
    assert failed


def test_integers_that_hang_on_no_rounding_must_be_the_same() -> None:
    found = deviations([np.array([1])], {"ids": np.array([2])}, may_be_constant=True)
    assert found.failure == "1 of its 1 values, which are int64, differ"


def test_an_own_model_knows_its_outputs_and_says_of_which_it_cannot_tell(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    made = model_of(node("ArgMax", "scores", "ids"), outputs={"scores": T.FLOAT, "ids": T.INT64})
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    artifact = export_own(OwnModel("net", str(path), file_sha256(path)), tmp_path / "out")
    assert artifact.rounding == {"ids": ("ArgMax",)}
