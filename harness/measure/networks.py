"""The network of a case: exported here, and checked against the reference. Recorded ones are in replay.py."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from device.records import Bundle, DeviceInfo, Measurement, RunRequest
from export import tensors
from export.artifact import Artifact, ExportError
from export.own.model import export_own
from export.pipeline import ExportOptions, export_model
from export.verify import Deviation, deviations, largest_part
from harness.measure.progress import Watcher
from harness.record import runtimes
from harness.record.case import Case
from harness.record.plan import CaseRound, Plan
from harness.record.record import MeasuredArtifact, MeasuredBundle, OutputCheck
from models import registry
from toolchain.paths import EXPORTS

if TYPE_CHECKING:
    pass


class Network(Protocol):
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
        self._found: dict[tuple[str, str, str], Bundle] = {}

    def get(self, abi: str, runtime: str, provider: str, on_step: Callable[[str], None] = lambda _: None) -> Bundle:
        """Built first, where need be; `on_step` hears of that. Raises BundleError."""
        with self._lock:
            if (abi, runtime, provider) not in self._found:
                self._found[abi, runtime, provider] = runtimes.build_bundle(abi, runtime, provider, on_step)
            return self._found[abi, runtime, provider]


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
            numbers=exported.numbers,
            source=exported.source,
            calibration=exported.calibration,
        )

    def prepare(self, case: Case, device: DeviceInfo, output: Path) -> tuple[RunRequest, MeasuredBundle]:
        used = self.bundles.get(case.abi or device.abi, case.runtime, case.provider)
        runtimes.require_opset(used, case.provider, self.exported.opset)
        request = RunRequest(
            bundle=used,
            model_files=self.exported.local_model_files,
            inputs=self.exported.input_tensors,
            output_path=output,
        )
        return request, measured_bundle(used)

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:
        exported = self.exported
        references = {one.name: tensors.read_tensor(exported.folder, one) for one in exported.outputs}
        fp32 = {one.name: tensors.read_tensor(exported.folder, one) for one in exported.fp32_outputs}
        try:
            values = tensors.read_outputs(output, measurement.outputs)
        except ValueError as error:
            found = Deviation(None, None, None, str(error))
        else:
            found = deviations(
                values,
                references,
                exported.tolerance,
                may_be_constant=exported.is_own,
                random=exported.random,
                rounding=exported.rounding,
            )
        return OutputCheck(
            max_abs_error=found.max_abs_error,
            spread=found.spread,
            relative=found.relative,
            tolerance=exported.tolerance,
            failure=found.failure,
            fp32_relative=largest_part(values, fp32) if fp32 and found.ok and not exported.random.outputs else None,
            unverified=dict(found.unverified),
        )


def measured_bundle(used: Bundle) -> MeasuredBundle:
    listing = "\n".join(sorted(f"{file.sha256}  {file.name}" for file in used.files))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return MeasuredBundle(
        used.abi, used.runtime, used.runtime_version, digest, used.size_bytes, used.simd, used.options
    )


#: Model, format, igc, precision: cases that differ in nothing of these run the same files.
Files = tuple[str, str, str | None, str]

#: The network of a case; raises ExportError where there is none.
Networks = Callable[[CaseRound], Network]


def networks_of(artifacts: Mapping[Files, Artifact | ExportError], bundles: Bundles) -> Networks:
    """The network of each case, from what was exported of it."""

    def network(one: CaseRound) -> Network:
        made = artifacts[files_of(one.case)]
        if isinstance(made, ExportError):
            raise made
        return ExportedNetwork(made, bundles)

    return network


def plan_with_networks(plan: Plan, networks: Networks) -> Plan:
    """The plan with the files of each case's network."""
    found = {}
    for one in plan.case_rounds():
        with contextlib.suppress(ExportError):
            found[one.case.id] = networks(one).artifact.sha256
    return replace(plan, networks=found)


def files_of(case: Case) -> Files:
    return (case.model, case.format, case.igc, case.precision)


def exported(plan: Plan, watcher: Watcher) -> dict[Files, Artifact | ExportError]:
    """Each model in each format and form, or why there is none: an export that fails does not stop the others."""
    made: dict[Files, Artifact | ExportError] = {}
    with watcher.stage("export", total=len(plan.cases)) as stage:
        for case in plan.cases:
            files = files_of(case)
            if files not in made:
                stage.detail(", ".join(part for part in files if part))
                try:
                    made[files] = artifact = _exported_case(plan, case)
                    if artifact.random.outputs:
                        watcher.say(f"{case.model}: {artifact.random.consequence}; it is timed, and marked unverified")
                except ExportError as error:
                    made[files] = error
            stage.advance()
    return made


def _exported_case(plan: Plan, case: Case) -> Artifact:
    calibration = Path(plan.calibrations[case.model]) if case.model in plan.calibrations else None
    form = runtimes.formats()[case.format]
    for own in plan.own_models:
        if own.name == case.model:
            return export_own(own, EXPORTS, form=form, precision=case.precision, calibration=calibration)
    weights = Path(plan.checkpoints[case.model]) if case.model in plan.checkpoints else None
    options = ExportOptions(weights, form, case.igc, case.precision, calibration)
    return export_model(registry.get(case.model), EXPORTS, options)
