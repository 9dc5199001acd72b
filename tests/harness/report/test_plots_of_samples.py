"""Every pass as a dot: all are there, in their order, the odd ones ringed, quiet and wild cases both readable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from synthetic import device, record
from synthetic_runs import PHONE, bimodal, noisy, rounds, throttled, warm

from harness.record.record import Record
from harness.report.files import write_figures
from harness.report.plots import SAMPLES

MODELS = ("mobilenet", "shufflenet", "clcnet-a", "clcnet-b")


def drawn(records: Sequence[Record]) -> Figure:
    mpl.use("Agg")
    figure = SAMPLES.draw((), records)
    assert figure is not None
    return figure


def written(records: Sequence[Record], folder: Path) -> list[Path]:
    figure = SAMPLES.made((), records)
    return write_figures([figure] if figure else [], folder)


def dots(axes: Axes, *, ringed: bool = False) -> list[tuple[float, float]]:
    """The places of the dots, or of the rings, in the order in which they were drawn."""
    found = [it for it in axes.collections if isinstance(it, PathCollection)]
    wanted = [it for it in found if (len(it.get_facecolor()) == 0) == ringed]  # type: ignore[arg-type]
    return [(float(x), float(y)) for it in wanted for x, y in it.get_offsets()]  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _closed() -> object:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_every_pass_of_every_round_is_a_dot_below_the_one_before() -> None:
    [axes] = drawn(rounds("mobilenet", [noisy(60, seed=1), noisy(60, seed=2), noisy(60, seed=3)], on=PHONE)).axes
    places = [y for _, y in dots(axes)]
    assert len(places) == 30
    assert places == sorted(places)
    assert -0.5 < places[0] < places[-1] < 0.5


def test_rounds_have_colours_of_their_own() -> None:
    [axes] = drawn(rounds("mobilenet", [noisy(60, seed=1), noisy(60, seed=2)], on=PHONE)).axes
    of_rounds = [it for it in axes.collections if isinstance(it, PathCollection) and len(it.get_offsets()) == 10]  # type: ignore[arg-type]
    assert len({tuple(it.get_facecolor()[0]) for it in of_rounds}) == 2  # type: ignore[index]


def test_a_dot_stands_where_its_pass_is_from_the_median() -> None:
    [axes] = drawn(rounds("mobilenet", [[90.0, 100.0, 130.0]], on=PHONE)).axes
    assert [x for x, _ in dots(axes)] == pytest.approx([-10, 0, 30])


def test_outliers_of_a_round_are_ringed() -> None:
    [axes] = drawn(rounds("mobilenet", [[*noisy(60, 9, seed=1), 90.0], noisy(60, seed=2, part=1e-4)], on=PHONE)).axes
    [(x, _)] = dots(axes, ringed=True)
    assert x == pytest.approx(50, abs=1)


def test_beside_a_throttled_case_a_quiet_one_is_still_wide_enough_to_see() -> None:
    quiet, wild = noisy(60, seed=1), throttled(45, seed=2)
    others = [*rounds("clcnet-b", [noisy(50, seed=3)], on=PHONE), *rounds("mobilenet", [noisy(60, seed=4)], on=PHONE)]
    records = [*rounds("shufflenet", [quiet], on=PHONE), *rounds("clcnet-a", [wild], on=PHONE), *others]
    figure = drawn(records)
    figure.canvas.draw()
    [axes] = figure.axes
    pixels = [axes.transData.transform(place)[0] for place in dots(axes)[:10]]
    assert axes.get_xscale() == "symlog"
    assert max(pixels) - min(pixels) > 0.05 * axes.get_window_extent().width


def test_alike_cases_stand_on_a_linear_scale() -> None:
    [axes] = drawn([*rounds("mobilenet", [noisy(60, seed=1)]), *rounds("clcnet-a", [noisy(45, seed=2)])]).axes
    assert axes.get_xscale() == "linear"


def test_each_device_has_a_panel_which_says_what_its_time_is() -> None:
    records = [*rounds("mobilenet", [noisy(60)], on=PHONE), *rounds("mobilenet", [noisy(500, part=1e-5)])]
    titles = [axes.get_title(loc="left") for axes in drawn(records).axes]
    assert ["hardware" in titles[0], "modelled" in titles[1]] == [True, True]


@pytest.mark.parametrize("cases", [4, 40])
def test_rows_do_not_overlap_however_many_there_are(cases: int) -> None:
    records = [
        one
        for place in range(cases)
        for one in rounds(
            MODELS[place % 4], [noisy(60, seed=place), bimodal(60, seed=place)], on=PHONE, threads=1 + place // 4
        )
    ]
    figure = drawn(records)
    figure.canvas.draw()
    [axes] = figure.axes
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert len(boxes) == cases
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))
    assert all(box.x0 >= 0 for box in boxes)


def test_equal_times_and_a_single_pass_can_be_drawn(tmp_path: Path) -> None:
    records = [record("mobilenet", [500.0] * 3), record("clcnet-a", [400.0]), record("clcnet-b", [400.0, 400.1])]
    assert [file.name for file in written(records, tmp_path)] == ["samples.png", "samples.svg"]


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = rounds("mobilenet", [noisy(60, seed=1), warm(noisy(60, seed=2), 0.02)], on=device("wall"))
    folders = [tmp_path / "first", tmp_path / "second"]
    made = []
    for folder in folders:
        folder.mkdir()
        made.append([file.read_bytes() for file in written(records, folder)])
    assert made[0] == made[1]


def test_cases_without_times_are_not_drawn_and_where_there_are_no_others_no_file_is_written(tmp_path: Path) -> None:
    wrong = record("mobilenet", [500.0], status="output_wrong", error="differs")
    failed = record("clcnet-a", status="crashed", error="SIGKILL")
    assert written([wrong, failed], tmp_path) == []
    assert written([record("mobilenet", [0.0])], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
