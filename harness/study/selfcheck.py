"""What does the harness itself cost? Asked of a runtime that computes nothing, and of ONNX Runtime's Python API.

On any device: what the harness adds to a sample, and what a case takes beyond its passes. On this machine also whether
the runner agrees with Python.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record import runtimes

if TYPE_CHECKING:
    from device.device import Device
    from device.records import DeviceInfo
    from harness.study.agreement import Agreement
    from harness.study.nullcase import NullCase

HOST = "host"

#: What a pass of these takes is known: the null runtime measures it inside.
MODELS = ("nothing", "spin_ns 5000000", "sleep_ns 20000000")

#: Choices. On boards a pass is as the last, and the guest's time is several times the host's.
PASSES_ON_HARDWARE, PASSES_ON_BOARDS = 100, 20
CASES, PASSES_OF_A_CASE = 5, 10
AGREEMENT_MODEL, BLOCKS, PASSES_OF_A_BLOCK, WARMUP_OF_A_BLOCK = "mobilenet", 60, 20, 3

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Selfcheck:
    """Raw: all that was measured on one device. `agreement` is None where the device is not this machine."""

    device: DeviceInfo
    clock_resolution_ns: int
    clock_step_ns: int
    samples: list[NullCase]
    cases: list[NullCase]
    agreement: Agreement | None


def measure(name: str, on_step: OnStep) -> Selfcheck:
    """Measures on the device of that name. Raises DeviceError's children."""
    from device.device import Opening
    from device.open import open_devices, reserve

    with reserve(name):
        agreement = _agreement(on_step) if name == HOST else None
        (device,) = open_devices(name, Opening(on_step=on_step, estimating=False))
        try:
            with tempfile.TemporaryDirectory(prefix="tenpass-") as folder:
                return _measure(device, Path(folder), agreement, on_step)
        finally:
            device.close()


def _measure(device: Device, folder: Path, agreement: Agreement | None, on_step: OnStep) -> Selfcheck:
    from harness.study import nullcase

    runtimes.build_bundle(device.info.abi, runtimes.NULL, on_step=on_step)  # no part of a case
    cases = []
    for number in range(CASES):
        on_step(f"a case of nothing, {number + 1} of {CASES}")
        cases.append(nullcase.measure(device, folder, MODELS[0], passes=PASSES_OF_A_CASE))
    on_step("the clock")
    resolution = nullcase.measure(device, folder, "clock_resolution", passes=1)
    step = nullcase.measure(device, folder, "clock_step", passes=PASSES_OF_A_CASE)
    passes = PASSES_ON_HARDWARE if device.info.clock == "wall" else PASSES_ON_BOARDS
    samples = []
    for model in MODELS:
        on_step(f"{passes} passes of {model}")
        samples.append(nullcase.measure(device, folder, model, passes=passes))
    on_step(f"{passes} passes of {MODELS[0]}, counted")
    counted = nullcase.measure(device, folder, MODELS[0], passes=passes, counters=True)
    return Selfcheck(
        device=device.info,
        clock_resolution_ns=resolution.told_ns[0],
        clock_step_ns=min(step.told_ns),
        samples=[*samples, counted],
        cases=cases,
        agreement=agreement,
    )


def _agreement(on_step: OnStep) -> Agreement:
    from export.pipeline import export_model
    from harness.study import agreement
    from models import registry
    from toolchain.paths import EXPORTS

    artifact = export_model(registry.get(AGREEMENT_MODEL), EXPORTS)
    return agreement.measure(
        artifact,
        blocks=BLOCKS,
        passes=PASSES_OF_A_BLOCK,
        warmup=WARMUP_OF_A_BLOCK,
        on_block=lambda index: on_step(f"{AGREEMENT_MODEL} in the runner and in Python, {index + 1} of {BLOCKS}"),
    )
