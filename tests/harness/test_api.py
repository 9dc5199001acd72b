"""A run as a library call: modules, files and names; docs/api.md shows what works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import harness
from export.artifact import ExportError
from harness.record.errors import UsageError
from harness.report.write import write
from toolchain.paths import REPOSITORY


class Tiny(nn.Module):
    """Small, and not the same everywhere."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(x)).mean((2, 3))


def tiny_file(path: Path) -> Path:
    """An ONNX file of one matrix multiplication."""
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_module_and_a_file_are_measured_checked_and_become_a_frame(tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = harness.benchmark(
        [Tiny(), tiny_file(tmp_path / "matmul.onnx")], device="host", example=(1, 3, 8, 8), out=out, passes=3, rounds=2
    )
    assert results.missing == []
    assert results.failures == {}
    frame = results.to_dataframe()
    assert frame["model"].tolist() == ["Tiny", "matmul"]
    assert frame["rounds_ok"].tolist() == [2, 2]
    assert (frame["median_ns"] > 0).all()
    assert all(record.check is not None and record.check.passed for record in results.records)
    assert write(out).records == results.records


def test_an_example_that_is_a_tensor_is_what_is_computed(tmp_path: Path) -> None:
    example = torch.linspace(0, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
    module = Tiny()
    (record,) = harness.benchmark(module, example=example, passes=1).records
    assert record.check is not None
    assert record.check.spread == pytest.approx(float(module(example).max() - module(example).min()), rel=1e-4)


def test_modules_of_one_name_are_told_apart() -> None:
    results = harness.benchmark([Tiny(4), Tiny(8)], example=(1, 3, 8, 8), passes=1)
    assert [record.case.model for record in results.records] == ["Tiny", "Tiny-2"]
    assert [record.artifact.params for record in results.records if record.artifact] == [112, 224]


def test_what_fails_is_among_the_results_with_its_reason(tmp_path: Path) -> None:
    odd = onnx.load(tiny_file(tmp_path / "odd.onnx"))
    odd.graph.node[0].op_type = "Det"
    odd.graph.node[0].input.pop()
    onnx.save(odd, tmp_path / "odd.onnx")
    results = harness.benchmark([tmp_path / "odd.onnx", tiny_file(tmp_path / "matmul.onnx")], passes=1)
    assert [one.record and one.record.status for one in results.missing] == ["export_failed"]
    assert results.rows[0].summary is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: harness.benchmark(Tiny()), "needs an example"),
        (lambda: harness.benchmark(5), "no nn.Module"),
        (lambda: harness.benchmark("mobilenet", speed=5), "speed"),
        (lambda: harness.benchmark("nowhere.onnx"), "nowhere.onnx"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(call, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()


def test_a_module_that_onnx_cannot_express_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(x.numpy()[..., ::-1].copy()) + 0 * x  # a constant of the trace

    with pytest.raises(ExportError, match="Odd"):
        harness.benchmark(Odd(), example=(1, 4), passes=1)


def test_the_documents_example_works() -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert ended.returncode == 0, ended.stderr
    assert "Sequential" in ended.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, harness; print(' '.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not {"torch", "numpy", "pydantic", "click"} & set(ended.stdout.split())
