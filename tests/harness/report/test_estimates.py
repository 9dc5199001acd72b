"""Estimates are called so wherever they are shown, and never stand beside a measured time or another chip's."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import run_of
from synthetic import BOARD, CHIP, ESTIMATED, estimated, record, table6
from synthetic_runs import PHONE

from device.board import accuracy
from device.records import Chip, DeviceInfo
from harness.analyse import fleet, groups, ranking, rows
from harness.analyse.rows import Row, table_rows
from harness.compare import history
from harness.compare.two_runs import Run
from harness.record.differences import differences
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import columns, csv, html, markdown, terminal
from harness.report.sections import run_document
from harness.report.write import drawn, table6_in_latex

SAID = "estimated: MT6580 at 1.3 GHz; its error is not known yet"


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What is known of the model's error: nothing."""
    known = tmp_path / "accuracy.toml"
    known.write_text("")
    monkeypatch.setattr(accuracy, "_KNOWN", known)
    accuracy._by_core.cache_clear()
    yield known
    accuracy._by_core.cache_clear()


@pytest.fixture
def studied(known: Path) -> None:
    """The study of the model's error has been made."""
    figures = "mean_error_percent = 6.4\nmean_error_after_one_scale_percent = 2.5\nnetworks = 18\n"
    known.write_text(f'[cortex-a7]\n{figures}boards = "i.MX7D"\n')


def forms(records: list[Record]) -> dict[str, str]:
    """The report in each of its forms."""
    table = table_rows(records, Limits())
    figures = drawn(table, records)
    document = run_document(run_of(records), records, table, figures)
    return {
        "page": html.rendered(document),
        "Markdown": markdown.rendered(document),
        "terminal": terminal.rendered(document),
        "LaTeX": table6_in_latex(table),
        "brief table": terminal.table(columns.table6(table, is_brief=True)),
        **{f"plot {one.name}": one.svg + one.description for one in figures},
    }


PLOTS_WITHOUT_TIMES = {"plot sizes"}


def test_every_form_says_that_times_are_estimates_and_what_they_are_worth() -> None:
    for form, text in forms([estimated(one) for one in table6()[:2]]).items():
        if form not in PLOTS_WITHOUT_TIMES:
            assert SAID in " ".join(text.split()).replace("Estimated:", "estimated:"), form
            assert "easured on hardware" not in text, form
            assert "easured on estimated" not in text, form


@pytest.mark.usefixtures("studied")
def test_once_the_study_is_made_its_error_stands_beside_the_estimate() -> None:
    records = [estimated(one) for one in table6()]
    text = markdown.rendered(run_document(run_of(records), records, table_rows(records, Limits()), ()))
    assert "MT6580 at 1.3 GHz; this model was off by 6.4 % on 18 networks, by 2.5 % after one scale a board" in text
    assert "its error is not known yet" not in text


def test_the_table_has_cycles_and_instructions_and_its_heading_says_estimated() -> None:
    found = table_rows([estimated(record("mobilenet", [1000.0, 1000.0, 1000.0]))], Limits())
    table = columns.table6(found)
    heads = [column.heading for column in table.columns]
    line = dict(zip(heads, [cell.text for cell in table.rows[0]], strict=True))
    assert line["Median of 3, estimated (ms)"] == "1000.0"
    assert (line["Cycles"], line["Instructions"], line["Measured on"]) == ("1300.00M", "650.00M", SAID)
    data = columns.data(found)
    values = dict(zip(data.names, data.rows[0], strict=True))
    assert {name: values[name] for name in ("cycles", "instructions", "chip", "clock_mhz", "clock")} == {
        "cycles": 1_300_000_000,
        "instructions": 650_000_000,
        "chip": "MT6580",
        "clock_mhz": 1300,
        "clock": "estimated",
    }
    assert "estimated" in csv.rendered(data)


@pytest.mark.parametrize(
    ("settings_", "shown"), [(1, "1000.0"), (2, "1000.0 (900.0 to 1000.0)"), (4, "1000.0 (700.0 to 1000.0)")]
)
def test_several_settings_of_the_memory_give_an_interval(settings_: int, shown: str) -> None:
    chip = replace(CHIP, memory=CHIP.memory * settings_)
    found = table_rows([estimated(record("mobilenet", [1000.0, 1000.0]), chip)], Limits())
    table = columns.table6(found)
    place = [column.heading for column in table.columns].index("Median of 3, estimated (ms)")
    assert table.rows[0][place].text == shown
    text = markdown.rendered(run_document(run_of(found[0].records), found[0].records, found, ()))
    assert ("nobody has published" in text) == (settings_ > 1)


def test_beside_measured_rows_the_heading_says_that_some_are_estimates() -> None:
    both = [estimated(record("mobilenet", [1000.0])), record("mobilenet", [10.0], on=PHONE)]
    heads = [column.heading for column in columns.table6(table_rows(both, Limits())).columns]
    assert "Median of 3, some estimated (ms)" in heads
    alone = [column.heading for column in columns.table6(table_rows(both[1:], Limits())).columns]
    assert "Median of 3 (ms)" in alone
    assert "Cycles" not in alone


