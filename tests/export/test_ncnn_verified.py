"""What ncnn computes of networks on this machine: all long, for ncnn has to be compiled for them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional

from export.artifact import ExportError
from export.ncnn.convert import PARAM, PORTS, WEIGHTS
from export.ncnn.formats import NCNN
from export.own.model import OwnModel, export_own
from export.pipeline import ExportOptions, export_model
from export.precision import FP16_TOLERANCE
from export.verify import RELATIVE_TOLERANCE
from harness.record import journal
from harness.run import main
from models import registry
from toolchain.files import file_sha256
from toolchain.paths import EXPORTS

pytestmark = pytest.mark.long

OF_ONNX = Path(onnx.__file__).parent / "backend" / "test" / "data"


@pytest.mark.parametrize("name", registry.names())
def test_each_network_of_the_registry_computes_what_pytorch_does(name: str) -> None:
    made = export_model(registry.get(name), EXPORTS, ExportOptions(form=NCNN))
    assert made.max_abs_error < RELATIVE_TOLERANCE * made.output_spread
    assert [file.name for file in made.model_files] == [PARAM, WEIGHTS, PORTS]
    assert made.tool_versions.keys() >= {"ncnn", "pnnx"}


def test_the_same_network_is_the_same_files(tmp_path: Path) -> None:
    first, second = (
        export_model(registry.get("clcnet-tiny"), tmp_path / name, ExportOptions(form=NCNN)) for name in "ab"
    )
    assert first.model_files == second.model_files
    assert first.op_counts["ShuffleChannel"] == 9


def test_rows_of_each_precision_and_thread_count_are_verified_and_profiled(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["--device", "host", "--models", "clcnet-tiny", "--runtime", "ncnn", "--passes", "2", "--profile"]
    arguments += ["--precision", "fp32,fp16", "--threads", "1,2", "--out", str(out)]
    ended = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.stderr
    records = journal.read(out)
    assert [(one.case.precision, one.case.threads, one.status) for one in records] == [
        ("fp32", 1, "ok"),
        ("fp32", 2, "ok"),
        ("fp16", 1, "ok"),
        ("fp16", 2, "ok"),
    ]
    for record in records:
        assert record.check is not None
        assert record.check.passed
        assert record.check.tolerance == (RELATIVE_TOLERANCE if record.case.precision == "fp32" else FP16_TOLERANCE)
        assert record.artifact is not None
        assert record.measurement is not None
        assert record.measurement.profile is not None
        ops = [node.op for node in record.measurement.profile.nodes]
        convolutions = {"Convolution 3x3", "ConvolutionDepthWise 3x3", "ConvolutionDepthWise 1x1"}
        assert {op for op in ops if "Conv" in op} == convolutions
        kinds = [op.partition(" ")[0] for op in ops]
        assert {kind: kinds.count(kind) for kind in kinds} == record.artifact.op_counts
        assert record.bundle is not None
        assert "winograd" in record.bundle.options
    whole, half = records[0].artifact, records[2].artifact
    assert whole is not None
    assert half is not None
    assert half.size_bytes < 0.6 * whole.size_bytes


class Computes(nn.Module):
    def __init__(self, what: Callable[..., object]) -> None:
        super().__init__()
        self.what = what

    def forward(self, *inputs: Tensor) -> object:
        return self.what(*inputs)


def own(module: nn.Module, inputs: tuple[Tensor, ...], folder: Path, opset: int = 17) -> OwnModel:
    path = folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, str(path), dynamo=False, opset_version=opset)
    return OwnModel("net", str(path), file_sha256(path))


IMAGE = torch.zeros(1, 4, 6, 8)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        pytest.param(nn.Conv2d(4, 8, 3), (torch.zeros(2, 4, 6, 8),), id="a batch of two"),
        pytest.param(nn.Conv3d(4, 3, 3), (torch.zeros(1, 4, 5, 6, 7),), id="three dimensions"),
        pytest.param(nn.Linear(10, 4), (torch.zeros(7, 10),), id="rows"),
        pytest.param(nn.Linear(10, 4), (torch.zeros(10),), id="one axis"),
        pytest.param(Computes(lambda x: x.mean()), (IMAGE,), id="a scalar"),
        pytest.param(Computes(lambda x: (x.flatten(1), x * 2)), (IMAGE,), id="two outputs"),
        pytest.param(Computes(lambda x, y: x - y), (IMAGE, torch.zeros(1, 4, 1, 1)), id="two inputs"),
        pytest.param(nn.Embedding(10, 4), (torch.zeros(1, 3, dtype=torch.int64),), id="integers"),
        pytest.param(nn.GRU(4, 5), (torch.zeros(6, 1, 4),), id="a batch in the middle"),
        pytest.param(Computes(lambda x: functional.interpolate(x, scale_factor=2.0)), (IMAGE,), id="resized"),
        pytest.param(nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Softmax(1)), (IMAGE,), id="softmax"),
        pytest.param(Computes(lambda x: torch.where(x > 0, x, 2 * x)), (IMAGE,), id="where"),
        pytest.param(Computes(lambda x: x.argmax(1)), (IMAGE,), id="argmax"),
        pytest.param(Computes(lambda x: x.topk(3)[0]), (IMAGE,), id="topk"),
        pytest.param(Computes(lambda x: x.cumsum(1)), (IMAGE,), id="cumsum"),
        pytest.param(Computes(lambda x: x[:, ::2]), (IMAGE,), id="steps"),
        pytest.param(Computes(lambda x: x.double().sum(1).float()), (IMAGE,), id="double"),
        pytest.param(nn.LSTM(4, 5, batch_first=True), (torch.zeros(1, 6, 4),), id="lstm"),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_an_own_model_runs_right_or_is_refused_by_operator(
    module: nn.Module, inputs: tuple[Tensor, ...], opset: int, tmp_path: Path
) -> None:
    model = own(module, inputs, tmp_path, opset)
    reason = refusal(model, tmp_path / "out")
    kinds = {node.op_type for node in onnx.load(model.path).graph.node}
    assert reason is None or any(kind in reason for kind in kinds) or "output" in reason, reason


def refusal(model: OwnModel, out: Path) -> str | None:
    """None, when it is verified; why it is not taken else, in one line."""
    try:
        export_own(model, out)
    except ExportError:
        pytest.skip("ONNX Runtime here does not take it")
    try:
        export_own(model, out, form=NCNN)
    except ExportError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


@pytest.mark.parametrize(
    "path", sorted(OF_ONNX.glob("node/*/model.onnx"))[::40], ids=lambda path: path.parent.name.removeprefix("test_")
)
def test_onnxs_own_examples_of_operators_run_right_or_are_refused(path: Path, tmp_path: Path) -> None:
    model = OwnModel("net", str(path), file_sha256(path))
    reason = refusal(model, tmp_path)
    assert reason is None or re.match(
        r"net: (making ncnn of the ONNX file failed: |ncnn here does not|running it)", reason
    )


def test_inputs_of_ones_own_are_what_is_verified_with(tmp_path: Path) -> None:
    model = own(nn.Embedding(10, 4), (torch.zeros(1, 3, dtype=torch.int64),), tmp_path)
    np.savez(tmp_path / "x.npz", **{onnx.load(model.path).graph.input[0].name: np.array([[9, 0, 4]])})
    given = tmp_path / "x.npz"
    model = OwnModel("net", model.path, model.sha256, inputs=str(given), inputs_sha256=file_sha256(given))
    assert refusal(model, tmp_path / "out") is None
