"""The host's end of the wire: strict parsing of what a runner says (see runner/PROTOCOL.md).

What arrives comes from a device and is not trusted: an oversized line, an unknown event or field, a wrong
type, an event out of order or a missing end raises `WireError`, and no measurement is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as wire_dataclass

from device.errors import DeviceError, RunnerFailed
from device.records import Measurement, Pass

WIRE_VERSION = 1
MAX_LINE_BYTES = 64 * 1024

#: The runner's own failures: error status -> exit status of the process (PROTOCOL.md, "Failure").
EXIT_STATUS = {
    "usage": 2,
    "unreadable": 10,
    "bad_model": 11,
    "bad_input": 12,
    "run_failed": 13,
    "unwritable": 14,
    "affinity": 15,
    "runtime_missing": 16,
}

_STRICT = ConfigDict(strict=True, extra="forbid")
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Text = Annotated[str, Field(max_length=4096)]


class WireError(DeviceError):
    """The runner's output breaks the protocol; nothing it said is used."""

    status = "wire_broken"


@wire_dataclass(frozen=True, config=_STRICT)
class Hello:
    event: Literal["hello"]
    wire: int
    runner: _Text
    abi: _Text
    pid: _Count
    runtime: _Text
    runtime_version: _Text
    providers: Annotated[list[_Text], Field(max_length=64)]


@wire_dataclass(frozen=True, config=_STRICT)
class Loaded:
    event: Literal["loaded"]
    load_ns: _Count


@wire_dataclass(frozen=True, config=_STRICT)
class PassEnded:
    event: Literal["pass"]
    phase: Literal["warmup", "timed"]
    index: _Count
    ns: _Count
    cpu: _Count | None
    khz: _Count | None


@wire_dataclass(frozen=True, config=_STRICT)
class Output:
    event: Literal["output"]
    shape: Annotated[list[_Count], Field(max_length=16)]
    bytes: _Count


@wire_dataclass(frozen=True, config=_STRICT)
class End:
    event: Literal["end"]
    warmup: _Count
    passes: _Count
    peak_rss_bytes: _Count


@wire_dataclass(frozen=True, config=_STRICT)
class Failed:
    event: Literal["error"]
    status: Literal[
        "usage",
        "unreadable",
        "bad_model",
        "bad_input",
        "run_failed",
        "unwritable",
        "affinity",
        "runtime_missing",
    ]
    message: _Text


Event = Hello | Loaded | PassEnded | Output | End | Failed
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse(line: bytes) -> Event:
    """One line of the wire as an event. Raises WireError if it is not exactly one."""
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"the runner sent a line of {len(line)} bytes; {MAX_LINE_BYTES} are allowed")
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(
            f"the runner sent what is not an event of the protocol: {line[:120]!r} ({where}: {first['msg']})"
        ) from None


@dataclass(frozen=True)
class _Expected:
    kind: type
    phase: str | None = None
    index: int | None = None

    def admits(self, event: Event) -> bool:
        if not isinstance(event, self.kind):
            return False
        return not isinstance(event, PassEnded) or (event.phase, event.index) == (self.phase, self.index)

    def __str__(self) -> str:
        return self.kind.__name__ if self.phase is None else f"{self.phase} pass {self.index}"


def _order(warmup: int, passes: int) -> Iterator[_Expected]:
    yield _Expected(Hello)
    yield _Expected(Loaded)
    for index in range(warmup):
        yield _Expected(PassEnded, "warmup", index)
    for index in range(passes):
        yield _Expected(PassEnded, "timed", index)
    yield _Expected(Output)
    yield _Expected(End)


class Transcript:
    """Takes the runner's lines one by one and becomes a `Measurement` when they are whole."""

    def __init__(self, *, warmup: int, passes: int) -> None:
        self._warmup, self._passes = warmup, passes
        self._order = _order(warmup, passes)
        self._events: list[Event] = []
        self._pending = b""

    def receive(self, chunk: bytes) -> Iterator[Event]:
        """The events of the lines that `chunk` completes; raises as `feed` does."""
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        for line in lines:
            yield self.feed(line)
        if len(self._pending) > MAX_LINE_BYTES:
            parse(self._pending)

    @property
    def pid(self) -> int | None:
        """The runner's process id on the device, once it has said hello."""
        first = self._events[0] if self._events else None
        return first.pid if isinstance(first, Hello) else None

    def feed(self, line: bytes) -> Event:
        """The event in `line`. Raises WireError if it may not come now, RunnerFailed if it says so itself."""
        event = parse(line)
        if isinstance(event, Failed):
            raise RunnerFailed(event.status, event.message)
        expected = next(self._order, None)
        if expected is None or not expected.admits(event):
            raise WireError(f"the runner sent {event.event!r} where {expected or 'nothing more'} was due")
        if isinstance(event, Hello) and event.wire != WIRE_VERSION:
            raise WireError(
                f"the runner speaks wire version {event.wire}, this harness {WIRE_VERSION}: rebuild the bundle"
            )
        if isinstance(event, End) and (event.warmup, event.passes) != (self._warmup, self._passes):
            raise WireError(f"the runner counts {event.warmup}+{event.passes} passes, other than were asked for")
        self._events.append(event)
        return event

    def measurement(self) -> Measurement:
        """All that was measured. Raises WireError if the end has not come."""
        if not self._events or not isinstance(self._events[-1], End):
            raise WireError(f"the runner's output ended early, after {len(self._events)} events")
        hello, loaded, *passes, output, end = self._events
        assert isinstance(hello, Hello)  # noqa: S101 (the order was checked as they came)
        assert isinstance(loaded, Loaded)  # noqa: S101
        assert isinstance(output, Output)  # noqa: S101
        assert isinstance(end, End)  # noqa: S101
        timed = [event for event in passes if isinstance(event, PassEnded)]
        return Measurement(
            runner_version=hello.runner,
            abi=hello.abi,
            runtime=hello.runtime,
            runtime_version=hello.runtime_version,
            providers=tuple(hello.providers),
            load_ns=loaded.load_ns,
            warmup=tuple(Pass(e.ns, e.cpu, e.khz) for e in timed if e.phase == "warmup"),
            samples=tuple(Pass(e.ns, e.cpu, e.khz) for e in timed if e.phase == "timed"),
            peak_rss_bytes=end.peak_rss_bytes,
            output_shape=tuple(output.shape),
        )
