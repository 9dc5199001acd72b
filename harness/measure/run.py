"""A plan is measured on all its devices, one session each and all at the same time. A failing one holds up no other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.artifact import Artifact, ExportError
from harness.measure import networks as nets
from harness.measure import own_models, replay
from harness.measure.device import Attachment, Listener, Session, Stop, session_here
from harness.measure.networks import Bundles, Files, Networks
from harness.measure.progress import Progress, Watcher
from harness.record import journal
from harness.record import plan as plans
from harness.record.differences import require_same
from harness.record.errors import EXPECTED, UsageError
from harness.record.plan import CaseRound, Plan
from harness.record.run_folder import RunFolder

_JOIN_S = 30  # for what is still running to end after a stop


@dataclass(frozen=True)
class Prepared:
    """What a run needs before its first case. `exports` are what was exported here; a recording has none."""

    plan: Plan
    exports: Mapping[Files, Artifact | ExportError]
    networks: Networks
    bundles: Bundles


#: The session in which a device, by the plan's name for it, measures these cases.
Sessions = Callable[[Prepared, str, Sequence[CaseRound]], Session]


@dataclass(frozen=True)
class RunResult:
    """The plan with the devices that the run has met, and what kept a device from its cases, or from some of them."""

    plan: Plan
    failures: Mapping[str, Exception]


def sessions_here(attachment: Attachment) -> Sessions:
    """Sessions of devices that this machine has."""

    def session(prepared: Prepared, device: str, cases: Sequence[CaseRound]) -> Session:
        return session_here(prepared.plan, device, cases, prepared.networks, prepared.bundles, attachment)

    return session


def measure_plan(plan: Plan, folder: Path, progress: Progress, sessions: Sessions, *, is_resumed: bool) -> RunResult:
    """Measures what the plan has and `folder` lacks; every record is kept there as it comes.

    When Ctrl-C comes, what is measured is kept. Raises UsageError for a run that is to go on and is not the one it was,
    and where no network can be exported; and what kept the only device, or all of them, from being measured.
    """
    recorded = plans.read(folder) if is_resumed else None
    if recorded is not None:
        require_same(recorded, plan, folder)
        own_models.require_unchanged(plan, folder)
        plan = replace(plan, device_infos=recorded.device_infos)
    prepared = _prepared(plan, progress)
    if recorded is not None:
        require_same(recorded, prepared.plan, folder)
    missing = _missing(prepared.plan, folder, progress)
    failures: dict[str, Exception] = {}
    with RunFolder(prepared.plan, folder) as run_folder:
        try:
            watchers = progress.of_devices({device: len(cases) for device, cases in missing.items()})
            begun = {device: sessions(prepared, device, cases) for device, cases in missing.items()}
            failures = _take_all(begun, watchers, run_folder)
        except KeyboardInterrupt:
            if not (run_folder.is_begun or is_resumed):
                raise
            progress.say("interrupted: what is finished is kept; --resume goes on")
    if failures and len(failures) == len(plan.devices):
        raise next(iter(failures.values()))
    return RunResult(run_folder.plan, failures)


def _prepared(plan: Plan, progress: Progress) -> Prepared:
    bundles = Bundles()
    exports: dict[Files, Artifact | ExportError] = {}
    if replay.is_recording(plan.devices[0]):
        networks = replay.networks(plan.devices[0])
    else:
        exports = nets.exported(plan, progress)
        networks = nets.networks_of(exports, bundles)
    failed = [made for made in exports.values() if isinstance(made, ExportError)]
    if failed and len(failed) == len(exports):
        raise UsageError("; ".join(dict.fromkeys(map(str, failed))))  # before a device is met, and a folder written
    return Prepared(nets.plan_with_networks(plan, networks), exports, networks, bundles)


def _missing(plan: Plan, folder: Path, progress: Progress) -> dict[str, list[CaseRound]]:
    """What each device has to measure; a device that has all of it is left out."""
    records = journal.read(folder, on_torn=progress.say) if (folder / journal.FILE_NAME).exists() else []
    by_device: dict[str, list[CaseRound]] = {}
    for missing in plans.missing_cases(plan, records):
        by_device.setdefault(missing.device, []).append(missing.case_round)
    return by_device


@dataclass(frozen=True)
class _Ended:
    device: str
    error: BaseException | None


def _take_all(
    sessions: Mapping[str, Session], watchers: Mapping[str, Watcher], run_folder: RunFolder
) -> dict[str, Exception]:
    """Takes the sessions at the same time; gives the expected errors that kept some from beginning, or ended them.

    The folder is written in this thread. What else a session raises, and Ctrl-C, ends all of them: cases that are
    running then are not kept.
    """
    messages: queue.SimpleQueue[Callable[[], None] | _Ended] = queue.SimpleQueue()
    stop = Stop()

    def work(device: str, take: Session) -> None:
        listener = Listener(
            met=lambda info: messages.put(lambda: run_folder.met(device, info)),
            keep=lambda record: messages.put(lambda: run_folder.keep(record)),
            watcher=watchers[device],
        )
        error: BaseException | None = None
        try:
            take(listener, stop)
        except BaseException as raised:
            error = raised
        messages.put(_Ended(device, error))

    threads = [threading.Thread(target=work, args=item, daemon=True) for item in sessions.items()]
    failures: dict[str, Exception] = {}
    try:
        for thread in threads:
            thread.start()
        at_work = len(threads)
        while at_work:
            message = messages.get()
            if not isinstance(message, _Ended):
                message()
                continue
            at_work -= 1
            if isinstance(message.error, EXPECTED):
                failures[message.device] = message.error
            elif message.error is not None:
                raise message.error
    finally:
        stop.set()
        for thread in threads:
            thread.join(_JOIN_S)
    return failures
