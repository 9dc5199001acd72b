"""One case on one device, from files to a whole `Record`. This is where a measurement becomes trusted, or not."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, monotonic_ns, sleep
from typing import Protocol

from device import wire
from device.cores import cpu_mask
from device.device import Device
from device.errors import DeviceError, HostDiskFull
from device.records import Clock, DeviceInfo, DeviceState, RunRequest
from harness.analyse import warnings
from harness.measure.conditions import wait_until_cool
from harness.measure.networks import Subject
from harness.record.plan import Limits, Turn
from harness.record.record import SCHEMA_VERSION, Record

#: Hears of each event from the runner, of bytes pushed, and of the state of a device that is waited for and the seconds
#: it took so far; for progress only.
OnEvent = Callable[[wire.Event], None]
OnBytes = Callable[[int], None]
OnState = Callable[[DeviceState, float], None]


#: A deterministic board has one core: without a rest, adbd would send one pass's event on the next pass's time.
#: On hardware nobody rests between passes, so that clocks stay up.
BOARD_SETTLE_MS = 50


#: A choice: on hardware times scatter, on a board that counts instructions each pass is as the last, and takes seconds.
PROFILE_PASSES: dict[Clock, int] = {"wall": 10, "instructions": 1, "emulated": 1}


class Timekeeper(Protocol):
    """What waiting goes by: this machine's time, or a recording's."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class WallTime:
    """This machine's time."""

    def monotonic(self) -> float:
        return monotonic()

    def sleep(self, seconds: float) -> None:
        sleep(seconds)


@dataclass(frozen=True)
class Run:
    """What all records of one run share. With `profile`, a case's first round tells the time of its nodes, too."""

    id: str
    commit: str | None
    timeout_s: float
    limits: Limits = field(default_factory=Limits)
    profile: bool = False
    time: Timekeeper = field(default_factory=WallTime)


class BadConditions(DeviceError):
    """The conditions were bad, and such a case is to fail (--strict)."""

    status = "bad_conditions"


class Phases:
    """Host time by phase: a phase lasts from its `enter` to the next one's, or to `leave`."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._name: str | None = None
        self._since_ns = 0

    def enter(self, name: str) -> None:
        self.leave()
        self._name, self._since_ns = name, monotonic_ns()

    def leave(self) -> None:
        if self._name is not None:
            spent_ns = monotonic_ns() - self._since_ns
            self.ns[self._name] = self.ns.get(self._name, 0) + spent_ns
            self._name = None

    def follow(self, event: wire.Event) -> None:
        """The phase that begins with this event of the runner's."""
        last_pass_ended = isinstance(event, wire.Output)
        following = {wire.Hello: "load", wire.Loaded: "passes"}.get(type(event))
        if last_pass_ended:
            self.enter("collect")
        elif following is not None:
            self.enter(following)


def measure(
    turn: Turn,
    subject: Subject,
    device: Device,
    run: Run,
    *,
    on_event: OnEvent = lambda _: None,
    on_bytes: OnBytes = lambda _: None,
    on_state: OnState = lambda _state, _waited_s: None,
) -> Record:
    """The record of `turn`: measured and checked, or failed with its reason. Raises no DeviceError."""
    record = replace(_record(turn, device.info, run), artifact=subject.artifact)
    phases = Phases()

    def follow(event: wire.Event) -> None:
        phases.follow(event)
        on_event(event)

    with contextlib.ExitStack() as cleanup:
        try:
            scratch = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tenpass-", ignore_cleanup_errors=True))
            phases.enter("prepare")
            request, bundle = subject.prepare(turn.case, device.info, Path(scratch) / "output")
            request = _complete(request, turn, device, run)
            record = replace(record, bundle=bundle)
            phases.enter("push")
            record = replace(record, pushed_bytes=device.push(request, on_bytes))
            phases.enter("state")
            before = wait_until_cool(device, run.limits, on_state, sleep=run.time.sleep, now=run.time.monotonic)
            record = replace(record, before=before)
            _require_good_conditions(record, run.limits)
            phases.enter("launch")
            record = replace(record, measurement=device.run(request, follow))
            phases.enter("state")
            record = replace(record, after=device.state())
            phases.enter("check")
            record = _checked(record, subject, request)
            _require_good_conditions(record, run.limits)
        except DeviceError as failure:
            record = replace(record, status=failure.status, error=str(failure))
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            words = f"this machine's disk is full ({failure.strerror}); make room for temporary files, then --resume"
            record = replace(record, status=HostDiskFull.status, error=words)
        finally:
            phases.leave()
    return replace(record, phases_ns=phases.ns)


def failed(turn: Turn, device: DeviceInfo, run: Run, status: str, reason: str) -> Record:
    """The record of a case of which nothing is known but why."""
    return replace(_record(turn, device, run), status=status, error=reason)


def _complete(request: RunRequest, turn: Turn, device: Device, run: Run) -> RunRequest:
    """The request with all that the case, the device and the run have to say about how it is run."""
    case, info = turn.case, device.info
    # Which nodes another provider than the CPU's really took, only a profile tells.
    profiled = (run.profile and turn.round == 0) or case.provider != "cpu"
    return replace(
        request,
        threads=case.threads,
        cpu_mask=None if case.cpus is None else cpu_mask(case.cpus, info),
        warmup=case.warmup,
        passes=case.passes,
        settle_ms=BOARD_SETTLE_MS if info.clock == "instructions" else 0,
        counters=info.clock == "wall",
        profile_passes=PROFILE_PASSES[info.clock] if profiled else 0,
        timeout_s=run.timeout_s,
        provider=case.provider,
    )


def _checked(record: Record, subject: Subject, request: RunRequest) -> Record:
    assert record.measurement is not None  # noqa: S101 (it has just been made)
    check = subject.check(request.output_path, record.measurement)
    if check.failure is None:
        return replace(record, check=check)
    is_own = record.artifact is not None and record.artifact.source is not None
    expected = "what ONNX Runtime computed here" if is_own else "the network that PyTorch computed"
    error = f"this is not {expected}: {check.failure}"
    return replace(record, check=check, status="output_wrong", error=error)


def _require_good_conditions(record: Record, limits: Limits) -> None:
    """Raises BadConditions when --strict was asked for and a warning about the case so far is of that kind."""
    if not limits.strict or record.status != "ok":
        return
    if against := warnings.failing(warnings.warnings_of(record, limits)):
        raise BadConditions(f"--strict: {'; '.join(one.message for one in against)}")


def _record(turn: Turn, device: DeviceInfo, run: Run) -> Record:
    """A record of a case of which nothing is known yet."""
    return Record(
        schema_version=SCHEMA_VERSION,
        run=run.id,
        id=turn.case.id,
        round=turn.round,
        order=turn.order,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=run.commit,
        case=turn.case,
        device=device,
        status="ok",
        error=None,
        artifact=None,
        bundle=None,
        measurement=None,
        check=None,
        before=None,
        after=None,
        phases_ns={},
        pushed_bytes=0,
    )
