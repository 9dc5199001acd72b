"""What is measured: a network that was exported here, or, in harness/replay.py, the recording of one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from device import bundle
from device.records import Bundle, DeviceInfo, File, InputTensor, Measurement, RunRequest
from export.artifact import Artifact, ArtifactFile
from export.verify import RELATIVE_TOLERANCE, deviation
from harness.records import Case, MeasuredArtifact, MeasuredBundle, OutputCheck


class Subject(Protocol):
    """A network ready to be measured, and the knowledge of what its output must be."""

    @property
    def artifact(self) -> MeasuredArtifact: ...

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        """The files that `case` needs on `device`; the output is to come to `output`. Raises DeviceError's children."""

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:
        """The output in that file (raw little-endian values of `measurement.outputs`) against what it must be."""


@dataclass(frozen=True)
class ExportedNetwork:
    """An artifact of this machine's; its output must be PyTorch's."""

    exported: Artifact

    @property
    def artifact(self) -> MeasuredArtifact:
        exported = self.exported
        return MeasuredArtifact(
            format=exported.format,
            weights=exported.weights,
            sha256=tuple(file.sha256 for file in exported.model_files),
            size_bytes=exported.model_size_bytes,
            onnx_size_bytes=exported.onnx_size_bytes,
            opset=exported.opset,
            op_counts=exported.op_counts,
            mult_adds=exported.mult_adds,
            params=exported.params,
            export_max_abs_error=exported.max_abs_error,
            tool_versions=exported.tool_versions,
        )

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        def local(file: ArtifactFile) -> File:
            return File(file.name, self.exported.folder / file.name, file.sha256, file.size_bytes)

        used = bundle.build(case.abi or device.abi, bundle.bundle_runtime(case.runtime, case.provider))
        request = RunRequest(
            bundle=used,
            model_files=tuple(local(file) for file in self.exported.model_files),
            inputs=(InputTensor(local(self.exported.input.file), "float32", self.exported.input.shape),),
            output_path=output,
        )
        return request, _measured_bundle(used)

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:
        reference_of = self.exported.output
        dtype = np.dtype(reference_of.dtype).newbyteorder("<")
        reference = np.fromfile(self.exported.folder / reference_of.file.name, dtype).reshape(reference_of.shape)
        values = np.fromfile(output, dtype)
        if values.size == int(np.prod(measurement.outputs[0].shape)):
            values = values.reshape(measurement.outputs[0].shape)
        found = deviation(values, reference)
        return OutputCheck(
            max_abs_error=found.max_abs_error,
            spread=found.spread,
            relative=found.relative,
            tolerance=RELATIVE_TOLERANCE,
            failure=found.failure,
        )


def _measured_bundle(used: Bundle) -> MeasuredBundle:
    listing = "\n".join(sorted(f"{file.sha256}  {file.name}" for file in used.files))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return MeasuredBundle(used.abi, used.runtime, used.runtime_version, digest, used.size_bytes, used.simd)
