"""PyTorch to verified ONNX files: what is written, what is refused, what is done again and what is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from programs import PATIENCE_S
from torch import nn

from export import artifact as artifacts
from export import pipeline, recipe, verify
from export.artifact import MANIFEST_NAME, Artifact, ExportError, read_artifact
from export.onnx.to_onnx import to_onnx
from export.pipeline import STEPS, ExportOptions, export_model
from export.tensors import read_values
from export.verify import RELATIVE_TOLERANCE, deviation, run_onnx
from harness.cli.export import main
from models import registry, weights
from models.clcnet import CLCNet, Interlace, clcnet_b, clcnet_tiny
from models.probe import one_thread
from models.registry import REGISTRY
from models.spec import ModelSpec
from toolchain.files import file_sha256
from toolchain.paths import REPOSITORY

TINY = registry.get("clcnet-tiny")

#: One of each kind; at length all.
APART = ("clcnet-a", "clcnet-tiny", "shufflenet")
every_model = pytest.mark.parametrize(
    "spec",
    [spec if spec.name in APART else pytest.param(spec, marks=pytest.mark.long) for spec in REGISTRY],
    ids=[spec.name for spec in REGISTRY],
)
Export = Callable[[ModelSpec], Artifact]


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """PyTorch on one thread, so that tests do not wait for cores that other processes keep busy."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The artifact of a network, exported once and only when a test asks for it. Not to be changed by tests."""
    out = tmp_path_factory.mktemp("export")
    return lambda spec: export_model(spec, out)


def steps_of_exporting(spec: ModelSpec, out: Path, opset: int = 17, force: bool = False) -> list[str]:
    steps: list[str] = []
    export_model(spec, out, ExportOptions(opset=opset), force=force, on_step=steps.append)
    return steps


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but locks, which stay."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def python_m_export(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness.cli.export", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# What an artifact is


