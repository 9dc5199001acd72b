"""Records as runs with rounds, profiles and counters would leave them, of a realistic size; the figures are made up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from synthetic import BOARD, record

from device.records import Core, Counters, CountName, CountsFrom, DeviceInfo, NodeTime, Profile
from harness.record.record import Record

#: Two kinds of cores, as most phones have.
PHONE = replace(
    BOARD,
    serial="R58M12ABCDE",
    kind="phone",
    clock="wall",
    model="a phone",
    soc="a SoC",
    abi="arm64-v8a",
    machine="aarch64",
    cores=tuple(Core(i, *(("Cortex-A55", 1_800_000) if i < 4 else ("Cortex-A76", 2_200_000))) for i in range(6)),
)

#: model and igc -> operator type, how many nodes of it, share of the profiled pass; the rest is outside.
_MOBILENET = (("FusedConv", 27, 0.951), ("Gemm", 1, 0.023), ("GlobalAveragePool", 1, 0.004), ("Flatten", 1, 0.0002))
_CLCNET = (
    *(("FusedConv", 13, 0.371), ("Conv", 12, 0.402), ("Transpose", 12, 0.141), ("Reshape", 24, 0.009)),
    *(("Gemm", 1, 0.031), ("GlobalAveragePool", 1, 0.006), ("Flatten", 1, 0.0003)),
)
_DEPTHWISE = (("FusedConv", 25, 0.801), ("Add", 24, 0.12), ("Gemm", 1, 0.031), ("GlobalAveragePool", 1, 0.006))
_FUSED = (("ChannelLocalChain", 1, 0.93), ("Gemm", 1, 0.04), ("GlobalAveragePool", 1, 0.009), ("Flatten", 1, 0.0004))
_SHUFFLENET = (
    *(("Conv", 49, 0.52), ("FusedConv", 16, 0.24), ("Transpose", 16, 0.09), ("Add", 13, 0.05), ("Relu", 16, 0.02)),
    *(("AveragePool", 3, 0.015), ("Concat", 3, 0.01), ("MaxPool", 1, 0.008), ("Reshape", 32, 0.006)),
    *(("Gemm", 1, 0.02), ("GlobalAveragePool", 1, 0.001)),
)
OPERATORS = {
    ("mobilenet", None): _MOBILENET,
    ("shufflenet", None): _SHUFFLENET,
    ("clcnet-a", "grouped"): _CLCNET,
    ("clcnet-a", "depthwise"): _DEPTHWISE,
    ("clcnet-a", "fused"): _FUSED,
    ("clcnet-b", "grouped"): _CLCNET,
}


def profile_of(model: str, igc: str | None, pass_ms: float, passes: int = 3) -> Profile:
    """A profile of passes of `pass_ms`: the nodes of an operator type share its time unevenly, in a mixed order."""
    total_ns = round(pass_ms * 1e6) * passes
    nodes = []
    for op, count, share in OPERATORS[model, igc]:
        weights = [1 + (7 * place) % 11 for place in range(count)]
        for place, weight in enumerate(weights):
            ns = int(total_ns * share * weight / sum(weights))
            nodes.append(NodeTime(f"/blocks/blocks.{place}/{place % 2}/{op}", op, ns))
    random.Random(0).shuffle(nodes)
    return Profile(passes, total_ns, tuple(nodes))


def profiled(model: str, ms: float, *, overhead: float = 1.03, **options: object) -> Record:
    """A record whose profiled passes took `overhead` times as long as its timed ones."""
    made = record(model, [ms * 0.999, ms, ms * 1.001], **options)  # type: ignore[arg-type]
    assert made.measurement is not None
    profile = profile_of(model, made.case.igc, ms * overhead)
    return replace(made, measurement=replace(made.measurement, profile=profile))


def with_counters(
    one: Record,
    counts: dict[CountName, int],
    *,
    source: CountsFrom = "emulator",
    share: float = 1.0,
    step: float = 0.0,
) -> Record:
    """The record with these counts in its first pass, in each later one a part of `step` more."""
    assert one.measurement is not None
    samples = tuple(
        replace(
            sample,
            counters=Counters(
                source,
                1_000_000,
                round(1_000_000 * share),
                {name: round(count * (1 + step * index)) for name, count in counts.items()},
            ),
        )
        for index, sample in enumerate(one.measurement.samples)
    )
    return replace(one, measurement=replace(one.measurement, samples=samples))


def rounds(model: str, times_ms: Sequence[Sequence[float]], **options: object) -> list[Record]:
    """A case in several rounds, each with these pass times."""
    return [
        replace(record(model, of_round, **options), round=number)  # type: ignore[arg-type]
        for number, of_round in enumerate(times_ms)
    ]


def noisy(ms: float, passes: int = 10, *, part: float = 0.004, seed: int = 0) -> list[float]:
    """Times about `ms`, with a long tail to the slow side as real ones have."""
    chance = random.Random(seed)
    return [ms * (1 + part * chance.lognormvariate(0, 0.6)) for _ in range(passes)]


def throttled(ms: float, passes: int = 10, *, seed: int = 0) -> list[float]:
    """The device slows down to 1.6 times from the fourth pass on, in steps."""
    return [
        time * (1.0 if place < 3 else min(1.0 + 0.12 * (place - 2), 1.6))
        for place, time in enumerate(noisy(ms, passes, seed=seed))
    ]


def bimodal(ms: float, passes: int = 10, *, seed: int = 0) -> list[float]:
    """Every third pass runs on a slower core."""
    return [time * (1.35 if place % 3 == 2 else 1.0) for place, time in enumerate(noisy(ms, passes, seed=seed))]


def warm(times_ms: Sequence[float], by: float) -> list[float]:
    """All passes of a round slower by this part."""
    return [ms * (1 + by) for ms in times_ms]


def on_cpus(one: Record, mask: int) -> Record:
    assert one.measurement is not None
    return replace(one, measurement=replace(one.measurement, cpu_mask=mask))


def sweep(on: DeviceInfo, model: str, ms: float, speed_ups: dict[int, float], **options: object) -> list[Record]:
    """A case with several counts of threads, on all CPUs of the device."""
    mask = (1 << len(on.cores)) - 1
    made = [
        record(model, [ms / gain] * 3, on=on, threads=threads, **options)  # type: ignore[arg-type]
        for threads, gain in speed_ups.items()
    ]
    return [on_cpus(one, mask) for one in made]
