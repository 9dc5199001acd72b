"""Counters as a table: what is a count, what an estimate, what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pytest_regressions.file_regression import FileRegressionFixture
from synthetic import BOARD, record
from synthetic_runs import PHONE, with_counters

from harness.analyse import counts
from harness.record.record import Record
from harness.report import markdown, measured

CACHES = replace(BOARD, cache_model="L1D 32 KiB, 4-way; L2 512 KiB, 8-way; 64-byte lines")


def emulated() -> list[Record]:
    mobilenet = record("mobilenet", [500.0, 500.1, 499.9], on=CACHES)
    clcnet = record("clcnet-a", [352.0, 352.1, 351.9], on=CACHES, igc="grouped")
    return [
        with_counters(
            mobilenet,
            {
                "instructions": 500_000_000,
                "simd_instructions": 300_000_000,
                "l1d_misses": 3_456_789,
                "l2_misses": 12_345,
            },
            step=1e-6,
        ),
        with_counters(
            clcnet, {"instructions": 350_000_000, "simd_instructions": 140_000_000, "l1d_misses": 4_567_890}, step=2e-3
        ),
    ]


def by_perf(share: float = 0.5) -> list[Record]:
    mobilenet = record("mobilenet", [60.0, 61.0, 60.0], on=PHONE)
    clcnet = record("clcnet-a", [45.0, 44.0, 45.0], on=PHONE, igc="grouped")
    return [
        with_counters(mobilenet, {"instructions": 200_000_000, "cycles": 100_000_000}, source="perf", share=share),
        with_counters(clcnet, {"instructions": 280_000_000, "cache_misses": 900}, source="perf", step=1e-2),
    ]


def in_markdown(records: Sequence[Record]) -> str:
    return markdown.blocks(measured.counts(records))


def lines(text: str) -> list[dict[str, str]]:
    """The lines of the first table of a Markdown text, by their columns."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_markdown_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(in_markdown([*emulated(), *by_perf()]), extension=".md")


def test_instructions_are_compared_with_mobilenets() -> None:
    assert [line["Relative to MobileNet"] for line in lines(in_markdown(emulated()))] == ["1.000", "0.701"]


def test_shares_and_rates_are_ratios_of_the_same_pass() -> None:
    assert [line["SIMD share"] for line in lines(in_markdown(emulated()))] == ["60.0%", "40.0%"]
    assert [line["Instructions per cycle"] for line in lines(in_markdown(by_perf()))] == ["2.00", "–"]


def test_a_count_is_the_median_with_its_spread() -> None:
    first, second = lines(in_markdown(emulated()))
    assert first["Instructions"] == "500.00M (2 ppm)"
    assert second["Instructions"] == "350.70M (0.40%)"


def test_a_single_pass_has_no_spread() -> None:
    [line] = lines(in_markdown([with_counters(record("mobilenet", [500.0]), {"instructions": 500_000_000})]))
    assert line["Instructions"] == "500.00M"


def test_the_median_is_over_the_passes_of_all_rounds() -> None:
    rounds = [
        replace(with_counters(record("mobilenet", [500.0, 500.0]), {"instructions": count}), round=number)
        for number, count in enumerate((100_000_000, 110_000_000, 130_000_000))
    ]
    [line] = lines(in_markdown(rounds))
    assert (line["Instructions"], line["Passes"]) == ("110.00M (27.3%)", "6")


def test_what_could_not_be_counted_is_nothing_and_a_column_that_no_case_has_is_left_out() -> None:
    first, second = lines(in_markdown(emulated()))
    assert (first["L2 misses"], second["L2 misses"]) == ("12.35k (0 ppm)", "–")
    assert "Cycles" not in first
    assert "Cache misses" not in first


def test_counts_that_were_scaled_are_marked_and_explained() -> None:
    text = in_markdown(by_perf(share=0.5))
    scaled, exact = lines(text)
    assert scaled["Instructions"] == "~400.00M (0 ppm)"
    assert exact["Instructions"].startswith("282.80M")
    assert exact["Relative to MobileNet"] == "~0.707"
    assert "50% of the time at least" in text
    assert "~" not in in_markdown(by_perf(share=1.0))


def test_counters_that_were_never_on_give_nothing() -> None:
    assert lines(in_markdown(by_perf(share=0.0)))[0]["Instructions"] == "–"


def test_the_emulators_misses_name_the_caches_it_simulates_and_the_cpus_do_not() -> None:
    assert f"caches that it simulates: {CACHES.cache_model}." in in_markdown(emulated())
    assert "simulates" not in in_markdown(by_perf())


def test_devices_runtimes_threads_and_sources_stand_in_tables_of_their_own() -> None:
    records = [
        with_counters(record("mobilenet", [500.0]), {"instructions": 1000}),
        with_counters(record("clcnet-a", [400.0]), {"instructions": 900}),
        with_counters(record("clcnet-b", [400.0]), {"instructions": 900}, source="perf"),
        with_counters(record("clcnet-b", [400.0], threads=2), {"instructions": 900}),
        with_counters(record("clcnet-b", [400.0], runtime="caffe2"), {"instructions": 900}),
        with_counters(record("clcnet-b", [400.0], on=PHONE), {"instructions": 900}),
    ]
    groups = [[case.record.case.model for case in group] for group in counts.counted(records)]
    assert groups == [["mobilenet", "clcnet-a"], *[["clcnet-b"]] * 4]
    assert in_markdown(records).count("Relative to MobileNet |") == 1


@pytest.mark.parametrize("status", ["output_wrong", "run_failed"])
def test_a_case_that_failed_has_no_counts(status: str) -> None:
    failed = record("mobilenet", [500.0], status=status, error="no")
    assert in_markdown([with_counters(failed, {"instructions": 1000})]) == ""


def test_without_counters_there_is_no_text_but_the_reason_why_where_they_were_asked_for() -> None:
    plain = record("mobilenet", [500.0], on=PHONE)
    assert in_markdown([plain]) == ""
    assert plain.measurement is not None
    refused = replace(plain, measurement=replace(plain.measurement, counters_error="perf_event_paranoid is 3"))
    assert in_markdown([refused, refused]) == f"No counters on {PHONE.serial}: perf_event_paranoid is 3"
