"""What is shown together belongs together: whoever divides two times that are shown gets the ratio that is shown."""

from __future__ import annotations

import csv as csv_module
import io
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_folders import write_run
from synthetic import BOARD, record
from synthetic_runs import PHONE, rounds

from device.records import DeviceInfo
from harness.analyse import ranking
from harness.analyse.rows import Row, table_rows
from harness.compare import formats, history, two_runs
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import columns, csv, latex, sections, terminal
from harness.report.document import Table
from harness.report.plots import LATENCY
from harness.study import interleaved
from harness.study.igc_report import document as igc_document
from harness.study.interleaved import Interleaved

KINDS = ("one process", "rounds", "drifting rounds", "a round is missing", "slow passes")

#: From networks of microseconds to those of minutes.
LEVELS_MS = (0.004, 0.7, 9.0, 480.0, 31_000.0)


def run(kind: str, level_ms: float, on: DeviceInfo = PHONE) -> list[Record]:
    """MobileNet and two others, as many rounds as the kind has; single passes are far off, so that means mislead."""
    chance = random.Random(f"{kind} {level_ms}")
    made = []
    for model, part in (("mobilenet", 1.0), ("clcnet-a", chance.uniform(0.2, 0.9)), ("shufflenet", 1.31)):
        times = []
        for number in range(1 if kind in ("one process", "slow passes") else 5):
            drift = 1 + 0.2 * number if kind == "drifting rounds" else chance.uniform(0.98, 1.02)
            passes = [level_ms * part * drift * (1 + chance.lognormvariate(-5, 1)) for _ in range(9)]
            times.append([*passes, passes[0] * (9 if kind == "slow passes" else 2)])
        made += rounds(model, times, on=on)
    if kind == "a round is missing":
        made = [one for one in made if (one.case.model, one.round) not in {("clcnet-a", 4), ("mobilenet", 0)}]
    return made


def figure(text: str) -> float:
    found = re.match(r"~?([\d.]+(?:e-\d+)?)", text)
    assert found is not None, text
    return float(found[1])


def belong_together(case: str, base: str, ratio: str) -> bool:
    """Whether the texts of two times have the quotient that the ratio's text says, but for the digits left out."""
    digits = [sum(map(str.isdigit, text.split()[0].lstrip("~0."))) for text in (case, base, ratio)]
    rounding = sum(0.5 * 10 ** (1 - number) for number in digits)
    return figure(case) / figure(base) == pytest.approx(figure(ratio), rel=1.05 * rounding)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=LEVELS_MS)
def rows(kind: str, request: pytest.FixtureRequest) -> list[Row]:
    return table_rows(run(kind, request.param), Limits())


def tables(rows: list[Row]) -> Iterator[Table]:
    yield columns.table6(rows)
    yield sections.brief_table(rows)


def test_in_table_6(rows: list[Row]) -> None:
    for table in tables(rows):
        median = next(heading for heading in table.headings if heading.startswith("Median of 3"))
        base, *others = table.texts
        assert base["Relative to MobileNet"] == "1.000"
        assert all(belong_together(it[median], base[median], it["Relative to MobileNet"]) for it in others), table.texts


def test_the_mean_of_ten_is_named_as_the_papers_and_never_alone_beside_a_ratio(rows: list[Row]) -> None:
    for table in tables(rows):
        means = [heading for heading in table.headings if "Mean" in heading]
        assert all("the paper's figure" in heading for heading in means)
        assert any(heading.startswith("Median") for heading in table.headings)
    for text in (terminal.table(sections.brief_table(rows)), latex.rendered(columns.table6(rows), "", "tab:t")):
        assert "Median of 3" in text


def test_no_table_of_several_devices_shows_a_mean() -> None:
    rows = table_rows([*run("rounds", 60), *run("rounds", 500, BOARD)], Limits())
    assert "mean in ms" not in str(sections.table6(rows)).lower()


