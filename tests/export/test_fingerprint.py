"""What a fingerprint of an ONNX file tells of the difference to another one, and what it does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export import fingerprint
from export.fingerprint import ROUNDING, Fingerprint, difference
from models.noise import Noise


def model(weights: NDArray[np.generic], shape: tuple[int, ...] = (4, 16), operator: str = "Relu") -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.float32([[0.5]]), "k"))
    nodes = [constant, helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node(operator, ["m"], ["y"])]
    table = numpy_helper.from_array(np.array(shape, np.int64), "table")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(weights, "w"), table]
    return helper.make_model(helper.make_graph(nodes, "test", ports[:1], ports[1:], tensors))


WEIGHTS = Noise(1).normal((16, 5000)).astype(np.float32)
WHOLE = fingerprint.of_model(model(WEIGHTS))


def distance(weights: NDArray[np.generic]) -> float | None:
    return difference(WHOLE, fingerprint.of_model(model(weights)))


def test_the_same_file_has_the_same_fingerprint_and_is_left_as_it_is() -> None:
    one = model(WEIGHTS)
    before = one.SerializeToString()
    assert fingerprint.of_model(one) == WHOLE
    assert one.SerializeToString() == before
    assert distance(WEIGHTS) == 0


@pytest.mark.parametrize("part", [1e-6, 1e-4, 0.1])
def test_the_difference_is_about_that_of_the_weights(part: float) -> None:
    other = (WEIGHTS * (1 + part * Noise(2).normal(WEIGHTS.shape))).astype(np.float32)
    true = np.linalg.norm(other - WEIGHTS) / np.linalg.norm(WEIGHTS)
    assert distance(other) == pytest.approx(true, rel=1)
    assert distance(other) > true / 3  # type: ignore[operator]


def test_rounding_is_told_from_another_weight() -> None:
    one_step_off = np.where(Noise(3).whole(2, WEIGHTS.shape) == 1, np.nextafter(WEIGHTS, np.float32(9)), WEIGHTS)
    assert 0 < distance(one_step_off) < ROUNDING["fp32"]  # type: ignore[operator]
    one_other = WEIGHTS.copy()
    one_other[3, 4] *= 1.01
    for other in (one_other, 2 * WEIGHTS, -WEIGHTS, WEIGHTS[::-1], 0 * WEIGHTS):
        assert distance(other) > ROUNDING["fp32"]  # type: ignore[operator]


def test_what_is_no_weight_is_structure() -> None:
    for other in (model(WEIGHTS, shape=(16, 4)), model(WEIGHTS, operator="Sigmoid"), model(WEIGHTS.T)):
        assert difference(WHOLE, fingerprint.of_model(other)) is None
    bytes_ = np.zeros((3, 4), np.int8)
    other_bytes = bytes_.copy()
    other_bytes[1, 1] = 1
    assert difference(*(fingerprint.of_model(model(one)) for one in (bytes_, other_bytes))) is None


def test_numbers_that_are_none_are_structure() -> None:
    other = WEIGHTS.copy()
    other[0, 0] = np.nan
    assert distance(other) is None


def test_a_constant_in_a_node_counts() -> None:
    other = model(WEIGHTS)
    other.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.float32([[0.6]]), "k"))
    found = difference(WHOLE, fingerprint.of_model(other))
    assert found == pytest.approx(np.log(0.6 / 0.5), rel=1e-6)


def test_half_precision_is_read_wherever_it_lies() -> None:
    half = model(WEIGHTS.astype(np.float16))
    lying_elsewhere = model(WEIGHTS.astype(np.float16))
    tensor = lying_elsewhere.graph.initializer[0]
    tensor.int32_data.extend(np.frombuffer(tensor.raw_data, np.uint16).tolist())
    tensor.ClearField("raw_data")
    assert fingerprint.of_model(half) == fingerprint.of_model(lying_elsewhere)


def test_fingerprints_that_cannot_be_compared_have_no_difference() -> None:
    assert difference(WHOLE, Fingerprint(WHOLE.structure, ())) is None
    assert difference(Fingerprint("", ()), Fingerprint("", ())) is None
    assert difference(WHOLE, Fingerprint(WHOLE.structure, tuple(1e308 * sign for sign in [1, -1] * 4))) is not None
