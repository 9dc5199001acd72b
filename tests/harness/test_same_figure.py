"""The same file gives the same figure on a board whose clock counts instructions, and a little more work another."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from device.records import CountName
from harness.compare.two_runs import compare_case
from harness.record import journal
from harness.record.case import MORE_WARMUP
from harness.record.errors import EXIT_OK
from harness.record.record import Record
from harness.run import main

BOARD = "board:cortex-a7"
#: One node more is half a percent more, all but what a pass takes without nodes.
NODES = 200


def network(path: Path, nodes: int) -> Path:
    """A chain of additions, in which no two can be made one."""
    names = ["x", *(f"h{index}" for index in range(nodes - 1)), "y"]
    chain = [helper.make_node("Add", [names[index], "x"], [names[index + 1]]) for index in range(nodes)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in ("x", "y")]
    graph = helper.make_graph(chain, "chain", ports[:1], ports[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def measured(out: Path, *models: Path) -> list[Record]:
    words = [word for model in models for word in ("--model", str(model))]
    result = CliRunner().invoke(
        main, ["--device", BOARD, "--boards", "1", "--runtime", "onnxruntime", *words, "--out", str(out)]
    )
    assert result.exit_code == EXIT_OK, result.output
    return list(journal.read(out))


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Another program that never rests."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


@pytest.mark.board
def test_the_same_file_raises_no_alarm_whatever_it_is_called_and_half_a_percent_more_does(tmp_path: Path) -> None:
    long = tmp_path / "a-folder-with-a-long-name" / "and-another" / f"{'the-same-network-' * 3}again.onnx"
    models = (network(tmp_path / "m.onnx", NODES), network(long, NODES), network(tmp_path / "more.onnx", NODES + 1))
    with busy():
        first, again, more = measured(tmp_path / "run", *models)
    assert first.artifact is not None
    assert again.artifact is not None
    assert first.artifact.sha256 == again.artifact.sha256
    assert compare_case([first], [again]).outcome == "same"
    assert compare_case([again], [first]).outcome == "same"
    found = compare_case([first], [more])
    assert found.difference is not None
    assert 1.001 < found.difference.ratio < 1.008
    assert found.outcome == "slower"  # by its instructions: its cycles hang more on where its memory lies
    for record in (first, again, more):
        assert record.measurement is not None
        assert record.measurement.settled is not None
        assert 2 <= len(record.measurement.warmup) <= 1 + MORE_WARMUP


@pytest.mark.board
def test_as_many_passes_warm_up_as_are_asked_for(tmp_path: Path) -> None:
    words = ["--device", BOARD, "--boards", "1", "--models", "clcnet-tiny", "--runtime", "onnxruntime"]
    result = CliRunner().invoke(main, [*words, "--warmup", "1", "--passes", "1", "--out", str(tmp_path / "run")])
    assert result.exit_code == EXIT_OK, result.output
    (record,) = journal.read(tmp_path / "run")
    assert record.measurement is not None
    assert (len(record.measurement.warmup), record.measurement.settled) == (1, None)


@pytest.mark.board
@pytest.mark.long
@pytest.mark.parametrize("board", ["board:mt6580", "board:bcm2837b0"])
def test_cycles_repeat_from_boot_to_boot_under_names_of_any_length(board: str, tmp_path: Path) -> None:
    """Beside another program that never rests, and by far less than two runs may differ (EXACT_FACTOR)."""
    source, runs = network(tmp_path / "m.onnx", NODES), []
    for name in ("a", "a-folder-with-a-name-of-some-length/" + "and-another-one-in-it-" * 4, "b"):
        model = tmp_path / name / f"{name[:40].replace('/', '-')}.onnx"
        model.parent.mkdir(parents=True)
        model.write_bytes(source.read_bytes())
        words = ["--device", board, "--boards", "1", "--model", str(model), "--models", "clcnet-tiny", "--passes", "3"]
        with busy():
            result = CliRunner().invoke(main, [*words, "--out", str(model.parent / "run")])
        assert result.exit_code == EXIT_OK, result.output
        runs.append(journal.read(model.parent / "run"))
    for first, *others in zip(*runs, strict=True):
        for other in others:
            assert median(_counters(other, "cycles")) == pytest.approx(median(_counters(first, "cycles")), rel=1e-3)
            assert _counters(other, "instructions") == pytest.approx(_counters(first, "instructions"), rel=1e-4)


def _counters(record: Record, name: CountName) -> list[int]:
    assert record.measurement is not None
    return [one.counters.counts[name] for one in record.measurement.samples if one.counters]
