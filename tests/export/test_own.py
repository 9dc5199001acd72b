"""A user's own ONNX file: how it is opened, sized, fed, simplified, checked and refused, and that it runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from export import verify
from export.artifact import ExportError, read_artifact
from export.onnx import simplify
from export.own import model as owns
from export.own.model import STEPS, OwnModel, export_own
from export.precision import tolerance
from export.tensors import read_tensor
from harness.analyse.warnings import warnings_of
from harness.measure.networks import read_outputs
from harness.measure.own_models import named
from harness.record import journal
from harness.record import plan as plans
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.plan import Limits
from harness.run import main
from toolchain.files import file_sha256
from toolchain.tensors import ELEMENT_BYTES, TensorType

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Sizes = list[int | str | None]

#: Files that nobody here wrote, in packages that the project pins.
OF_ONNXRUNTIME = Path(onnxruntime.__file__).parent / "datasets"
OF_ONNX = Path(onnx.__file__).parent / "backend" / "test" / "data"
MUL, SIGMOID, CLASSIFIER = (OF_ONNXRUNTIME / f"{name}.onnx" for name in ("mul_1", "sigmoid", "logreg_iris"))
CONVOLUTION = OF_ONNX / "pytorch-converted" / "test_Conv2d_groups" / "model.onnx"
SQUEEZENET = OF_ONNX / "light" / "light_squeezenet.onnx"


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, Sizes]],
    outputs: dict[str, tuple[int, Sizes | None]],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def embedding(*, sizes: Sizes = ["batch", "sequence"]) -> onnx.ModelProto:  # noqa: B006 (never written to)
    """Two inputs of different types, two outputs of different types, free sizes: a text model in small."""
    table = np.random.default_rng(3).standard_normal((5, 4), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["weight"], to=FLOAT),
        helper.make_node("Unsqueeze", ["weight", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["masked"]),
        helper.make_node("Identity", ["masked"], ["hidden"]),
        helper.make_node("ArgMax", ["masked"], ["best"], axis=2, keepdims=0),
    ]
    return model_of(
        nodes,
        {"ids": (INT64, sizes), "mask": (TensorProto.BOOL, sizes)},
        {"hidden": (FLOAT, ["batch", "sequence", 4]), "best": (INT64, ["batch", "sequence"])},
        {"table": table, "last": np.array([2])},
    )


def saved(model: onnx.ModelProto, folder: Path, name: str = "net") -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def own_of(path: Path, dims: dict[str, int] | None = None, inputs: Path | None = None) -> OwnModel:
    sha256 = file_sha256(inputs) if inputs else None
    return OwnModel("net", str(path), file_sha256(path), dims or {}, str(inputs) if inputs else None, sha256)


def refusal(own: OwnModel, out: Path, **options: str) -> str:
    with pytest.raises(ExportError) as refused:
        export_own(own, out, **options)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simplifies here rather than in a process of its own, which takes seconds to start."""

    def run(command: list[str], **_options: object) -> object:
        try:
            simplify.simplify(*map(Path, command[-2:]))
        except Exception as error:
            return type("Done", (), {"returncode": 1, "stderr": str(error)})
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(owns.subprocess, "run", run)


quick = pytest.mark.usefixtures("in_process")


# What an artifact of a user's file is


@quick
def test_several_inputs_and_outputs_of_several_types_become_an_artifact(tmp_path: Path) -> None:
    path = saved(embedding(), tmp_path)
    made = export_own(own_of(path, {"sequence": 6}), tmp_path / "out")
    assert read_artifact(made.folder) == made
    assert [(one.name, one.type, one.shape) for one in made.inputs] == [
        ("ids", "int64", (1, 6)),
        ("mask", "bool", (1, 6)),
    ]
    assert [(one.name, one.type, one.shape) for one in made.outputs] == [
        ("hidden", "float32", (1, 6, 4)),
        ("best", "int64", (1, 6)),
    ]
    assert (made.format, made.igc, made.opset, made.weights) == ("onnx", None, 17, "the file's own")
    assert made.params == 20
    assert made.tolerance == verify.RELATIVE_TOLERANCE
    assert made.source is not None
    assert made.source.startswith(f"net.onnx, sha256 {file_sha256(path)}; ")
    values = [read_tensor(made.folder, one) for one in made.inputs]
    found = verify.run_onnx_on(path, values)
    for tensor in made.outputs:
        np.testing.assert_array_equal(found[tensor.name], read_tensor(made.folder, tensor))


