"""What is measured: a network that was exported here, or, in harness/replay.py, the recording of one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
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


class Bundles:
    """The runner bundles of one run: each is looked at once, whoever asks, for their many files are hashed then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Bundle] = {}

    def get(self, abi: str, runtime: str, provider: str, on_step: Callable[[str], None] = lambda _: None) -> Bundle:
        """Built first, where need be; `on_step` hears of that. Raises BundleError."""
        runtime = bundle.bundle_runtime(runtime, provider)
        with self._lock:
            if (abi, runtime) not in self._found:
                self._found[abi, runtime] = bundle.build(abi, runtime, on_step)
            return self._found[abi, runtime]


@dataclass(frozen=True)
class ExportedNetwork:
    """An artifact of this machine's; its output must be PyTorch's."""

    exported: Artifact
    bundles: Bundles = field(default_factory=Bundles)

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

        used = self.bundles.get(case.abi or device.abi, case.runtime, case.provider)
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
