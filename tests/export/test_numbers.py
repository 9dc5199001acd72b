"""What weights are stored in and what is computed in are two facts, told apart in files of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from export import verify
from export.artifact import ExportError
from export.numbers import Numbers, numbers_of
from export.own.model import OwnModel, export_own
from export.precision import FP16_TOLERANCE, INT8_TOLERANCE, ROUNDED_TOLERANCE, tolerance
from toolchain.files import file_sha256

N = 64
RANDOM = np.random.default_rng(0)
HALF, BRAIN = T.FLOAT16, T.BFLOAT16
MICROSOFT = "com.microsoft"

Made = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def node(op: str, reads: str, makes: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, reads.split(), makes.split(), **attributes)


def numbers(name: str, kind: int, *shape: int) -> onnx.TensorProto:
    """Weights of a kind."""
    if kind in (T.FLOAT, T.FLOAT16, T.DOUBLE):
        values = RANDOM.standard_normal(shape) / 8
        return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(kind)), name)
    if kind == BRAIN:
        return helper.make_tensor(name, BRAIN, shape, (RANDOM.standard_normal(shape) / 8).ravel().tolist())
    least, most = {T.INT4: (-8, 8), T.UINT4: (0, 16), T.INT8: (-128, 128), T.UINT8: (0, 256)}[kind]
    return helper.make_tensor(name, kind, shape, RANDOM.integers(least, most, shape).ravel().tolist())


def scale(name: str = "s", kind: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(kind(0.02), name)


def dequantized(kind: int, op: str = "MatMul") -> Made:
    shape = (N, N) if op == "MatMul" else (N, 1, 1, 1)
    return [node("DequantizeLinear", "q s", "w"), node(op, "x w", "y")], [numbers("q", kind, *shape), scale()]


def qdq(kind: int = T.INT8) -> Made:
    zero = numpy_helper.from_array(helper.tensor_dtype_to_np_dtype(kind).type(0), "z")
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "q s", "w"),
        node("MatMul", "xd w", "y"),
    ]
    return nodes, [numbers("q", T.INT8, N, N), scale(), zero]


def weights_quantized_on_the_way() -> Made:
    """As some exporters of trained quantization leave them: in fp32, and rounded by the file itself."""
    nodes, constants = qdq()
    nodes.insert(2, node("QuantizeLinear", "wf s z", "q"))
    return nodes, [numbers("wf", T.FLOAT, N, N), *constants[1:]]


def in_half(kind: int) -> Made:
    return [node("Cast", "x", "h", to=kind), node("MatMul", "h w", "p"), node("Cast", "p", "y", to=T.FLOAT)], [
        numbers("w", kind, N, N)
    ]


def stored_in_half(kind: int) -> Made:
    return [node("Cast", "w", "f", to=T.FLOAT), node("MatMul", "x f", "y")], [numbers("w", kind, N, N)]


def in_integers() -> Made:
    nodes = [
        node("DynamicQuantizeLinear", "x", "xq xs xz"),
        node("MatMulInteger", "xq q xz", "i"),
        node("Cast", "i", "f", to=T.FLOAT),
        node("Mul", "f xs", "y"),
    ]
    return nodes, [numbers("q", T.INT8, N, N)]


def linear() -> Made:
    zero = numpy_helper.from_array(np.int8(0), "z")
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("QLinearMatMul", "xq s z q s z s z", "yq"),
        node("DequantizeLinear", "yq s z", "y"),
    ]
    return nodes, [numbers("q", T.INT8, N, N), scale(), zero]


def in_nbits(bits: int, level: int | None = None) -> Made:
    level_of = {} if level is None else {"accuracy_level": level}
    made = node("MatMulNBits", "x b c", "y", domain=MICROSOFT, K=N, N=N, bits=bits, block_size=32, **level_of)
    return [made], [numbers("b", T.UINT8, N, 2, 4 * bits), numbers("c", T.FLOAT, 2 * N)]


def mixed() -> Made:
    """A small part in int8, behind a large one in fp32."""
    nodes, constants = qdq()
    first = [node("MatMul", "in v", "t"), node("MatMul", "t v2", "x")]
    return [*first, *nodes], [numbers("v", T.FLOAT, N, 4 * N), numbers("v2", T.FLOAT, 4 * N, N), *constants]


KINDS: dict[str, tuple[Callable[[], Made], Numbers, float]] = {
    "fp32": (lambda: ([node("MatMul", "x w", "y")], [numbers("w", T.FLOAT, N, N)]), Numbers("fp32", "fp32"), 1e-3),
    "no weights": (lambda: ([node("Relu", "x", "y")], []), Numbers("fp32", "fp32"), 1e-3),
    **{
        f"{name} weights": (
            lambda kind=kind: dequantized(kind),
            Numbers(name, "fp32", may_round=True),
            ROUNDED_TOLERANCE,
        )
        for name, kind in (("int4", T.INT4), ("uint4", T.UINT4), ("int8", T.INT8), ("uint8", T.UINT8))
    },
    "QDQ": (qdq, Numbers("int8", "int8"), INT8_TOLERANCE),
    "QDQ of 16 bits": (lambda: qdq(T.INT16), Numbers("int8", "int16"), FP16_TOLERANCE),
    "weights quantized on the way": (weights_quantized_on_the_way, Numbers("fp32", "int8"), INT8_TOLERANCE),
    "QLinear": (linear, Numbers("int8", "int8"), INT8_TOLERANCE),
    "MatMulInteger": (in_integers, Numbers("int8", "int8"), INT8_TOLERANCE),
    "fp16": (lambda: in_half(HALF), Numbers("fp16", "fp16"), FP16_TOLERANCE),
    "bf16": (lambda: in_half(BRAIN), Numbers("bf16", "bf16"), FP16_TOLERANCE),
    "fp16 storage": (lambda: stored_in_half(HALF), Numbers("fp16", "fp32"), 1e-3),
    "bf16 storage": (lambda: stored_in_half(BRAIN), Numbers("bf16", "fp32"), 1e-3),
    "MatMulNBits": (lambda: in_nbits(4), Numbers("int4", "fp32"), 1e-3),
    "MatMulNBits of 8": (lambda: in_nbits(8), Numbers("int8", "fp32"), 1e-3),
    "MatMulNBits, rounding": (lambda: in_nbits(4, 4), Numbers("int4", "fp32", may_round=True), ROUNDED_TOLERANCE),
    "mixed": (mixed, Numbers("fp32", "int8"), INT8_TOLERANCE),
}


def model_of(made: Made) -> onnx.ModelProto:
    nodes, constants = made
    first = "in" if any("in" in one.input for one in nodes) else "x"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(first, T.FLOAT, [1, N])],
        [helper.make_tensor_value_info("y", T.FLOAT, [1, N])],
        constants,
    )
    domains = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


@pytest.mark.parametrize("name", KINDS)
def test_both_facts_are_read_and_the_tolerance_follows_the_second(name: str) -> None:
    make, expected, allowed = KINDS[name]
    found = numbers_of(model_of(make()))
    assert found == expected
    assert tolerance(found) == allowed


def test_weights_of_convolutions_are_made_fp32_first() -> None:
    nodes, constants = dequantized(T.INT8, "Conv")
    assert numbers_of(model_of((nodes, constants))) == Numbers("int8", "fp32", may_round=False)


def test_a_branch_counts_with_the_rest() -> None:
    nodes, constants = dequantized(T.INT4)
    branch = helper.make_graph(nodes, "b", [], [helper.make_tensor_value_info("y", T.FLOAT, None)], constants)
    flag = numpy_helper.from_array(np.array(True), "c")
    made = node("If", "c", "y", then_branch=branch, else_branch=branch)
    assert numbers_of(model_of(([made], [flag]))) == Numbers("int4", "fp32", may_round=True)


@pytest.mark.parametrize("name", [one for one in KINDS if "MatMulNBits" not in one and one != "bf16"])
def test_what_onnx_runtime_does_to_it_here_is_within_the_tolerance_and_noise_is_not(name: str, tmp_path: Path) -> None:
    """With its optimizations and without; weights of few bits it multiplies without making them fp32 first."""
    path, (make, _, allowed) = tmp_path / "net.onnx", KINDS[name]
    onnx.save(model_of(make()), path)
    x, other = RANDOM.standard_normal((2, 1, N)).astype(np.float32)
    right, wrong = (verify.run_onnx_on(path, [values], optimized=False)["y"] for values in (x, other))
    assert verify.deviation(verify.run_onnx_on(path, [x])["y"], right, allowed, may_be_constant=True).ok
    assert not verify.deviation(wrong, right, allowed, may_be_constant=True).ok


def test_an_artifact_says_both_and_how_far_a_device_may_deviate(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(model_of(dequantized(T.INT4)), path)
    own = OwnModel("net", str(path), file_sha256(path))
    made = export_own(own, tmp_path / "out")
    assert (made.numbers, made.tolerance) == (Numbers("int4", "fp32", may_round=True), ROUNDED_TOLERANCE)
    assert made.params == N * N
    assert made.source is not None
    assert "weights int4, computed in fp32 as it came" in made.source
    with pytest.raises(ExportError, match="it is stored as int4 already: measure it as it is"):
        export_own(own, tmp_path / "out", precision="fp16")
