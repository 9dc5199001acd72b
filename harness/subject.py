"""What is measured: a network that was exported here, or, in harness/replay.py, the recording of one."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from device import bundle
from device.records import Bundle, DeviceInfo, File, InputTensor, Measurement, OutputTensor, RunRequest
from export import tensors
from export.artifact import Artifact, ArtifactFile
from export.verify import Deviation, deviations, largest_part
from harness.records import Case, MeasuredArtifact, MeasuredBundle, OutputCheck

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from device.records import ElementType


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
    """An artifact of this machine's; its outputs must be the reference's."""

    exported: Artifact
    bundles: Bundles = field(default_factory=Bundles)

    @property
    def artifact(self) -> MeasuredArtifact:
        exported = self.exported
        return MeasuredArtifact(
            format=exported.format,
            weights=exported.weights,
            sha256=tuple(file.sha256 for file in exported.model_files),
            fingerprint=exported.fingerprint,
            size_bytes=exported.model_size_bytes,
            onnx_size_bytes=exported.onnx_size_bytes,
            opset=exported.opset,
            op_counts=exported.op_counts,
            mult_adds=exported.mult_adds,
            params=exported.params,
            export_max_abs_error=exported.max_abs_error,
            tool_versions=exported.tool_versions,
            precision=exported.precision,
            source=exported.source,
            calibration=exported.calibration,
        )

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        used = self.bundles.get(case.abi or device.abi, case.runtime, case.provider)
        request = RunRequest(
            bundle=used,
            model_files=tuple(_local(self.exported, file) for file in self.exported.model_files),
            inputs=input_tensors(self.exported),
            output_path=output,
        )
        return request, _measured_bundle(used)

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:
        exported = self.exported
        references = {one.name: tensors.read_tensor(exported.folder, one) for one in exported.outputs}
        fp32 = {one.name: tensors.read_tensor(exported.folder, one) for one in exported.fp32_outputs}
        try:
            values = read_outputs(output, measurement.outputs)
        except ValueError as error:
            found = Deviation(None, None, None, str(error))
        else:
            found = deviations(values, references, exported.tolerance, may_be_constant=exported.is_own)
        return OutputCheck(
            max_abs_error=found.max_abs_error,
            spread=found.spread,
            relative=found.relative,
            tolerance=exported.tolerance,
            failure=found.failure,
            fp32_relative=largest_part(values, fp32) if fp32 and found.ok else None,
        )


def input_tensors(artifact: Artifact) -> tuple[InputTensor, ...]:
    """The artifact's reference inputs as the runner is given them."""
    return tuple(
        InputTensor(_local(artifact, one.file), cast("ElementType", one.dtype), one.shape) for one in artifact.inputs
    )


def read_outputs(path: Path, written: Sequence[OutputTensor]) -> list[NDArray[Any]]:
    """The tensors that a runner wrote one after the other. Raises ValueError when the file has more or fewer bytes."""
    content = path.read_bytes()
    due_bytes = sum(one.size_bytes for one in written)
    if len(content) != due_bytes:
        raise ValueError(f"the output has {len(content)} bytes, tensors of these shapes {due_bytes}")
    values, offset = [], 0
    for one in written:
        dtype = np.dtype(one.type).newbyteorder("<")
        elements = np.frombuffer(content, dtype, math.prod(one.shape), offset).reshape(one.shape)
        values.append(elements.astype(one.type))
        offset += one.size_bytes
    return values


def _local(artifact: Artifact, file: ArtifactFile) -> File:
    return File(file.name, artifact.folder / file.name, file.sha256, file.size_bytes)


def _measured_bundle(used: Bundle) -> MeasuredBundle:
    listing = "\n".join(sorted(f"{file.sha256}  {file.name}" for file in used.files))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return MeasuredBundle(used.abi, used.runtime, used.runtime_version, digest, used.size_bytes, used.simd)