@quick
def test_a_batch_is_one_unless_said_otherwise_and_the_source_says_so(tmp_path: Path) -> None:
    path = saved(embedding(), tmp_path)
    alone, of_two = (export_own(own_of(path, {"sequence": 6, **more}), tmp_path / "out") for more in ({}, {"batch": 2}))
    assert alone.inputs[0].shape == (1, 6)
    assert "batch = 1 (a batch of one, for nothing was said)" in str(alone.source)
    assert of_two.inputs[0].shape == (2, 6)
    assert "batch = 2" in str(of_two.source)
    assert alone.folder != of_two.folder


@quick
def test_what_is_up_to_date_is_not_made_again(tmp_path: Path) -> None:
    own = own_of(saved(embedding(), tmp_path), {"sequence": 6})
    steps: list[str] = []
    made = export_own(own, tmp_path / "out", on_step=steps.append)
    assert steps == list(STEPS)
    assert export_own(own, tmp_path / "out", on_step=steps.append) == made
    assert export_own(replace(own, dims={"sequence": 6}), tmp_path / "out", on_step=steps.append) == made
    assert steps == list(STEPS)


def test_a_file_is_simplified_in_a_process_of_its_own(tmp_path: Path) -> None:
    made = export_own(own_of(saved(embedding(), tmp_path), {"sequence": 6}), tmp_path / "out")
    assert "not simplified" not in str(made.source)
    assert "Identity" not in made.op_counts


# Sizes


def test_a_size_that_is_missing_is_an_error_that_says_how_to_give_it(tmp_path: Path) -> None:
    words = refusal(own_of(saved(embedding(), tmp_path)), tmp_path / "out")
    assert words == (
        "net: its free dimensions are batch (ids:0, mask:0), sequence (ids:1, mask:1); "
        "give those without a size one: --dim 'sequence=SIZE'"
    )


@quick
@pytest.mark.parametrize("unnamed", ["?", None, 0, -1], ids=["a question mark", "nothing", "zero", "minus one"])
def test_a_size_without_a_name_is_called_by_its_input_and_axis(unnamed: str | int | None, tmp_path: Path) -> None:
    path = saved(embedding(sizes=["batch", unnamed]), tmp_path)
    assert "--dim 'ids:1=SIZE' --dim 'mask:1=SIZE'" in refusal(own_of(path), tmp_path / "out")
    made = export_own(own_of(path, {"ids:1": 5, "mask:1": 5}), tmp_path / "out")
    assert made.inputs[1].shape == (1, 5)


@quick
def test_a_named_size_may_be_called_by_its_place_too(tmp_path: Path) -> None:
    assert export_own(own_of(saved(embedding(), tmp_path), {"mask:1": 5}), tmp_path / "out").inputs[0].shape == (1, 5)


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        (
            {"sequence": 4, "width": 3},
            "net: no input has a free dimension 'width'; its free dimensions are batch (ids:0",
        ),
        ({"ids:1": 4, "mask:1": 5}, "net: sequence (mask:1) is to be 4 and 5; give one size"),
        ({"sequence": 0}, "net: sequence (ids:1) is to be 0; a size is 1 or more"),
    ],
)
def test_a_size_that_makes_no_sense_is_one_clear_line(dims: dict[str, int], words: str, tmp_path: Path) -> None:
    assert refusal(own_of(saved(embedding(), tmp_path), dims), tmp_path / "out").startswith(words)


def test_sizes_that_the_network_cannot_have_are_told_with_what_to_try(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "y"], ["z"])
    model = model_of([node], {"x": (FLOAT, [2, "m"]), "y": (FLOAT, [2, "n"])}, {"z": (FLOAT, [2, "m"])})
    words = refusal(own_of(saved(model, tmp_path), {"m": 2, "n": 3}), tmp_path / "out")
    advice = "(should its sizes, --dim, or inputs, --input, be others?)"
    assert words.startswith(f"net: running it in ONNX Runtime here {advice} failed: ")


# Inputs


