"""Which cases the options of a run ask for: every combination of them that makes sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from export.artifact import PRECISIONS
from harness import runtimes
from harness.record.errors import UsageError
from harness.runtimes import CPU, Runtime

if TYPE_CHECKING:  # what the command line needs of this must not make --help wait
    from harness.record.case import Case
    from models.spec import ModelSpec


@dataclass(frozen=True)
class Choice:
    """What every network is measured with; where there are several of a kind, in all combinations.

    `formats` are the choices among the formats of a runtime, by its name; without one it is the usual. The others are
    as in `Case`.
    """

    runtimes: tuple[str, ...]
    igc: tuple[str, ...]
    fuse_separable: bool
    threads: tuple[int, ...]
    cpus: str | None
    abi: str | None
    warmup: int
    passes: int
    precisions: tuple[str, ...] = PRECISIONS[:1]
    providers: tuple[str, ...] = (CPU,)
    formats: Mapping[str, str] = field(default_factory=dict)

    def format_name(self, runtime: str) -> str:
        """What is run of the network."""
        formats = runtimes.get(runtime).formats
        return formats[self.formats.get(runtime, next(iter(formats)))].name


def of(specs: Sequence[ModelSpec], choice: Choice, own: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases in the order of measurement: networks of the registry, then the user's own models by their names.

    Combinations that cannot be had are left out. Raises UsageError, saying why, when none is left.
    """
    from harness.record.case import Case

    networks = [(spec.name, _ways(spec, choice)) for spec in specs]
    wanted = [
        Case(
            name,
            runtime,
            choice.format_name(runtime),
            way,
            threads,
            choice.cpus,
            choice.abi,
            choice.warmup,
            choice.passes,
            precision,
            provider,
        )
        for name, ways in (*networks, *((name, (None,)) for name in own))
        for way in ways
        for precision in choice.precisions
        for runtime in choice.runtimes
        for provider in choice.providers
        for threads in choice.threads
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


def _ways(spec: ModelSpec, choice: Choice) -> tuple[str | None, ...]:
    """How a network's blocks are computed, as in `Case.igc`."""
    if spec.has_clc_blocks:
        return choice.igc
    return (None, "fused") if choice.fuse_separable and spec.has_separable_blocks else (None,)
