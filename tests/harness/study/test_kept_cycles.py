"""The networks of Table 6, one pass on each chip: as many cycles as are kept, by what they go to; a row a network.

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
    assert measure.measure_own([chip], PAPER_TABLE6, ["onnxruntime"], tmp_path, Silence(), warmup=0)
    by_network = {one.network: one for one in report.read(tmp_path).estimates}
    estimates = [by_network[name] for name in PAPER_TABLE6]
    figures = {
        "instructions": [one.instructions for one in estimates],
        "cycles": [one.total_cycles for one in estimates],
        **{loss: [one.cycles[loss] for one in estimates] for loss in LOSSES},
    }
    least = min(one.total_cycles for one in estimates)
    num_regression.check(figures, default_tolerance={"rtol": WITHIN, "atol": WITHIN * least})
