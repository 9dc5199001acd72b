"""The command line that makes a run's plan: what can be typed to measure the same again, in a folder of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from device.errors import DeviceError
from device.open import is_deterministic
from device.timeouts import DEFAULT
from harness.record.case import Case
from harness.record.defaults import TIMEOUT_S
from harness.record.plan import Limits, Plan, sequential
from harness.record.runtimes import CPU, RUNTIMES
from models import registry

PROGRAM = ("python", "-m", "harness.run")

#: What stands before the folder of a device that is a recording.
RECORDING = "replay:"

#: What is combined with each other, of a case.
_COMBINED = ("model", "igc", "precision", "runtime", "provider", "threads")

#: The values of an option, by its flag; one that is a switch has none.
Options = Mapping[str, Sequence[str]]


def options_of(plan: Plan) -> Options:
    """What makes this plan; what it does not say is as it is by itself."""
    is_recording = any(device.startswith(RECORDING) for device in plan.devices)
    return {
        **{f"--{name.replace('_', '-')}": [value] for name, value in plan.where.items()},
        "--device": plan.devices,
        **_networks(plan),
        **({} if is_recording else _cases(plan)),
        "--rounds": [str(plan.rounds)],
        **_when(plan.order == sequential(plan.cases, plan.rounds) and plan.rounds > 1, "--order", "sequential"),
        "--seed": [str(plan.seed)],
        **_limits(plan.limits),
        **_when(plan.timeout_s != TIMEOUT_S, "--timeout", f"{plan.timeout_s:g}"),
        **_when(plan.timeouts.command_s != DEFAULT.command_s, "--command-timeout", f"{plan.timeouts.command_s:g}"),
        **_when(
            plan.timeouts.reconnect_s != DEFAULT.reconnect_s, "--reconnect-timeout", f"{plan.timeouts.reconnect_s:g}"
        ),
        **_when(plan.reboot, "--reboot"),
        **_when(plan.profile, "--profile"),
        **_when(plan.counting, "--count"),
        **_when(plan.clock_ghz is not None, "--clock", f"{plan.clock_ghz}"),
        **_when(_may_be_several(plan.devices), "--boards", str(plan.boards)),
    }


def words(options: Options) -> list[str]:
    """As they are typed, one after the other."""
    return [word for flag, values in options.items() for word in ([flag] if not values else _repeated(flag, values))]


def command(plan: Plan) -> str:
    """What measures the same again, for a POSIX shell, on one line. Of two spaces in a row one would not be shown."""
    return " ".join(map(quoted, [*PROGRAM, *words(options_of(plan))]))


def quoted(word: str) -> str:
    """A word for a shell. What would not outlast being shown is written by its code, which bash and zsh understand."""
    if any(not sign.isprintable() or (sign.isspace() and sign != " ") for sign in word):
        codes = "".join(sign if sign.isalnum() else f"\\u{ord(sign):04x}" for sign in word if ord(sign) < 0x10000)  # noqa: PLR2004
        return f"$'{codes}'"
    return re.sub(" (?= )", " ''", shlex.quote(word))


def _repeated(flag: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def _when(is_said: bool, flag: str, *values: str) -> dict[str, Sequence[str]]:
    return {flag: values} if is_said else {}


def _joined(flag: str, values: Iterable[object], usual: str | None = None) -> dict[str, Sequence[str]]:
    """Each value once, in one word; nothing where that is what is usual, or none."""
    text = ",".join(dict.fromkeys(map(str, values)))
    return _when(text not in ("", usual), flag, text)


def _networks(plan: Plan) -> dict[str, Sequence[str]]:
    """Networks of the registry, and the user's files; a recording with networks that are neither is played whole."""
    own = [one.name for one in plan.own_models]
    named = [case.model for case in plan.cases if case.model not in own]
    known = registry.names()
    return {
        **(_joined("--models", named) if all(name in known for name in named) else {}),
        **_listed("--model", (one.path for one in plan.own_models)),
        **_listed("--dim", (f"{it.name}:{key}={size}" for it in plan.own_models for key, size in it.dims.items())),
        **_listed("--input", (f"{one.name}={one.inputs}" for one in plan.own_models if one.inputs)),
        **_listed("--weights", (f"{model}={path}" for model, path in plan.checkpoints.items())),
        **_listed("--calibration", (f"{model}={path}" for model, path in plan.calibrations.items())),
    }


def _listed(flag: str, values: Iterable[str]) -> dict[str, Sequence[str]]:
    return {flag: found} if (found := list(values)) else {}


def _cases(plan: Plan) -> dict[str, Sequence[str]]:
    """What the cases are combinations of."""
    cases, first = plan.cases, next(iter(plan.cases), Case("", ""))
    ways = {name: {case.igc for case in cases if case.model == name} for name in {case.model for case in cases}}
    is_plain = {name for name, its in ways.items() if None in its}
    fused = [case for case in cases if case.igc == "fused" and case.model in is_plain]
    return {
        **_joined("--precision", _values(cases, "precision"), "fp32"),
        **_joined("--runtime", _values(cases, "runtime"), next(iter(RUNTIMES))),
        **_joined("--provider", _values(cases, "provider"), CPU),
        **_formats(cases),
        **_joined("--igc", filter(None, _values([case for case in cases if case not in fused], "igc")), "grouped"),
        **_when(bool(fused), "--fuse-separable"),
        **_joined("--threads", _values(cases, "threads"), "1"),
        **_when(first.cpus is not None, "--cpus", str(first.cpus)),
        **_when(first.abi is not None, "--abi", str(first.abi)),
        **_when(first.warmup is not None, "--warmup", str(first.warmup)),
        "--passes": [str(first.passes)],
    }


def _values(cases: Sequence[Case], of: str) -> list[object]:
    """In the order in which they were given: that of the most that differ in nothing else, for some have no case."""
    beside: dict[tuple[object, ...], list[object]] = {}
    for case in cases:
        key = tuple(getattr(case, name) for name in _COMBINED if name != of)
        beside.setdefault(key, []).append(getattr(case, of))
    return [value for values in sorted(beside.values(), key=len, reverse=True) for value in values]


def _formats(cases: Sequence[Case]) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    for case in cases:
        runtime = RUNTIMES.get(case.runtime)
        if runtime is not None and runtime.option is not None and (choice := runtime.choice(case.format)):
            found[f"--{runtime.name}-{runtime.option.name}"] = [choice]
    return found


def _limits(limits: Limits) -> dict[str, Sequence[str]]:
    return {
        **_when(limits.max_start_celsius is not None, "--max-start-celsius", f"{limits.max_start_celsius or 0:g}"),
        **_when(limits.cool_timeout_s != Limits.cool_timeout_s, "--cool-timeout", f"{limits.cool_timeout_s:g}"),
        **_when(limits.max_celsius is not None, "--max-celsius", f"{limits.max_celsius or 0:g}"),
        **_when(limits.strict, "--strict"),
    }


def _may_be_several(devices: Sequence[str]) -> bool:
    try:
        return all(map(is_deterministic, devices))
    except DeviceError:  # a board that there is no longer
        return False
