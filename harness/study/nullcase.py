"""Cases of the null runtime (device/runner/src/engines/null.cpp): it computes nothing, so that all is the harness's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from device.device import Device
from device.records import DeviceInfo, Measurement, RunRequest
from export.fingerprint import Fingerprint
from harness.measure import case
from harness.measure.case import Run
from harness.measure.networks import measured_bundle
from harness.record import runtimes
from harness.record.case import Case
from harness.record.defaults import TIMEOUT_S
from harness.record.errors import HarnessError
from harness.record.plan import CaseRound
from harness.record.record import MeasuredArtifact, MeasuredBundle, OutputCheck
from toolchain.files import File, local_file
from toolchain.tensors import InputTensor

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


@dataclass
class NullNetwork:
    """The null runtime's model, the text of its file. `folder` is for the files; `told_ns` is there after `check`."""

    model: str
    folder: Path
    told_ns: list[int] = field(default_factory=list)

    @property
    def artifact(self) -> MeasuredArtifact:
        model = self.model.encode()
        return MeasuredArtifact(
            format=runtimes.NULL,
            weights="none",
            sha256=(hashlib.sha256(model).hexdigest(),),
            fingerprint=Fingerprint("", ()),
            size_bytes=len(model),
            onnx_size_bytes=0,
            opset=0,
            op_counts={},
            mult_adds=0,
            params=0,
            export_max_abs_error=0.0,
            tool_versions={},
        )

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        bundle = runtimes.build_bundle(case.abi or device.abi, runtimes.NULL)
        request = RunRequest(
            bundle=bundle,
            model_files=(file_with(self.folder / "model.txt", self.model.encode()),),
            inputs=(InputTensor("float32", (1,), file_with(self.folder / "input.bin", INPUT)),),
            output_path=output,
        )
        return request, measured_bundle(bundle)

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:
        """The output is what each pass, also of warm-up, tells: one number each."""
        self.told_ns = np.fromfile(output, "<f4").round().astype(int).tolist()
        passes, shape = len(measurement.warmup) + len(measurement.samples), measurement.outputs[0].shape
        failure = None
        if shape != (1, passes) or len(self.told_ns) != passes:
            failure = f"it made {passes} passes, its output tells of {len(self.told_ns)}; make parts builds it anew"
        return OutputCheck(None, None, None, tolerance=0.0, failure=failure)


def measure(device: Device, folder: Path, model: str, *, passes: int, counters: bool = False) -> NullCase:
    """Measures the `model` (the text of its file) on `device` as any other case.

    `folder` is for the files. Raises HarnessError when the case fails.
    """
    network = NullNetwork(model, folder)
    one = CaseRound(Case(model, runtimes.NULL, runtimes.NULL, warmup=1, passes=passes), round=0, order=0)
    run = Run("selfcheck", commit=None, timeout_s=TIMEOUT_S, counters=counters)
    record = case.measure(one, network, device, run)
    if record.status != "ok" or record.measurement is None:
        raise HarnessError(f"the null runtime's case {model!r}: {record.status}: {record.error}")
    _name, _space, nominal_ns = model.partition(" ")
    return NullCase(
        model=model,
        nominal_ns=int(nominal_ns or 0),
        samples_ns=[sample.ns for sample in record.measurement.samples],
        told_ns=network.told_ns[len(record.measurement.warmup) :],
        counted=counters,
        counters_error=record.measurement.counters_error,
        phases_ns=record.phases_ns,
        pushed_bytes=record.pushed_bytes,
    )


def file_with(path: Path, content: bytes) -> File:
    """Writes a file and describes it."""
    path.write_bytes(content)
    return local_file(path)
