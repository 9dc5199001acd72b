"""A run's records on disk: appended to records.jsonl one by one, read within bounds, recovered after a torn write."""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from device import wire
from harness.record import bounded
from harness.record.errors import HarnessError, UsageError
from harness.record.record import MOST_ROUNDS, SCHEMA_VERSION, Record, record_adapter

FILE_NAME = "records.jsonl"


#: Choices: a record of the most nodes and of 100,000 passes has some 30 MB; the example's have 3 KB.
MOST_RECORD_BYTES = 64 * 1024 * 1024


MOST_FILE_BYTES = 1024 * 1024 * 1024


_QUOTED = 200  # characters of what was refused, in the message that says so


class Journal:
    """Appends records to a run's folder; each is on the disk before the next case starts.

    A last line that a power cut or a kill has torn is cut off first. Raises UsageError when another run writes here.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._adapter = record_adapter()
        self._file = self.path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"{self.path}: another run is writing to it; wait for its end") from None
        self._file.seek(0)
        whole, torn = _split(self._file.read())
        if torn:
            self._file.truncate(len(whole))
        _sync_folder(folder)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, record: Record) -> None:
        """Raises HarnessError when the disk does not take it."""
        try:
            data = self._adapter.dump_json(record) + b"\n"
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = error.strerror
            raise HarnessError(
                f"{self.path}: the record could not be written ({reason}); mend that and go on with --resume"
            ) from None


def read(folder: Path, on_torn: Callable[[str], None] = lambda _: None) -> list[Record]:
    """The records of a run, in the order they were made; of a case that was taken again, the last one.

    A torn last line, of a record that never became whole, is left out; `on_torn` hears of it in words. Raises
    UsageError, naming the line, for what is not a run's folder or was damaged.
    """
    path = folder / FILE_NAME
    try:
        whole, torn = _split(bounded.read_bytes(path, MOST_FILE_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: no run's records there ({error.strerror}); name a folder below results/") from None
    if torn:
        on_torn(f"{path}: its last line was cut short ({len(torn)} bytes) and is left out: that case was not finished")
    taken = {
        (record.device.serial, record.round, record.id): record for record in _parse(path, whole.split(b"\n")[:-1])
    }
    return list(taken.values())


def _split(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what follows the last of them."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def _sync_folder(folder: Path) -> None:
    """So that a new file's name outlives a power cut as its content does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
