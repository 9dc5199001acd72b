"""From what is asked for to the plan of a run: devices, cases, their order, and all that they share."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from device.cores import NoSuchCpu, cpu_mask
from device.open import described, is_deterministic
from device.probe import RUNS
from export.checkpoints import files_by_model, parse_weights
from harness.measure import own_models, replay
from harness.measure.cases import Choices, cases_of
from harness.record import plan
from harness.record.case import Case
from harness.record.errors import UsageError
from harness.record.plan import Plan
from harness.record.record import SCHEMA_VERSION
from models import registry
from models.spec import ModelSpec
from toolchain.paths import REPOSITORY


def plan_of(choices: Choices, choose: Callable[[], Sequence[str]], run: str, command: str) -> Plan:
    """The plan of a run of this name; `command` runs it again.

    `choose` gives the devices; it is asked once all is known to be well that does not depend on them.

    Raises UsageError for choices that make no sense, or of which nothing can be measured.
    """
    specs = _specs(choices)
    own = own_models.named(choices.model_files, choices.dims, choices.inputs)
    checkpoints = parse_weights(choices.weights, [spec.name for spec in specs])
    named = [*(spec.name for spec in specs), *(one.name for one in own)]
    calibrations = files_by_model("--calibration", choices.calibrations, named)
    devices, rounds = tuple(choose()), choices.rounds or 1
    for device in devices:
        _require_possible(device, choices)
    if any(map(replay.is_recording, devices)):
        cases, recorded_rounds = _recorded_cases(devices, choices.models)
        rounds = choices.rounds or recorded_rounds
    else:
        cases = cases_of(specs, choices, choices.passes_on(devices), [one.name for one in own])
    seed = random.SystemRandom().getrandbits(32) if choices.seed is None else choices.seed
    is_sequential = choices.order == "sequential"
    return Plan(
        schema_version=SCHEMA_VERSION,
        run=run,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        command=command,
        devices=devices,
        cases=cases,
        seed=seed,
        order=plan.sequential(cases, rounds) if is_sequential else plan.shuffled(cases, rounds, seed),
        limits=choices.limits,
        timeout_s=choices.timeout_s,
        profile=choices.profile,
        counting=choices.counting,
        clock_ghz=choices.clock_ghz,
        boards=_boards(choices.boards, devices, len(cases)),
        checkpoints={model: str(path.resolve()) for model, path in checkpoints.items()},
        timeouts=choices.timeouts,
        reboot=choices.reboot,
        own_models=own,
        calibrations={model: str(path.resolve()) for model, path in calibrations.items()},
    )


def _require_possible(device: str, choices: Choices) -> None:
    """Raises UsageError for what is known, before the device is opened, not to be had there."""
    info = described(device)
    if choices.clock_ghz is not None and (info is None or info.chip is None):
        raise UsageError(f"--clock {choices.clock_ghz:g}: {device} is no chip whose times are estimated; leave it out")
    if info is None:
        return
    try:
        if choices.cpus is not None:
            cpu_mask(choices.cpus, info)
    except NoSuchCpu as error:
        raise UsageError(f"--cpus {choices.cpus}: {error}") from None
    runs = RUNS.get(info.abi) if info.kind == "board" else None
    if choices.abi is not None and runs is not None and choices.abi not in runs:
        raise UsageError(f"--abi {choices.abi}: {device} is {info.abi} and runs {' and '.join(runs)}")


def _specs(choices: Choices) -> list[ModelSpec]:
    """The networks of the registry: those named; without any those of Table 6, unless there are files."""
    names = choices.models
    if names is None:
        names = () if choices.model_files else registry.PAPER_TABLE6
    if not names and not choices.model_files:
        raise UsageError("--models names no network; see --list-models")
    return list(dict.fromkeys(registry.get(name) for name in names))


def _recorded_cases(devices: Sequence[str], models: Sequence[str] | None) -> tuple[tuple[Case, ...], int]:
    """The cases of the recording that is played, those of `models` alone if there are some, and its rounds."""
    if len(devices) > 1:
        raise UsageError(f"--device {devices[0]}, {devices[1]}: a recording is played alone; name one device")
    recording = replay.read(devices[0])
    found = tuple(case for case in recording.cases if models is None or case.model in models)
    if not found:
        raise UsageError(f"--models {','.join(models or ())}: the recording has none of them")
    return found, recording.rounds


def _boards(wanted: int | None, devices: Sequence[str], cases: int) -> int:
    """How many boards of a device measure side by side.

    Raises UsageError for more than one of what would disturb another.
    """
    others = [device for device in devices if not is_deterministic(device)]
    if others and wanted not in (None, 1):
        raise UsageError(f"--boards {wanted}: {others[0]} is no board with a deterministic clock; leave it out")
    if others:
        return 1
    share = (os.cpu_count() or 1) // len(devices)
    return min(wanted or max(1, min(2, share)), cases)


def _commit() -> str | None:
    """The project's commit, marked when the working tree differs from it; None outside a git checkout."""
    argv = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
