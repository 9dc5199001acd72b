"""Folders as runs leave them, made of synthetic records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.record import journal, plan
from harness.record.plan import Limits
from harness.record.record import SCHEMA_VERSION, Record


def write_run(
    folder: Path,
    records: Sequence[Record],
    *,
    utc: str = "2026-11-23T12:00:00+00:00",
    commit: str | None = "0123456789ab",
) -> Path:
    """Writes the plan that these records would be of, and the records; returns the folder."""
    folder.mkdir(parents=True)
    cases = tuple({record.id: record.case for record in records}.values())
    rounds = max((record.round for record in records), default=0) + 1
    infos = {record.device.serial: record.device for record in records}
    made = plan.Plan(
        schema_version=SCHEMA_VERSION,
        run=folder.name,
        utc=utc,
        commit=commit,
        command="python -m harness.run",
        devices=tuple(infos),
        cases=cases,
        seed=0,
        order=plan.sequential(cases, rounds),
        limits=Limits(),
        timeout_s=600.0,
        profile=False,
        counting=False,
        boards=1,
        checkpoints={},
        device_infos=infos,
    )
    plan.write(made, folder)
    with journal.Journal(folder) as kept:
        for record in records:
            kept.append(record)
    return folder