@quick
def test_given_inputs_are_used_and_give_the_free_sizes(tmp_path: Path) -> None:
    ids, mask = np.array([[4, 2, 0], [1, 1, 3]]), np.array([[True, True, False], [True, False, True]])
    np.savez(tmp_path / "given.npz", ids=ids, mask=mask)
    made = export_own(own_of(saved(embedding(), tmp_path), inputs=tmp_path / "given.npz"), tmp_path / "out")
    np.testing.assert_array_equal(read_tensor(made.folder, made.inputs[0]), ids)
    np.testing.assert_array_equal(read_tensor(made.folder, made.inputs[1]), mask)
    assert "inputs given.npz" in str(made.source)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"ids": np.zeros((1, 3), np.int64)}, "it has no 'mask'; the inputs are 'ids' (int64 [1, 3]), 'mask'"),
        (
            {"ids": np.zeros((1, 3), np.int32), "mask": np.ones((1, 3), bool)},
            "'ids' is int32 [1, 3]; the input is 'ids' (int64 [1, 3])",
        ),
        (
            {"ids": np.zeros((1, 3), np.int64), "mask": np.ones((1, 3), bool), "more": np.ones(1)},
            "'more' is no input; the inputs are",
        ),
        ({"ids": np.zeros((1, 3), np.int64), "mask": np.ones((1, 4), bool)}, "is to be 3 and 4"),
    ],
    ids=["missing", "another type", "unknown", "sizes that differ"],
)
def test_inputs_that_do_not_fit_are_one_clear_line(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", **arrays)
    assert words in refusal(own_of(saved(embedding(), tmp_path), inputs=tmp_path / "given.npz"), tmp_path / "out")


@quick
@pytest.mark.parametrize("dtype", ELEMENT_BYTES)
def test_inputs_are_drawn_by_type_the_same_each_time(dtype: str, tmp_path: Path) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node("Identity", ["x"], ["y"])
    path = saved(model_of([node], {"x": (kind, [8, 50])}, {"y": (kind, [8, 50])}), tmp_path)
    made = export_own(own_of(path), tmp_path / "out")
    values = read_tensor(made.folder, made.inputs[0])
    assert values.dtype == dtype
    if values.dtype.kind == "f":
        assert abs(float(values.astype(np.float64).mean())) < 0.2
        assert 0.8 < float(values.astype(np.float64).std()) < 1.2
    else:
        assert (values.min(), values.max() > 200) == (0, True) if dtype == "uint8" else {*np.unique(values)} == {0, 1}
    again = export_own(own_of(path), tmp_path / "again")
    assert again.inputs == made.inputs


@quick
def test_a_scalar_input_is_drawn_too(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "s"], ["y"])
    model = model_of([node], {"x": (FLOAT, [2, 3]), "s": (FLOAT, [])}, {"y": (FLOAT, [2, 3])})
    assert export_own(own_of(saved(model, tmp_path)), tmp_path / "out").inputs[1].shape == ()


# What is refused


def test_a_file_that_changed_since_it_was_named_is_refused(tmp_path: Path) -> None:
    own = own_of(saved(embedding(), tmp_path), {"sequence": 3})
    saved(embedding(sizes=["batch", "other"]), tmp_path)
    assert "net.onnx is another file now (sha256 " in refusal(own, tmp_path / "out")


def with_a_function() -> onnx.ModelProto:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("mine", "Rectify", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    node = helper.make_node("Rectify", ["x"], ["y"], domain="mine")
    model = model_of([node], {"x": (FLOAT, [2, 3])}, {"y": (FLOAT, [2, 3])}, domains=("mine",))
    model.functions.append(function)
    return model


@quick
def test_operators_that_the_file_itself_defines_are_admitted(tmp_path: Path) -> None:
    assert export_own(own_of(saved(with_a_function(), tmp_path)), tmp_path / "out").outputs[0].shape == (2, 3)


def test_operators_of_other_domains_are_refused_by_name_also_in_branches(tmp_path: Path) -> None:
    def branch(kind: str, domain: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(kind, ["x"], ["inner"], domain=domain)],
            "branch",
            [],
            [helper.make_tensor_value_info("inner", FLOAT, [2, 3])],
        )

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("FastGelu", "com.microsoft"), else_branch=branch("Relu", "")
    )
    inputs: dict[str, tuple[int, Sizes]] = {"c": (TensorProto.BOOL, []), "x": (FLOAT, [2, 3])}
    model = model_of([node], inputs, {"y": (FLOAT, [2, 3])}, domains=("com.microsoft",))
    assert "the operator com.microsoft.FastGelu is not one of ONNX's own" in refusal(
        own_of(saved(model, tmp_path)), tmp_path / "out"
    )


