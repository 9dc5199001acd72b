"""A user's own ONNX file: how it is opened, sized, fed, simplified, checked and refused, and that it runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from commands import run
from onnx import TensorProto, helper, numpy_helper

from export import verify
from export.artifact import ExportError, Random, read_artifact
from export.onnx import simplify
from export.own import graph
from export.own import model as owns
from export.own.foreign import messages
from export.own.model import STEPS, OwnModel, export_own
from export.own.module import module_to_onnx
from export.own.randomness import random_in
from export.precision import tolerance
from export.tensors import read_outputs, read_tensor
from harness.analyse.warnings import warnings_of
from harness.measure.own_models import named
from harness.record import journal
from harness.record import plan as plans
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.plan import Limits
from toolchain import compile as compiling
from toolchain import xnnpack
from toolchain.files import file_sha256
from toolchain.tensors import ELEMENT_BYTES, TensorType

OTHER = "com.microsoft"
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
        "give those without a size one (only a batch is 1 by itself): --dim 'sequence=SIZE'"
    )


@quick
@pytest.mark.parametrize("unnamed", ["?", None, -1, "None"], ids=["a question mark", "nothing", "minus one", "None"])
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
        ({"sequence": -1}, "net: sequence (ids:1) is to be -1; a size is 0 or more"),
    ],
)
def test_a_size_that_makes_no_sense_is_one_clear_line(dims: dict[str, int], words: str, tmp_path: Path) -> None:
    assert refusal(own_of(saved(embedding(), tmp_path), dims), tmp_path / "out").startswith(words)


#: Names that exporters and people give to a batch, and others: those that an exporter made up say nothing.
BATCHES = [
    "batch",
    "Batch",
    "BATCH_SIZE",
    "batch_size",
    "batchSize",
    "BatchSize",
    "batchsize",
    "batch_dim",
    "batch-size",
]
BATCHES += ["input_batch_size", "num_batch", "dynamic_batch", "batch_axis_0", "batch.1", "bs", "bsz", "minibatch"]
LETTERS = ["N", "n", "B", "b"]
OTHERS = ["seq", "seq_len", "sequence_length", "time", "T", "L", "S", "len", "length", "frames", "num_frames", "tokens"]
OTHERS += [
    "num_tokens",
    "width",
    "height",
    "samples",
    "num_boxes",
    "sequence_batch",
    "batch_seq",
    "batch_x_seq",
    "steps",
]
OTHERS += ["unk__617", "s0", "s77", "u0", "DynamicDimension.0", "2*s0", "batch*seq", "2*batch", "batch + 1", "channels"]


def sums_of(**inputs: Sizes) -> onnx.ModelProto:
    """A number for each input: its sum."""
    nodes = [helper.make_node("ReduceSum", [name], [f"{name}_sum"], keepdims=0) for name in inputs]
    outputs: dict[str, tuple[int, Sizes | None]] = {f"{name}_sum": (FLOAT, []) for name in inputs}
    return model_of(nodes, {name: (FLOAT, sizes) for name, sizes in inputs.items()}, outputs)


def sizes_of(
    model: onnx.ModelProto, dims: dict[str, int] | None = None, given: dict[str, tuple[int, ...]] | None = None
) -> list[tuple[int, ...]]:
    """The shapes of the inputs, once all sizes are fixed."""
    graph.fix(model, "net", dims or {}, given or {})
    return [port.shape for port in graph.ports(model)]


@pytest.mark.parametrize("name", [*BATCHES, *LETTERS, None, "?"])
def test_a_batch_in_front_is_one_by_itself(name: str | None) -> None:
    assert sizes_of(sums_of(x=[name, 3])) == [(1, 3)]


@pytest.mark.parametrize("name", BATCHES)
def test_a_size_that_is_called_a_batch_is_one_wherever_it_stands(name: str) -> None:
    assert sizes_of(sums_of(x=[3, name, 4])) == [(3, 1, 4)]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_other_size_is_asked_for_wherever_it_stands(name: str, axis: int) -> None:
    sizes: Sizes = [2, 3, 4]
    sizes[axis] = name
    model = sums_of(x=sizes)
    with pytest.raises(ExportError, match=re.escape(f"(only a batch is 1 by itself): --dim '{name}=SIZE'")):
        graph.fix(model, "net", {}, {})
    assert sizes_of(model, {name: 7})[0][axis] == 7


@pytest.mark.parametrize("name", [*LETTERS, None])
def test_a_letter_and_a_size_without_a_name_mean_a_batch_in_front_alone(name: str | None) -> None:
    with pytest.raises(ExportError, match="only a batch is 1 by itself"):
        graph.fix(sums_of(x=[3, name]), "net", {}, {})
    if name:
        assert sizes_of(sums_of(x=[name, 3], state=[2, name])) == [(1, 3), (2, 1)]


def test_all_that_is_asked_for_is_in_one_line_each_once() -> None:
    model = sums_of(x=["seq", "batch", 4], past=["batch", 2, "past", None], mask=["seq", "frames"])
    with pytest.raises(ExportError) as refused:
        graph.fix(model, "net", {}, {})
    assert str(refused.value).endswith(": --dim 'seq=SIZE' --dim 'past=SIZE' --dim 'past:3=SIZE' --dim 'frames=SIZE'")
    dims = {"seq": 5, "past": 0, "past:3": 6, "frames": 7}
    assert sizes_of(model, dims) == [(5, 1, 4), (1, 2, 0, 6), (5, 7)]


def test_an_expression_of_other_sizes_follows_from_them() -> None:
    def model() -> onnx.ModelProto:
        mask: Sizes = ["batch", "past + seq"]
        return sums_of(x=["batch", "seq"], past=["batch", "past"], mask=mask, pairs=["2*batch", "Max(seq, past)//2"])

    with pytest.raises(ExportError, match=re.escape("by itself): --dim 'seq=SIZE' --dim 'past=SIZE'") + "$"):
        graph.fix(model(), "net", {}, {})
    assert sizes_of(model(), {"seq": 3, "past": 4}) == [(1, 3), (1, 4), (1, 7), (2, 2)]
    assert sizes_of(model(), {"seq": 3, "past": 4, "batch": 2})[3] == (4, 2)
    with pytest.raises(ExportError, match=re.escape("net: past + seq (mask:1) is to be 8 and 7; give one size")):
        graph.fix(model(), "net", {"seq": 3, "past": 4}, {"mask": (1, 8)})
    with pytest.raises(ExportError, match=re.escape("n - 9 (y:0) is to be -8; a size is 0 or more")):
        graph.fix(sums_of(x=["n"], y=["n - 9"]), "net", {}, {})


def test_an_input_without_any_shape_has_that_of_its_value() -> None:
    model = sums_of(x=[2, 3])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ExportError, match="its input 'x' has no shape at all"):
        graph.fix(model, "net", {}, {})
    assert sizes_of(model, given={"x": (4, 5)}) == [(4, 5)]


def test_sizes_that_the_network_cannot_have_are_told_with_what_to_try(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "y"], ["z"])
    model = model_of([node], {"x": (FLOAT, [2, "m"]), "y": (FLOAT, [2, "n"])}, {"z": (FLOAT, [2, "m"])})
    words = refusal(own_of(saved(model, tmp_path), {"m": 2, "n": 3}), tmp_path / "out")
    here = f"in ONNX Runtime {onnxruntime.__version__} here"
    assert words.startswith(
        f"net: opening it {here} (does that lack an operator, or should its sizes, --dim, be others?)"
    )


def test_an_operator_that_has_no_kernel_here_is_named(tmp_path: Path) -> None:
    node = helper.make_node("FusedMatMulActivation", ["x", "x"], ["y"], domain=OTHER, activation="Relu")
    model = model_of([node], {"x": (FLOAT, [4, 4])}, {"y": (FLOAT, [4, 4])}, domains=(OTHER,))
    words = refusal(own_of(saved(model, tmp_path)), tmp_path / "out")
    assert "does that lack an operator" in words
    assert "FusedMatMulActivation" in words


@pytest.mark.parametrize("kind", ["randn_like", "bernoulli", "dropout"])
def test_a_module_that_draws_random_numbers_is_written_and_compared_with_nothing(kind: str, tmp_path: Path) -> None:
    import torch

    draws: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "randn_like": lambda x: x + torch.randn_like(x),
        "bernoulli": lambda x: torch.bernoulli(torch.sigmoid(x)),
        "dropout": lambda x: torch.nn.functional.dropout(x, 0.5, training=True),
    }

    class Random(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return draws[kind](x)

    module_to_onnx(Random(), torch.rand(1, 64), tmp_path / "net.onnx")
    assert random_in(onnx.load(tmp_path / "net.onnx"), {}).outputs == ("output",)


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


def with_external_data(folder: Path, place: str, values: np.ndarray) -> Path:
    """A file of which one tensor lies in w.bin, in that place of the model."""
    w = numpy_helper.from_array(values, "w")
    constant, branch_out = (
        helper.make_node("Constant", [], ["c"], value=w),
        helper.make_tensor_value_info("b", FLOAT, None),
    )
    branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["b"])], "branch", [], [branch_out], [w])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["b"])], "other", [], [branch_out])
    nodes = {
        "initializer": [helper.make_node("Add", ["x", "w"], ["y"])],
        "constant": [constant, helper.make_node("Add", ["x", "c"], ["y"])],
        "branch": [helper.make_node("If", ["true"], ["y"], then_branch=branch, else_branch=other)],
        "function": [helper.make_node("Mine", ["x"], ["y"], domain="mine")],
    }[place]
    constants = {"true": np.array(True), **({"w": values} if place == "initializer" else {})}
    model = model_of(nodes, {"x": (FLOAT, [4])}, {"y": (FLOAT, [4])}, constants, domains=("mine",))
    if place == "function":
        body = [constant, helper.make_node("Add", ["a", "c"], ["s"])]
        model.functions.append(helper.make_function("mine", "Mine", ["a"], ["s"], body, [helper.make_opsetid("", 17)]))
    for message in messages(model):
        if isinstance(message, TensorProto) and message.raw_data == values.tobytes():
            message.ClearField("raw_data")
            message.data_location = TensorProto.EXTERNAL
            message.external_data.add(key="location", value="w.bin")
    (folder / "w.bin").write_bytes(values.tobytes())
    return saved(model, folder)


@quick
@pytest.mark.parametrize("place", ["initializer", "constant", "branch", "function"])
def test_external_data_that_are_edited_in_place_make_another_model(place: str, tmp_path: Path) -> None:
    values = np.array([1, 2, 3, 4.5], np.float32)
    path = with_external_data(tmp_path, place, values)
    assert b"w.bin" in path.read_bytes()
    (before,) = named([str(path)], [], [])
    made = export_own(before, tmp_path / "out")
    (tmp_path / "w.bin").write_bytes((values + 1).tobytes())
    assert str(made.source).startswith(f"net.onnx and its external data, sha256 {before.sha256}; ")
    assert "net.onnx is another file now (sha256 " in refusal(before, tmp_path / "out")
    (after,) = named([str(path)], [], [])
    again = export_own(after, tmp_path / "out")
    assert again.folder != made.folder
    assert again.model_files[0].sha256 != made.model_files[0].sha256
    assert again.outputs[0].file.sha256 != made.outputs[0].file.sha256
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    assert named([str(path)], [], []) == (before,)
    assert export_own(before, tmp_path / "out") == made
    assert file_sha256(path) not in (before.sha256, after.sha256)


def test_external_data_that_change_while_a_model_is_exported_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_external_data(tmp_path, "initializer", np.ones(4, np.float32))
    (own,) = named([str(path)], [], [])

    def changed(*_anything: object) -> str:
        (tmp_path / "w.bin").write_bytes(np.zeros(4, np.float32).tobytes())
        return "not tried"

    monkeypatch.setattr(owns, "_simplify", changed)
    assert "is another file now" in refusal(own, tmp_path / "out")
    assert not [one for one in (tmp_path / "out").iterdir() if not one.name.startswith(".")]


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


def test_operators_that_no_runtime_has_are_refused_by_name_also_in_branches(tmp_path: Path) -> None:
    def branch(kind: str, domain: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(kind, ["x"], ["inner"], domain=domain)],
            "branch",
            [],
            [helper.make_tensor_value_info("inner", FLOAT, [2, 3])],
        )

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("SlowGelu", "com.microsoft"), else_branch=branch("Relu", "")
    )
    inputs: dict[str, tuple[int, Sizes]] = {"c": (TensorProto.BOOL, []), "x": (FLOAT, [2, 3])}
    model = model_of([node], inputs, {"y": (FLOAT, [2, 3])}, domains=("com.microsoft",))
    assert "the operator com.microsoft.SlowGelu is not one of ONNX's own, and ONNX Runtime here (" in refusal(
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


# Ports without a shape, and sizes of 0


@quick
@pytest.mark.parametrize(
    ("kind", "shape"), [("Relu", (3, 4)), ("Shape", (2,)), ("NonZero", None)], ids=["as the input", "less", "by value"]
)
def test_an_output_without_a_shape_has_the_one_that_follows(
    kind: str, shape: tuple[int, ...] | None, tmp_path: Path
) -> None:
    type_ = FLOAT if kind == "Relu" else INT64
    model = model_of([helper.make_node(kind, ["x"], ["y"])], {"x": (FLOAT, [3, 4])}, {"y": (type_, None)})
    made = export_own(own_of(saved(model, tmp_path)), tmp_path / "out")
    kept = onnx.load(made.folder / made.model_files[0].name).graph.output[0].type.tensor_type
    if shape is not None:
        assert made.outputs[0].shape == shape
        assert tuple(size.dim_value for size in kept.shape.dim) == shape
    assert made.mult_adds == 0


@quick
@pytest.mark.parametrize("sizes", [[0], [0, 3], [1, 8, 0, 4], [2, 0], [0, 0]], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
def test_an_input_without_elements_is_one_like_others(sizes: Sizes, dtype: str, tmp_path: Path) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Concat", ["past", "x"], ["now"], axis=sizes.index(0))]
    now: Sizes = [2 if place == sizes.index(0) else size for place, size in enumerate(sizes)]
    model = model_of(nodes, {"past": (kind, sizes), "x": (kind, now)}, {"now": (kind, now)})
    made = export_own(own_of(saved(model, tmp_path)), tmp_path / "out")
    assert made.inputs[0].shape == tuple(sizes)
    assert made.inputs[0].file.size_bytes == 0
    np.testing.assert_array_equal(read_tensor(made.folder, made.outputs[0]), read_tensor(made.folder, made.inputs[1]))


@quick
def test_a_size_of_0_may_be_given_by_name_and_by_a_value(tmp_path: Path) -> None:
    def model() -> onnx.ModelProto:
        node = helper.make_node("Concat", ["past", "x"], ["now"], axis=1)
        ports: dict[str, tuple[int, Sizes]] = {"past": (FLOAT, ["batch", "past", 4]), "x": (FLOAT, ["batch", 1, 4])}
        return model_of([node], ports, {"now": (FLOAT, ["batch", "past + 1", 4])})

    path = saved(model(), tmp_path)
    (named_,) = named([str(path)], ["past=0"], [])
    assert export_own(named_, tmp_path / "out").outputs[0].shape == (1, 1, 4)
    np.savez(tmp_path / "given.npz", past=np.zeros((1, 0, 4), np.float32), x=np.ones((1, 1, 4), np.float32))
    (given,) = named([str(path)], [], [f"{tmp_path}/given.npz"])
    assert [one.shape for one in export_own(given, tmp_path / "out").inputs] == [(1, 0, 4), (1, 1, 4)]


# Random numbers

DRAWING = {
    "RandomNormal": {"shape": [4, 4]},
    "RandomUniform": {"shape": [4, 4]},
    "RandomNormalLike": {},
    "RandomUniformLike": {},
    "Bernoulli": {},
    "Multinomial": {"sample_size": 4},
}


def drawing(kind: str, seed: float | None, source: str = "x") -> list[onnx.NodeProto]:
    """Nodes that make `r` of random numbers."""
    more = {} if seed is None else {"seed": seed}
    inputs = [] if kind in ("RandomNormal", "RandomUniform") else ["p"]
    return [
        helper.make_node("Sigmoid", [source], ["p"]),
        helper.make_node(kind, inputs, ["d"], **DRAWING[kind], **more),
        helper.make_node("Cast", ["d"], ["r"], to=FLOAT),
    ]


def placed(nodes: list[onnx.NodeProto], place: str, constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """A network of which `y` hangs on what `nodes` make as `r`, in that place of it, and `z` does not."""
    r = helper.make_tensor_value_info("r", FLOAT, None)
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["r2"])], "other", [], [helper.make_tensor_value_info("r2", FLOAT, None)]
    )
    found = nodes
    functions = []
    if place == "branch":
        found = [
            helper.make_node(
                "If", ["yes"], ["r"], then_branch=helper.make_graph(nodes, "b", [], [r]), else_branch=other
            )
        ]
    elif place == "loop":
        ports = [
            helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", INT64), ("go", TensorProto.BOOL))
        ]
        held = helper.make_tensor_value_info("v", FLOAT, None)
        on = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["r", "v"], ["w"])]
        ends = [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", FLOAT, None),
        ]
        body = helper.make_graph([*nodes, *on], "b", [*ports, held], ends)
        found = [helper.make_node("Loop", ["twice", "", "x"], ["r"], body=body)]
    elif place == "function":
        opsets = [helper.make_opsetid("", 17)]
        functions = [helper.make_function("mine", "Draw", ["x"], ["r"], nodes, opsets)]
        found = [helper.make_node("Draw", ["x"], ["r"], domain="mine")]
    ends = [helper.make_node("Add", ["x", "r"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    known = {"yes": np.array(True), "twice": np.array(2), **(constants or {})}
    outputs: dict[str, tuple[int, Sizes | None]] = {"y": (FLOAT, [4, 4]), "z": (FLOAT, [4, 4])}
    model = model_of([*found, *ends], {"x": (FLOAT, [4, 4])}, outputs, known, domains=("mine",))
    model.functions.extend(functions)
    return model


@quick
@pytest.mark.parametrize("place", ["plain", "branch", "loop", "function"])
@pytest.mark.parametrize("kind", DRAWING)
def test_what_is_random_is_known_wherever_it_is_drawn_and_the_rest_is_checked(
    kind: str, place: str, tmp_path: Path
) -> None:
    seed = None if place == "branch" else 3.0
    made = export_own(own_of(saved(placed(drawing(kind, seed), place), tmp_path)), tmp_path / "out")
    assert made.random == Random((kind,), ("y",))
    assert f"not simplified ({kind} draws random numbers" in str(made.source)
    right = {one.name: read_tensor(made.folder, one) for one in made.outputs}
    other = {"y": right["y"] + 1, "z": right["z"] + 1}
    found = verify.deviations([other["y"], right["z"]], right, random=made.random)
    assert (found.ok, [*found.unverified]) == (True, ["y"])
    assert not verify.deviations([*other.values()], right, random=made.random).ok
    both = verify.deviations([*other.values()], right, random=Random((kind,), ("y", "z")))
    assert (both.ok, both.relative, [*both.unverified]) == (True, None, ["y", "z"])


@pytest.mark.parametrize("place", ["plain", "branch", "loop", "function"])
@pytest.mark.parametrize(
    ("share", "training", "is_random"),
    [(0.5, True, True), (0.5, False, False), (0.0, True, False), (None, True, True), (0.5, None, False)],
)
def test_a_dropout_draws_only_where_it_trains(
    share: float | None, training: bool | None, is_random: bool, place: str
) -> None:
    given = {"share": share, "training": training}
    made = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, np.dtype(type(value)))))
        for name, value in given.items()
        if value is not None
    ]
    for one in made:
        if one.output[0] == "share":
            one.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(share, np.float32)))
    inputs = ["x", *("" if value is None else name for name, value in given.items())]
    found = random_in(placed([*made, helper.make_node("Dropout", inputs, ["r"])], place), {})
    assert found == (Random(("Dropout",), ("y",)) if is_random else Random())


@pytest.mark.parametrize("trains", [True, False])
def test_a_dropout_that_an_input_switches_draws_where_that_says_so(trains: bool) -> None:
    model = placed(
        [helper.make_node("Dropout", ["x", "share", "training"], ["r"])], "plain", {"share": np.float32(0.5)}
    )
    assert bool(random_in(model, {"training": np.array(trains)}).outputs) == trains


def test_random_numbers_that_no_output_hangs_on_do_no_harm() -> None:
    model = placed([*drawing("RandomNormal", None), helper.make_node("Identity", ["x"], ["kept"])], "plain")
    model.graph.node[-2].input[1] = "kept"
    assert random_in(model, {}) == Random()


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


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinities_and_nan_are_right_where_the_reference_has_them(odd: float, dtype: str) -> None:
    right = RAMP.astype(dtype)
    right[0, 1] = right[2, 3] = odd
    found = verify.deviation(right.copy(), right, may_be_constant=True)
    assert (found.ok, found.spread, found.relative) == (True, 10, 0)
    close = right + np.array(0.005, dtype)
    found = verify.deviation(close, right, may_be_constant=True)
    assert found.ok
    assert 0 < (found.relative or 0) < 1e-3
    assert not verify.deviation(right + np.array(0.1, dtype), right, may_be_constant=True).ok
    for others in (0.0, -odd if np.isinf(odd) else np.inf, np.nan if np.isinf(odd) else -np.inf):
        wrong = right.copy()
        wrong[2, 3] = others
        failure = verify.deviation(wrong, right, may_be_constant=True).failure
        assert failure == "1 of the output's 12 values are not the infinity or NaN that they should be"
    more = right.copy()
    more[1, 1] = odd
    assert verify.deviation(more, right, may_be_constant=True).failure == "1 of the output's 12 values are not finite"
    assert not verify.deviation(right, right).ok  # of a network whose reference is PyTorch's


def test_an_output_that_is_nan_all_over_is_equal_and_says_nothing() -> None:
    values = np.full((2, 3), np.nan, np.float32)
    found = verify.deviation(values, values, may_be_constant=True)
    assert (found.ok, found.spread) == (True, 0)
    assert verify.largest_part([values], {"a": values}) is None


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "nowhere.onnx"], "--model: nowhere.onnx: cannot be read: No such file or directory"),
        (
            ["--model", "net.onnx", "--dim", "sequence"],
            "--dim sequence: give NAME=SIZE, or MODEL:NAME=SIZE, with a size",
        ),
        (["--model", "net.onnx", "--dim", "sequence=-1"], "--dim sequence=-1: give NAME=SIZE"),
        (["--model", "net.onnx", "--dim", "batch=2"], "(only a batch is 1 by itself): --dim 'sequence=SIZE'"),
        (["--model", "net.onnx", "--input", "net.onnx"], "not an .npz file of arrays"),
        (["--model", "net.onnx", "--dim", "width=3"], "there is no such free dimension: net has batch, sequence"),
        (["--dim", "width=3"], "--dim width=3: of which model? Name its file with --model"),
        (["--model", "net.onnx", "--dim", "sequence=3", "--dim", "net:sequence=4"], "net is given two sizes of it"),
        (["--model", "net.onnx", "--input", "other=net.onnx"], "'other' is not among the models net; give NAME=FILE"),
        (
            ["--model", "net.onnx", "--dim", "sequence=3", "--runtime", "caffe2"],
            "--model is for ONNX Runtime and ncnn alone: add --runtime onnxruntime,ncnn",
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


def first_step() -> onnx.ModelProto:
    """A decoder's in small: a past without elements, an operator of another domain, an output without a shape."""
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["c"], axis=0),
        helper.make_node("Gelu", ["c"], ["y"], domain=OTHER),
    ]
    return model_of(nodes, {"past": (FLOAT, [0, 4]), "x": (FLOAT, [4, 4])}, {"y": (FLOAT, None)}, domains=(OTHER,))


