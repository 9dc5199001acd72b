"""Made-up runs as folders, for tests of the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from synthetic import BOARD, device, record, throttled
from synthetic_runs import PHONE, noisy, profiled, sweep

from harness.record import journal
from harness.record import plan as plans
from harness.record.case import Case
from harness.record.plan import Limits, Plan
from harness.record.record import SCHEMA_VERSION, Record

EMULATED = device("emulated", serial="board:cortex-a7-smp")
THROTTLED = "the clock fell from 2.20 GHz to 1.10 GHz in pass 2; let the device cool before each case"


def run_of(records: Sequence[Record], **changes: object) -> Plan:
    """A plan whose run left these records."""
    cases: dict[str, Case] = {one.id: one.case for one in records}
    turns = dict.fromkeys((one.round, one.id) for one in records)
    made = Plan(
        schema_version=SCHEMA_VERSION,
        run="20261124T120000Z-made-up",
        utc="2026-11-24T12:00:00+00:00",
        commit="0123456789ab",
        command="python -m harness.run --device all --rounds 3",
        devices=tuple(dict.fromkeys(one.device.serial for one in records)) or ("board:cortex-a7",),
        cases=tuple(cases.values()),
        seed=7,
        order=tuple(turns),
        limits=Limits(),
        timeout_s=600.0,
        profile=False,
        counting=False,
        boards=1,
        checkpoints={},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def write_run(folder: Path, records: Sequence[Record], **changes: object) -> Path:
    folder.mkdir(parents=True)
    plans.write(run_of(records, **changes), folder)
    with journal.Journal(folder) as file:
        for one in records:
            file.append(one)
    return folder


def in_precision(one: Record, precision: str, deviation: float) -> Record:
    """The record as that of the network in another precision, whose file is a quarter as large."""
    assert one.artifact is not None
    assert one.check is not None
    case = replace(one.case, precision=precision)
    artifact = replace(one.artifact, precision=precision, size_bytes=one.artifact.onnx_size_bytes // 4)
    return replace(one, case=case, id=case.id, artifact=artifact, check=replace(one.check, fp32_relative=deviation))


def own_model(name: str, times_ms: Sequence[float], **case: object) -> Record:
    """A record of a user's own model, whose mult-adds are not known."""
    one = record("mobilenet", times_ms)
    assert one.artifact is not None
    made = replace(one.case, model=name, **case)  # type: ignore[arg-type]
    return replace(
        one,
        case=made,
        id=made.id,
        artifact=replace(one.artifact, mult_adds=None, source=f"{name}.onnx, sha256 {'ef' * 32}"),
    )


def three_devices() -> list[Record]:
    """A phone, a board and an emulator without a clock: three rounds, a precision, threads, a profile, a failure."""
    records: list[Record] = []
    for on, base in ((PHONE, 60.0), (BOARD, 500.0), (EMULATED, 900.0)):
        for place, (model, factor, igc) in enumerate(
            (("mobilenet", 1.0, None), ("shufflenet", 1.05, None), ("clcnet-a", 0.8, "grouped"))
        ):
            for round_ in range(3):
                times = noisy(base * factor * (1 + 0.002 * round_), seed=10 * place + round_)
                records.append(record(model, times, on=on, igc=igc, round_=round_))
        records += [
            in_precision(record("mobilenet", noisy(base * 0.6, seed=one), on=on, round_=one), "int8", 2.1e-2)
            for one in range(3)
        ]
    records += sweep(PHONE, "clcnet-a", 48.0, {2: 1.8, 4: 3.1}, igc="grouped")
    records.append(profiled("clcnet-b", 56.0, on=PHONE, igc="grouped"))
    place = next(at for at, one in enumerate(records) if one.case.model == "shufflenet")
    records[place] = throttled(records[place], 3, 4, 5)
    reason = "the runner did not end within 600 s; see --timeout"
    return [*records, record("clcnet-b", on=PHONE, threads=4, status="timed_out", error=reason)]
