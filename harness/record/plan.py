"""What a run sets out to measure, and in which order, written to its folder before the first case starts."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from device.records import DeviceInfo
from device.timeouts import DEFAULT, Timeouts
from export.own.model import OwnModel
from harness.record import bounded
from harness.record.case import Case
from harness.record.defaults import COOL_TIMEOUT_S
from harness.record.errors import UsageError
from harness.record.record import MOST_ROUNDS, SCHEMA_VERSION, Record

FILE_NAME = "plan.json"

#: A choice: a plan of a million case rounds has some 30 MB.
MOST_FILE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class CaseRound:
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
    """The cases, and what they share. `command` is how they were asked for (harness.record.command makes them again);
    `script` is the only way to measure them again, where a program made the networks.

    `order` is what was measured when: a round and the id of a case each. Where it was shuffled, `seed`
    shuffles it again. Each of `devices` takes all of that, at the same time as the others; `boards` of one device share
    its cases. `checkpoints` are files by model, `calibrations` those that int8 is calibrated with;
    `own_models` are the user's files, which cases name as models. `counting` boards count instructions. `clock_ghz`
    is another clock for chips whose times are estimated, None their own. `device_infos`
    and `networks` (the sha256 of each case's model files; none where the export failed) are what the plan met when it
    began, so that a run which is taken up again can tell whether they are still the same; a device that was never met
    has none.
    `where` are the options that say how the devices are had, by their names: an adb server, a farm.
    `timeouts` and `reboot` (may a device that does not answer be restarted?) are for when something fails, and may be
    others when the run is taken up again.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int
    run: str
    utc: str
    commit: str | None
    command: str
    devices: tuple[str, ...]
    cases: tuple[Case, ...]
    seed: int
    order: tuple[tuple[int, str], ...]
    limits: Limits
    timeout_s: float
    profile: bool
    counting: bool
    boards: int
    checkpoints: dict[str, str]
    device_infos: dict[str, DeviceInfo] = field(default_factory=dict)
    networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    timeouts: Timeouts = DEFAULT
    reboot: bool = False
    own_models: tuple[OwnModel, ...] = ()
    calibrations: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    script: str | None = None
    clock_ghz: float | None = None

    @property
    def clock_mhz(self) -> float | None:
        return None if self.clock_ghz is None else 1000 * self.clock_ghz

    def serial(self, device: str) -> str:
        """What records call the device; a recording's have the name of what was recorded."""
        return self.device_infos[device].serial if device in self.device_infos else device

    @property
    def rounds(self) -> int:
        return len({round_ for round_, _ in self.order})

    def case_rounds(self) -> list[CaseRound]:
        """All that is to be measured, in its order."""
        cases = {case.id: case for case in self.cases}
        return [CaseRound(cases[id_], round_, place) for place, (round_, id_) in enumerate(self.order)]


def in_order(plan: Plan, records: Iterable[Record]) -> list[Record]:
    """The records by device, case and round, in the plan's order."""
    places = {case.id: place for place, case in enumerate(plan.cases)}
    devices = {plan.serial(name): place for place, name in enumerate(plan.devices)}

    def place(record: Record) -> tuple[int, int, int]:
        return devices.get(record.device.serial, len(devices)), places.get(record.id, len(places)), record.round

    return sorted(records, key=place)


@dataclass(frozen=True)
class MissingCase:
    """A case round that has not ended well on `device`, as the plan names it.

    `record` is of its last attempt, which failed; None: it was never measured.
    """

    device: str
    case_round: CaseRound
    record: Record | None


def missing_cases(plan: Plan, records: Iterable[Record]) -> list[MissingCase]:
    """What of the plan the records lack, device by device, in the order of measurement."""
    last = {(record.device.serial, record.round, record.id): record for record in records}
    found = []
    for device in plan.devices:
        for one in plan.case_rounds():
            record = last.get((plan.serial(device), one.round, one.case.id))
            if record is None or record.status != "ok":
                found.append(MissingCase(device, one, record))
    return found


def shuffled(cases: Sequence[Case], rounds: int, seed: int) -> tuple[tuple[int, str], ...]:
    """Round by round, so that drift hits all cases alike; a single round stays as given.

    Every other round is shuffled anew, and the one after it runs that order backwards: what drifts steadily then
    cancels out of the mean of the two, whichever case came first.
    """
    generator = random.Random(seed)  # noqa: S311 (an order, not a secret)
    ids = [case.id for case in cases]
    if rounds == 1:
        return tuple((0, id_) for id_ in ids)
    order: list[tuple[int, str]] = []
    for round_ in range(rounds):
        ids = ids[::-1] if round_ % 2 else generator.sample(ids, len(ids))
        order += [(round_, id_) for id_ in ids]
    return tuple(order)


def sequential(cases: Sequence[Case], rounds: int) -> tuple[tuple[int, str], ...]:
    """All rounds of one case, then those of the next: what a drift does to ratios can be seen with it."""
    return tuple((round_, case.id) for case in cases for round_ in range(rounds))


@cache  # it takes 50 ms to make
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def write(plan: Plan, folder: Path) -> None:
    """Whole or not at all, whenever the program or the machine ends."""
    scratch = folder / f".{FILE_NAME}"
    with scratch.open("wb") as file:
        file.write(_adapter().dump_json(plan, indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / FILE_NAME)


def read(folder: Path) -> Plan:
    """Raises UsageError for a folder without a plan of this schema."""
    path = folder / FILE_NAME
    try:
        content = bounded.read_bytes(path, MOST_FILE_BYTES)
        parsed = bounded.parse_json(content)
        if isinstance(parsed, dict) and parsed.get("schema_version") != SCHEMA_VERSION:
            found = str(parsed.get("schema_version"))[:80]
            raise UsageError(f"{path}: schema version {found}, this harness reads {SCHEMA_VERSION}")
        plan = _adapter().validate_json(content)
    except OSError as error:
        raise UsageError(f"{path}: no run there ({error.strerror}); name a folder below results/") from None
    except ValidationError as error:
        raise UsageError(f"{path}: not a plan of this harness ({error.error_count()} errors)") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a plan of this harness ({bounded.printable(str(error))})") from None
    known = {case.id for case in plan.cases}
    for round_, id_ in plan.order:
        if id_ not in known or not 0 <= round_ < MOST_ROUNDS:
            raise UsageError(
                f"{path}: not a plan of this harness (round {round_} of {id_[:80]!r} is none of its cases)"
            )
    return plan


@dataclass(frozen=True)
class Limits:
    """What a run asks of its conditions; None: nothing.

    A case waits at most `cool_timeout_s` for the device to cool to `max_start_celsius`. With `strict`, warnings that
    another moment could avoid (harness.analyse.warnings) fail the case.
    """

    max_start_celsius: float | None = None
    max_celsius: float | None = None
    cool_timeout_s: float = COOL_TIMEOUT_S
    strict: bool = False
