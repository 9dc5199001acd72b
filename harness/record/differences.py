"""What is no longer as it was when a run began, in words: a run is only ever taken up as the one that it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path

from device.records import Chip, DeviceInfo
from export.own.model import OwnModel
from harness.record.errors import UsageError
from harness.record.plan import Plan

_START_NEW = "start a new run for that"

#: What the fields of a DeviceInfo are called, where their names do not say it.
_WHAT = {
    "ram_bytes": "size of memory",
    "os": "operating system",
    "cache_model": "model of caches",
    "chip": "chip, or clock or memory of it",
    "abi": "ABI",
    "page_bytes": "size of pages",
}

#: What of two plans must be the same, and what it is called. What differs between any two runs (time, commit) is not.
_OF_A_PLAN = {
    "devices": "other devices",
    "cases": "other cases",
    "order": "another order or number of rounds",
    "seed": "another --seed",
    "limits": "other limits",
    "timeout_s": "another --timeout",
    "profile": "--profile in one of them alone",
    "counting": "--count in one of them alone",
    "clock_ghz": "another --clock",
    "boards": "another number of boards",
    "checkpoints": "other --weights",
    "calibrations": "other --calibration",
}


def differences(recorded: Plan, now: Plan) -> list[str]:
    """What of two plans is not the same, in words."""
    found = [words for name, words in _OF_A_PLAN.items() if getattr(recorded, name) != getattr(now, name)]
    own_then, own_now = ({one.name: one for one in plan.own_models} for plan in (recorded, now))
    for name in dict.fromkeys([*own_then, *own_now]):
        found += _of_own(name, own_then.get(name), own_now.get(name))
    for device, then in recorded.device_infos.items():
        if known := now.device_infos.get(device):
            found += device_differences(then, known)
    for case, files in recorded.networks.items():
        if now.networks.get(case) != files:
            found.append(
                f"the files of {case} are others: {_digests(files)} then, {_digests(now.networks.get(case))} now"
            )
    return found


def _of_own(name: str, then: OwnModel | None, now: OwnModel | None) -> Iterator[str]:
    """What of a user's own model must not change: its bytes, sizes and inputs, wherever the files lie."""
    if then is None or now is None:
        yield f"--model {name} is in one of them alone"
        return
    if then.sha256 != now.sha256:
        yield f"--model {name} is another file: {_digests([then.sha256])} then, {_digests([now.sha256])} now"
    if then.dims != now.dims:
        yield f"--model {name} has other sizes: {_sizes(then)} then, {_sizes(now)} now"
    if then.inputs_sha256 != now.inputs_sha256:
        yield f"--model {name} has other inputs"


def _sizes(own: OwnModel) -> str:
    return ", ".join(f"{name}={size}" for name, size in sorted(own.dims.items())) or "none given"


def _digests(sha256: Iterable[str] | None) -> str:
    return ", ".join(f"sha256 {digest[:12]}..." for digest in sha256 or ()) or "none"


def require_same(recorded: Plan, now: Plan, folder: Path) -> None:
    """Raises UsageError, saying what differs, unless a run in `folder` may be taken up again with what there is now.

    What is not known yet (the device, the networks) is not compared.
    """
    known = now if now.networks else replace(now, networks=recorded.networks)
    if found := differences(recorded, known):
        raise UsageError(f"--resume {folder}: not the run it was: {'; '.join(found)}; {_START_NEW}")


def require_same_device(plan: Plan, device: str, found: DeviceInfo) -> None:
    """Raises UsageError when the plan has met another device under this name: a run may not be taken up on it."""
    then = plan.device_infos.get(device)
    if then is not None and not then.is_same_as(found):
        differs = "; ".join(device_differences(then, found)) or f"{device}: another kind of device"
        raise UsageError(f"--resume {plan.run}: not the run it was: {differs}; {_START_NEW}")


def device_differences(then: DeviceInfo, now: DeviceInfo) -> list[str]:
    """What makes one device another, a line each; none for one device. A recording of a device is that device."""
    if "replay" in (then.kind, now.kind):
        then = replace(then, kind=now.kind)
    return [
        f"{then.serial}: another {_WHAT.get(field.name, field.name)}: {_shown(getattr(then, field.name))} then, "
        f"{_shown(getattr(now, field.name))} now"
        for field in fields(DeviceInfo)
        if not replace(now, **{field.name: getattr(then, field.name)}).is_same_as(now)
    ]


def _shown(value: object) -> str:
    if isinstance(value, Chip):
        return f"{value}, memory ({') or ('.join(map(str, value.memory))})"
    if isinstance(value, tuple):
        return ", ".join(f"{core.part or 'unknown'} at {core.max_khz or 'unknown'} kHz" for core in value) or "unknown"
    return "unknown" if value is None else str(value)
