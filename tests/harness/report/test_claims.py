"""Every sentence of a report is made of the figures it speaks of: runs that contradict what a sentence would say."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pages import EMULATED, in_precision, own_model, run_of
from synthetic import BOARD, device, record, table6
from synthetic_runs import PHONE, noisy, profiled, rounds, sweep

from device.records import Core, DeviceInfo
from harness.analyse import fleet, ranking, slower
from harness.analyse.rows import Row, table_rows
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import html, markdown, sections
from harness.report.document import Cards
from harness.report.plots import PLOTS
from harness.report.write import drawn

HOST = device("wall", "host", "host")
A_7 = replace(PHONE, serial="A7", cores=tuple(Core(index, "Cortex-A7", 1_300_000) for index in range(4)))


def rows_of(records: Sequence[Record]) -> list[Row]:
    return table_rows(records, Limits())


def page(records: Sequence[Record]) -> str:
    rows = rows_of(records)
    return markdown.rendered(sections.run_document(run_of(records), records, rows, ()))


def said(records: Sequence[Record]) -> str:
    return " ".join(line for one in ranking.rankings(rows_of(records)) for line in ranking.sentences(one))


def on(record_: Record, where: DeviceInfo) -> Record:
    return replace(record_, device=where)


def pair(apart: float, where: DeviceInfo, count: int = 1) -> list[Record]:
    """Two networks whose medians are so far apart, each in so many rounds; their passes hardly differ."""
    made = []
    for place, (model, ms) in enumerate((("mobilenet", 100.0 * (1 + apart)), ("clcnet-a", 100.0))):
        made += rounds(model, [noisy(ms, part=1e-6, seed=place + 2 * one) for one in range(count)], on=where)
    return made


# --- who is the fastest, and how sure that is


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("where", [BOARD, PHONE, HOST], ids=["board", "phone", "host"])
@pytest.mark.parametrize("apart", [0.0, 1e-5, 1e-3, 3e-3, 0.5])
def test_either_an_order_is_sure_or_nobody_is_praised(apart: float, where: DeviceInfo, count: int) -> None:
    records = pair(apart, where, count)
    text, rows = page(records), rows_of(records)
    in_html = html.rendered(sections.run_document(run_of(records), records, rows, ()))
    is_told = "can't be told apart" not in text
    is_first = "is the fastest of" in text or "takes the fewest instructions of" in text
    assert is_told == is_first == ('<li class="best">' in in_html) == ('class="mark">f' in in_html)
    if not is_told:
        assert not re.search(r"\b(sure|surely)\b", text)
    if where.clock == "instructions":
        assert is_told == (apart > slower.EXACT_FACTOR - 1)


def test_there_is_one_figure_for_how_modelled_times_repeat() -> None:
    text = page([*table6(), *table6("caffe2")])
    assert set(re.findall(r"less than ([\d.]+%) apart", text)) == {"0.2%"}
    assert not re.search(r"parts in (a |[\d,]+)", text)


def test_the_first_is_the_fastest_only_where_it_is_told_from_all_others() -> None:
    close = rounds("shufflenet", [[110.0], [150.0], [90.0], [120.0], [100.0]], on=PHONE)
    text = said([*pair(0.02, PHONE, 5), *close])
    assert "can't be told apart from ShuffleNet 2x, another (" in text
    assert "is the fastest" not in text


@pytest.mark.parametrize("failed", [0, 1, 3])
def test_one_row_alone_was_measured_or_is_the_only_one_that_ended_well(failed: int) -> None:
    others = [record(model, status="crashed", error="it did") for model in ("clcnet-a", "clcnet-b", "shufflenet")]
    text = said([record("mobilenet", [500.0] * 3), *others[:failed]])
    assert ("alone was measured" in text) == (not failed)
    assert ("is the only one that ended well" in text) == bool(failed)
    assert "--rounds" not in text
    assert not re.search(r"fast|order|\bsure|apart", text)


def test_how_many_there_are_leaves_out_what_failed_and_says_so() -> None:
    wrong = record("clcnet-b", [1.0], status="output_wrong", error="differs")
    assert "of 3 that ended well" in said([*table6()[:3], wrong])
    assert "of 3:" in said(table6()[:3])


@pytest.mark.parametrize("status", ["crashed", "output_wrong"])
def test_where_nothing_ended_well_nothing_is_said_of_speed(status: str) -> None:
    times = [1.0] if status == "output_wrong" else []
    text = page([record(model, times, status=status, error="it did") for model in ("mobilenet", "clcnet-a")])
    assert "Nothing was measured" in text
    assert not re.search("fastest|fewest|agrees|Relative", text)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_brackets_are_spoken_of_where_there_are_some(count: int) -> None:
    text = said(pair(0.3, PHONE, count))
    assert ("In brackets are 95 % intervals" in text) == ("[" in text) == (count >= 3)
    assert ("--rounds 5 tells" in text) == (count < 3)
    assert (f"over {count} rounds" in text) == (count >= 3)
    whole = page(pair(0.3, PHONE, count))
    assert ("in brackets are 95 % intervals" in whole) == (count >= 3)
    assert ("geometric mean of theirs. In" in whole or "a median is the geometric mean" in whole) == (count >= 2)


def test_the_lowest_in_fp32_is_not_called_the_fastest_of_those() -> None:
    records = [*pair(0.0, PHONE), in_precision(record("clcnet-a", [20.0] * 3, on=PHONE), "int8", 0.02)]
    text = said(records)
    assert "clcNet-A, int8 is the fastest of 3" in text
    assert "In fp32 the lowest median is that of" in text


def test_on_an_emulator_without_a_clock_nothing_is_fast() -> None:
    text = page([record("mobilenet", [500.0], on=EMULATED), record("clcnet-a", [400.0], on=EMULATED)])
    assert "meaningless" in text
    assert not re.search(r"fastest|really|\bsure|agrees|In brackets|Relative times", text)


# --- the paper


@pytest.mark.parametrize("where", [PHONE, BOARD, EMULATED], ids=["phone", "board", "emulator"])
def test_of_own_models_alone_nothing_is_said_of_the_paper_nor_of_pytorch(where: DeviceInfo) -> None:
    records = [on(own_model(name, times), where) for name, times in (("mine", [5.0, 5.1]), ("mobilenet", [7.0, 7.1]))]
    rows = rows_of(records)
    document = sections.run_document(run_of(records), records, rows, drawn(rows, records))
    for text in (markdown.rendered(document), html.rendered(document)):
        prose = re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>|```.*?```", "", text)
        assert not re.search(r"paper|Paper|Table 6|PyTorch|BLU|MobileNet|Relative", prose)
        assert "what ONNX Runtime computed from this file on the host" in text


def test_own_models_beside_the_papers_are_named_as_others_and_each_check_with_its_reference() -> None:
    text = page([*table6(), own_model("mine", [50.0])])
    assert text.startswith("# Table 6, measured again, with other networks: ")
    assert re.search(r"what PyTorch computed \([^)]*clcNet-A[^)]*\), or what ONNX Runtime computed [^(]*\(mine\)", text)
    assert page(table6()).startswith("# Table 6, measured again: ")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_another_precision_is_checked_against_is_its_own_file(precision: str) -> None:
    text = page([in_precision(record("clcnet-a", [100.0]), precision, 0.01)])
    assert "PyTorch" not in text
    assert "what ONNX Runtime computed from this file" in text
    assert "beside what the clcNet paper" not in text
    assert "Paper" not in text


@pytest.mark.parametrize(
    ("level", "wide", "agrees"),
    [
        (0.804, 0.001, "agrees"),
        (0.804, 0.2, "can't be told"),
        (0.95, 0.001, "does not agree"),
        (0.95, 0.9, "can't be told"),
    ],
)
def test_a_ratio_agrees_with_the_papers_only_where_its_interval_does(level: float, wide: float, agrees: str) -> None:
    chance = random.Random(0)
    records = rounds("mobilenet", [[100.0]] * 5, on=A_7, runtime="caffe2")
    spread = [-wide, wide, -wide / 2, wide / 2, 0.0]
    chance.shuffle(spread)
    times = [[100.0 * level * (1 + one)] for one in spread]
    records += rounds("clcnet-a", times, on=A_7, runtime="caffe2", igc="grouped")
    text = page(records).split("## Against the paper")[1].split("## ")[0]
    assert agrees in text
    assert ("What may explain a difference" in text) == (agrees != "agrees")
    assert "processor" not in text  # it is the paper's


def test_what_differs_from_the_paper_is_what_differs() -> None:
    def fused(where: DeviceInfo, runtime: str = "onnxruntime") -> str:
        first = record("clcnet-a", [40.0] * 3, on=where, igc="fused", runtime=runtime)
        return said([first, record("mobilenet", [50.0] * 3, on=where, runtime=runtime)])

    unknown = replace(PHONE, cores=tuple(Core(index, None, None) for index in range(4)))
    assert "; another runtime and processor than here." in fused(PHONE)
    assert "; another runtime than here." in fused(A_7)
    assert "; another runtime than here." in fused(unknown)
    assert "; another processor than here." in fused(PHONE, "caffe2")
    assert "than here" not in fused(A_7, "caffe2")


def test_the_papers_fastest_is_ours_too_only_where_ours_is_sure() -> None:
    assert "its fastest of these, too" in said(table6())
    tied = [one if one.case.model != "clcnet-b" else record("clcnet-b", [400.0] * 3) for one in table6()]
    assert "its fastest of these" in said(tied)
    assert ", too" not in said(tied)


def test_what_the_papers_sizes_show_is_said_where_they_are() -> None:
    assert "larger than its own parameter counts fill" not in page([record("mobilenet", [500.0])])
    text = page(table6())
    [larger] = re.findall(r"The paper's files of (.*) are larger than its own parameter counts fill", text)
    assert "clcNet-A" in larger
    assert "MobileNet" not in larger


# --- the rest of the page


def test_no_sentence_of_an_own_run_speaks_of_plots_or_columns_that_are_not_there() -> None:
    records = [own_model("mine", [5.0]), own_model("theirs", [7.0])]
    captions = " ".join(figure.caption for figure in drawn(rows_of(records), records))
    assert not re.search("paper|MobileNet|mult-adds", captions)
    assert len(PLOTS) == 8


def test_the_largest_parts_of_a_pass_are_not_called_most_of_it() -> None:
    [plot] = [one for one in PLOTS if one.name == "profile-by-operator"]
    records = [profiled("shufflenet", 500.0)]
    assert "most" not in plot.describe(rows_of(records), records)


def test_a_run_on_cpus_that_nobody_knows_is_not_said_to_have_none() -> None:
    blind = [
        replace(one, measurement=one.measurement and replace(one.measurement, cpu_mask=0))
        for one in sweep(PHONE, "mobilenet", 60.0, {1: 1.0, 2: 1.8})
    ]
    text = page(blind)
    assert "0 CPUs" not in text


def fleet_of(times_ms: Sequence[float]) -> list[Record]:
    return [record("mobilenet", [ms] * 3, on=replace(PHONE, serial=f"P{place}")) for place, ms in enumerate(times_ms)]


def test_of_a_fleet_the_troubled_are_chosen_only_where_there_are_some() -> None:
    quiet = fleet_of([50.0] * 8)
    assert "most failures" not in " ".join(fleet.sentences(rows_of(quiet)))
    troubled = [*quiet, record("clcnet-a", status="crashed", error="it did", on=quiet[3].device)]
    assert "most failures" in " ".join(fleet.sentences(rows_of(troubled)))
    alone = [*quiet, record("clcnet-a", [40.0], on=quiet[3].device)]
    assert "clcNet-A; onnxruntime on one device: 40.00 ms on P3." in fleet.sentences(rows_of(alone))
    assert not re.search("fastest|slowest", " ".join(fleet.sentences(rows_of(quiet))))


# --- two runs


@pytest.mark.parametrize(("apart", "wide"), [*itertools.product([0.0, 0.03, 0.07, 0.5], [0.001, 0.03, 0.2])])
def test_the_reason_for_an_outcome_is_never_that_of_another(apart: float, wide: float) -> None:
    chance = random.Random(f"{apart} {wide}")

    def measured(level: float) -> list[list[float]]:
        return [[level * (1 + wide * chance.random()) for _ in range(10)] for _ in range(5)]

    found = slower.by_rounds(measured(100.0), measured(100.0 * (1 + apart)))
    assert found.p_value is not None
    assert found.low is not None
    assert found.high is not None
    if found.outcome == "same":
        assert found.reason.startswith("within 5.5%")
        assert "p =" not in found.reason
        hides = found.low <= 1 / slower.FACTOR or found.high >= slower.FACTOR
        assert ("its interval is not" in found.reason) == hides
    elif found.outcome in ("slower", "faster"):
        assert "or more apart" in found.reason
        assert f"p = {found.p_value:.3g}, 0.2 at most" in found.reason
        assert found.p_value <= slower.P_VALUE
    elif "p =" in found.reason:
        assert f"p = {found.p_value:.3g}, above 0.2" in found.reason
        assert found.p_value > slower.P_VALUE


def test_a_card_without_a_winner_has_no_best_bar() -> None:
    [cards] = sections._in_short(rows_of(pair(0.0, PHONE)), rows_of(pair(0.0, PHONE)))
    assert isinstance(cards, Cards)
    assert [bar.is_best for bar in cards.cards[0].bars] == [False, False]
    [cards] = sections._in_short(rows_of(pair(0.5, PHONE)), rows_of(pair(0.5, PHONE)))
    assert isinstance(cards, Cards)
    assert [bar.is_best for bar in cards.cards[0].bars] == [True, False]


@pytest.mark.parametrize(("page_bytes", "told"), [(None, False), (4096, False), (16384, True), (65536, True)])
def test_a_devices_pages_are_told_where_they_are_not_the_usual_ones(page_bytes: int | None, told: bool) -> None:
    line = sections._described(replace(BOARD, page_bytes=page_bytes))
    assert (f"; pages of {(page_bytes or 0) >> 10} KB)" in line) == told
    assert ("pages" in line) == told