@every_model
def test_the_exported_file_computes_what_pytorch_computes(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    network = spec.build().eval()
    weights.seed(network, spec.input_shape)
    x = np.random.default_rng(99).standard_normal(spec.input_shape, dtype=np.float32)  # not the stored input
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    found = deviation(run_onnx(artifact.folder / "model.onnx", x), expected)
    assert found.ok, found.failure


@every_model
def test_the_stored_output_is_pytorchs_for_the_stored_input(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    x = read_values(artifact.folder / artifact.inputs[0].file.name, artifact.inputs[0].shape)
    y = read_values(artifact.folder / artifact.outputs[0].file.name, artifact.outputs[0].shape)
    assert artifact.inputs[0].shape == spec.input_shape
    found = deviation(run_onnx(artifact.folder / "model.onnx", x), y)
    assert found.max_abs_error == artifact.max_abs_error
    assert found.spread == artifact.output_spread
    assert artifact.max_abs_error < RELATIVE_TOLERANCE * artifact.output_spread


@every_model
def test_an_artifact_is_all_in_its_folder_and_its_manifest(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    assert read_artifact(artifact.folder) == artifact
    assert artifact.folder.name == artifact.model == spec.name
    names = {path.name for path in artifact.folder.iterdir()}
    assert names == {"model.onnx", "input.f32", "output.f32", MANIFEST_NAME}
    assert (artifact.format, artifact.weights, artifact.opset) == ("onnx", "seed 0", 17)


@every_model
def test_every_batch_norm_is_folded_and_nothing_is_left_but_the_network(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    model = onnx.load(artifact.folder / "model.onnx")
    nodes = [node.op_type for node in model.graph.node]
    assert artifact.op_counts == {kind: nodes.count(kind) for kind in nodes}
    assert not {"BatchNormalization", "Constant", "Identity", "Shape", "Gather", "Dropout"} & set(nodes)
    convolutions = [layer for layer in spec.build().modules() if isinstance(layer, nn.Conv2d)]
    assert artifact.op_counts["Conv"] == len(convolutions)


@every_model
def test_no_tensor_has_more_than_four_dimensions(spec: ModelSpec, exported: Export) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(exported(spec).folder / "model.onnx"))
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    assert len(values) > exported(spec).nodes
    assert all(len(value.type.tensor_type.shape.dim) <= 4 for value in values)


@every_model
def test_the_files_ports_have_the_names_and_shapes_of_the_manifest(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    graph = onnx.load(artifact.folder / "model.onnx", load_external_data=False).graph
    for port, tensor in ((graph.input, artifact.inputs[0]), (graph.output, artifact.outputs[0])):
        (value,) = port
        assert value.name == tensor.name
        assert tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) == tensor.shape
    assert (artifact.inputs[0].name, artifact.outputs[0].name) == ("input", "output")


@every_model
def test_the_file_is_as_large_as_its_weights(spec: ModelSpec, exported: Export) -> None:
    artifact = exported(spec)
    assert artifact.model_size_bytes == pytest.approx(4 * artifact.params, rel=0.05, abs=4096)  # the graph's


@pytest.mark.parametrize("opset", [9, 20])
@pytest.mark.parametrize(
    "name", ["clcnet-tiny", *(pytest.param(name, marks=pytest.mark.long) for name in ("googlenet", "shufflenet"))]
)
def test_other_opsets_are_verified_too(name: str, opset: int, tmp_path: Path) -> None:
    artifact = export_model(registry.get(name), tmp_path, ExportOptions(opset=opset))
    model = onnx.load(artifact.folder / "model.onnx")
    assert artifact.opset == opset
    assert [imported.version for imported in model.opset_import] == [opset]


def test_exporting_twice_gives_the_same_bytes_and_no_path_of_this_machine(tmp_path: Path) -> None:
    export_model(TINY, tmp_path / "one")
    export_model(TINY, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    paths = [str(tmp_path).encode(), str(REPOSITORY).encode()]
    assert not any(path in content for content in tree(tmp_path).values() for path in paths)


# Operators that the exporter takes apart


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize(("size", "operators"), [(5, ["LRN"]), (1, ["LRN"]), (4, None)])
def test_response_normalisation_is_one_operator_where_onnx_has_the_same(
    size: int, operators: list[str] | None, opset: int, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    layer = nn.LocalResponseNorm(size, alpha=0.9, beta=0.6, k=2)
    x = torch.randn(1, 8, 6, 7, generator=torch.Generator().manual_seed(1))
    to_onnx(layer, x.shape, tmp_path / "layer.onnx", opset)
    assert "forward" not in vars(layer)
    nodes = [node.op_type for node in onnx.load(tmp_path / "layer.onnx").graph.node]
    if operators is None:
        assert "LRN" not in nodes
        assert "AveragePool" in nodes
    else:
        assert nodes == operators
        assert not recwarn.list
    np.testing.assert_allclose(run_onnx(tmp_path / "layer.onnx", x.numpy()), layer(x).numpy(), rtol=1e-5, atol=1e-6)


# The check fails for a wrong network


def without_one_interlace(spec: ModelSpec, block: int) -> CLCNet:
    network = spec.build().eval()
    weights.seed(network, spec.input_shape)
    assert isinstance(network, CLCNet)
    assert isinstance(network.blocks[block][2], Interlace)
    network.blocks[block][2] = nn.Identity()
    return network


@pytest.mark.parametrize(
    ("name", "block"),
    [
        *(("clcnet-tiny", block) for block in range(9)),
        *(pytest.param("clcnet-a", block, marks=pytest.mark.long) for block in (0, 13)),
    ],
)
def test_a_network_without_one_interlace_is_refused_under_the_name_of_the_right_one(
    name: str, block: int, tmp_path: Path
) -> None:
    spec = registry.get(name)
    refusal = f"^{name}: the exported file does not compute what PyTorch does: its largest error is "
    with pytest.raises(ExportError, match=refusal):
        export_model(spec, tmp_path, network=without_one_interlace(spec, block))
    assert tree(tmp_path) == {}


def test_the_right_network_in_its_own_place_is_accepted(tmp_path: Path) -> None:
    network = TINY.build().eval()
    weights.seed(network, TINY.input_shape)
    one = export_model(TINY, tmp_path / "one", network=network)
    assert one.model_files == export_model(TINY, tmp_path / "two").model_files


def test_a_simplified_file_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = pipeline.simplify

    def wrongly(source: Path, target: Path) -> None:
        rightly(source, target)
        model = onnx.load(target)
        node = next(node for node in model.graph.node if node.op_type == "Relu")
        node.op_type = "Identity"
        onnx.save(model, target)

    monkeypatch.setattr(pipeline, "simplify", wrongly)
    with pytest.raises(ExportError, match=r"^clcnet-tiny: the simplified file does not compute"):
        export_model(TINY, tmp_path)
    assert tree(tmp_path) == {}


def test_an_exporter_that_fails_is_an_error_that_names_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("operator not known\nand a long story")

    monkeypatch.setattr(pipeline, "to_onnx", fail)
    with pytest.raises(ExportError, match=r"^clcnet-tiny: PyTorch to ONNX failed: operator not known$"):
        export_model(TINY, tmp_path)
    assert tree(tmp_path) == {}


def test_a_failed_export_keeps_the_earlier_artifact_but_not_as_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = export_model(TINY, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(ExportError):
        patch.setattr(verify, "RELATIVE_TOLERANCE", 0)
        export_model(TINY, tmp_path, force=True)
    kept = read_artifact(good.folder)
    assert kept == replace(good, recipe_sha256=kept.recipe_sha256)
    assert steps_of_exporting(TINY, tmp_path) == list(STEPS)


def test_a_wrong_network_does_not_harm_the_artifact_of_the_right_one(tmp_path: Path) -> None:
    export_model(TINY, tmp_path)
    before = tree(tmp_path)
    with pytest.raises(ExportError):
        export_model(TINY, tmp_path, network=without_one_interlace(TINY, 3))
    assert tree(tmp_path) == before
    assert steps_of_exporting(TINY, tmp_path) == []


# Comparing outputs

REFERENCE = np.array([[-1.0, 0.0, 3.0]], dtype=np.float32)


def test_a_deviation_is_told_in_parts_of_the_references_spread() -> None:
    found = deviation(REFERENCE + np.array([[0, 0.002, 0]], dtype=np.float32), REFERENCE)
    assert found.max_abs_error == pytest.approx(0.002)
    assert found.spread == 4
    assert found.relative == pytest.approx(0.0005)
    assert found.ok


def test_an_error_above_the_tolerance_is_a_failure() -> None:
    found = deviation(REFERENCE + np.float32(0.005), REFERENCE)
    assert not found.ok
    assert found.failure == "its largest error is 0.005, 0.0013 of the spread (allowed 0.001)"


@pytest.mark.parametrize(
    ("output", "reference", "failure"),
    [
        (REFERENCE[0], REFERENCE, "the output's shape is (3,), not (1, 3)"),
        (np.array([[0, np.nan, np.inf]]), REFERENCE, "2 of the output's 3 values are not finite"),
        (REFERENCE, np.array([[0, np.nan, 0]]), "the reference is empty or not finite"),
        (np.zeros((1, 0)), np.zeros((1, 0)), "the reference is empty or not finite"),
        (np.ones((1, 3)), np.ones((1, 3)), "the reference has the same value everywhere: it proves nothing"),
    ],
)
def test_a_comparison_that_says_nothing_is_a_failure(output: np.ndarray, reference: np.ndarray, failure: str) -> None:
    found = deviation(output, reference)
    assert not found.ok
    assert found.failure == failure
    assert found.relative is None


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=20, unique=True),
    st.floats(0, 1e3, width=32),
    st.integers(0, 19),
)
def test_one_wrong_value_is_found_wherever_it_is(values: list[float], error: float, index: int) -> None:
    reference = np.array(values)
    output = reference.copy()
    output[index % len(values)] += error
    found = deviation(output, reference)
    assert found.max_abs_error == pytest.approx(error, abs=1e-9)
    assert found.ok == (abs(output - reference).max() <= RELATIVE_TOLERANCE * np.ptp(reference))


def test_comparing_imports_neither_torch_nor_onnxruntime() -> None:
    code = "import sys, export.verify, export.tensors; print({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Up to date or not


@pytest.fixture(scope="module")
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_model(TINY, folder)
    return folder


@pytest.fixture
def out(tmp_path: Path, exported_once: Path) -> Path:
    """A folder of a test's own, with the network's artifact in it."""
    return shutil.copytree(exported_once, tmp_path / "export")


def test_what_is_up_to_date_is_not_exported_again(out: Path) -> None:
    before = tree(out)
    assert steps_of_exporting(TINY, out) == []
    assert tree(out) == before
    assert steps_of_exporting(TINY, out, force=True) == list(STEPS)
    assert tree(out) == before


def test_another_opset_source_or_tool_makes_an_artifact_out_of_date(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_of_exporting(TINY, out, opset=16) == list(STEPS)
    assert steps_of_exporting(TINY, out) == list(STEPS)
    monkeypatch.setattr(recipe, "_source_hashes", lambda: {"models/clcnet.py": "changed"})
    assert steps_of_exporting(TINY, out) == list(STEPS)
    monkeypatch.setattr(recipe, "tool_versions", lambda: {"torch": "9"})
    assert steps_of_exporting(TINY, out) == list(STEPS)
    assert steps_of_exporting(TINY, out) == []


def test_the_recipe_covers_every_source_of_models_and_export() -> None:
    sources = recipe._source_hashes()
    assert {"models/clcnet.py", "models/weights.py", "export/onnx/to_onnx.py", "export/onnx/simplify.py"} <= set(
        sources
    )
    assert all(len(sha256) == 64 for sha256 in sources.values())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.onnx", "input.f32", "output.f32"])
@pytest.mark.parametrize("harm", [damage, Path.unlink], ids=["damaged", "missing"])
def test_an_artifact_with_a_damaged_or_missing_file_is_exported_again(
    out: Path, name: str, harm: Callable[[Path], None]
) -> None:
    before = tree(out)
    harm(out / "clcnet-tiny" / name)
    with pytest.raises(ExportError, match=rf"{name}: (missing|changed since it was exported); export it again"):
        read_artifact(out / "clcnet-tiny")
    assert steps_of_exporting(TINY, out) == list(STEPS)
    assert tree(out) == before


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"schema_version": 1}', '{"schema_version": 3}', "\x00\x01", '{"model": "clcnet-tiny"}'],
)
def test_a_damaged_manifest_is_not_read(out: Path, content: str) -> None:
    (out / "clcnet-tiny" / MANIFEST_NAME).write_text(content)
    with pytest.raises(ExportError, match="export it again"):
        read_artifact(out / "clcnet-tiny")


def test_an_artifact_with_a_damaged_manifest_is_exported_again(out: Path) -> None:
    before = tree(out)
    (out / "clcnet-tiny" / MANIFEST_NAME).write_text("{")
    assert steps_of_exporting(TINY, out) == list(STEPS)
    assert tree(out) == before


def test_a_manifest_of_another_schema_is_not_read(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads((out / "clcnet-tiny" / MANIFEST_NAME).read_text())["schema_version"] == 4
    monkeypatch.setattr(artifacts, "SCHEMA_VERSION", 5)
    with pytest.raises(ExportError, match="of another version"):
        read_artifact(out / "clcnet-tiny")


def test_an_artifact_may_be_moved(out: Path) -> None:
    moved = (out / "clcnet-tiny").rename(out / "elsewhere")
    assert read_artifact(moved).folder == moved


def test_what_a_killed_export_left_behind_is_swept_away(out: Path) -> None:
    (out / ".clcnet-tiny.work-abcdef" / "new").mkdir(parents=True)
    (out / ".clcnet-tiny.work-abcdef" / "new" / "model.onnx").write_bytes(b"half")
    export_model(TINY, out, force=True)
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["clcnet-tiny"]


def test_two_exports_of_one_model_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    both = [
        python_m_export("--models", "clcnet-tiny", "--formats", "onnx", "--out", tmp_path, "--force") for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
    assert steps_of_exporting(TINY, tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"clcnet-tiny", ".clcnet-tiny.lock"}


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trained = clcnet_tiny()
    weights.seed(trained, TINY.input_shape, seed=7)
    torch.save(trained.state_dict(), tmp_path / "trained.pth")
    return tmp_path / "trained.pth"


def test_a_checkpoint_has_an_artifact_of_its_own(checkpoint: Path, tmp_path: Path) -> None:
    seeded = export_model(TINY, tmp_path)
    trained = export_model(TINY, tmp_path, ExportOptions(weights=checkpoint))
    assert trained.folder.name == f"clcnet-tiny-{trained.weights[:12]}"
    assert trained.weights == file_sha256(checkpoint)
    assert trained.outputs[0].file != seeded.outputs[0].file
    assert export_model(TINY, tmp_path) == seeded
    assert export_model(TINY, tmp_path, ExportOptions(weights=checkpoint)) == trained


def test_a_checkpoint_with_a_number_that_is_none_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    tensors = torch.load(checkpoint, weights_only=True)
    tensors["stem.0.weight"][0, 0, 0, 0] = torch.nan
    torch.save(tensors, checkpoint)
    with pytest.raises(ExportError, match=r"^clcnet-tiny: .*the reference is empty or not finite"):
        export_model(TINY, tmp_path / "out", ExportOptions(weights=checkpoint))


# The command


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_exports_and_tells_what_it_did(tmp_path: Path) -> None:
    first = run("--models", "clcnet-tiny", "--out", tmp_path)
    assert (first.exit_code, first.stderr) == (0, "")
    heading, _, onnx_row, caffe2_row = first.stdout.splitlines()
    assert heading.split("  ")[0] == "model"
    assert onnx_row.split()[:7] == ["clcnet-tiny", "onnx", "grouped", "fp32", "449", "kB", "17"]
    assert caffe2_row.split()[:3] == ["clcnet-tiny", "caffe2", "grouped"]
    assert first.stdout.count(" exported ") == 2
    second = run("--models", "clcnet-tiny", "--out", tmp_path)
    assert second.stdout.count(" up to date ") == 2


def test_a_format_that_there_is_not_is_a_usage_error(tmp_path: Path) -> None:
    result = run("--models", "clcnet-tiny", "--formats", "onnx,tflite", "--out", tmp_path)
    assert result.exit_code == 2
    assert "'tflite' is not one of onnx, caffe2, caffe2-depthwise" in result.stderr


def test_one_model_that_fails_stops_no_other_and_shows_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_wide_ones(network: nn.Module, *rest: object) -> None:
        if sum(parameter.numel() for parameter in network.parameters()) > 1e6:
            raise RuntimeError("too wide")
        to_onnx(network, *rest)

    to_onnx = pipeline.to_onnx
    monkeypatch.setattr(pipeline, "to_onnx", fail_for_wide_ones)
    result = run("--models", "clcnet-a,clcnet-tiny", "--out", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == "error: clcnet-a: PyTorch to ONNX failed: too wide\n"
    assert " failed " in result.stdout
    assert " exported " in result.stdout
    assert {path.parent.name for path in tmp_path.glob("*/model.onnx")} == {"clcnet-tiny"}


def test_the_command_exports_each_precision_that_a_format_has(tmp_path: Path) -> None:
    result = run("--models", "clcnet-tiny", "--precision", "fp32,int8", "--out", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split()[:4] for line in result.stdout.splitlines()[2:]]
    assert rows == [
        ["clcnet-tiny", "onnx", "grouped", "fp32"],
        ["clcnet-tiny", "onnx", "grouped", "int8"],
        ["clcnet-tiny", "caffe2", "grouped", "fp32"],
    ]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        "clcnet-tiny",
        "clcnet-tiny.int8",
        "clcnet-tiny.caffe2",
    }


def test_a_checkpoint_that_does_not_fit_is_a_usage_error(tmp_path: Path) -> None:
    torch.save(clcnet_b().state_dict(), tmp_path / "b.pth")
    result = run("--models", "clcnet-tiny", "--weights", tmp_path / "b.pth", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "does not fit: unexpected: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert tree(tmp_path / "out") == {}


def test_weights_are_given_by_name_when_there_are_several_models(checkpoint: Path, tmp_path: Path) -> None:
    models = ("--models", "clcnet-tiny,clcnet-a", "--out", tmp_path / "out")
    result = run(*models, "--weights", checkpoint)
    assert result.exit_code == 2
    assert "of which model? Give NAME=FILE, or measure one alone: clcnet-tiny, clcnet-a" in result.stderr
    result = run(*models, "--weights", f"clcnet-b={checkpoint}")
    assert "'clcnet-b' is not among the models clcnet-tiny, clcnet-a" in result.stderr
    result = run(*models, *["--weights", f"clcnet-a={checkpoint}"] * 2)
    assert "clcnet-a is given a file twice" in result.stderr
    result = run(*models, "--weights", "clcnet-a=nowhere.pth")
    assert "there is no file 'nowhere.pth'" in result.stderr
    result = run("--models", "clcnet-tiny", "--out", tmp_path / "out", "--weights", f"clcnet-tiny={checkpoint}")
    assert result.exit_code == 0
    assert [path.name for path in (tmp_path / "out").glob("clcnet-tiny-*")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "clcnet-c"], "unknown model 'clcnet-c': did you mean 'clcnet-"),
        (["--models", ""], "unknown model '': known are mobilenet"),
        (["--precision", "int4"], "'int4' is not one of fp32, fp16, int8"),
        (["--precision", "int8", "--formats", "caffe2"], "Caffe2 runs no int8 here; ONNX Runtime does"),
        (["--opset", "8"], "8 is not in the range 9<=x<=20"),
        (["--models", "clcnet-tiny", "--weights", "nowhere.pth"], "there is no file 'nowhere.pth'"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert result.stderr == f"error: cannot write to --out '{tmp_path}/file/out': Not a directory\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--models", "clcnet-tiny", "--formats", "onnx"]], ids=["help", "up to date"]
)
def test_the_command_does_not_wait_for_torch_without_need(arguments: list[str], out: Path) -> None:
    process = python_m_export(*arguments, "--out", out, PYTHONPROFILEIMPORTTIME="1")
    output, imports = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "Usage: python -m harness.cli.export" in output or "up to date" in output
    imported = {line.rpartition("|")[2].strip() for line in imports.splitlines()}
    assert "models.registry" in imported
    assert not {"torch", "onnx", "onnxruntime", "onnxsim", "numpy"} & imported
