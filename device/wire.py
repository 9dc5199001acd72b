"""The host's end of the wire: strict parsing of what a runner says (see runner/PROTOCOL.md).

What arrives comes from a device and is not trusted: an oversized line, an unknown event or field, a wrong
type, an event out of order or a missing end raises `WireError`, and no measurement is made of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as wire_dataclass

from device.errors import DeviceError, RunnerFailed
from device.records import (
    Counters,
    CountName,
    Measurement,
    NodeTime,
    Pass,
    Profile,
    RunRequest,
)
from device.statuses import EXIT_STATUSES
from device.thermal import is_plausible
from toolchain.tensors import ELEMENT_BYTES, ElementType, TensorType

WIRE_VERSION = 6
MAX_NODES = 65_536
MAX_LINE_BYTES = 64 * 1024
#: Of a whole run, as a choice: 512 bytes for each of MAX_NODES nodes, and for each pass more than the longest line of
#: one, whose numbers have at most 20 digits.
MAX_STREAM_BYTES = 32 * 1024 * 1024
MAX_PASS_BYTES = 1024
#: A choice: the output of 64 million float32 values; the networks of the paper have 1,000.
MAX_OUTPUT_BYTES = 256 * 1024 * 1024
MAX_OUTPUTS = 256
MAX_SPANS = 1000  # in one event
_QUOTED = 120  # characters of what was refused, in the message that says so

_STRICT = ConfigDict(strict=True, extra="forbid")
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Text = Annotated[str, Field(max_length=4096)]
_Mask = Annotated[int, Field(ge=0, lt=2**64)]
_RunnersStatus = Annotated[str, Field(pattern=rf"^({'|'.join(EXIT_STATUSES)})\z")]


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
    machine: _Text
    cpu_features: Annotated[list[_Text], Field(max_length=64)]
    counters_error: _Text | None


@wire_dataclass(frozen=True, config=_STRICT)
class Loaded:
    event: Literal["loaded"]
    load_ns: _Count


@wire_dataclass(frozen=True, config=_STRICT)
class PassCounters:
    enabled_ns: _Count
    running_ns: _Count
    counts: dict[CountName, _Count]


@wire_dataclass(frozen=True, config=_STRICT)
class PassEnded:
    event: Literal["pass"]
    phase: Literal["warmup", "timed"]
    index: _Count
    ns: _Count
    cpu_ns: _Count | None
    wait_ns: _Count | None
    cpu: _Count | None
    khz: _Count | None
    millicelsius: Annotated[int, Field(gt=-(2**31), lt=2**31)] | None
    counters: PassCounters | None

    def as_pass(self) -> Pass:
        read = self.counters
        counters = None if read is None else Counters("perf", read.enabled_ns, read.running_ns, dict(read.counts))
        celsius = None if self.millicelsius is None else self.millicelsius / 1000
        if celsius is not None and not is_plausible(celsius):  # a sensor that went to sleep, for instance
            celsius = None
        return Pass(self.ns, self.cpu, self.khz, celsius, counters, self.cpu_ns, self.wait_ns)


@wire_dataclass(frozen=True, config=_STRICT)
class TensorWritten:
    type: ElementType
    shape: Annotated[list[_Count], Field(max_length=16)]


@wire_dataclass(frozen=True, config=_STRICT)
class Output:
    event: Literal["output"]
    tensors: Annotated[list[TensorWritten], Field(min_length=1, max_length=MAX_OUTPUTS)]
    bytes: Annotated[int, Field(ge=0, le=MAX_OUTPUT_BYTES)]

    @property
    def outputs(self) -> tuple[TensorType, ...]:
        return tuple(TensorType(tensor.type, tuple(tensor.shape)) for tensor in self.tensors)


@wire_dataclass(frozen=True, config=_STRICT)
class Profiled:
    event: Literal["profile"]
    passes: _Count
    total_ns: _Count
    nodes: Annotated[int, Field(ge=0, le=MAX_NODES)]
    spans: _Count  # how many events of them follow the nodes


@wire_dataclass(frozen=True, config=_STRICT)
class Node:
    event: Literal["node"]
    index: _Count
    name: _Text
    op: _Text
    total_ns: _Count
    provider: _Text | None


#: Node, pass, and the readings of the clock in that pass between which it ran.
Span = tuple[_Count, _Count, _Count, _Count]


@wire_dataclass(frozen=True, config=_STRICT)
class Spans:
    event: Literal["spans"]
    index: _Count
    spans: Annotated[list[Span], Field(min_length=1, max_length=MAX_SPANS)]


@wire_dataclass(frozen=True, config=_STRICT)
class End:
    event: Literal["end"]
    warmup: _Count
    settled: bool | None
    passes: _Count
    peak_rss_bytes: _Count
    cpu_mask: _Mask


@wire_dataclass(frozen=True, config=_STRICT)
class Failed:
    event: Literal["error"]
    status: _RunnersStatus
    message: _Text


Event = Hello | Loaded | PassEnded | Output | Profiled | Node | Spans | End | Failed
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse(line: bytes) -> Event:
    """One line of the wire as an event. Raises WireError if it is not exactly one."""
    if len(line) > MAX_LINE_BYTES:
        raise WireError(f"the runner sent a line of {len(line)} bytes; {MAX_LINE_BYTES} are allowed")
    try:
        event = _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:_QUOTED]
        why = f"{where}: {first['msg'][:_QUOTED]}"
        raise WireError(f"the runner sent what is not an event of the protocol: {line[:_QUOTED]!r} ({why})") from None
    json.loads(line, object_pairs_hook=_require_different_names)  # bounded: the line is short, and an event's, so flat
    if isinstance(event, Output):
        _require_size(event)
    return event


def _require_size(output: Output) -> None:
    """Sizes whose product is in bounds, also where one of them is 0: else arrays of that shape cannot be made."""
    outputs = output.outputs
    most = sum(math.prod(size or 1 for size in one.shape) * ELEMENT_BYTES[one.type] for one in outputs)
    if most > MAX_OUTPUT_BYTES or output.bytes != sum(one.size_bytes for one in outputs):
        said = ", ".join(f"{one.type} {one.shape}" for one in outputs[:4])
        raise WireError(
            f"the runner's {len(outputs)} outputs ({said}) cannot have {output.bytes} bytes "
            f"({MAX_OUTPUT_BYTES} are allowed)"
        )


def _require_different_names(pairs: list[tuple[str, object]]) -> None:
    """JSON leaves open which of two fields of one name counts (RFC 8259, section 4): neither does here."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise WireError(f"the runner sent an event with a field twice: {', '.join(names)}")