def test_the_one_with_the_fewest_cycles_is_not_said_to_be_the_fastest_of_the_chip() -> None:
    (found,) = ranking.rankings(table_rows([estimated(one) for one in table6()], Limits()))
    text = " ".join(ranking.sentences(found))
    assert "takes the fewest cycles, by the estimate, of 4: 400.0 ms (estimated, median)" in text
    assert "so that clcNet-A takes the fewest by this model; its error is not known yet." in text
    assert "surely" not in text


# --- never together -----------------------------------------------------------------------------------

OTHER_CLOCK = replace(CHIP, clock_mhz=900)
OTHER_MEMORY = replace(CHIP, memory=(*CHIP.memory, *CHIP.memory))
#: What the times of one network may be; the serial may be the same for all, as when a board was measured again.
DEVICES: list[DeviceInfo] = [
    replace(BOARD, serial="board:mt6580"),
    replace(BOARD, serial="board:mt6580", clock="wall", kind="phone"),
    *(replace(ESTIMATED, chip=chip) for chip in (CHIP, OTHER_CLOCK, OTHER_MEMORY)),
    replace(ESTIMATED, serial="board:imx7d", chip=replace(CHIP, name="imx7d", title="i.MX7D")),
]


def made(device: DeviceInfo, model: str, ms: float) -> Record:
    one = record(model, [ms, ms, ms], on=device)
    if device.chip is None:
        return one
    return replace(estimated(one, device.chip), device=device)


some_records = st.lists(
    st.builds(made, st.sampled_from(DEVICES), st.sampled_from(["mobilenet", "clcnet-a", "shufflenet"]), st.just(500.0)),
    min_size=1,
    max_size=12,
    unique_by=lambda one: (one.device, one.id),
)


def kinds(of: list[Record]) -> set[tuple[str, Chip | None]]:
    return {one.device.timed_by for one in of}


def of_rows(of: list[Row]) -> set[tuple[str, Chip | None]]:
    return kinds([one for row in of for one in row.records])


@settings(max_examples=25)
@given(some_records)
def test_what_is_grouped_ranked_averaged_or_drawn_together_is_timed_by_one_thing(records: list[Record]) -> None:
    for grouped in (groups.by_device, groups.comparable, groups.by_case, groups.across_precisions, groups.by_network):
        assert all(len(kinds(group)) == 1 for group in grouped(records))
    table = table_rows(records, Limits())
    assert sum(len(row.records) for row in table) == len(records)
    assert all(len(of_rows(group)) == 1 for group in rows.by_device(table))
    assert all(len(of_rows(list(one.ranked))) == 1 for one in ranking.rankings(table))
    assert all(len(of_rows(list(one.rows))) == 1 for one in fleet.spreads(table))
    for row in table:  # a ratio is over what was timed in the same way, or there is none
        has_base = any(
            one.device.timed_by == row.record.device.timed_by
            and (one.device.serial, one.case.model) == (row.record.device.serial, "mobilenet")
            for one in records
        )
        assert (row.ratio is not None) == has_base


@settings(max_examples=15)
@given(st.lists(some_records, min_size=1, max_size=4))
def test_lines_of_a_history_do_not_cross_from_one_chip_to_another(runs: list[list[Record]]) -> None:
    of = [Run(Path(f"run{number}"), run_of(records), tuple(_one_each(records))) for number, records in enumerate(runs)]
    lines = history.lines(of)
    for line in lines:
        assert len({one.device.timed_by for point in line.points for one in point.rounds}) == 1
    for panel in history.panels(lines):
        assert len({(line.device.serial, *line.device.timed_by) for line in panel}) == 1
    text = markdown.rendered(history.document(lines))
    assert ("estimated: " in text) == any(one.device.chip for run in of for one in run.records)
    data = history.data(lines)
    chips = {str(one.device.chip) for run in of for one in run.records if one.device.chip}
    assert {row[data.names.index("chip")] for row in data.rows} - {None} == chips


def _one_each(records: list[Record]) -> list[Record]:
    """A run has a device's name once."""
    return [next(group) for _, group in itertools.groupby(sorted(records, key=_name), key=_name)]


def _name(one: Record) -> str:
    return json.dumps([one.device.serial, one.id])


def test_a_run_is_not_taken_up_again_at_another_clock_or_for_another_chip() -> None:
    then = run_of([], clock_ghz=1.0, device_infos={"board:mt6580": ESTIMATED})
    other = replace(ESTIMATED, chip=OTHER_CLOCK)
    assert differences(then, then) == []
    assert differences(then, replace(then, clock_ghz=None)) == ["another --clock"]
    (found,) = differences(then, replace(then, device_infos={"board:mt6580": other}))
    assert re.match(r"board:mt6580: another chip, .*: MT6580 at 1.3 GHz, .* then, MT6580 at 0.9 GHz, .* now", found)