def test_odd_files_are_measured_and_checked_or_marked_unverified_under_every_provider(tmp_path: Path) -> None:
    """Random numbers, infinities in equal places, an input without elements, a newer IR version, other domains."""
    mask = np.where(np.arange(16).reshape(4, 4) % 2, 0, -np.inf).astype(np.float32)
    square: tuple[int, Sizes] = (FLOAT, [4, 4])
    masked = model_of([helper.make_node("Add", ["x", "m"], ["y"])], {"x": square}, {"y": square}, {"m": mask})
    masked.ir_version = 11
    models = {"random": placed(drawing("RandomNormalLike", 1.0), "branch"), "masked": masked, "past": first_step()}
    files = [word for name, model in models.items() for word in ("--model", saved(model, tmp_path, name))]
    providers = "cpu,xnnpack" if compiling.native().abi in xnnpack.PACKAGES else "cpu"
    result = run("--device", "host", *files, "--provider", providers, "--profile", "--out", tmp_path / "run")
    assert result.exit_code == EXIT_OK, result.stderr
    said = "random: RandomNormalLike draws random numbers, so that its output 'y' cannot be checked; it is timed"
    assert said in result.stderr
    for record in journal.read(tmp_path / "run"):
        assert record.check is not None
        assert [*record.check.unverified] == (["y"] if record.case.model == "random" else [])
        assert ("unverified" in {one.kind for one in warnings_of(record, Limits())}) == (record.case.model == "random")
        assert record.measurement is not None
        assert record.measurement.profile is not None
    table = (tmp_path / "run" / "report.md").read_text()
    assert "ok, 1 unverified (0e+00)" in table


@pytest.mark.long
@pytest.mark.board
def test_a_file_that_nobody_here_wrote_and_one_of_several_types_run_on_a_board_and_are_right(tmp_path: Path) -> None:
    text = saved(embedding(), tmp_path, "text")
    options = ("--dim", "sequence=4", "--passes", "1", "--warmup", "0", "--boards", "1", "--out", tmp_path / "run")
    past = saved(first_step(), tmp_path, "past")
    files = [word for file in (CONVOLUTION, text, past) for word in ("--model", file)]
    result = run("--device", "board:cortex-a7", *files, *options)
    assert result.exit_code == EXIT_OK, result.stderr
    of_convolution, of_text, of_past = journal.read(tmp_path / "run")
    assert of_convolution.device.abi == "armeabi-v7a"
    assert of_text.measurement is not None
    assert [(one.type, one.shape) for one in of_text.measurement.outputs] == [("float32", (1, 4, 4)), ("int64", (1, 4))]
    for record in (of_convolution, of_text, of_past):
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
    assert "text.onnx: cannot be read: No such file" in run("--resume", out).stderr


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
