"""Records, as a run would leave them, for tests that need no device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from device.board.definitions import definition
from device.records import (
    LOSSES,
    Chip,
    Clock,
    Core,
    Counters,
    CountName,
    DeviceInfo,
    DeviceState,
    Kind,
    Loss,
    Measurement,
    Pass,
)
from export.fingerprint import Fingerprint
from harness.record.case import Case
from harness.record.record import SCHEMA_VERSION, MeasuredArtifact, MeasuredBundle, OutputCheck, Record
from toolchain.tensors import TensorType

BOARD = DeviceInfo(
    serial="board:cortex-a7",
    kind="board",
    clock="instructions",
    model="emulated Cortex-A7 board",
    soc="virt",
    abi="armeabi-v7a",
    cores=(Core(0, "Cortex-A7", None),),
    ram_bytes=1_000_000_000,
    os="Linux 6.12",
    machine="armv7l",
)

CHIP = definition("mt6580").require_chip()

#: A board whose times are estimated.
ESTIMATED = replace(BOARD, serial="board:mt6580", clock="estimated", chip=CHIP)

STATE = DeviceState(
    temperatures_celsius={},
    clocks_khz=(None,),
    governors=(None,),
    battery_percent=None,
    battery_celsius=None,
    charging=None,
    load_average=0.1,
    free_ram_bytes=900_000_000,
)

#: model -> (mult-adds, params, size in bytes)
COSTS = {
    "mobilenet": (568_740_352, 4_209_088, 16_900_000),
    "shufflenet": (524_000_000, 5_400_000, 21_800_000),
    "clcnet-a": (343_000_000, 3_250_000, 13_100_000),
    "clcnet-b": (425_000_000, 4_100_000, 16_500_000),
}


def device(clock: Clock = "instructions", kind: Kind = "board", serial: str = "board:cortex-a7") -> DeviceInfo:
    return replace(BOARD, clock=clock, kind=kind, serial=serial)


def record(
    model: str,
    times_ms: Sequence[float] = (),
    *,
    on: DeviceInfo = BOARD,
    status: str = "ok",
    error: str | None = None,
    threads: int = 1,
    runtime: str = "onnxruntime",
    igc: str | None = None,
    round_: int = 0,
) -> Record:
    """A record of `model` with these pass times; without times it is one that failed before its passes."""
    mult_adds, params, size_bytes = COSTS[model]
    case = Case(model, runtime, {"onnxruntime": "onnx"}.get(runtime, runtime), igc, threads=threads, passes=3)
    samples = tuple(Pass(round(ms * 1e6), 0, None) for ms in times_ms)
    measured = Measurement(
        runner_version="0.1.0",
        abi=on.abi,
        runtime=runtime,
        runtime_version={"onnxruntime": "1.28.2", "caffe2": "1.7.1"}[runtime],
        providers=("CPUExecutionProvider",),
        machine=on.machine,
        cpu_features=("neon",),
        counters_error=None,
        load_ns=400_000_000,
        warmup=samples[:1],
        samples=samples,
        peak_rss_bytes=80_000_000,
        cpu_mask=1,
        outputs=(TensorType("float32", (1, 1000)),),
    )
    return Record(
        schema_version=SCHEMA_VERSION,
        run="20261123T120000Z-board",
        id=case.id,
        round=round_,
        order=0,
        utc="2026-11-23T12:00:00+00:00",
        commit="0123456789ab",
        case=case,
        device=on,
        status=status,
        error=error,
        artifact=MeasuredArtifact(
            case.format,
            "seed 0",
            ("ab" * 32,),
            Fingerprint("12" * 32, (0.5, -3.25, 8.0, 1.0)),
            size_bytes if runtime == "onnxruntime" else size_bytes * 5 // 4,
            size_bytes,
            17,
            {"Conv": 27},
            mult_adds,
            params,
            1e-6,
            {"torch": "2.13.0"},
        ),
        bundle=MeasuredBundle(on.abi, "onnxruntime", "1.28.2", "cd" * 32, 23_000_000, ("neon",)),
        measurement=measured if samples else None,
        check=_check(wrong=status == "output_wrong") if samples else None,
        before=STATE,
        after=STATE,
        phases_ns={"prepare": 10_000_000, "push": 2_000_000_000, "passes": 50_000_000_000, "check": 1_000_000},
        pushed_bytes=40_000_000,
    )


def estimated(one: Record, chip: Chip = CHIP) -> Record:
    """The record as an estimate for this chip, of as many cycles as its times have at its clock."""
    assert one.measurement is not None

    def of(ns: int) -> dict[Loss, int]:
        cycles = round(ns * chip.clock_mhz / 1000)
        parts = dict.fromkeys(LOSSES[1:], cycles // 10)
        return {"pipeline": cycles - sum(parts.values()), **parts}

    def counted(sample: Pass) -> Pass:
        cycles = sum(of(sample.ns).values())
        counts: dict[CountName, int] = {"instructions": cycles // 2, "cycles": cycles}
        others = tuple(cycles * (10 - number) // 10 for number in range(1, len(chip.memory)))
        return replace(sample, counters=Counters("emulator", sample.ns, sample.ns, counts, of(sample.ns), others))

    measured = one.measurement
    if profile := measured.profile:
        nodes = tuple(replace(node, cycles_by_loss=of(node.total_ns)) for node in profile.nodes)
        measured = replace(measured, profile=replace(profile, nodes=nodes, cycles_by_loss=of(profile.total_ns)))
    warmup, samples = (tuple(map(counted, passes)) for passes in (measured.warmup, measured.samples))
    device = replace(one.device, serial=f"board:{chip.name}", kind="board", clock="estimated", chip=chip)
    return replace(one, device=device, measurement=replace(measured, warmup=warmup, samples=samples))


def throttled(one: Record, *passes: int) -> Record:
    """The record, but that the clock fell to half in these timed passes, counted from 0."""
    assert one.measurement is not None
    warmup = tuple(replace(sample, cpu=0, khz=2_200_000) for sample in one.measurement.warmup)
    samples = tuple(
        replace(sample, cpu=0, khz=1_100_000 if index in passes else 2_200_000)
        for index, sample in enumerate(one.measurement.samples)
    )
    return replace(one, measurement=replace(one.measurement, warmup=warmup, samples=samples))


def _check(*, wrong: bool) -> OutputCheck:
    if wrong:
        return OutputCheck(3.0, 10.0, 0.3, 1e-3, "its largest error is 3, 0.3 of the spread (allowed 0.001)")
    return OutputCheck(2e-5, 10.0, 2e-6, 1e-3, None)


def table6(runtime: str = "onnxruntime") -> list[Record]:
    """A whole run over the paper's four networks; the times are made up."""
    return [
        record("mobilenet", [500.0, 500.2, 499.8], runtime=runtime),
        record("shufflenet", [510.0, 510.4, 510.2], runtime=runtime),
        record("clcnet-a", [400.0, 400.0, 400.6], runtime=runtime),
        record("clcnet-b", [475.5, 475.0, 475.1], runtime=runtime),
    ]
