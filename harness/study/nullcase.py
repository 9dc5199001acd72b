"""Cases of the null runtime (device/runner/src/engines/null.cpp): it computes nothing, so that all is the harness's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.record.errors import HarnessError
from toolchain.files import local_file
from toolchain.tensors import InputTensor

if TYPE_CHECKING:
    from device.device import Device
    from device.records import Measurement
    from toolchain.files import File

#: Its one input, which it does not look at: a float32.
INPUT = bytes(4)


@dataclass(frozen=True)
class NullCase:
    """One case, whole: the passes of one model as the harness timed them, and as they timed themselves, in order.

    `nominal_ns` is the time that a pass is to take, `told_ns` what each pass told beyond that; warm-up left out of both
    lists. `counted`: the CPU's counters were asked for; `counters_error` says why there are none. `phases_ns` is host
    time by phase, as in a `Record`; `pushed_bytes` were not on the device yet.
    """

    model: str
    nominal_ns: int
    samples_ns: list[int]
    told_ns: list[int]
    counted: bool
    counters_error: str | None
    phases_ns: dict[str, int]
    pushed_bytes: int

    @property
    def added_ns(self) -> list[int]:
        """What the harness added to each sample: the sample, less the time that the pass says it took."""
        pairs = zip(self.samples_ns, self.told_ns, strict=True)
        return [sample_ns - self.nominal_ns - told_ns for sample_ns, told_ns in pairs]

    @property
    def outside_passes_ns(self) -> int:
        return sum(ns for phase, ns in self.phases_ns.items() if phase != "passes")


def measure(device: Device, folder: Path, model: str, *, passes: int, counters: bool = False) -> NullCase:
    """Runs the `model` (the text of its file) on `device`, with all that session.measure does for a case.

    `folder` is for the files. Raises DeviceError's children, HarnessError for an output that is not the passes'.
    """
    import numpy as np

    from device.records import RunRequest
    from harness import runtimes
    from harness.measure.session import BOARD_SETTLE_MS, Phases

    phases = Phases()
    phases.enter("prepare")
    request = RunRequest(
        bundle=runtimes.build_bundle(device.info.abi, runtimes.NULL),
        model_files=(file_with(folder / "model.txt", model.encode()),),
        inputs=(InputTensor("float32", (1,), file_with(folder / "input.bin", INPUT)),),
        output_path=folder / "output",
        passes=passes,
        settle_ms=BOARD_SETTLE_MS if device.info.clock == "instructions" else 0,
        counters=counters,
    )
    phases.enter("push")
    pushed_bytes = device.push(request, lambda _bytes: None)
    phases.enter("state")
    device.state()
    phases.enter("launch")
    measurement = device.run(request, phases.follow)
    phases.enter("state")
    device.state()
    phases.enter("check")
    told_ns = np.fromfile(request.output_path, "<f4").round().astype(int).tolist()
    _require_all(measurement, told_ns, request.warmup + passes)
    phases.leave()
    _name, _space, nominal_ns = model.partition(" ")
    return NullCase(
        model=model,
        nominal_ns=int(nominal_ns or 0),
        samples_ns=[sample.ns for sample in measurement.samples],
        told_ns=told_ns[request.warmup :],
        counted=counters,
        counters_error=measurement.counters_error,
        phases_ns=phases.ns,
        pushed_bytes=pushed_bytes,
    )


def _require_all(measurement: Measurement, told_ns: list[int], passes: int) -> None:
    if measurement.outputs[0].shape != (1, passes) or len(told_ns) != passes:
        raise HarnessError(
            f"the null runtime made {passes} passes, its output tells of {len(told_ns)} "
            f"({measurement.outputs[0].shape}); make parts builds it anew"
        )


def file_with(path: Path, content: bytes) -> File:
    """Writes a file and describes it."""
    path.write_bytes(content)
    return local_file(path)
