"""What a run sets out to measure, written to its folder before the first case starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import UsageError
from harness.records import SCHEMA_VERSION, Case

FILE_NAME = "plan.json"


@dataclass(frozen=True)
class Plan:
    """The cases in their order, and what they share. `command` runs them again."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int
    run: str
    utc: str
    commit: str | None
    command: str
    device: str
    cases: tuple[Case, ...]


def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def write(plan: Plan, folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(_adapter().dump_json(plan, indent=2) + b"\n")


def read(folder: Path) -> Plan:
    """Raises UsageError for a folder without a plan of this schema."""
    path = folder / FILE_NAME
    try:
        plan = _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: no run there ({error.strerror}); name a folder below results/") from None
    except ValidationError as error:
        raise UsageError(f"{path}: not a plan of this harness ({error.error_count()} errors)") from None
    if plan.schema_version != SCHEMA_VERSION:
        raise UsageError(f"{path}: schema version {plan.schema_version}, this harness reads {SCHEMA_VERSION}")
    return plan
