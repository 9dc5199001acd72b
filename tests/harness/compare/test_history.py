"""How cases moved from run to run: in order of time, a line for each case, never over a change of device or network."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import invoke
from run_folders import write_run
from synthetic import BOARD, device, record
from synthetic_runs import rounds

from harness.cli.history import main
from harness.compare import history, history_plot
from harness.compare.history import Line
from harness.record.errors import EXIT_OK, EXIT_USAGE
from harness.record.record import Record
from harness.report import csv, markdown, terminal

HOST = device("wall", "host", "host")


run = partial(invoke, main)


def day(number: int) -> str:
    return f"2026-11-{number:02}T12:00:00+00:00"


def lines_of(folder: Path, *runs: Sequence[Record]) -> list[Line]:
    """Lines of these runs, one a day, written so that names say nothing of their order."""
    for number, records in enumerate(runs, start=1):
        write_run(folder / f"run-{9 - number}", records, utc=day(number), commit=f"commit{number}")
    return history.lines(history.read([folder]))


def at(ms: float) -> Record:
    return record("mobilenet", [ms] * 3)


def with_files(one: Record, sha256: str) -> Record:
    assert one.artifact is not None
    return replace(one, artifact=replace(one.artifact, sha256=(sha256 * 32,)))


def with_runtime(one: Record, version: str) -> Record:
    assert one.measurement is not None
    return replace(one, measurement=replace(one.measurement, runtime_version=version))


def test_runs_stand_in_the_order_of_their_time_each_beside_the_one_before(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, [at(500)], [at(500.1)], [at(520)], [at(480)])
    assert [point.run.plan.commit for point in line.points] == ["commit1", "commit2", "commit3", "commit4"]
    assert [point.step and point.step.outcome for point in line.points] == [None, "same", "slower", "faster"]
    assert line.points[2].step is not None
    assert line.points[2].step.difference is not None
    assert line.points[2].step.difference.ratio == pytest.approx(520 / 500.1)


def test_a_run_that_failed_stands_there_and_is_stepped_over(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, [at(500)], [record("mobilenet", status="crashed", error="signal 11")], [at(510)])
    assert [point.median_ns for point in line.points] == [500e6, None, 510e6]
    assert [point.step and point.step.outcome for point in line.points] == [None, "failed", "slower"]
    assert "crashed" in terminal.rendered(history.document([line]))


def test_another_network_begins_a_new_line(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, [at(500)], [with_files(at(400), "ef")], [with_files(at(404), "ef")])
    assert [point.is_new_line for point in line.points] == [True, True, False]
    assert [point.changed for point in line.points] == [(), ("model files",), ()]
    assert [point.step and point.step.outcome for point in line.points] == [None, None, "slower"]


def test_another_device_of_that_name_begins_a_new_line(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, [at(500)], [replace(at(400), device=replace(BOARD, model="another"))])
    assert line.points[1].changed == ("device",)
    assert line.points[1].step is None


def test_another_runtime_is_marked_and_compared(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path, [at(500)], [with_runtime(at(450), "1.32.0")])
    assert line.points[1].changed == ("runtime (onnxruntime 1.28.2)",)
    assert line.points[1].step is not None
    assert line.points[1].step.outcome == "faster"
    assert not line.points[1].is_new_line


def test_devices_clocks_and_cases_have_lines_of_their_own(tmp_path: Path) -> None:
    on_host = rounds("mobilenet", [[5.0] * 10] * 5, on=HOST)
    modelled_host = replace(at(7), device=replace(HOST, clock="instructions"))
    lines = lines_of(tmp_path, [at(500), record("clcnet-a", [400] * 3), *on_host], [at(500), modelled_host])
    assert [(line.device.serial, line.device.clock, len(line.points)) for line in lines] == [
        ("board:cortex-a7", "instructions", 2),
        ("board:cortex-a7", "instructions", 1),
        ("host", "wall", 1),
        ("host", "instructions", 1),
    ]
    text = markdown.rendered(history.document(lines))
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## board:cortex-a7: measured on a modelled clock (1 instruction = 1 ns)",
        "## host: measured on hardware",
        "## host: measured on a modelled clock (1 instruction = 1 ns)",
    ]


def test_the_frame_has_a_row_for_each_point_with_units_in_its_names(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, [at(500)], [at(510)])
    frame = pd.read_csv(io.StringIO(csv.rendered(history.data(lines))))
    assert frame["median_ns"].tolist() == [500e6, 510e6]
    assert frame["outcome"].tolist()[1] == "slower"
    assert frame["commit"].tolist() == ["commit1", "commit2"]
    assert frame["runtime"].tolist() == ["onnxruntime 1.28.2"] * 2


def test_runs_are_found_in_folders_of_folders_each_once(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a" / "b" / "one", [at(500)])
    write_run(tmp_path / "two", [at(500)], utc=day(2))
    found = history.read([tmp_path, one, tmp_path / "a"])
    assert [found_run.plan.run for found_run in found] == ["two", "one"]


def test_a_damaged_run_among_others_is_left_out_and_said(tmp_path: Path) -> None:
    write_run(tmp_path / "good", [at(500)])
    (write_run(tmp_path / "bad", [at(500)]) / "plan.json").write_text("{}")
    result = run(tmp_path)
    assert result.exit_code == EXIT_OK
    assert "note: left out: " in result.stderr
    assert result.stdout.count("0123456789ab") == 1


def test_a_damaged_run_that_was_named_is_an_error(tmp_path: Path) -> None:
    bad = write_run(tmp_path / "bad", [at(500)])
    (bad / "plan.json").write_text("{}")
    result = run(bad)
    assert result.exit_code == EXIT_USAGE
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.startswith("error: ")
    assert "no run there" in result.stderr


def test_tables_and_plot_are_written(tmp_path: Path) -> None:
    lines_of(tmp_path / "runs", [at(500)], [with_runtime(at(450), "1.32.0")], [with_files(at(400), "ef")], [at(390)])
    out = tmp_path / "out"
    result = run(tmp_path / "runs", "--out", out)
    assert result.exit_code == EXIT_OK
    assert {path.name for path in out.iterdir()} == {"history.csv", "history.md", "history.png", "history.svg"}
    assert len(pd.read_csv(out / "history.csv")) == 4
    before = (out / "history.svg").read_bytes()
    shutil.rmtree(out)
    run(tmp_path / "runs", "--out", out)
    assert (out / "history.svg").read_bytes() == before


def test_the_plot_marks_what_changed_and_breaks_its_line_there(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, [at(500)], [at(510)], [with_files(at(400), "ef")], [with_files(at(400), "ef")])
    (panel,) = history_plot.history(lines).axes
    assert [text.get_text() for text in panel.texts] == ["other model files"]
    drawn = [list(line.get_xdata()) for line in panel.lines if len(line.get_xdata()) == 2]
    assert [0, 1] in drawn
    assert [2, 3] in drawn
    assert [1, 2] not in drawn


def test_one_device_or_network_can_be_shown_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [at(500), record("clcnet-a", [400] * 3)])
    shown = run(tmp_path, "--model", "clcnet-a").stdout
    assert "clcNet-A" in shown
    assert "MobileNet" not in shown
    nothing = run(tmp_path, "--device", "ABC")
    assert nothing.exit_code == EXIT_USAGE
    assert "without --device" in nothing.stderr
