"""The study of IGC's three ways, and what is said of a gain: whose it is, the network's or the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from run_folders import write_run
from synthetic import device, record

from export.artifact import Artifact
from harness.analyse.rows import table_rows
from harness.cli.study import main
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import markdown, sections
from harness.study import interleaved
from harness.study.igc_study import REPORT_NAME
from harness.study.interleaved import Interleaved

HOST = device("wall", "host", "host")


def study(on: object = HOST) -> list[Record]:
    """MobileNet, both ways, and clcNet-A, three ways, on one and two threads; the times are made up."""
    return [
        record(model, [ms / threads], on=on, threads=threads, igc=igc)  # type: ignore[arg-type]
        for threads in (1, 2)
        for model, igc, ms in (
            ("mobilenet", None, 100.0),
            ("mobilenet", "fused", 90.0),
            ("clcnet-a", "grouped", 120.0),
            ("clcnet-a", "depthwise", 72.0),
            ("clcnet-a", "fused", 54.0),
        )
    ]


def explained(records: list[Record]) -> str:
    return markdown.blocks(sections.gains_explained(table_rows(records, Limits())))


def test_a_gain_is_split_into_the_networks_part_and_the_kernels() -> None:
    text = explained(study())
    assert "clcNet-A, fused on host takes 0.540 of MobileNet's time (the mult-adds promise 0.603)" in text
    assert "0.600 x 0.900 = 0.540" in text
    assert "it takes 0.450 of the time: that is the kernel alone" in text


def test_without_mobilenet_in_the_kernel_it_says_how_to_tell_the_two_apart() -> None:
    text = explained([it for it in study() if (it.case.model, it.case.igc) != ("mobilenet", "fused")])
    assert "0.540" in text
    assert "--fuse-separable" in text
    assert "network**" not in text


def test_only_modelled_time_comes_with_the_caution_about_in_order_cores() -> None:
    assert "in-order core" in explained(study(device()))
    assert "in-order core" not in explained(study())


def test_nothing_is_explained_where_nothing_is_fused() -> None:
    assert (
        sections.gains_explained(table_rows([record("mobilenet", [100.0]), record("clcnet-a", [90.0])], Limits())) == []
    )


def test_mobilenet_on_the_runtimes_own_kernels_is_what_all_are_compared_with() -> None:
    relative = {(row.record.case.model, row.record.case.igc): row.relative for row in table_rows(study()[:5], Limits())}
    assert relative["mobilenet", None] == 1
    assert relative["mobilenet", "fused"] == pytest.approx(0.9)


def test_the_paper_stands_beside_grouped_convolutions_which_it_ran() -> None:
    rows = table_rows(study()[:5], Limits())
    assert {row.record.case.igc for row in rows if row.paper_ms is not None} == {None, "grouped"}


def test_in_turn_a_drift_hits_all_alike_and_the_ratio_is_right() -> None:
    drift = [1_000_000 * (10 + turn) for turn in range(40)]  # the machine becomes five times as slow
    measured = Interleaved("1.32.0", 1, 0, {}, {"mobilenet": drift, "clcnet-a, fused": [ns * 6 // 10 for ns in drift]})
    found = interleaved.ratio(measured, "clcnet-a, fused", "mobilenet")
    assert found.low == pytest.approx(0.6) == found.value == found.high


def test_each_network_is_run_as_often_as_asked_for(tiny: Artifact, tmp_path: Path) -> None:
    turns = []
    measured = interleaved.measure(
        {"a": tiny, "b": tiny}, threads=1, passes=4, warmup=2, on_pass=lambda: turns.append(1)
    )
    assert {name: len(samples) for name, samples in measured.samples_ns.items()} == {"a": 4, "b": 4}
    assert len(turns) == 6
    assert min(map(min, measured.samples_ns.values())) > 0
    interleaved.write([measured], tmp_path)
    assert interleaved.read(tmp_path) == [measured]


def test_a_report_is_remade_from_the_records_of_a_study(tmp_path: Path) -> None:
    write_run(tmp_path / "host", study())
    write_run(tmp_path / "board-cortex-a7", study(device()))
    samples = {"mobilenet": [100_000_000, 110_000_000] * 3, "clcnet-a, fused": [60_000_000, 66_000_000] * 3}
    interleaved.write([Interleaved("1.32.0", 1, 3, {}, samples)], tmp_path)
    result = CliRunner().invoke(main, ["kernel", "--from", str(tmp_path)])
    assert result.exit_code == EXIT_OK, result.stderr
    text = (tmp_path / REPORT_NAME).read_text()
    for title in ("clcNet-A, grouped", "clcNet-A, depthwise", "clcNet-A, fused", "1.0 MobileNet-224, fused"):
        assert text.count(f"| {title} ") == 3, title  # in the summary, and for each device
    [row] = [line for line in text.split("## host")[1].splitlines() if line.startswith("| clcNet-A, fused ")]
    assert row.replace(" ", "") == "|clcNet-A,fused|0.603|54.00|0.540|27.00|0.540|ok|"
    assert "a modelled clock (1 instruction = 1 ns)" in text
    assert "0.600 [0.600, 0.600]" in text
    assert "## What is the network's, and what the kernel's" in text
    assert (tmp_path / "igc-study.png").stat().st_size > 10_000
    assert (tmp_path / "igc-study.csv").read_text().count("\n") == 21


def test_a_failed_case_shows_as_failed_and_in_the_exit_code(tmp_path: Path) -> None:
    failed = record("clcnet-a", status="timed_out", error="no end", on=HOST, igc="fused")
    write_run(tmp_path / "host", [*study()[:4], failed])
    result = CliRunner().invoke(main, ["kernel", "--from", str(tmp_path)])
    assert result.exit_code == EXIT_CASE_FAILED
    assert "timed_out" in (tmp_path / REPORT_NAME).read_text()


def test_a_folder_without_a_study_is_refused_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["kernel", "--from", str(tmp_path / "nowhere")])
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.count("\n") == 1
    assert "no study there" in result.stderr
