"""What a run needs before its first turn: the devices, ready, and each case's network, exported or recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.call import Device
from device.choose import open_devices
from export.artifact import Artifact, ExportError
from export.pipeline import export_model
from harness.plan import Turn
from harness.progress import Display
from harness.records import Case
from harness.replay import RecordedNetwork, Recording, ReplayDevice
from harness.subject import ExportedNetwork, Subject
from models import registry

EXPORTS = Path(__file__).resolve().parent.parent / "build" / "export"


@dataclass(frozen=True)
class Ready:
    """Devices to share the turns, and the network of each; `subject` raises ExportError where there is none."""

    devices: Sequence[Device]
    subject: Callable[[Turn], Subject]


#: Makes ready, telling on the display what it is doing.
Prepare = Callable[[Display], Ready]


def exported(
    cases: Sequence[Case], device_name: str, lanes: int, checkpoints: Mapping[str, Path], *, counting: bool
) -> Prepare:
    """The cases' networks, exported here, and `lanes` devices of that name; `counting` boards count instructions."""

    def prepare(display: Display) -> Ready:
        artifacts = _export(cases, checkpoints, display)

        def subject(turn: Turn) -> Subject:
            made = artifacts[_files_of(turn.case)]
            if isinstance(made, ExportError):
                raise made
            return ExportedNetwork(made)

        with display.stage(f"ready {device_name}") as stage:
            return Ready(open_devices(device_name, lanes, on_step=stage.detail, counting=counting), subject)

    return prepare


def recorded(recording: Recording) -> Prepare:
    """A recording's networks, and a device that plays it back."""

    def subject(turn: Turn) -> Subject:
        record = recording.of(turn.case, turn.round)
        if record.artifact is None:
            raise ExportError(record.error or "the recording has nothing of its network")
        return RecordedNetwork(record)

    return lambda _display: Ready([ReplayDevice(recording)], subject)


#: Model, format, igc: cases that differ in nothing of these run the same files.
_Files = tuple[str, str, str | None]


def _files_of(case: Case) -> _Files:
    return (case.model, case.format, case.igc)


def _export(
    cases: Sequence[Case], checkpoints: Mapping[str, Path], display: Display
) -> dict[_Files, Artifact | ExportError]:
    """Each model in each format and form, or why there is none: an export that fails does not stop the others."""
    made: dict[_Files, Artifact | ExportError] = {}
    with display.stage("export", total=len(cases)) as stage:
        for case in cases:
            stage.detail(", ".join(part for part in _files_of(case) if part))
            spec, weights = registry.get(case.model), checkpoints.get(case.model)
            try:
                made[_files_of(case)] = export_model(spec, EXPORTS, weights, format_name=case.format, igc=case.igc)
            except ExportError as error:
                made[_files_of(case)] = error
            stage.advance()
    return made
