"""A run's records on disk: appended to records.jsonl one by one, read within bounds, recovered after a torn write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import ValidationError

from device import wire
from harness.record import bounded
from harness.record.errors import UsageError
from harness.record.lines import Lines, split
from harness.record.record import MOST_ROUNDS, SCHEMA_VERSION, Record, record_adapter

FILE_NAME = "records.jsonl"


#: Choices: a record of the most nodes and of 100,000 passes has some 30 MB; the example's have 3 KB.
MOST_RECORD_BYTES = 64 * 1024 * 1024


MOST_FILE_BYTES = 1024 * 1024 * 1024


_QUOTED = 200  # characters of what was refused, in the message that says so


class Journal(Lines[Record]):
    """Appends records to a run's folder; each is on the disk before the next case starts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE_NAME, record_adapter())


def read(folder: Path, on_torn: Callable[[str], None] = lambda _: None) -> list[Record]:
    """The records of a run, in the order they were made; of a case that was taken again, the last one.

    A torn last line, of a record that never became whole, is left out; `on_torn` hears of it in words. Raises
    UsageError, naming the line, for what is not a run's folder or was damaged.
    """
    path = folder / FILE_NAME
    try:
        whole, torn = split(bounded.read_bytes(path, MOST_FILE_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: no run's records there ({error.strerror}); name a folder below results/") from None
    if torn:
        on_torn(f"{path}: its last line was cut short ({len(torn)} bytes) and is left out: that case was not finished")
    taken = {
        (record.device.serial, record.round, record.id): record for record in _parse(path, whole.split(b"\n")[:-1])
    }
    return list(taken.values())


def _parse(path: Path, lines: Iterable[bytes]) -> Iterable[Record]:
    adapter = record_adapter()
    for number, line in enumerate(lines, start=1):
        try:
            if len(line) > MOST_RECORD_BYTES:
                raise UsageError(f"{path}:{number}: a line of {len(line)} bytes; {MOST_RECORD_BYTES} are allowed")
            content = bounded.parse_json(line)
            version = content.get("schema_version")
            if version != SCHEMA_VERSION:
                found = repr(version)[:_QUOTED]
                raise UsageError(f"{path}:{number}: schema version {found}, this harness reads {SCHEMA_VERSION}")
            record = adapter.validate_json(line)
            _require_sense(record)
            yield record
        except (ValidationError, ValueError, AttributeError, KeyError, TypeError) as error:
            if isinstance(error, ValidationError):
                first = error.errors(include_url=False, include_input=False)[0]
                detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            else:
                detail = str(error)
            detail = bounded.printable(detail[:_QUOTED])
            raise UsageError(f"{path}:{number}: not a record of this harness ({detail})") from None


def _require_sense(record: Record) -> None:
    """Raises ValueError for what no run has written, whoever has: above all for a number that was never proven."""
    if record.id != record.case.id:
        raise ValueError(f"it says that {record.id!r} is {record.case.id!r}")
    if not 0 <= record.round < MOST_ROUNDS:
        raise ValueError(f"round {record.round}")
    _require_chip(record)
    if record.measurement is not None:
        try:
            for _ in wire.lines(record.measurement):
                pass
        except wire.WireError as error:
            raise ValueError(str(error)) from None
    if record.status == "ok" and not (record.measurement and record.artifact and record.check and record.check.passed):
        raise ValueError("its status is ok, but nothing was measured, or the output not found right")


def _require_chip(record: Record) -> None:
    """Raises ValueError for an estimate without a chip, or without the cycles that it is made of."""
    chip = record.device.chip
    if (chip is not None) != (record.device.clock == "estimated"):
        raise ValueError("its times are estimates for no chip, or there is a chip and they are none")
    if chip is None or record.measurement is None:
        return
    if not 0 < chip.clock_mhz < math.inf:
        raise ValueError(f"a chip's clock of {chip.clock_mhz} MHz")
    for one in record.measurement.samples:
        counters = one.counters
        if counters is None or counters.counts.get("cycles") != sum(counters.cycles_by_loss.values()):
            raise ValueError("an estimate whose cycles are not there, or not what they go to")
