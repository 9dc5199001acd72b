"""What a run needs before its first turn: each case's network, exported or recorded, and each device, ready."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device.adb.server import Server
from device.device import Device
from device.errors import BundleError
from device.open import open_devices, reserve
from export.artifact import Artifact, ExportError
from export.own.model import export_own
from export.pipeline import ExportOptions, export_model
from harness.measure import replay
from harness.measure.networks import Bundles, ExportedNetwork, Subject
from harness.record.case import Case
from harness.record.plan import Plan, Turn
from harness.runtimes import formats
from models import registry
from toolchain.paths import EXPORTS

if TYPE_CHECKING:
    from harness.measure.sessions import Watcher


#: Model, format, igc, precision: cases that differ in nothing of these run the same files.
Files = tuple[str, str, str | None, str]

#: The network of a turn; raises ExportError where there is none.
Networks = Callable[[Turn], Subject]


def networks_of(artifacts: Mapping[Files, Artifact | ExportError], bundles: Bundles) -> Networks:
    """The network of each case, from what was exported of it."""

    def subject(turn: Turn) -> Subject:
        made = artifacts[files_of(turn.case)]
        if isinstance(made, ExportError):
            raise made
        return ExportedNetwork(made, bundles)

    return subject


def with_networks(plan: Plan, subject: Networks) -> Plan:
    """The plan with the files of each case's network."""
    found = {}
    for turn in plan.turns():
        with contextlib.suppress(ExportError):
            found[turn.case.id] = subject(turn).artifact.sha256
    return replace(plan, networks=found)


@contextlib.contextmanager
def opened(
    plan: Plan, device: str, watcher: Watcher, bundles: Bundles, *, wait_s: float = 0, server: Server | None = None
) -> Iterator[Sequence[Device]]:
    """The device that the plan names so, ready and this run's alone, with as many boards as the plan has lanes.

    Waits up to `wait_s` for another run with the device. Raises DeviceError's children, and UsageError.
    """
    if replay.is_one(device):
        yield [replay.ReplayDevice(replay.read(device))]
        return
    with reserve(device, wait_s, on_wait=watcher.say), contextlib.ExitStack() as open_ones:
        with watcher.stage(f"ready {device}") as stage:
            devices = open_devices(
                device,
                plan.lanes,
                on_step=stage.detail,
                counting=plan.counting,
                timeouts=plan.timeouts,
                server=server,
            )
            for one in devices:
                open_ones.callback(one.close)
            # Now, for the compilers would disturb what is measured; what cannot be built fails its cases, with the
            # reason.
            abi = plan.cases[0].abi or devices[0].info.abi
            for runtime, provider in dict.fromkeys((case.runtime, case.provider) for case in plan.cases):
                with contextlib.suppress(BundleError):
                    bundles.get(abi, runtime, provider, on_step=stage.detail)
        yield devices


def recorded(recording: replay.Recording) -> Networks:
    """The network of each case, as it was recorded."""

    def subject(turn: Turn) -> Subject:
        record = recording.of(turn.case, turn.round)
        if record.artifact is None:
            raise ExportError(record.error or "the recording has nothing of its network")
        return replay.RecordedNetwork(record, turn.round)

    return subject


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
    options = ExportOptions(weights, formats()[case.format], case.igc, case.precision, calibration)
    return export_model(registry.get(case.model), EXPORTS, options)
