"""What a run sets out to measure, and in which order, written to its folder before the first case starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.conditions import Limits
from harness.errors import UsageError
from harness.records import SCHEMA_VERSION, Case

FILE_NAME = "plan.json"


@dataclass(frozen=True)
class Turn:
    """One case in one round: a process of its own. `order` is its place in the run; rounds and places from 0."""

    case: Case
    round: int
    order: int

    @property
    def id(self) -> str:
        """As people name it: the case, and its round but for the first."""
        return self.case.id if self.round == 0 else f"{self.case.id}, round {self.round + 1}"


@dataclass(frozen=True)
class Plan:
    """The cases, and what they share. `command` runs them again.

    `order` is what was measured when: a round and the id of a case for each turn. Where it was shuffled, `seed`
    shuffles it again.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int
    run: str
    utc: str
    commit: str | None
    command: str
    device: str
    cases: tuple[Case, ...]
    seed: int
    order: tuple[tuple[int, str], ...]
    limits: Limits

    @property
    def rounds(self) -> int:
        return len({round_ for round_, _ in self.order})

    def turns(self) -> list[Turn]:
        """All that is to be measured, in its order."""
        cases = {case.id: case for case in self.cases}
        return [Turn(cases[id_], round_, place) for place, (round_, id_) in enumerate(self.order)]


def shuffled(cases: Sequence[Case], rounds: int, seed: int) -> tuple[tuple[int, str], ...]:
    """Round by round, each in an order of its own, so that drift hits all alike; a single round stays as given."""
    generator = random.Random(seed)  # noqa: S311 (an order, not a secret)
    ids = [case.id for case in cases]
    return tuple(
        (round_, id_) for round_ in range(rounds) for id_ in (ids if rounds == 1 else generator.sample(ids, len(ids)))
    )


def sequential(cases: Sequence[Case], rounds: int) -> tuple[tuple[int, str], ...]:
    """All rounds of one case, then those of the next: what a drift does to ratios can be seen with it."""
    return tuple((round_, case.id) for case in cases for round_ in range(rounds))


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
