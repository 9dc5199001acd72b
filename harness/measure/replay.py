"""A recorded run as a device: `replay:FOLDER` plays its records back through the same code that made them.

Everything of a run is at work but the hardware: order and rounds, waiting for a device to cool, the wire, warnings,
statistics, tables. The conditions may be recorded ones or made up, such as a phone that throttles. What cannot be done
again, pushing files and checking an output, is taken from the recording.

`replay:FOLDER?drift=0.02` makes each case that is played 2 % slower than it would have been one case before: a device
that slows down as it warms up, to try an order of measurement on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl

from device import wire
from device.device import OnBytes, OnEvent
from device.errors import DeviceError
from device.open import Opener, register
from device.records import Bundle, DeviceInfo, DeviceState, Measurement, Pass, RunRequest
from export.artifact import ExportError
from harness.measure.networks import Network, Networks
from harness.record import journal
from harness.record.case import Case
from harness.record.errors import UsageError
from harness.record.plan import CaseRound
from harness.record.record import MeasuredArtifact, MeasuredBundle, OutputCheck, Record
from toolchain.files import File

PREFIX = "replay:"


class RecordedFailure(DeviceError):
    """The recorded case failed; it fails again in the same way."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotRecorded(DeviceError):
    """The recording has nothing for this case, or for this round of it."""

    status = "not_recorded"


@dataclass(frozen=True)
class Recording:
    """The records of a run, and how much slower each case is played than the one before it."""

    records: tuple[Record, ...]
    drift: float = 0.0

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple({record.case.id: record.case for record in self.records}.values())

    @property
    def rounds(self) -> int:
        return max(record.round for record in self.records) + 1

    def of(self, case: Case, round_: int) -> Record:
        """The record of a case in that round; past the last one, the last."""
        records = sorted((one for one in self.records if one.id == case.id), key=lambda one: one.round)
        return records[min(round_, len(records) - 1)]


def is_recording(device: str) -> bool:
    """Whether a device of this name is a recording."""
    return device.startswith(PREFIX)


def read(name: str) -> Recording:
    """The recording that `replay:FOLDER[?drift=X]` names. Raises UsageError for what is none."""
    folder, _, query = name.removeprefix(PREFIX).partition("?")
    records = journal.read(Path(folder))
    if not records:
        raise UsageError(f"{name}: the run in {folder} has no records to play back")
    if len({record.device.serial for record in records}) > 1:
        raise UsageError(f"{name}: the run in {folder} has records of several devices; name a run of one")
    options = dict(parse_qsl(query, keep_blank_values=True))
    try:
        drift = float(options.pop("drift", "0"))
    except ValueError:
        drift = math.nan
    if options or not -1 < drift < 1:
        raise UsageError(f"{name}: after the ? only drift=NUMBER between -1 and 1 may stand, such as drift=0.02")
    return Recording(tuple(records), drift)


def networks(device: str) -> Networks:
    """The network of each case, as it was recorded. Raises UsageError for what is no recording."""
    recording = read(device)

    def network(one: CaseRound) -> Network:
        record = recording.of(one.case, one.round)
        if record.artifact is None:
            raise ExportError(record.error or "the recording has nothing of its network")
        return RecordedNetwork(record, one.round)

    return network


@dataclass(frozen=True)
class RecordedNetwork:
    """The network of a recorded case. Its output was checked when it was recorded: that verdict stands."""

    record: Record
    round: int

    @property
    def artifact(self) -> MeasuredArtifact:
        """Raises NotRecorded for a record of an export that failed."""
        if self.record.artifact is None:
            raise NotRecorded(f"{self.record.id}: {self.record.error or 'nothing is known of its network'}")
        return self.record.artifact

    def prepare(
        self,
        case: Case,
        device: DeviceInfo,  # noqa: ARG002 (the recording's own)
        output: Path,
    ) -> tuple[RunRequest, MeasuredBundle]:
        used = self.record.bundle
        if used is None:
            raise RecordedFailure(self.record.status, self.record.error or "it failed before anything was run")
        # The device looks at the name alone, which says what of the recording is meant.
        named = File(_name(case.id, self.round), "", 0, output)
        request = RunRequest(
            bundle=Bundle(used.abi, used.runtime, used.runtime_version, runner="", files=(), simd=used.simd),
            model_files=(named,),
            inputs=(),
            output_path=output,
        )
        return request, used

    def check(self, output: Path, measurement: Measurement) -> OutputCheck:  # noqa: ARG002 (there is no output)
        if self.record.check is None:
            raise RecordedFailure(self.record.status, self.record.error or "its output was never checked")
        return self.record.check


def _name(case_id: str, round_: int) -> str:
    return f"{case_id}, round {round_ + 1}"


class ReplayDevice:
    """Plays the record of each case and round."""

    def __init__(self, recording: Recording) -> None:
        self._drift = recording.drift
        self._info = replace(recording.records[0].device, kind="replay")
        self._records = {_name(record.id, record.round): record for record in recording.records}
        self._playing: Record | None = None
        self._ran = False
        self._played = 0

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def free_bytes(self) -> int | None:
        return None

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:  # noqa: ARG002 (nothing moves)
        """Takes up the record that is to be played."""
        name = request.model_files[0].name
        if name not in self._records:
            raise NotRecorded(f"the recording has no {name}")
        self._playing, self._ran = self._records[name], False
        return 0

    def state(self) -> DeviceState:
        record = self._now_playing()
        state = record.after if self._ran else record.before
        if state is None:
            raise RecordedFailure(record.status, record.error or "the device's state was not recorded")
        return state

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:
        record = self._now_playing()
        if record.measurement is None:
            raise RecordedFailure(record.status, record.error or "nothing was measured")
        recorded = _slowed(record.measurement, 1 + self._drift * self._played)
        self._played, self._ran = self._played + 1, True
        profile_passes = recorded.profile.passes if recorded.profile else 0
        transcript = wire.Transcript.of(replace(request, profile_passes=profile_passes))
        for line in wire.lines(recorded):
            for event in transcript.receive(line):
                on_event(event)
        return _with_emulated_counts(transcript.measurement(), recorded)

    def reconnect(self, limit_s: float, *, reboot_after_s: float | None = None) -> None:
        pass  # what was lost in a recording stays lost

    def close(self) -> None:
        pass

    def _now_playing(self) -> Record:
        if self._playing is None:
            raise NotRecorded("nothing is being played yet: a case is pushed first")
        return self._playing


def _slowed(measured: Measurement, factor: float) -> Measurement:
    def slowed(passes: Sequence[Pass]) -> tuple[Pass, ...]:
        return tuple(
            replace(one, ns=round(one.ns * factor), cpu_ns=None if one.cpu_ns is None else round(one.cpu_ns * factor))
            for one in passes
        )

    return replace(measured, warmup=slowed(measured.warmup), samples=slowed(measured.samples))


def _with_emulated_counts(measured: Measurement, recorded: Measurement) -> Measurement:
    """With the counts that come from an emulator and not over the wire."""

    def counted(passes: Sequence[Pass], source: Sequence[Pass]) -> tuple[Pass, ...]:
        return tuple(replace(one, counters=other.counters) for one, other in zip(passes, source, strict=True))

    return replace(
        measured,
        warmup=counted(measured.warmup, recorded.warmup),
        samples=counted(measured.samples, recorded.samples),
        profile=recorded.profile,  # the wire has all of it but what cycles go to
    )


register(PREFIX, Opener("replay", lambda name, _opening: [ReplayDevice(read(name))], needs_lock=False))
