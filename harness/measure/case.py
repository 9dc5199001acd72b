"""One case on one device, from files to a whole `Record`. This is where a measurement becomes trusted, or not."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns

from device import wire
from device.bundle import require_page_size
from device.cores import cpu_mask
from device.device import Device
from device.errors import DeviceError, HostDiskFull
from device.records import Clock, DeviceInfo, DeviceState, RunRequest
from device.thermal import hottest
from export.artifact import ExportError
from harness.analyse import warnings
from harness.measure.conditions import wait_until_cool
from harness.measure.networks import Network, Networks
from harness.measure.progress import Watcher
from harness.record.case import MORE_WARMUP, WARMUP, Case
from harness.record.plan import CaseRound, Limits, Plan
from harness.record.record import SCHEMA_VERSION, Record
from harness.record.titles import reference_title
from harness.record.units import count, milliseconds, size

#: Hears of each event from the runner, of bytes pushed, and of the state of a device that is waited for and the seconds
#: it took so far; for progress only.
OnEvent = Callable[[wire.Event], None]
OnBytes = Callable[[int], None]
OnState = Callable[[DeviceState, float], None]


#: A deterministic board has one core: without a rest, adbd would send one pass's event on the next pass's time.
#: On hardware nobody rests between passes, so that clocks stay up.
BOARD_SETTLE_MS = 50


#: A choice: on hardware times scatter, on a board that counts instructions each pass is as the last, and takes seconds.
PROFILE_PASSES: dict[Clock, int] = {"wall": 10, "instructions": 1, "emulated": 1, "estimated": 1}


@dataclass(frozen=True)
class Run:
    """What all records of one run share. With `profile`, a case's first round tells the time of its nodes, too.

    With `counters`, the CPU's are read around each pass; None: where the time is hardware's.
    """

    id: str
    commit: str | None
    timeout_s: float
    limits: Limits = field(default_factory=Limits)
    profile: bool = False
    counters: bool | None = None

    @classmethod
    def of_plan(cls, plan: Plan) -> Run:
        return cls(plan.run, plan.commit, plan.timeout_s, plan.limits, plan.profile)


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
    one: CaseRound,
    network: Network,
    device: Device,
    run: Run,
    *,
    on_event: OnEvent = lambda _: None,
    on_bytes: OnBytes = lambda _: None,
    on_state: OnState = lambda _state, _waited_s: None,
) -> Record:
    """The record of `one`: measured and checked, or failed with its reason. Raises no DeviceError."""
    record = replace(_record(one, device.info, run), artifact=network.artifact)
    phases = Phases()

    def follow(event: wire.Event) -> None:
        phases.follow(event)
        on_event(event)

    with contextlib.ExitStack() as cleanup:
        try:
            scratch = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tenpass-", ignore_cleanup_errors=True))
            phases.enter("prepare")
            request, bundle = network.prepare(one.case, device.info, Path(scratch) / "output")
            require_page_size(request.bundle, device.info.page_bytes)
            request = _complete(request, one, device, run)
            record = replace(record, bundle=bundle)
            phases.enter("push")
            record = replace(record, pushed_bytes=device.push(request, on_bytes))
            phases.enter("state")
            before = wait_until_cool(device, run.limits, on_state)
            record = replace(record, before=before)
            if one.case.cpus is not None:
                request = replace(request, cpu_mask=cpu_mask(one.case.cpus, device.info, before.online_cpus))
            _require_good_conditions(record, run.limits)
            phases.enter("launch")
            record = replace(record, measurement=device.run(request, follow))
            phases.enter("state")
            record = replace(record, after=device.state())
            phases.enter("check")
            record = _checked(record, network, request)
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


def measure_and_show(one: CaseRound, networks: Networks, device: Device, run: Run, watcher: Watcher) -> Record:
    """The record of `one`, or of why there is no network for it; `watcher` is told how it goes."""
    try:
        network = networks(one)
    except ExportError as error:
        return failed(one, device.info, run, "export_failed", str(error))
    with watcher.stage(one.id, total=certain_passes(one.case)) as stage:
        pushed_bytes = 0

        def on_bytes(more: int) -> None:
            nonlocal pushed_bytes
            pushed_bytes += more
            stage.detail(f"push {size(pushed_bytes)}")

        def on_state(state: DeviceState, waited_s: float) -> None:
            limit_celsius, found = run.limits.max_start_celsius, hottest(state)
            if limit_celsius is not None and found is not None:
                zone, celsius = found
                stage.detail(f"cooling to {limit_celsius:g} °C: {zone} at {celsius:.1f} °C, {waited_s:.0f} s")

        def on_event(event: wire.Event) -> None:
            if isinstance(event, wire.PassEnded):
                if event.phase == "timed" or event.index < _warmup(one.case):
                    stage.advance()
                # Of an estimate nothing is known yet but the board's own clock, which counts instructions.
                time = f"{count(event.ns)} instructions" if device.info.chip else f"{milliseconds(event.ns)} ms"
                stage.detail(f"{event.phase} pass: {time}")
            elif isinstance(event, wire.Hello):
                stage.detail(f"load, {event.runtime} {event.runtime_version}")

        return measure(one, network, device, run, on_event=on_event, on_bytes=on_bytes, on_state=on_state)


def _warmup(case: Case) -> int:
    """Of the passes to warm up those that are certain to come."""
    return WARMUP if case.warmup is None else case.warmup


def certain_passes(case: Case) -> int:
    """How many passes are certain to come: where it is left to the device, there may be more to warm up."""
    return _warmup(case) + case.passes


def failed(one: CaseRound, device: DeviceInfo, run: Run, status: str, reason: str) -> Record:
    """The record of a case of which nothing is known but why."""
    return replace(_record(one, device, run), status=status, error=reason)


def _complete(request: RunRequest, one: CaseRound, device: Device, run: Run) -> RunRequest:
    """The request with all that the case, the device and the run have to say about how it is run."""
    case, info = one.case, device.info
    is_modelled = info.is_exact
    # Which nodes another provider than the CPU's really took, only a profile tells.
    profiled = (run.profile and one.round == 0) or case.provider != "cpu"
    return replace(
        request,
        threads=case.threads,
        cpu_mask=None if case.cpus is None else cpu_mask(case.cpus, info),
        warmup=WARMUP if case.warmup is None else case.warmup,
        more_warmup=MORE_WARMUP if case.warmup is None and is_modelled else 0,
        passes=case.passes,
        settle_ms=BOARD_SETTLE_MS if is_modelled else 0,
        repeatable=is_modelled,
        counters=info.clock == "wall" if run.counters is None else run.counters,
        profile_passes=PROFILE_PASSES[info.clock] if profiled else 0,
        timeout_s=run.timeout_s,
        provider=case.provider,
    )


def _checked(record: Record, network: Network, request: RunRequest) -> Record:
    assert record.measurement is not None  # noqa: S101 (it has just been made)
    check = network.check(request.output_path, record.measurement)
    if check.failure is None:
        return replace(record, check=check)
    error = f"the output is not {reference_title(record)}: {check.failure}"
    return replace(record, check=check, status="output_wrong", error=error)


def _require_good_conditions(record: Record, limits: Limits) -> None:
    """Raises BadConditions when --strict was asked for and a warning about the case so far is of that kind."""
    if not limits.strict or record.status != "ok":
        return
    if against := warnings.failing(warnings.warnings_of(record, limits)):
        raise BadConditions(f"--strict: {'; '.join(each.message for each in against)}")


def _record(one: CaseRound, device: DeviceInfo, run: Run) -> Record:
    """A record of a case of which nothing is known yet."""
    return Record(
        schema_version=SCHEMA_VERSION,
        run=run.id,
        id=one.case.id,
        round=one.round,
        order=one.order,
        utc=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=run.commit,
        case=one.case,
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
