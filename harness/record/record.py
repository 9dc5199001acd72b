"""What a run leaves behind: one `Record` a case, appended to records.jsonl as it ends. Raw, never derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from pydantic import ConfigDict, TypeAdapter

from device.records import DeviceInfo, DeviceState, Measurement
from export.fingerprint import Fingerprint
from export.numbers import Numbers
from harness.record.case import Case

SCHEMA_VERSION = 4

MOST_ROUNDS = 100_000


@dataclass(frozen=True)
class MeasuredArtifact:
    """What of the exported network a reader needs to know it again.

    `fingerprint` is that of the ONNX file they were made from: it tells by how much another one differs.
    `size_bytes` is of the files that were pushed, `onnx_size_bytes` of that ONNX file. `mult_adds`
    is None where an operator's cannot be told. `source` names the file of a user's own model and its sha256, None for
    a network of the registry; `calibration` says on which data int8 was calibrated. `numbers` are what the
    weights are stored in and what is computed in; None in records that do not say.
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
    numbers: Numbers | None = None
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
    options: str = ""  # what the runtime was compiled and is run with, where that was for us to choose


@dataclass(frozen=True)
class OutputCheck:
    """The device's output against what it must be (PyTorch's; ONNX Runtime's here for a user's own model), as
    `export.verify.deviation` judges it; None: cannot be told.

    `fp32_relative` is the largest difference from the output of the same network in fp32, over that one's spread: what
    fp16 and int8 cost. None where the network is in fp32. `unverified` are outputs that hang on random numbers, or that
    differ where rounding may be the reason, each with the sentence that says so: they prove nothing, and fail nothing.
    """

    max_abs_error: float | None
    spread: float | None
    relative: float | None  # max_abs_error / spread
    tolerance: float  # of the spread
    failure: str | None
    fp32_relative: float | None = None
    unverified: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.failure is None


@dataclass(frozen=True)
class Record:
    """One case in one round, whole: measured, or failed with a reason.

    `id` is the case's, `round` counts from 0; each is a process of its own. `order` is the place in the run, from 0.
    `status` is "ok" or one of measure/policy.py. `attempt` counts from 1: a case that a lost device or a bad push has
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
    attempt: int = 1

    @property
    def outside_passes_ns(self) -> int:
        """Host time that the case took beyond its passes, warm-up included among the passes."""
        return sum(ns for phase, ns in self.phases_ns.items() if phase != "passes")


@cache  # it takes 100 ms to make
def record_adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)
