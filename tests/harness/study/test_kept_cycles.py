"""The networks of this project, one warm pass on each chip: as many cycles as are kept, by what they go to.

A change of a network, a runtime or the model that means to change them remakes them with --force-regen.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_regressions.num_regression import NumericRegressionFixture

from device.records import LOSSES
from harness.measure.progress import Silence
from harness.study.timing import measure, report
from models.paper import PAPER_TABLE6

#: A part of the whole: on every machine the same, but for how a compiler of another Debian lays out the runner.
WITHIN = 0.001


@pytest.mark.board
@pytest.mark.long
@pytest.mark.parametrize("chip", measure.chips())
def test_cycles_are_as_they_are_kept(chip: str, tmp_path: Path, num_regression: NumericRegressionFixture) -> None:
    assert measure.measure_own([chip], PAPER_TABLE6, ["onnxruntime"], tmp_path, Silence())
    estimates = {one.title: one for one in report.read(tmp_path).estimates}
    assert len(estimates) == len(PAPER_TABLE6)
    figures = {
        title: [one.instructions, one.total_cycles, *(one.cycles[loss] for loss in LOSSES)]
        for title, one in estimates.items()
    }
    least = min(one.total_cycles for one in estimates.values())
    num_regression.check(figures, default_tolerance={"rtol": WITHIN, "atol": WITHIN * least})
