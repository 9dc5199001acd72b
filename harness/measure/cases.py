"""Which cases the options of a run ask for: every combination of them that makes sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from device.host import NAME as HOST
from device.open import described
from device.timeouts import DEFAULT, Timeouts
from export.artifact import IGC, PRECISIONS
from harness.record import runtimes
from harness.record.case import Case
from harness.record.defaults import (
    FEWEST_ROUNDS_TO_COMPARE,
    PASSES,
    PASSES_OF_ESTIMATES,
    PASSES_TO_COMPARE,
    TIMEOUT_S,
)
from harness.record.errors import UsageError
from harness.record.plan import Limits
from harness.record.runtimes import CPU, Runtime

if TYPE_CHECKING:  # what the command line needs of this must not make --help wait
    from models.spec import ModelSpec


@dataclass(frozen=True)
class Choices:
    """What is to be measured, and how, in the words of the command line. None: not said, so that the default is.

    Of `precisions`, `providers`, `runtimes`, `igc` and `threads` all combinations are measured that make sense.
    `formats` are the choices among the formats of a runtime, by its name; without one it is the usual. A file, a size
    or an input may have its model before it (`MODEL=FILE`). Temperatures and `timeout_s` are limits of each case.
    `clock_ghz` is for chips whose times are estimated.
    """

    models: tuple[str, ...] | None = None
    model_files: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()
    precisions: tuple[str, ...] = PRECISIONS[:1]
    providers: tuple[str, ...] = (CPU,)
    runtimes: tuple[str, ...] = (runtimes.ONNXRUNTIME.name,)
    formats: Mapping[str, str] = field(default_factory=dict)
    igc: tuple[str, ...] = IGC[:1]
    fuse_separable: bool = False
    threads: tuple[int, ...] = (1,)
    cpus: str | None = None
    abi: str | None = None
    warmup: int | None = None
    passes: int | None = None
    rounds: int | None = None
    order: str = "shuffled"
    seed: int | None = None
    boards: int | None = None
    max_start_celsius: float | None = None
    max_celsius: float | None = None
    cool_timeout_s: float = Limits.cool_timeout_s
    strict: bool = False
    counting: bool = False
    clock_ghz: float | None = None
    profile: bool = False
    timeout_s: float = TIMEOUT_S
    command_timeout_s: float = DEFAULT.command_s
    reconnect_timeout_s: float = DEFAULT.reconnect_s
    reboot: bool = False

    @property
    def limits(self) -> Limits:
        return Limits(self.max_start_celsius, self.max_celsius, self.cool_timeout_s, self.strict)

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(command_s=self.command_timeout_s, reconnect_s=self.reconnect_timeout_s)

    def format_name(self, runtime: str) -> str:
        """What is run of the network."""
        formats = runtimes.get(runtime).formats
        return formats[self.formats.get(runtime, next(iter(formats)))].name

    def passes_on(self, devices: Sequence[str]) -> int:
        """How many passes are timed: where nobody says so, the paper's ten, but for estimates, and for rounds that are
        to be compared."""
        if self.passes is not None:
            return self.passes
        infos = [described(device) for device in devices]
        if all(info is not None and info.clock == "estimated" for info in infos):
            return PASSES_OF_ESTIMATES
        on_host = all(device.partition("@")[0] == HOST for device in devices)
        return PASSES_TO_COMPARE if on_host and (self.rounds or 1) >= FEWEST_ROUNDS_TO_COMPARE else PASSES


def cases_of(specs: Sequence[ModelSpec], choices: Choices, passes: int, own: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases in the order of measurement: networks of the registry, then the user's own models by their names.

    Combinations that cannot be had are left out. Raises UsageError, saying why, when none is left.
    """
    networks = [(spec.name, _ways(spec, choices)) for spec in specs]
    wanted = [
        Case(
            name,
            runtime,
            choices.format_name(runtime),
            way,
            threads,
            choices.cpus,
            choices.abi,
            choices.warmup,
            passes,
            precision,
            provider,
        )
        for name, ways in (*networks, *((name, (None,)) for name in own))
        for way in ways
        for precision in choices.precisions
        for runtime in choices.runtimes
        for provider in choices.providers
        for threads in choices.threads
    ]
    refused = {case.id: reason for case in wanted if (reason := _refusal(case, is_own=case.model in own))}
    if len(refused) == len(wanted):
        raise UsageError("; ".join(dict.fromkeys(refused.values())))
    return tuple(case for case in wanted if case.id not in refused)


def _refusal(case: Case, *, is_own: bool) -> str | None:
    """Why there cannot be such a case."""
    runtime = runtimes.get(case.runtime)
    form = runtimes.formats()[case.format]
    if case.igc == "fused" and not form.custom_operators:
        titles, names = _able(lambda one: any(form.custom_operators for form in one.formats.values()))
        return f"--igc fused is for {titles} alone: add --runtime {names}, or take another --igc"
    if is_own and not runtime.takes_own_models:
        titles, names = _able(lambda one: one.takes_own_models)
        return f"--model is for {titles} alone: add --runtime {names}"
    if case.provider not in runtime.providers:
        titles, names = _able(lambda one: case.provider in one.providers)
        return f"--provider {case.provider} is {titles}'s: add --runtime {names}, or --provider {CPU}"
    if reason := form.refusal(case.igc, case.precision):
        return f"--precision {case.precision}: {reason}"
    return None


def _able(can: Callable[[Runtime], bool]) -> tuple[str, str]:
    """The titles of the runtimes that can, and what to say to --runtime."""
    able = [runtime for runtime in runtimes.offered() if can(runtime)]
    return " and ".join(one.title for one in able), ",".join(one.name for one in able)


def _ways(spec: ModelSpec, choices: Choices) -> tuple[str | None, ...]:
    """How a network's blocks are computed, as in `Case.igc`."""
    if spec.has_clc_blocks:
        return choices.igc
    return (None, "fused") if choices.fuse_separable and spec.has_separable_blocks else (None,)
