"""Which cases the options of a run ask for: every combination of them that makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:  # what the command line needs of this must not make --help wait
    from harness.records import Case
    from models.spec import ModelSpec

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
    warmup: int
    passes: int


def of(specs: Sequence[ModelSpec], choice: Choice) -> tuple[Case, ...]:
    """The cases in the order of measurement. Raises UsageError when there is none."""
    from harness.records import Case

    formats = {"onnxruntime": "onnx", "caffe2": CONVOLUTIONS[choice.convolution]}
    cases = tuple(
        Case(spec.name, runtime, formats[runtime], way, threads, choice.cpus, choice.abi, choice.warmup, choice.passes)
        for spec in specs
        for way in _ways(spec, choice)
        for runtime in choice.runtimes
        for threads in choice.threads
        if way != "fused" or runtime == "onnxruntime"
    )
    if not cases:
        raise UsageError("--igc fused is for ONNX Runtime alone: add --runtime onnxruntime, or take another --igc")
    return cases


def _ways(spec: ModelSpec, choice: Choice) -> tuple[str | None, ...]:
    """How a network's blocks are computed, as in `Case.igc`."""
    if spec.has_clc_blocks:
        return choice.igc
    return (None, "fused") if choice.fuse_separable and spec.has_separable_blocks else (None,)
