"""What the cycles of an estimate go to: by operator type, in the table, the files, and in a plot of each network."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from synthetic import CHIP, estimated, record, table6
from synthetic_runs import profiled

from device.records import LOSSES, Loss, NodeTime, Profile
from harness.analyse import profile
from harness.analyse.rows import table_rows
from harness.record.plan import Limits
from harness.record.record import Record
from harness.record.titles import LOSS_TITLES
from harness.report import columns, markdown, measured, time_spent
from harness.report import csv as as_csv
from harness.report.plots import CYCLES, PROFILE
from harness.report.plots.style import PARTS

counts = st.lists(st.integers(0, 10**10), min_size=len(LOSSES), max_size=len(LOSSES))


def by_loss(values: Sequence[int]) -> dict[Loss, int]:
    return dict(zip(LOSSES, values, strict=True))


def as_estimates() -> list[Record]:
    cases = [profiled("mobilenet", 1000.0), profiled("clcnet-a", 700.0, igc="grouped"), profiled("shufflenet", 900.0)]
    return [estimated(one) for one in cases]


def with_nodes(nodes: Sequence[NodeTime], whole: Sequence[int], passes: int = 1) -> Profile:
    return Profile(passes, CHIP.ns(sum(whole)), tuple(nodes), by_loss(whole))


# --- by operator type ---------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["Conv", "Gemm", profile.OUTSIDE, ""]), counts), max_size=6), counts)
def test_nodes_and_what_is_outside_of_them_have_all_cycles_of_a_pass(
    nodes: list[tuple[str, list[int]]], outside: list[int]
) -> None:
    whole = [sum(of) for of in zip(outside, *(cycles for _, cycles in nodes), strict=True)]
    made = [NodeTime("", op, CHIP.ns(sum(cycles)), None, by_loss(cycles)) for op, cycles in nodes]
    times = profile.by_operator(with_nodes(made, [2 * one for one in whole], passes=2))
    if not sum(whole):
        return
    for loss, cycles in by_loss(whole).items():
        assert sum(time.cycles_by_loss[loss] for time in times) == pytest.approx(cycles)


def test_rounds_are_added_up_by_what_cycles_go_to() -> None:
    rounds = [replace(estimated(profiled("mobilenet", ms)), round=place) for place, ms in enumerate((400.0, 600.0))]
    [case] = profile.profiled(rounds)
    each = [one.measurement.profile for one in rounds if one.measurement and one.measurement.profile]
    for loss in LOSSES:
        assert case.profile.cycles_by_loss[loss] == sum(one.cycles_by_loss[loss] for one in each)
        nodes = [node.cycles_by_loss[loss] for one in each for node in one.nodes]
        assert sum(node.cycles_by_loss[loss] for node in case.profile.nodes) == sum(nodes)


def test_a_profile_of_an_estimate_is_in_cycles_and_says_where_the_difference_lies() -> None:
    base = with_nodes(
        [NodeTime("", "Conv", 0, None, by_loss([600_000_000] * 2 + [0] * 6))], [800_000_000, 700_000_000] + [0] * 6
    )
    nodes = [
        NodeTime("", "Conv", 0, None, by_loss([300_000_000, 500_000_000] + [0] * 6)),
        NodeTime("", "Transpose", 0, None, by_loss([0, 90_000_000, 0, 10_000_000] + [0] * 4)),
    ]
    case = with_nodes(nodes, [400_000_000, 690_000_000, 0, 10_000_000] + [0] * 4)
    records = []
    for name, made in (("mobilenet", base), ("clcnet-a", case)):
        one = estimated(record(name, [1000.0], igc=None if name == "mobilenet" else "grouped"))
        timed = tuple(replace(it, total_ns=CHIP.ns(sum(it.cycles_by_loss.values()))) for it in made.nodes)
        assert one.measurement is not None
        records.append(replace(one, measurement=replace(one.measurement, profile=replace(made, nodes=timed))))
    text = markdown.blocks(time_spent.profile(records))
    assert "Mcycles a pass, and the share of the profiled pass. Estimated: MT6580 at 1.3 GHz" in text
    assert "Against 1.0 MobileNet-224, Mcycles a profiled pass:" in text
    assert "clcNet-A, grouped: -400.0: Conv -400.0, Transpose +100.0, outside the nodes -100.0." in text
    assert "Of these go to pipeline -400.0, DRAM -10.00, stores +10.00." in text
    assert "| Conv | 800.0 | 300.0 | 500.0 |" in " ".join(text.split())
    assert " ms" not in text


def test_the_file_of_the_nodes_has_what_their_cycles_go_to_where_that_is_known() -> None:
    def lines_of(records: Sequence[Record]) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(as_csv.rendered(time_spent.profile_data(records)))))

    wall = profiled("mobilenet", 500.0)
    assert "dram_cycles_per_pass" not in lines_of([wall])[0]
    lines = lines_of([wall, *as_estimates()])
    assert {line["dram_cycles_per_pass"] for line in lines[:30]} == {""}
    for line in lines[30:]:
        cycles = sum(float(line[f"{loss}_cycles_per_pass"]) for loss in LOSSES)
        assert cycles == pytest.approx(float(line["ns_per_pass"]) * CHIP.clock_mhz / 1000, abs=1)


def test_the_plot_by_operator_type_is_in_cycles() -> None:
    figure = PROFILE.made((), as_estimates())
    assert figure is not None
    assert "Mcycles a profiled pass, estimated: MT6580 at 1.3 GHz" in figure.svg
    assert "1.0 MobileNet-224: 1339.0 Mcycles a profiled pass" in figure.description
    assert " ms" not in figure.description


# --- of a whole pass ----------------------------------------------------------------------------------


def test_what_the_cycles_of_a_pass_go_to_is_in_plot_words_table_and_file() -> None:
    records = [estimated(one) for one in [*table6(), *table6("caffe2")]]
    figure = CYCLES.made((), records)
    assert figure is not None
    names = [*LOSS_TITLES.values(), "1.0 MobileNet-224, caffe2", "1.0 MobileNet-224, onnxruntime"]
    assert [name for name in names if name not in figure.svg] == []
    said = "1.0 MobileNet-224, onnxruntime: 650.0 Mcycles a pass, pipeline 30.0%, DRAM 10.0%, L2 10.0%"
    assert said in figure.description
    text = markdown.blocks(measured.cycles(records))
    assert "Mcycles a timed pass, and the share of each. Estimated: MT6580 at 1.3 GHz" in text
    assert "195.0 (30.0%)" in text
    data = columns.data(table_rows(records, Limits()))
    for row in data.rows:
        values = dict(zip(data.names, row, strict=True))
        parts = [values[f"{loss}_cycles"] for loss in LOSSES]
        assert sum(part for part in parts if isinstance(part, float)) == pytest.approx(values["cycles"], rel=1e-3)


def test_nothing_is_said_of_cycles_where_times_are_measured() -> None:
    records = table6()
    assert CYCLES.made((), records) is None
    assert measured.cycles(records) == []
    data = columns.data(table_rows(records, Limits()))
    assert {dict(zip(data.names, row, strict=True))["dram_cycles"] for row in data.rows} == {None}


def test_each_chip_has_a_panel_and_a_table_of_its_own() -> None:
    other = replace(CHIP, name="bcm2836", title="BCM2836", clock_mhz=900)
    records = [estimated(one, chip) for chip in (CHIP, other) for one in table6()]
    figure = CYCLES.made((), records)
    assert figure is not None
    assert ("MT6580 at 1.3 GHz" in figure.svg, "BCM2836 at 0.9 GHz" in figure.svg) == (True, True)
    assert len(measured.cycles(records)) == 2


def test_parts_of_a_bar_can_be_told_apart_in_grey_print() -> None:
    """Neighbours by lightness (relative luminance, WCAG 2), any two by lightness or hatching."""

    def luminance(colour: str) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    assert len(PARTS) == len(LOSSES)
    for one, other in pairwise(PARTS):
        assert abs(luminance(one.colour) - luminance(other.colour)) > 0.1
    for place, one in enumerate(PARTS):
        for other in PARTS[place + 1 :]:
            assert one.hatch != other.hatch or abs(luminance(one.colour) - luminance(other.colour)) > 0.1