def test_in_the_overview_of_several_devices() -> None:
    rows = table_rows([*run("rounds", 60), *run("rounds", 500, BOARD)], Limits())
    base, *others = columns.overview(rows).texts
    for device in columns.overview(rows).headings[2:]:
        for line in others:
            assert belong_together(line[device], base[device], line[device].partition("(")[2])


def test_in_the_csv(rows: list[Row]) -> None:
    base, *others = csv_module.DictReader(io.StringIO(csv.rendered(columns.data(rows))))
    for line in others:
        quotient = float(line["median_ns"]) / float(base["median_ns"])
        assert quotient == pytest.approx(float(line["relative_to_mobilenet"]))


def test_in_the_sentences_and_the_bars(rows: list[Row]) -> None:
    [one] = ranking.rankings(rows)
    base = next(row for row in one.ranked if row.record.case.model == "mobilenet")
    [cards] = sections._in_short(rows, rows)
    bars = {bar.title: bar for bar in cards.cards[0].bars}  # type: ignore[union-attr]
    for bar in bars.values():
        assert bar is bars[base.title] or belong_together(bar.main, bars[base.title].main, bar.more.removeprefix(", "))
    said = ranking.who(one)
    assert (found := re.search(r"([\d.]+) ms \(median\), ([\d.]+) ", said))
    assert belong_together(found[1], bars[base.title].main, found[2])
    if "can't be told apart" not in said:
        assert (over := re.search(r", ([\d.]+)( \[[^]]*\])? times as fast as [^,]*, the next", said))
        assert belong_together(bars[one.ranked[1].title].main, found[1], over[1])


def test_in_the_plots_words(kind: str) -> None:
    rows = table_rows(run(kind, 9.0), Limits())
    found = re.findall(r"(?:[:;] )([\w. -]+): \d+M mult-adds, ([\d.]+ ms) \(median\)", LATENCY.describe(rows, ()))
    times = dict(found)
    assert len(times) == 3
    for row in rows:
        assert row.ratio is not None
        assert belong_together(times[row.title], times["1.0 MobileNet-224"], f"{row.ratio.value:.3f}")


@pytest.mark.parametrize("on", [PHONE, BOARD], ids=["hardware", "modelled"])
@pytest.mark.parametrize("level_ms", LEVELS_MS)
def test_in_a_comparison_and_in_history(tmp_path: Path, kind: str, level_ms: float, on: DeviceInfo) -> None:
    base, new = run(kind, level_ms, on), run(kind, 1.1 * level_ms, on)
    runs = [
        two_runs.read(write_run(tmp_path / name, records, utc=f"2026-11-2{day}T12:00:00+00:00"))
        for day, (name, records) in enumerate((("base", base), ("new", new)))
    ]
    for line in formats._table(two_runs.compare(*runs)).texts:
        assert belong_together(line["NEW"], line["BASE"], line["NEW / BASE"])
    for section in history.document(history.lines(runs)).sections:
        [table] = section.blocks
        assert isinstance(table, Table)
        for line in table.texts[1::2]:
            before, now = line["Compared: before, now"].split(", ")
            assert belong_together(now, before, line["To the one before"])


def test_in_the_study_of_turns() -> None:
    chance = random.Random(1)
    turns = [(chance.lognormvariate(2, 0.3), chance.lognormvariate(1.5, 0.3)) for _ in range(60)]
    samples = {"mobilenet": [round(1e6 * a) for a, _ in turns], "clcnet-a": [round(1e6 * b) for _, b in turns]}
    pair = Interleaved("1.32.0", 1, 3, {}, samples)
    found = interleaved.ratio(pair, "clcnet-a", "mobilenet")
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    page = igc_document({"host": table_rows([record("mobilenet", [5.0])], Limits())}, [pair])
    [table] = [
        block for one in page.sections if "in turn" in one.title for block in one.blocks if isinstance(block, Table)
    ]
    [line] = table.texts
    assert belong_together(line["Median (ms)"], line["MobileNet's (ms)"], line["Over MobileNet"])
