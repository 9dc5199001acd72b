"""A run that cannot begin says why in one line, and leaves nothing behind that would be in the way of the next try."""

from __future__ import annotations

from pathlib import Path

import commands
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper

from harness.record import journal
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE


def run(*arguments: str | Path) -> Result:
    return commands.run("--device", "host", "--passes", "1", *arguments)


def network(path: Path, op: str = "Relu", size: str | int = "tokens") -> Path:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "one", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def broken(path: Path) -> Path:
    path.write_bytes(b"no archive")
    return path


def arguments_that_fail(kind: str, folder: Path) -> list[str | Path]:
    fixed = network(folder / "fixed.onnx", size=4)
    return {
        "a size is missing": ["--model", network(folder / "free.onnx")],
        "sizes of all are missing": [
            *("--model", network(folder / "free.onnx"), "--model", network(folder / "other.onnx")),
            *("--threads", "1,2"),
        ],
        "the inputs are no archive": ["--model", fixed, "--input", broken(folder / "in.npz")],
        "the calibration is no archive": [
            *("--model", fixed, "--precision", "int8", "--calibration", broken(folder / "in.npz"))
        ],
        "the model is none": ["--model", broken(folder / "bad.onnx")],
        "the model has an unknown operator": ["--model", network(folder / "odd.onnx", op="Nonsense", size=4)],
        "the model is not there": ["--model", folder / "gone.onnx"],
        "the checkpoint is none": ["--models", "clcnet-tiny", "--weights", broken(folder / "weights.pt")],
        "there is no such network": ["--models", "nothing"],
    }[kind]


KINDS = (
    *("a size is missing", "sizes of all are missing", "the inputs are no archive", "the calibration is no archive"),
    *("the model is none", "the model has an unknown operator", "the model is not there", "the checkpoint is none"),
    "there is no such network",
)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_that_refuses_the_same_folder(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    failed = run(*arguments_that_fail(kind, tmp_path), "--out", out)
    assert failed.exit_code == EXIT_USAGE
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert not out.exists()
    again = run("--model", network(tmp_path / "well.onnx", size=4), "--out", out)
    assert again.exit_code == EXIT_OK, again.stderr
    assert [one.status for one in journal.read(out)] == ["ok"]


def test_what_fails_beside_what_does_not_is_recorded(tmp_path: Path) -> None:
    odd, well = network(tmp_path / "odd.onnx", op="Det", size=4), network(tmp_path / "well.onnx", size=4)
    result = run("--model", odd, "--model", well, "--out", tmp_path / "out")
    assert result.exit_code == EXIT_CASE_FAILED
    assert [one.status for one in journal.read(tmp_path / "out")] == ["export_failed", "ok"]
