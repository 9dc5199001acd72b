"""A run as pictures: a module a plot, which draws it and says in words what is seen in it."""

from harness.report.plots.cycles import CYCLES
from harness.report.plots.devices import DEVICES
from harness.report.plots.latency import LATENCY
from harness.report.plots.profile import PROFILE
from harness.report.plots.samples import SAMPLES
from harness.report.plots.scaling import SCALING
from harness.report.plots.sizes import SIZES
from harness.report.plots.speed import SPEED

PLOTS = (DEVICES, LATENCY, SPEED, SAMPLES, CYCLES, PROFILE, SCALING, SIZES)

__all__ = ["CYCLES", "DEVICES", "LATENCY", "PLOTS", "PROFILE", "SAMPLES", "SCALING", "SIZES", "SPEED"]
