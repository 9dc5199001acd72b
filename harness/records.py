"""What a run leaves behind: one `Record` a case, appended to records.jsonl as it ends. Raw, never derived."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

from pydantic import ConfigDict, TypeAdapter, ValidationError

from device import wire
from device.records import DeviceInfo, DeviceState, Measurement
from export.fingerprint import Fingerprint
from harness import bounded
from harness.errors import HarnessError, UsageError

SCHEMA_VERSION = 4
FILE_NAME = "records.jsonl"

#: Choices: a record of the most nodes and of 100,000 passes has some 30 MB; the example's have 3 KB.
MOST_RECORD_BYTES = 64 * 1024 * 1024
MOST_FILE_BYTES = 1024 * 1024 * 1024
MOST_ROUNDS = 100_000
_QUOTED = 200  # characters of what was refused, in the message that says so


@dataclass(frozen=True)
class Case:
    """One row of the plan: what is measured, and how.

    `cpus` are the CPUs to run on in the words of --cpus (`big`, `0-3`, `0xf0`); None: any. `abi` is the ABI of the
    runner, None: the device's own.
    """

    model: str
    runtime: str
    format: str = "onnx"  # what of the network is run: one of export.formats.FORMATS
    igc: str | None = (
        None  # how its channel local convolutions are computed, one of export.artifact.IGC; None: it has none
    )
    threads: int = 1
    cpus: str | None = None
    abi: str | None = None
    warmup: int | None = None  # passes before the timed ones; None: as many as the device needs (harness.session)
    passes: int = 10
    precision: str = "fp32"  # what the network computes in: fp32, fp16 or int8
    provider: str = "cpu"  # the runtime's execution provider that is asked for: cpu, xnnpack or nnapi

    @property
    def id(self) -> str:
        precision = "" if self.precision == "fp32" else f"-{self.precision}"
        provider = "" if self.provider == "cpu" else f"-{self.provider}"
        cpus = "" if self.cpus is None else f"-cpus-{self.cpus}"
        abi = "" if self.abi is None else f"-{self.abi}"
        runs = self.runtime if self.format in ("onnx", self.runtime) else self.format
        igc = "" if self.igc is None else f"-{self.igc}"
        return f"{self.model}{igc}{precision}-{runs}{provider}-t{self.threads}{cpus}{abi}"


@dataclass(frozen=True)
class MeasuredArtifact:
    """What of the exported network a reader needs to know it again.

    `fingerprint` is that of the ONNX file they were made from: it tells by how much another one differs.
    `size_bytes` is of the files that were pushed, `onnx_size_bytes` of that ONNX file. `mult_adds` is None where an
    operator's cannot be told. `source` names the file of a user's own model and its sha256, None for a network of the
    registry; `calibration` says on which data int8 was calibrated.
    """

    format: str
    weights: str
    sha256: tuple[str, ...]
    fingerprint: Fingerprint
    size_bytes: int
    onnx_size_bytes: int
    opset: int
    op_counts: dict[str, int]
    mult_adds: int | None
    params: int
    export_max_abs_error: float
    tool_versions: dict[str, str]
    precision: str = "fp32"
    source: str | None = None
    calibration: str | None = None


@dataclass(frozen=True)
class MeasuredBundle:
    """The runner bundle a case ran in; the digest is over all of its files."""

    abi: str
    runtime: str
    runtime_version: str
    sha256: str
    size_bytes: int
    simd: tuple[str, ...]  # what the runtime's library has code for, of the features in PROTOCOL.md


@dataclass(frozen=True)
class Doubt:
    """Why a figure is to be trusted less. `kind` is a word of harness.doubts, `message` says what was seen, what to do.

    `samples` are the indices of the timed passes concerned; none: the whole case is.
    """

    kind: str
    message: str
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class OutputCheck:
    """The device's output against what it must be (PyTorch's; ONNX Runtime's here for a user's own model), as
    `export.verify.deviation` judges it; None: cannot be told.

    `fp32_relative` is the largest difference from the output of the same network in fp32, over that one's spread: what
    fp16 and int8 cost. None where the network is in fp32.
    """

    max_abs_error: float | None
    spread: float | None
    relative: float | None  # max_abs_error / spread
    tolerance: float  # of the spread
    failure: str | None
    fp32_relative: float | None = None

    @property
    def passed(self) -> bool:
        return self.failure is None


@dataclass(frozen=True)
class Record:
    """One case in one round, whole: measured, or failed with a reason.

    `id` is the case's, `round` counts from 0; each is a process of its own. `order` is the place in the run, from 0.
    `status` is "ok" or one of `harness.policy`. `attempt` counts from 1: a case that a lost device or a bad push has
    spoilt is taken again, and each attempt has a record. `phases_ns` are
    durations on the host's clock (push, launch, load, passes, collect, ...): what the harness itself costs.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    schema_version: int
    run: str
    id: str
    round: int
    order: int
    utc: str
    commit: str | None
    case: Case
    device: DeviceInfo
    status: str
    error: str | None
    artifact: MeasuredArtifact | None
    bundle: MeasuredBundle | None
    measurement: Measurement | None
    check: OutputCheck | None
    before: DeviceState | None
    after: DeviceState | None
    phases_ns: dict[str, int]
    pushed_bytes: int
    warnings: tuple[Doubt, ...]
    attempt: int = 1

    @property
    def outside_passes_ns(self) -> int:
        """Host time that the case took beyond its passes, warm-up included among the passes."""
        return sum(ns for phase, ns in self.phases_ns.items() if phase != "passes")


@cache  # it takes 100 ms to make
def record_adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


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
    """The records of a run, in the order they were made; of a turn that was taken again, the last one.

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
    if record.measurement is not None:
        try:
            for _ in wire.lines(record.measurement):
                pass
        except wire.WireError as error:
            raise ValueError(str(error)) from None
    if record.status == "ok" and not (record.measurement and record.artifact and record.check and record.check.passed):
        raise ValueError("its status is ok, but nothing was measured, or the output not found right")
