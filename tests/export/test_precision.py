"""fp16 and int8: what the files are, what they keep, what is refused, and that a wrong network is still found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from export import inputs, precision, verify
from export.artifact import ExportError, read_artifact
from export.caffe2.formats import AS_CONVERTED
from export.calibration import Calibration
from export.numbers import numbers_of
from export.onnx.simplify import simplify
from export.onnx.to_onnx import to_onnx
from export.pipeline import STEPS, ExportOptions, export_model
from export.precision import FP16, INT8, PrecisionError, convert
from export.tensors import read_tensor
from models import registry, weights
from models.clcnet import CLCNet, Interlace
from toolchain.tensors import Port

TINY = registry.get("clcnet-tiny")
PORT = Port("float32", TINY.input_shape, "input")

lower_ones = pytest.mark.parametrize("name", [FP16, INT8])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("precisions")


@lower_ones
def test_an_artifact_says_its_precision_and_keeps_the_fp32_outputs_beside_its_own(name: str, out: Path) -> None:
    fp32, made = export_model(TINY, out), export_model(TINY, out, ExportOptions(precision=name))
    assert made.folder.name == f"clcnet-tiny.{name}"
    assert read_artifact(made.folder) == made
    assert (made.precision, fp32.precision) == (name, "fp32")
    assert (made.mult_adds, made.params) == (fp32.mult_adds, fp32.params)
    [own], [of_fp32], [right] = made.outputs, made.fp32_outputs, fp32.outputs
    assert of_fp32.file.sha256 == right.file.sha256 != own.file.sha256
    assert fp32.fp32_outputs == ()
    assert made.calibration == ("random data (8 draws)" if name == INT8 else None)


@lower_ones
def test_the_reference_is_the_file_itself_operator_by_operator(name: str, out: Path) -> None:
    made = export_model(TINY, out, ExportOptions(precision=name))
    [x], [y] = (read_tensor(made.folder, one) for one in made.inputs), made.outputs
    found = verify.run_onnx_on(made.folder / "model.onnx", [x], optimized=False)
    np.testing.assert_array_equal(found["output"], read_tensor(made.folder, y))


@pytest.mark.parametrize(("name", "part"), [(FP16, 0.56), (INT8, 0.52)])
def test_the_file_is_smaller(name: str, part: float, out: Path) -> None:
    assert (
        export_model(TINY, out, ExportOptions(precision=name)).model_size_bytes
        < part * export_model(TINY, out).model_size_bytes
    )


@lower_ones
def test_ir_version_and_operator_set_stay_for_runtimes_that_are_older_than_the_tools(name: str, out: Path) -> None:
    before, after = (
        onnx.load(export_model(TINY, out, ExportOptions(precision=one)).folder / "model.onnx") for one in ("fp32", name)
    )
    assert before.ir_version == after.ir_version
    assert [*before.opset_import] == [*after.opset_import]


@lower_ones
def test_inputs_and_outputs_stay_as_they_were(name: str, out: Path) -> None:
    made, fp32 = export_model(TINY, out, ExportOptions(precision=name)), export_model(TINY, out)
    assert made.inputs == fp32.inputs
    assert [(one.name, one.type, one.shape) for one in made.outputs] == [("output", "float32", (1, 100))]


def test_int8_is_quantized_by_channel_on_both_sides(out: Path) -> None:
    model = onnx.load(export_model(TINY, out, ExportOptions(precision=INT8)).folder / "model.onnx")
    values = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    readers = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in convolutions:
        of_weights = makers[node.input[1]]
        assert values[of_weights.input[0]].dtype == np.int8
        assert values[of_weights.input[1]].shape == values[of_weights.input[0]].shape[:1]
        assert makers[node.input[0]].op_type == "DequantizeLinear"
    assert readers


def test_fp16_holds_no_float32_weight(out: Path) -> None:
    model = onnx.load(export_model(TINY, out, ExportOptions(precision=FP16)).folder / "model.onnx")
    kinds = [one.data_type for one in model.graph.initializer]
    assert TensorProto.FLOAT16 in kinds
    assert TensorProto.FLOAT not in kinds


# A wrong network is found


def lowered(network: nn.Module, name: str, folder: Path) -> precision.Lowered:
    folder.mkdir()
    to_onnx(network, TINY.input_shape, folder / "traced.onnx")
    simplify(folder / "traced.onnx", folder / "simplified.onnx")
    x = inputs.draw([PORT])["input"]
    file = folder / "simplified.onnx"
    network = precision.Network("tiny", file, [PORT], [x], verify.run_onnx_on(file, [x]))
    return precision.lowered(network, name, Calibration(), folder)


def seeded(*, without_interlace: int | None = None) -> CLCNet:
    network = TINY.build().eval()
    weights.seed(network, TINY.input_shape)
    assert isinstance(network, CLCNet)
    if without_interlace is not None:
        assert isinstance(network.blocks[without_interlace][2], Interlace)
        network.blocks[without_interlace][2] = nn.Identity()
    return network


@lower_ones
def test_a_network_without_one_interlace_fails_at_each_precisions_tolerance(name: str, tmp_path: Path) -> None:
    right = lowered(seeded(), name, tmp_path / "right")
    for block in range(9):
        wrong = lowered(seeded(without_interlace=block), name, tmp_path / f"wrong-{block}")
        found = verify.deviations([*wrong.outputs.values()], right.outputs, precision.tolerance(name))
        assert not found.ok, block
        assert found.relative is not None
        assert found.relative > 1.5 * precision.tolerance(name)


@lower_ones
def test_the_right_network_passes_at_each_precisions_tolerance(name: str, tmp_path: Path) -> None:
    found = lowered(seeded(), name, tmp_path / "right").here
    assert found.ok
    assert found.relative is not None
    assert found.relative < precision.tolerance(name) / 2


def test_each_precision_has_a_tolerance_of_its_own() -> None:
    tolerances = [precision.tolerance(name) for name in ("fp32", FP16, INT8)]
    assert tolerances == sorted(set(tolerances))


# Calibration


def test_given_data_calibrates_and_is_named_by_its_hash(tmp_path: Path) -> None:
    data = tmp_path / "images.npz"
    samples = 0.1 * np.random.default_rng(5).standard_normal((3, *TINY.input_shape), dtype=np.float32)
    np.savez(data, input=samples)
    random = export_model(TINY, tmp_path / "out", ExportOptions(precision=INT8))
    made = export_model(TINY, tmp_path / "out", ExportOptions(precision=INT8, calibration=data))
    sha256 = Calibration.from_file(data).sha256
    assert made.calibration == f"images.npz sha256 {sha256} (3 samples)"
    assert sha256 is not None
    assert made.folder.name == f"clcnet-tiny.int8.{sha256[:12]}"
    assert made.model_files != random.model_files
    steps: list[str] = []
    assert (
        export_model(TINY, tmp_path / "out", ExportOptions(precision=INT8, calibration=data), on_step=steps.append)
        == made
    )
    assert steps == []
    np.savez(data, input=2 * samples)
    export_model(TINY, tmp_path / "out", ExportOptions(precision=INT8, calibration=data), on_step=steps.append)
    assert steps == list(STEPS)


@pytest.mark.parametrize(
    ("shape", "count"),
    [((5, 1, 3, 64, 64), 5), ((5, 3, 64, 64), 5), ((1, 3, 64, 64), 1)],
    ids=["an axis of samples", "along the batch", "one"],
)
def test_samples_lie_along_an_axis_of_their_own_or_along_a_batch_of_one(
    shape: tuple[int, ...], count: int, tmp_path: Path
) -> None:
    values = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    np.savez(tmp_path / "data.npz", input=values)
    samples = inputs.read_samples(tmp_path / "data.npz", [PORT])
    assert len(samples) == count
    assert all(one["input"].shape == PORT.shape for one in samples)
    np.testing.assert_array_equal(samples[-1]["input"].ravel(), values.reshape(count, -1)[-1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros(3)}, "it has no 'input'; the inputs are 'input' (float32 [1, 3, 64, 64])"),
        ({"input": np.zeros((1, 3, 64, 64))}, "'input' is float64 [1, 3, 64, 64]; the input is 'input' (float32"),
        ({"input": np.zeros((2, 1, 3, 64, 63), np.float32)}, "samples of it have one axis more, in front"),
        ({"input": np.zeros((0, 1, 3, 64, 64), np.float32)}, "one at least; there are 'input' 0"),
    ],
)
def test_data_that_does_not_fit_is_one_clear_line(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ExportError) as refusal:
        inputs.read_samples(tmp_path / "data.npz", [PORT])
    assert str(refusal.value).startswith(f"{tmp_path}/data.npz: ")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_npz_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"not a zip")
    with pytest.raises(ExportError, match=r"data\.npz: not an \.npz file of arrays"):
        inputs.read_arrays(tmp_path / "data.npz")
    np.savez(tmp_path / "pickled.npz", input=np.array([{}], dtype=object))
    with pytest.raises(ExportError, match=r"pickled\.npz: not an \.npz file of arrays"):
        inputs.read_arrays(tmp_path / "pickled.npz")
    with pytest.raises(ExportError, match=r"nowhere\.npz: cannot be read: No such file"):
        inputs.read_arrays(tmp_path / "nowhere.npz")


# What cannot be had


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": AS_CONVERTED, "precision": INT8}, "Caffe2 runs no int8 here; ONNX Runtime does"),
        ({"igc": "fused", "precision": FP16}, "igc fused computes in fp32 alone; for fp16 take another igc"),
    ],
)
def test_what_cannot_be_had_is_refused_in_words(options: dict[str, str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"^clcnet-tiny: {words}"):
        export_model(TINY, tmp_path, ExportOptions(**options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("igc", ["grouped", "depthwise"])
def test_other_ways_of_the_same_convolution_can_be_had_in_int8(igc: str, tmp_path: Path) -> None:
    made = export_model(TINY, tmp_path, ExportOptions(igc=igc, precision=INT8))
    assert made.op_counts["QuantizeLinear"] > made.op_counts["Conv"]


def small(opset: int, *nodes: onnx.NodeProto, ir_version: int = 8) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.random.default_rng(1).standard_normal((8, 3), dtype=np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


def into(name: str, model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    onnx.save(model, folder / "source.onnx")
    samples = inputs.calibration_draws([Port("float32", (2, 8), "x")])
    convert(folder / "source.onnx", folder / "target.onnx", name, samples, folder)
    return onnx.load(folder / "target.onnx")


def test_an_operator_set_without_quantized_numbers_is_refused_for_int8(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="int8 needs operator set 10 or newer, the file has 9"):
        into(INT8, small(9, PRODUCT), tmp_path)


def test_an_operator_set_without_channels_is_quantized_by_tensor(tmp_path: Path) -> None:
    made = into(INT8, small(12, PRODUCT), tmp_path)
    assert made.opset_import[0].version == 12
    assert all(one.dims in ([], [1]) for one in made.graph.initializer if one.name.endswith("scale"))


def test_weights_in_constant_nodes_are_quantized_too(tmp_path: Path) -> None:
    model = small(17, PRODUCT)
    constant = helper.make_node("Constant", [], ["w"], value=model.graph.initializer[0])
    del model.graph.initializer[:]
    model.graph.node.insert(0, constant)
    made = into(INT8, model, tmp_path)
    assert TensorProto.INT8 in [one.data_type for one in made.graph.initializer if list(one.dims) == [8, 3]]


def test_what_has_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="none of its operators can be quantized"):
        into(INT8, small(17, helper.make_node("Relu", ["x"], ["y"])), tmp_path)


@lower_ones
def test_what_is_quantized_or_halved_already_is_not_again(name: str, tmp_path: Path) -> None:
    once = into(name, small(17, PRODUCT), tmp_path)
    assert numbers_of(once).computes == name
    with pytest.raises(PrecisionError, match="already: measure it as it is"):
        into(INT8, once, tmp_path)


def test_nodes_are_put_in_the_order_that_onnx_demands(tmp_path: Path) -> None:
    made = into(FP16, small(17, PRODUCT), tmp_path)  # the tool appends its casts behind what reads them
    seen = {"x", *(one.name for one in made.graph.initializer)}
    for node in made.graph.node:
        assert set(node.input) <= seen
        seen |= set(node.output)
    assert [node.op_type for node in made.graph.node] == ["Cast", "MatMul", "Cast"]


def test_outputs_that_a_precision_cannot_hold_are_refused_with_words_and_those_that_no_one_can_are_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "transpose.onnx"
    onnx.save(small(17, helper.make_node("Transpose", ["x"], ["y"])), file)

    def in_fp16(largest: float) -> precision.Lowered:
        x = np.linspace(-2, 2, 16, dtype=np.float32).reshape(2, 8)
        x[0, :3] = largest, np.inf, np.nan
        outputs = verify.run_onnx_on(file, [x])
        network = precision.Network("big", file, [Port("float32", (2, 8), "x")], [x], outputs)
        return precision.lowered(network, FP16, Calibration(), tmp_path)

    with pytest.raises(ExportError, match=r"^big: in fp16, 1 of the 16 values of its output 'y' are NaN .* precision$"):
        in_fp16(1e6)
    assert in_fp16(3).here.ok