@dataclass(frozen=True)
class _Expected:
    kind: type
    phase: str | None = None
    index: int | None = None
    or_timed: bool = False  # the first timed pass will do, too

    def admits(self, event: Event) -> bool:
        if not isinstance(event, self.kind):
            return False
        if isinstance(event, PassEnded):
            told = (event.phase, event.index)
            return told == (self.phase, self.index) or (self.or_timed and told == ("timed", 0))
        return not isinstance(event, Node | Spans) or event.index == self.index

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.phase, self.kind.__name__, self.index) if part is not None)


class Transcript:
    """Takes the runner's lines one by one and becomes a `Measurement` when they are whole."""

    def __init__(self, *, warmup: int, passes: int, more_warmup: int = 0, profile_passes: int = 0) -> None:
        self._warmup, self._more_warmup = warmup, more_warmup
        self._passes, self._profile_passes = passes, profile_passes
        self._order = self._due()
        self._events: list[Event] = []
        self._pending = bytearray()
        self._left_bytes = MAX_STREAM_BYTES + (warmup + more_warmup + passes) * MAX_PASS_BYTES

    @classmethod
    def of(cls, request: RunRequest) -> Self:
        """Of a runner that is called for this."""
        return cls(
            warmup=request.warmup,
            more_warmup=request.more_warmup,
            passes=request.passes,
            profile_passes=request.profile_passes,
        )

    def _due(self) -> Iterator[_Expected]:
        """What may come, in its order; how many nodes are due is known when it is asked for."""
        yield _Expected(Hello)
        yield _Expected(Loaded)
        for index in range(self._warmup):
            yield _Expected(PassEnded, "warmup", index)
        first_timed = 0
        for index in range(self._warmup, self._warmup + self._more_warmup):
            yield _Expected(PassEnded, "warmup", index, or_timed=True)
            if isinstance(last := self._events[-1], PassEnded) and last.phase == "timed":
                first_timed = 1
                break
        for index in range(first_timed, self._passes):
            yield _Expected(PassEnded, "timed", index)
        yield _Expected(Output)
        if self._profile_passes:
            yield _Expected(Profiled)
            profiled = self._events[-1]
            nodes, spans = (profiled.nodes, profiled.spans) if isinstance(profiled, Profiled) else (0, 0)
            for index in range(nodes):
                yield _Expected(Node, index=index)
            for index in range(spans):
                yield _Expected(Spans, index=index)
        yield _Expected(End)

    def receive(self, chunk: bytes) -> Iterator[Event]:
        """The events of the lines that `chunk` completes; raises as `feed` does."""
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise WireError("the runner sends more than a run with so many passes can say; is it our runner?")
        self._pending += chunk
        if b"\n" in chunk:
            *whole, self._pending = self._pending.split(b"\n")
            for line in whole:
                yield self.feed(bytes(line))
        if len(self._pending) > MAX_LINE_BYTES:
            parse(bytes(self._pending))

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
        if isinstance(event, End):
            self._require_fitting(event)
        if isinstance(event, Profiled) and event.passes != self._profile_passes:
            raise WireError(f"the runner profiled {event.passes} passes, {self._profile_passes} were asked for")
        self._events.append(event)
        return event

    def _require_fitting(self, end: End) -> None:
        """Raises WireError for an end that does not fit what was asked for and what came."""
        warmup = sum(isinstance(event, PassEnded) and event.phase == "warmup" for event in self._events)
        if (end.warmup, end.passes) != (warmup, self._passes):
            raise WireError(f"the runner counts {end.warmup}+{end.passes} passes, other than were asked for or told")
        whether = end.settled is not None
        if whether != (self._more_warmup > 0) or (end.settled is False and warmup != self._warmup + self._more_warmup):
            raise WireError(
                f"the runner says settled={end.settled} after {warmup} passes to warm up;"
                f" {self._warmup} and at most {self._more_warmup} more were asked for"
            )

    def measurement(self) -> Measurement:
        """All that was measured. Raises WireError if the end has not come."""
        if not self._events or not isinstance(self._events[-1], End):
            raise WireError(f"the runner's output ended early, after {len(self._events)} events")
        if self._pending:
            raise WireError(f"the runner sent more after its end: {bytes(self._pending[:_QUOTED])!r}")
        hello, loaded, end = self._events[0], self._events[1], self._events[-1]
        [output] = [event for event in self._events if isinstance(event, Output)]
        assert isinstance(hello, Hello)  # noqa: S101 (the order was checked as they came)
        assert isinstance(loaded, Loaded)  # noqa: S101
        assert isinstance(end, End)  # noqa: S101
        timed = [event for event in self._events if isinstance(event, PassEnded)]
        return Measurement(
            runner_version=hello.runner,
            abi=hello.abi,
            runtime=hello.runtime,
            runtime_version=hello.runtime_version,
            providers=tuple(hello.providers),
            machine=hello.machine,
            cpu_features=tuple(hello.cpu_features),
            counters_error=hello.counters_error,
            load_ns=loaded.load_ns,
            warmup=tuple(event.as_pass() for event in timed if event.phase == "warmup"),
            samples=tuple(event.as_pass() for event in timed if event.phase == "timed"),
            peak_rss_bytes=end.peak_rss_bytes,
            cpu_mask=end.cpu_mask,
            outputs=output.outputs,
            profile=self._profile(),
            settled=end.settled,
        )

    def _profile(self) -> Profile | None:
        nodes = tuple(
            NodeTime(event.name, event.op, event.total_ns, event.provider)
            for event in self._events
            if isinstance(event, Node)
        )
        for event in self._events:
            if isinstance(event, Profiled):
                return Profile(event.passes, event.total_ns, nodes)
        return None


