"""What a run needs before its first turn: the devices, ready, and each case's network, exported or recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from device import bundle
from device.call import Device
from device.choose import open_devices, reserve
from device.errors import BundleError
from device.lock import DeviceLock
from export.artifact import Artifact, ExportError
from export.own import export_own
from export.pipeline import export_model
from harness import replay
from harness.plan import Plan, Turn
from harness.progress import Display
from harness.records import Case
from harness.subject import ExportedNetwork, Subject
from models import registry

EXPORTS = Path(__file__).resolve().parent.parent / "build" / "export"


@dataclass(frozen=True)
class Ready:
    """Devices to share the turns, and the network of each; `subject` raises ExportError where there is none.

    `lock` keeps other runs from them.
    """

    devices: Sequence[Device]
    subject: Callable[[Turn], Subject]
    lock: DeviceLock | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in self.devices:
            device.close()
        if self.lock is not None:
            self.lock.release()


def ready(plan: Plan, display: Display, wait_s: float = 0) -> Ready:
    """What the plan names, telling on the display what is done; waits up to `wait_s` for another run with the device.

    Raises DeviceError's children, and UsageError.
    """
    if replay.is_one(plan.devices[0]):
        return _recorded(replay.read(plan.devices[0]))
    lock = reserve(plan.devices[0], wait_s, on_wait=display.say)
    try:
        return _exported(plan, display, lock)
    except BaseException:
        if lock is not None:
            lock.release()
        raise


def met(plan: Plan, found: Ready) -> Plan:
    """The plan with what it has met: the device, and the files of each case's network."""
    networks = {}
    for turn in plan.turns():
        with contextlib.suppress(ExportError):
            networks[turn.case.id] = found.subject(turn).artifact.sha256
    return replace(plan, device_infos={plan.devices[0]: found.devices[0].info}, networks=networks)


def _exported(plan: Plan, display: Display, lock: DeviceLock | None) -> Ready:
    artifacts = _export(plan, display)

    def subject(turn: Turn) -> Subject:
        made = artifacts[_files_of(turn.case)]
        if isinstance(made, ExportError):
            raise made
        return ExportedNetwork(made)

    with display.stage(f"ready {plan.devices[0]}") as stage:
        devices = open_devices(
            plan.devices[0], plan.lanes, on_step=stage.detail, counting=plan.counting, timeouts=plan.timeouts
        )
        # Now, for the compilers would disturb what is measured; what cannot be built fails its cases, with the reason.
        for runtime in dict.fromkeys(case.runtime for case in plan.cases):
            with contextlib.suppress(BundleError):
                bundle.build(plan.cases[0].abi or devices[0].info.abi, runtime, on_step=stage.detail)
    return Ready(devices, subject, lock)


def _recorded(recording: replay.Recording) -> Ready:
    def subject(turn: Turn) -> Subject:
        record = recording.of(turn.case, turn.round)
        if record.artifact is None:
            raise ExportError(record.error or "the recording has nothing of its network")
        return replay.RecordedNetwork(record, turn.round)

    return Ready([replay.ReplayDevice(recording)], subject)


#: Model, format, igc, precision: cases that differ in nothing of these run the same files.
_Files = tuple[str, str, str | None, str]


def _files_of(case: Case) -> _Files:
    return (case.model, case.format, case.igc, case.precision)


def _export(plan: Plan, display: Display) -> dict[_Files, Artifact | ExportError]:
    """Each model in each format and form, or why there is none: an export that fails does not stop the others."""
    made: dict[_Files, Artifact | ExportError] = {}
    with display.stage("export", total=len(plan.cases)) as stage:
        for case in plan.cases:
            files = _files_of(case)
            if files not in made:
                stage.detail(", ".join(part for part in files if part))
                try:
                    made[files] = _exported_case(plan, case)
                except ExportError as error:
                    made[files] = error
            stage.advance()
    return made


def _exported_case(plan: Plan, case: Case) -> Artifact:
    calibration = Path(plan.calibrations[case.model]) if case.model in plan.calibrations else None
    for own in plan.own_models:
        if own.name == case.model:
            return export_own(own, EXPORTS, precision=case.precision, calibration=calibration)
    weights = Path(plan.checkpoints[case.model]) if case.model in plan.checkpoints else None
    return export_model(
        registry.get(case.model),
        EXPORTS,
        weights,
        format_name=case.format,
        igc=case.igc,
        precision=case.precision,
        calibration=calibration,
    )