def test_types_that_cannot_be_run_are_refused_by_name(tmp_path: Path) -> None:
    assert "its output 'probabilities' is of type sequence; only tensors of float32" in refusal(
        own_of(CLASSIFIER), tmp_path / "out"
    )
    strings = model_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.STRING, [1])},
        {"y": (TensorProto.STRING, [1])},
    )
    assert "its input 'x' is of type string; only" in refusal(own_of(saved(strings, tmp_path)), tmp_path / "out")


def test_outputs_that_are_no_numbers_are_refused_with_words(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Log", ["x"], ["y"])], {"x": (FLOAT, [9, 9])}, {"y": (FLOAT, [9, 9])})
    words = refusal(own_of(saved(model, tmp_path)), tmp_path / "out")
    assert words.startswith("net: for these inputs, ")
    assert "of the 81 values of its output 'y' are NaN or infinite: no device's can be compared with them" in words
    assert words.endswith("; give other inputs (--input)")


def test_what_cannot_be_simplified_is_measured_as_it_is_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrongly(command: list[str], **_options: object) -> object:
        model = onnx.load(command[-2])
        model.graph.node[0].op_type = "Abs"
        onnx.save(model, command[-1])
        return type("Done", (), {"returncode": 0, "stderr": ""})

    path = saved(
        model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": (FLOAT, [3, 3])}, {"y": (FLOAT, [3, 3])}), tmp_path
    )
    monkeypatch.setattr(owns.subprocess, "run", wrongly)
    made = export_own(own_of(path), tmp_path / "out")
    assert "; not simplified (then it computes something else: its largest error is" in str(made.source)
    assert made.op_counts == {"Neg": 1}
    failing = type("Done", (), {"returncode": -11, "stderr": ""})
    monkeypatch.setattr(owns.subprocess, "run", lambda *_words, **_options: failing)
    assert "not simplified (onnxsim failed: exit status -11)" in str(export_own(own_of(path), tmp_path / "o2").source)


@quick
def test_constants_that_old_files_do_not_list_among_their_inputs_do_no_harm(tmp_path: Path) -> None:
    assert onnx.load(MUL).ir_version == 3
    made = export_own(own_of(MUL), tmp_path / "out")
    assert [one.name for one in made.inputs] == ["X"]


# Precisions of a user's file


@quick
def test_precisions_of_a_users_file_know_its_fp32_outputs(tmp_path: Path) -> None:
    weights = np.random.default_rng(2).standard_normal((8, 5), dtype=np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(model_of([node], {"x": (FLOAT, [4, 8])}, {"y": (FLOAT, [4, 5])}, {"w": weights}), tmp_path)
    fp32 = export_own(own_of(path), tmp_path / "out")
    for precision in ("fp16", "int8"):
        made = export_own(own_of(path), tmp_path / "out", precision=precision)
        assert (made.precision, made.tolerance) == (precision, tolerance(precision))
        assert [one.file.sha256 for one in made.fp32_outputs] == [one.file.sha256 for one in fp32.outputs]
        assert (made.mult_adds, made.params) == (4 * 8 * 5, 40)
    assert made.calibration == "random data (8 draws)"


@quick
def test_int8_is_calibrated_with_the_given_inputs_where_there_are_any(tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", x=np.ones((4, 8), np.float32))
    weights = np.random.default_rng(2).standard_normal((8, 5), dtype=np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(model_of([node], {"x": (FLOAT, [4, 8])}, {"y": (FLOAT, [4, 5])}, {"w": weights}), tmp_path)
    own = own_of(path, inputs=tmp_path / "given.npz")
    made = export_own(own, tmp_path / "out", precision="int8")
    assert made.calibration == f"given.npz sha256 {own.inputs_sha256} (1 sample)"


@quick
def test_a_file_that_is_quantized_already_is_judged_as_int8(tmp_path: Path) -> None:
    constants = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    path = saved(model_of(nodes, {"x": (FLOAT, [4, 8])}, {"y": (FLOAT, [4, 8])}, constants), tmp_path)
    made = export_own(own_of(path), tmp_path / "out")
    assert made.tolerance == tolerance("int8")
    assert "in int8 as it came" in str(made.source)
    assert "it is quantized already" in refusal(own_of(path), tmp_path / "out", precision="int8")


# Comparing outputs of any type

RAMP = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_integers_and_bools_must_be_the_same() -> None:
    ids = np.arange(12)
    assert verify.deviation(ids, ids).ok
    wrong = ids.copy()
    wrong[3] += 1
    found = verify.deviation(wrong, ids, tolerance("int8"))
    assert found.failure == "1 of its 12 values, which are int64, differ"
    assert verify.deviation(ids > 5, ids > 6).failure == "1 of its 12 values, which are bool, differ"


def test_quantized_numbers_may_deviate_as_their_precision_does() -> None:
    bytes_ = np.arange(100, dtype=np.uint8)
    assert not verify.deviation(bytes_ + np.uint8(1), bytes_).ok
    assert verify.deviation(bytes_ + np.uint8(1), bytes_, tolerance("int8")).ok


def test_an_output_of_another_type_or_count_is_a_failure() -> None:
    assert verify.deviation(RAMP.astype(np.int64), RAMP).failure == "the output's type is int64, not float32"
    assert verify.deviations([RAMP], {"a": RAMP, "b": RAMP}).failure == "there are 1 outputs, not 2"


def test_the_worst_of_several_outputs_counts_and_is_named() -> None:
    right = {"a": RAMP, "b": RAMP, "c": np.arange(3)}
    assert verify.deviations([RAMP, RAMP, np.arange(3)], right).ok
    found = verify.deviations([RAMP, RAMP + np.float32(1), np.arange(3)], right)
    assert found.failure is not None
    assert found.failure.startswith("output 'b': its largest error is 1, 0.091 of the spread")


@pytest.mark.parametrize("values", [np.full((3, 3), 0.001, np.float32), np.zeros((3, 3), np.float32)])
def test_a_constant_output_of_a_users_file_is_compared_by_its_size(values: np.ndarray) -> None:
    same = verify.deviation(values, values, may_be_constant=True)
    assert (same.ok, same.spread) == (True, 0)
    assert verify.deviation(values + np.float32(1e-7), values, may_be_constant=True).ok
    assert not verify.deviation(values + np.float32(1e-4), values, may_be_constant=True).ok
    assert not verify.deviation(values, values).ok


def test_a_spread_that_rounding_reaches_counts_as_none() -> None:
    probabilities = np.array([1e-7, 3e-7, 8e-7], np.float32)
    found = verify.deviation(probabilities + np.float32(1.2e-7), probabilities, may_be_constant=True)
    assert (found.ok, found.spread) == (True, 0)
    assert not verify.deviation(probabilities + np.float32(0.5), probabilities, may_be_constant=True).ok
    close = probabilities + np.float32(1.2e-7)
    mixed = verify.deviations([close, RAMP], {"a": probabilities, "b": RAMP}, may_be_constant=True)
    assert mixed.spread == 11


def test_what_quantizing_cannot_resolve_is_compared_by_its_size() -> None:
    nearly_even = np.array([0.48, 0.52], np.float32)
    found = verify.deviation(
        nearly_even + np.float32([0.05, -0.05]), nearly_even, tolerance("int8"), may_be_constant=True
    )
    assert (found.ok, found.spread) == (True, 0)
    assert not verify.deviation(np.float32([0.1, 0.9]), nearly_even, tolerance("int8"), may_be_constant=True).ok
    decided = np.array([0.1, 0.9], np.float32)
    assert not verify.deviation(decided[::-1], decided, tolerance("int8"), may_be_constant=True).ok


def test_the_deviation_from_fp32_is_of_floating_point_outputs_alone() -> None:
    right = {"a": RAMP, "ids": np.arange(3), "constant": np.ones(3, np.float32)}
    assert verify.largest_part([RAMP + np.float32(1.1), np.zeros(3, int), np.zeros(3)], right) == pytest.approx(0.1)
    assert verify.largest_part([np.arange(3), np.zeros(3)], {name: right[name] for name in ("ids", "constant")}) is None


def test_outputs_of_several_types_are_read_one_after_the_other(tmp_path: Path) -> None:
    arrays = [RAMP, np.arange(5), np.array([True, False]), np.array(2.5, np.float16), np.zeros((0, 3), np.int8)]
    (tmp_path / "output").write_bytes(b"".join(one.tobytes() for one in arrays))
    written = [TensorType(one.dtype.name, one.shape) for one in arrays]  # type: ignore[arg-type]
    for found, right in zip(read_outputs(tmp_path / "output", written), arrays, strict=True):
        assert (found.dtype, found.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(found, right)
    with pytest.raises(ValueError, match=r"the output has 92 bytes, tensors of these shapes 88"):
        read_outputs(tmp_path / "output", [TensorType("float32", (22,))])


# On the command line


def test_models_are_called_by_their_files_and_never_twice_the_same(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    places = [(tmp_path, "a b"), (tmp_path, "mobilenet"), (tmp_path / "other", "a b")]
    files = [saved(embedding(), folder, name) for folder, name in places]
    found = named([str(one) for one in files], ["sequence=4"], [])
    assert [one.name for one in found] == ["a-b", "mobilenet-2", "a-b-2"]


def test_sizes_and_inputs_go_to_the_model_they_name(tmp_path: Path) -> None:
    files = [str(saved(embedding(), tmp_path, name)) for name in ("one", "two")]
    np.savez(tmp_path / "given.npz", ids=np.zeros((1, 4), np.int64), mask=np.ones((1, 4), bool))
    one, two = named(files, ["sequence=4", "two:batch=3"], [f"one={tmp_path}/given.npz"])
    assert (one.dims, two.dims) == ({"sequence": 4}, {"sequence": 4, "batch": 3})
    assert (one.inputs, two.inputs) == (str(tmp_path / "given.npz"), None)
    assert one.inputs_sha256 == file_sha256(tmp_path / "given.npz")


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere.onnx"], "--model: nowhere.onnx: cannot be read: No such file or directory"),
        (
            ["--model", "net.onnx", "--dim", "sequence"],
            "--dim sequence: give NAME=SIZE, or MODEL:NAME=SIZE, with a size",
        ),
        (["--model", "net.onnx", "--dim", "sequence=0"], "--dim sequence=0: give NAME=SIZE"),
        (["--model", "net.onnx", "--dim", "width=3"], "there is no such free dimension: net has batch, sequence"),
        (["--dim", "width=3"], "--dim width=3: of which model? Name its file with --model"),
        (["--model", "net.onnx", "--dim", "sequence=3", "--dim", "net:sequence=4"], "net is given two sizes of it"),
        (["--model", "net.onnx", "--input", "other=net.onnx"], "'other' is not among the models net; give NAME=FILE"),
        (
            ["--model", "net.onnx", "--runtime", "caffe2"],
            "--model is for ONNX Runtime alone: add --runtime onnxruntime",
        ),
        (["--precision", "int4"], "'int4' is not one of fp32, fp16, int8"),
        (["--precision", "int8", "--runtime", "caffe2"], "--precision int8: Caffe2 runs no int8 here"),
        (["--models", "clcnet-tiny", "--igc", "fused", "--precision", "int8"], "igc fused computes in fp32 alone"),
        (
            ["--models", "clcnet-tiny", "--runtime", "caffe2", "--provider", "xnnpack"],
            "is ONNX Runtime's: add --runtime",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    options: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(embedding(), tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("--device", "host", *options, "--out", tmp_path / "run")
    assert result.exit_code == EXIT_USAGE
    assert words in result.stderr
    assert not (tmp_path / "run").exists()


def test_three_files_that_nobody_here_wrote_run_on_this_machine_and_are_right(tmp_path: Path) -> None:
    files = [word for file in (SIGMOID, CONVOLUTION, SQUEEZENET) for word in ("--model", file)]
    result = run("--device", "host", *files, "--passes", "2", "--out", tmp_path / "run")
    assert result.exit_code == EXIT_OK, result.stderr
    records = {record.case.model: record for record in journal.read(tmp_path / "run")}
    assert list(records) == ["sigmoid", "model", "light_squeezenet"]
    for record in records.values():
        assert record.check is not None
        assert record.check.passed
        assert record.artifact is not None
        assert "sha256" in str(record.artifact.source)
    squeezenet = records["light_squeezenet"]
    assert squeezenet.artifact is not None
    assert squeezenet.artifact.mult_adds == 349_151_936
    # All of its weights are one number.
    assert "output_constant" in {one.kind for one in warnings_of(squeezenet, Limits())}
    assert "output_constant" not in {one.kind for one in warnings_of(records["sigmoid"], Limits())}


@pytest.mark.board
def test_a_file_that_nobody_here_wrote_and_one_of_several_types_run_on_a_board_and_are_right(tmp_path: Path) -> None:
    text = saved(embedding(), tmp_path, "text")
    options = ("--dim", "sequence=4", "--passes", "1", "--warmup", "0", "--boards", "1", "--out", tmp_path / "run")
    result = run("--device", "board:cortex-a7", "--model", CONVOLUTION, "--model", text, *options)
    assert result.exit_code == EXIT_OK, result.stderr
    of_convolution, of_text = journal.read(tmp_path / "run")
    assert of_convolution.device.abi == "armeabi-v7a"
    assert of_text.measurement is not None
    assert [(one.type, one.shape) for one in of_text.measurement.outputs] == [("float32", (1, 4, 4)), ("int64", (1, 4))]
    for record in (of_convolution, of_text):
        assert record.check is not None
        assert record.check.passed


def test_precisions_are_cases_with_their_deviation_from_fp32(tmp_path: Path) -> None:
    options = ("--models", "clcnet-tiny", "--precision", "fp32,fp16,int8", "--passes", "1", "--out", tmp_path / "run")
    result = run("--device", "host", *options)
    assert result.exit_code == EXIT_OK, result.stderr
    fp32, fp16, int8 = journal.read(tmp_path / "run")
    assert [record.case.precision for record in (fp32, fp16, int8)] == ["fp32", "fp16", "int8"]
    parts = [record.check.fp32_relative for record in (fp32, fp16, int8) if record.check]
    assert parts[0] is None
    assert parts[1] is not None
    assert parts[2] is not None
    assert 0 < parts[1] < parts[2] < 1
    sizes = [record.artifact.size_bytes for record in (fp32, fp16, int8) if record.artifact]
    assert sizes == sorted(sizes, reverse=True)
    assert int8.artifact is not None
    assert int8.artifact.calibration == "random data (8 draws)"


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[..., Path]:
    """A run of a user's file whose record was lost; what is given replaces what its plan says."""

    def make(**changes: str) -> Path:
        text = saved(embedding(), tmp_path, "text")
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        options = ("--model", text, "--dim", "sequence=4", "--passes", "1", "--out", out)
        assert run("--device", "host", *options).exit_code == EXIT_OK
        (out / journal.FILE_NAME).write_bytes(b"")
        return out

    return make


def test_an_interrupted_run_goes_on_with_the_same_file_wherever_one_is(interrupted: Callable[..., Path]) -> None:
    out = interrupted()
    result = run("--resume", out)
    assert result.exit_code == EXIT_OK, result.stderr
    assert len(journal.read(out)) == 1


def test_resume_refuses_another_file_other_sizes_and_other_models(
    interrupted: Callable[..., Path], tmp_path: Path
) -> None:
    out = interrupted()
    seed = plans.read(out).seed
    again = ("--device", "host", "--passes", "1", "--seed", str(seed), "--resume", out)
    result = run(*again, "--model", tmp_path / "text.onnx", "--dim", "sequence=5")
    assert result.exit_code == EXIT_USAGE
    assert "--dim sequence=5 was asked for, but the run has --dim text:sequence=4;" in result.stderr
    assert run("--resume", out, "--dim", "sequence=4", "--rounds", "2").stderr.count("was asked for") == 1
    saved(embedding(sizes=["batch", 4]), tmp_path, "text")
    result = run("--resume", out)
    assert result.exit_code == EXIT_USAGE
    assert "text.onnx is another file now (sha256 " in result.stderr
    assert "start a new run for that" in result.stderr
    (tmp_path / "text.onnx").unlink()
    assert "text.onnx cannot be read: No such file" in run("--resume", out).stderr


def test_a_wrong_output_of_a_users_file_fails_its_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(folder: Path, tensor: object) -> np.ndarray:
        return read_tensor(folder, tensor) + np.float32(0.5)  # type: ignore[arg-type]

    monkeypatch.setattr("export.tensors.read_tensor", spoilt)
    result = run("--device", "host", "--model", SIGMOID, "--passes", "1", "--out", tmp_path / "run")
    assert result.exit_code == EXIT_CASE_FAILED
    assert (
        "output_wrong: the output is not what ONNX Runtime computed from this file on the host: its largest error"
        in result.stderr
    )
