"""One case on one device, from files to a whole `Record`. This is where a measurement becomes trusted, or not."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from device import bundle, wire
from device.call import Device
from device.errors import DeviceError
from device.records import Bundle, Clock, DeviceState, File, Measurement, RunRequest
from export.artifact import Artifact, ArtifactFile
from export.verify import RELATIVE_TOLERANCE, deviation
from harness.records import SCHEMA_VERSION, Case, MeasuredArtifact, MeasuredBundle, OutputCheck, Record

#: Hears of each event from the runner, and of bytes pushed; for progress only.
OnEvent = Callable[[wire.Event], None]
OnBytes = Callable[[int], None]


#: A deterministic board has one core: without a rest, adbd would send one pass's event on the next pass's time.
#: On hardware nobody rests between passes, so that clocks stay up.
BOARD_SETTLE_MS = 50


@dataclass(frozen=True)
class Run:
    """What all records of one run share."""

    id: str
    commit: str | None
    timeout_s: float


class Phases:
    """Host time by phase: a phase lasts from its `enter` to the next one's, or to `leave`."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._name: str | None = None
        self._since_ns = 0

    def enter(self, name: str) -> None:
        self.leave()
        self._name, self._since_ns = name, time.monotonic_ns()

    def leave(self) -> None:
        if self._name is not None:
            spent_ns = time.monotonic_ns() - self._since_ns
            self.ns[self._name] = self.ns.get(self._name, 0) + spent_ns
            self._name = None

    def follow(self, event: wire.Event) -> None:
        """The phase that begins with this event of the runner's."""
        last_pass_ended = isinstance(event, wire.Output)
        following = {wire.Hello: "load", wire.Loaded: "passes"}.get(type(event))
        if last_pass_ended:
            self.enter("collect")
        elif following is not None:
            self.enter(following)


def measure(
    case: Case,
    artifact: Artifact,
    device: Device,
    run: Run,
    *,
    on_event: OnEvent = lambda _: None,
    on_bytes: OnBytes = lambda _: None,
) -> Record:
    """The record of `case`: measured and checked, or failed with its reason. Raises no DeviceError."""
    utc = datetime.now(UTC).isoformat(timespec="seconds")
    phases = Phases()
    measurement: Measurement | None = None
    check: OutputCheck | None = None
    used: Bundle | None = None
    before: DeviceState | None = None
    after: DeviceState | None = None
    pushed_bytes = 0
    status, error = "ok", None

    def follow(event: wire.Event) -> None:
        phases.follow(event)
        on_event(event)

    with tempfile.TemporaryDirectory(prefix="tenpass-") as scratch:
        try:
            phases.enter("prepare")
            used = bundle.build(device.info.abi, case.runtime)
            request = _request(case, artifact, used, device.info.clock, Path(scratch) / "output", run.timeout_s)
            phases.enter("push")
            pushed_bytes = device.push(request, on_bytes)
            phases.enter("state")
            before = device.state()
            phases.enter("launch")
            measurement = device.run(request, follow)
            phases.enter("state")
            after = device.state()
            phases.enter("check")
            check = check_output(request.output_path, measurement, artifact)
            if check.failure is not None:
                status, error = "output_wrong", f"this is not the network that PyTorch computed: {check.failure}"
        except DeviceError as failure:
            status, error = failure.status, str(failure)
        finally:
            phases.leave()
    return replace(
        _record(case, device, run, utc),
        status=status,
        error=error,
        artifact=measured_artifact(artifact),
        bundle=_measured_bundle(used) if used else None,
        measurement=measurement,
        check=check,
        before=before,
        after=after,
        phases_ns=phases.ns,
        pushed_bytes=pushed_bytes,
    )


def failed_export(case: Case, device: Device, run: Run, reason: str) -> Record:
    """The record of a case whose network could not be exported: nothing was run."""
    utc = datetime.now(UTC).isoformat(timespec="seconds")
    return replace(_record(case, device, run, utc), status="export_failed", error=reason)


def _record(case: Case, device: Device, run: Run, utc: str) -> Record:
    """A record of a case of which nothing is known yet."""
    return Record(
        schema_version=SCHEMA_VERSION,
        run=run.id,
        id=case.id,
        round=0,
        order=0,
        utc=utc,
        commit=run.commit,
        case=case,
        device=device.info,
        status="ok",
        error=None,
        artifact=None,
        bundle=None,
        measurement=None,
        check=None,
        before=None,
        after=None,
        phases_ns={},
        pushed_bytes=0,
        warnings=(),
    )


def check_output(path: Path, measurement: Measurement, artifact: Artifact) -> OutputCheck:
    """The output in `path` (raw little-endian values of `measurement.output_shape`) against PyTorch's."""
    dtype = np.dtype(artifact.output.dtype).newbyteorder("<")
    reference = np.fromfile(artifact.folder / artifact.output.file.name, dtype).reshape(artifact.output.shape)
    output = np.fromfile(path, dtype)
    if output.size == int(np.prod(measurement.output_shape)):
        output = output.reshape(measurement.output_shape)
    found = deviation(output, reference)
    return OutputCheck(
        max_abs_error=found.max_abs_error,
        spread=found.spread,
        relative=found.relative,
        tolerance=RELATIVE_TOLERANCE,
        failure=found.failure,
    )


def measured_artifact(artifact: Artifact) -> MeasuredArtifact:
    return MeasuredArtifact(
        format=artifact.format,
        weights=artifact.weights,
        sha256=tuple(file.sha256 for file in artifact.model_files),
        size_bytes=artifact.model_size_bytes,
        onnx_size_bytes=artifact.onnx_size_bytes,
        opset=artifact.opset,
        op_counts=artifact.op_counts,
        mult_adds=artifact.mult_adds,
        params=artifact.params,
        export_max_abs_error=artifact.max_abs_error,
        tool_versions=artifact.tool_versions,
    )


def _measured_bundle(used: Bundle) -> MeasuredBundle:
    listing = "\n".join(sorted(f"{file.sha256}  {file.name}" for file in used.files))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return MeasuredBundle(used.abi, used.runtime, used.runtime_version, digest, used.size_bytes, used.simd)


def _request(case: Case, artifact: Artifact, used: Bundle, clock: Clock, output: Path, timeout_s: float) -> RunRequest:
    def local(file: ArtifactFile) -> File:
        return File(file.name, artifact.folder / file.name, file.sha256, file.size_bytes)

    return RunRequest(
        bundle=used,
        model_files=tuple(local(file) for file in artifact.model_files),
        input_file=local(artifact.input.file),
        input_shape=artifact.input.shape,
        output_path=output,
        threads=case.threads,
        cpu_mask=int(case.cpus, 0) if case.cpus else None,
        warmup=case.warmup,
        passes=case.passes,
        settle_ms=BOARD_SETTLE_MS if clock == "instructions" else 0,
        timeout_s=timeout_s,
    )
