"""Which cases the options of a run ask for: every combination of them that makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.artifact import PRECISIONS
from export.formats import FORMATS, refusal
from harness.errors import UsageError

if TYPE_CHECKING:  # what the command line needs of this must not make --help wait
    from harness.records import Case
    from models.spec import ModelSpec

#: Passes to warm up, where nobody says how many. A choice: on hardware more would heat it.
WARMUP = 1

#: So many more at most where the clock counts instructions, until two in a row take the same time. What was seen there
#: (caches of addresses, memory that is cut to size) was over after one to three.
MORE_WARMUP = 3

#: Caffe2's engine for 3x3 depthwise convolutions -> the format whose nets ask for it.
CONVOLUTIONS = {"as-converted": "caffe2", "DEPTHWISE_3x3": "caffe2-depthwise"}


@dataclass(frozen=True)
class Choice:
    """What every network is measured with; where there are several of a kind, in all combinations.

    `convolution` is one of CONVOLUTIONS; the others are as in `Case`.
    """

    runtimes: tuple[str, ...]
    convolution: str
    igc: tuple[str, ...]
    fuse_separable: bool
    threads: tuple[int, ...]
    cpus: str | None
    abi: str | None
    warmup: int | None
    passes: int
    precisions: tuple[str, ...] = PRECISIONS[:1]
    providers: tuple[str, ...] = ("cpu",)


def of(specs: Sequence[ModelSpec], choice: Choice, own: Sequence[str] = ()) -> tuple[Case, ...]:
    """The cases in the order of measurement: networks of the registry, then the user's own models by their names.

    Combinations that cannot be had are left out. Raises UsageError, saying why, when none is left.
    """
    from harness.records import Case

    formats = {"onnxruntime": "onnx", "caffe2": CONVOLUTIONS[choice.convolution]}
    networks = [(spec.name, _ways(spec, choice)) for spec in specs]
    wanted = [
        Case(
            name,
            runtime,
            formats[runtime],
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
    if case.igc == "fused" and case.runtime != "onnxruntime":
        return "--igc fused is for ONNX Runtime alone: add --runtime onnxruntime, or take another --igc"
    if is_own and case.runtime != "onnxruntime":
        return "--model is for ONNX Runtime alone: add --runtime onnxruntime"
    if case.provider != "cpu" and case.runtime != "onnxruntime":
        return f"--provider {case.provider} is ONNX Runtime's: add --runtime onnxruntime, or --provider cpu"
    if reason := refusal(FORMATS[case.format], case.igc, case.precision):
        return f"--precision {case.precision}: {reason}"
    return None


def _ways(spec: ModelSpec, choice: Choice) -> tuple[str | None, ...]:
    """How a network's blocks are computed, as in `Case.igc`."""
    if spec.has_clc_blocks:
        return choice.igc
    return (None, "fused") if choice.fuse_separable and spec.has_separable_blocks else (None,)