def lines(measured: Measurement) -> Iterator[bytes]:
    """What a runner would have said of this measurement, line by line; what an emulator counted it does not know.

    Raises WireError for what no runner can have said: such a measurement has not come over the wire.
    """
    try:
        yield from _lines(measured)
    except (ValueError, OverflowError) as error:  # pydantic's are ValueErrors; NaN and infinity have no millicelsius
        detail = str(error)
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise WireError(f"this measurement cannot have come from a runner ({detail})") from None


def _lines(measured: Measurement) -> Iterator[bytes]:
    def line(event: Event) -> bytes:
        return _EVENT.dump_json(event) + b"\n"

    def passes(phase: Literal["warmup", "timed"], of_phase: Sequence[Pass]) -> Iterator[bytes]:
        for index, one in enumerate(of_phase):
            read = one.counters if one.counters and one.counters.source == "perf" else None
            counters = None if read is None else PassCounters(read.enabled_ns, read.running_ns, dict(read.counts))
            millicelsius = None if one.celsius is None else round(one.celsius * 1000)
            yield line(
                PassEnded(
                    "pass", phase, index, one.ns, one.cpu_ns, one.wait_ns, one.cpu, one.khz, millicelsius, counters
                )
            )

    yield line(
        Hello(
            event="hello",
            wire=WIRE_VERSION,
            runner=measured.runner_version,
            abi=measured.abi,
            pid=0,
            runtime=measured.runtime,
            runtime_version=measured.runtime_version,
            providers=list(measured.providers),
            machine=measured.machine,
            cpu_features=list(measured.cpu_features),
            counters_error=measured.counters_error,
        )
    )
    yield line(Loaded("loaded", measured.load_ns))
    yield from passes("warmup", measured.warmup)
    yield from passes("timed", measured.samples)
    tensors = [TensorWritten(one.type, list(one.shape)) for one in measured.outputs]
    yield line(Output("output", tensors, sum(one.size_bytes for one in measured.outputs)))
    if measured.profile is not None:
        profile = measured.profile
        yield line(Profiled("profile", profile.passes, profile.total_ns, len(profile.nodes), 0))
        for index, node in enumerate(profile.nodes):
            yield line(Node("node", index, node.name, node.op, node.total_ns, node.provider))
    yield line(
        End(
            event="end",
            warmup=len(measured.warmup),
            settled=measured.settled,
            passes=len(measured.samples),
            peak_rss_bytes=measured.peak_rss_bytes,
            cpu_mask=measured.cpu_mask,
        )
    )
