"""What comes over the wire is believed only when it is exactly what the protocol allows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import wire
from device.errors import DeviceError, RunnerFailed
from device.records import Counters, NodeTime, Pass, Profile
from device.statuses import EXIT_STATUSES
from device.wire import Transcript, WireError
from toolchain.paths import REPOSITORY
from toolchain.tensors import TensorType

PROTOCOL = (REPOSITORY / "device/runner/PROTOCOL.md").read_text()


PASS = 2  # where the first pass stands in the stream


def stream(warmup: int = 1, passes: int = 2, profiled: int = 0, settled: bool | None = None) -> list[dict[str, Any]]:
    """A whole run's events; with `profiled` passes, of two nodes, at the end."""

    def ended(phase: str, index: int) -> dict[str, Any]:
        return {
            "event": "pass",
            "phase": phase,
            "index": index,
            "ns": 1000 + index,
            "cpu_ns": 900 + index,
            "wait_ns": 40 + index,
            "cpu": 0,
            "khz": None,
            "millicelsius": 41_500,
            "counters": {"enabled_ns": 1100, "running_ns": 1100, "counts": {"instructions": 9000, "cycles": 4000}},
        }

    profile = [
        {"event": "profile", "passes": profiled, "total_ns": 300, "nodes": 2, "spans": 1},
        {
            "event": "node",
            "index": 0,
            "name": "conv1",
            "op": "Conv",
            "total_ns": 200,
            "provider": "CPUExecutionProvider",
        },
        {"event": "node", "index": 1, "name": "fc", "op": "Gemm", "total_ns": 50, "provider": None},
        {"event": "spans", "index": 0, "spans": [[0, 0, 1, 2], [1, 0, 3, 4]]},
    ]

    return [
        {
            "event": "hello",
            "wire": 6,
            "runner": "0.1.0",
            "abi": "x86_64",
            "pid": 7,
            "runtime": "onnxruntime",
            "runtime_version": "1.32.0",
            "providers": ["CPUExecutionProvider"],
            "machine": "x86_64",
            "cpu_features": ["avx2"],
            "counters_error": None,
        },
        {"event": "loaded", "load_ns": 5},
        *(ended("warmup", index) for index in range(warmup)),
        *(ended("timed", index) for index in range(passes)),
        {"event": "output", "tensors": [{"type": "float32", "shape": [1, 10]}], "bytes": 40},
        *(profile if profiled else []),
        {
            "event": "end",
            "warmup": warmup,
            "settled": settled,
            "passes": passes,
            "peak_rss_bytes": 1000,
            "cpu_mask": 3,
        },
    ]


def lines(events: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def read(data: bytes, warmup: int = 1, passes: int = 2, chunk: int = 1 << 20, profiled: int = 0) -> Transcript:
    transcript = Transcript(warmup=warmup, passes=passes, profile_passes=profiled)
    for start in range(0, len(data), chunk):
        list(transcript.receive(data[start : start + chunk]))
    return transcript


def test_a_whole_stream_becomes_a_measurement_with_every_sample() -> None:
    measured = read(lines(stream())).measurement()
    assert [sample.ns for sample in measured.samples] == [1000, 1001]
    assert [sample.ns for sample in measured.warmup] == [1000]
    assert measured.outputs == (TensorType("float32", (1, 10)),)
    assert measured.peak_rss_bytes == 1000
    assert measured.cpu_mask == 3
    assert (measured.machine, measured.cpu_features, measured.counters_error) == ("x86_64", ("avx2",), None)


@pytest.mark.parametrize(("made", "settled"), [(1, True), (2, True), (4, True), (4, False)])
def test_more_passes_to_warm_up_may_come_until_they_have_settled(made: int, settled: bool) -> None:
    transcript = Transcript(warmup=1, more_warmup=3, passes=2)
    list(transcript.receive(lines(stream(warmup=made, settled=settled))))
    measured = transcript.measurement()
    assert (len(measured.warmup), len(measured.samples), measured.settled) == (made, 2, settled)
    again = Transcript(warmup=1, more_warmup=3, passes=2)
    list(again.receive(b"".join(wire.lines(measured))))
    assert again.measurement() == measured


@pytest.mark.parametrize(
    ("more", "made", "settled"),
    [(3, 0, True), (3, 5, True), (3, 2, None), (3, 3, False), (0, 1, True), (0, 2, None)],
)
def test_other_passes_to_warm_up_than_were_asked_for_are_refused(more: int, made: int, settled: bool | None) -> None:
    transcript = Transcript(warmup=1, more_warmup=more, passes=2)
    with pytest.raises(WireError):
        list(transcript.receive(lines(stream(warmup=made, settled=settled))))


def test_several_outputs_are_read_in_their_order_each_with_its_type() -> None:
    events = stream()
    tensors = [{"type": "int64", "shape": [2, 3]}, {"type": "bool", "shape": []}, {"type": "float16", "shape": [0, 7]}]
    next(event for event in events if event["event"] == "output").update(tensors=tensors, bytes=49)
    measured = read(lines(events)).measurement()
    assert measured.outputs == (
        TensorType("int64", (2, 3)),
        TensorType("bool", ()),
        TensorType("float16", (0, 7)),
    )
    assert b"".join(wire.lines(measured)).count(b'"int64"') == 1


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        [{"type": "float32", "shape": [10]}] * (wire.MAX_OUTPUTS + 1),
        [{"type": "float", "shape": [10]}],
        [{"type": "bfloat16", "shape": [20]}],
        [{"shape": [10]}],
        [{"type": "float32", "shape": [10], "name": "y"}],
        [{"type": "float32", "shape": [1] * 17}],
        [{"type": "float32", "shape": [-1, -10]}],
    ],
    ids=["none", "too many", "unknown type", "no type of numpy's", "no type", "a name", "too many sizes", "below 0"],
)
def test_outputs_that_the_protocol_does_not_know_are_refused(tensors: list[dict[str, Any]]) -> None:
    events = stream()
    next(event for event in events if event["event"] == "output").update(tensors=tensors, bytes=40)
    with pytest.raises(WireError, match="not an event of the protocol"):
        read(lines(events))


def test_a_pass_keeps_its_temperature_in_degrees_and_its_cpu_time_and_counts_as_read() -> None:
    [first, _second] = read(lines(stream())).measurement().samples
    assert first.celsius == 41.5
    assert (first.cpu_ns, first.wait_ns) == (900, 40)
    assert first.counters == Counters("perf", 1100, 1100, {"instructions": 9000, "cycles": 4000})


def test_what_the_device_cannot_tell_is_none() -> None:
    events = stream()
    events[PASS] |= {"cpu_ns": None, "wait_ns": None, "cpu": None, "khz": None, "millicelsius": None, "counters": None}
    [warmup] = read(lines(events)).measurement().warmup
    assert warmup == Pass(ns=1000, cpu=None, khz=None)


def test_a_profile_is_read_with_every_node_in_order_and_apart_from_the_samples() -> None:
    measured = read(lines(stream(profiled=3)), profiled=3).measurement()
    nodes = (NodeTime("conv1", "Conv", 200, "CPUExecutionProvider"), NodeTime("fc", "Gemm", 50, None))
    assert measured.profile == Profile(3, 300, nodes)
    assert [sample.ns for sample in measured.samples] == [1000, 1001]
    assert read(lines(stream())).measurement().profile is None


def test_a_profile_that_was_not_asked_for_is_refused_and_one_that_was_is_due() -> None:
    with pytest.raises(WireError, match="'profile' where End was due"):
        read(lines(stream(profiled=1)))
    with pytest.raises(WireError, match="'end' where Profiled was due"):
        read(lines(stream()), profiled=1)
    with pytest.raises(WireError, match="profiled 2 passes, 1 were asked for"):
        read(lines(stream(profiled=2)), profiled=1)


@pytest.mark.parametrize("told", [1, 3])
def test_a_profile_has_as_many_nodes_as_it_says(told: int) -> None:
    events = stream(profiled=1)
    next(event for event in events if event["event"] == "profile")["nodes"] = told
    with pytest.raises(WireError, match="was due"):
        read(lines(events), profiled=1)


def test_nodes_out_of_order_are_refused() -> None:
    events = stream(profiled=1)
    nodes = [event for event in events if event["event"] == "node"]
    nodes[0]["index"], nodes[1]["index"] = 1, 0
    with pytest.raises(WireError, match="'node' where Node 0 was due"):
        read(lines(events), profiled=1)


def test_a_profile_of_more_nodes_than_any_network_has_is_refused() -> None:
    events = stream(profiled=1)
    next(event for event in events if event["event"] == "profile")["nodes"] = wire.MAX_NODES + 1
    with pytest.raises(WireError, match="nodes"):
        read(lines(events), profiled=1)


def test_what_is_heard_of_a_profile_has_its_spans() -> None:
    transcript = Transcript(warmup=1, passes=2, profile_passes=1)
    heard = list(transcript.receive(lines(stream(profiled=1))))
    assert [event.spans for event in heard if isinstance(event, wire.Spans)] == [[(0, 0, 1, 2), (1, 0, 3, 4)]]


@pytest.mark.parametrize(
    "spans", [[], [[0, 0, 1]], [[0, 0, 1, 2, 3]], [[0, 0, -1, 2]], [[0, 0, 1, 2]] * 1001, [0], None]
)
def test_what_are_no_spans_is_refused(spans: object) -> None:
    events = stream(profiled=1)
    next(event for event in events if event["event"] == "spans")["spans"] = spans
    with pytest.raises(WireError, match="not an event of the protocol"):
        read(lines(events), profiled=1)


@pytest.mark.parametrize("told", [0, 2])
def test_a_profile_has_as_many_events_of_spans_as_it_says(told: int) -> None:
    events = stream(profiled=1)
    next(event for event in events if event["event"] == "profile")["spans"] = told
    with pytest.raises(WireError, match="was due"):
        read(lines(events), profiled=1)


@given(st.integers(1, 200))
def test_it_does_not_matter_where_the_stream_is_cut_into_chunks(chunk: int) -> None:
    assert read(lines(stream()), chunk=chunk).measurement() == read(lines(stream())).measurement()


@pytest.mark.parametrize("kept", range(len(stream(profiled=1))))
def test_a_stream_that_ends_early_is_no_measurement(kept: int) -> None:
    with pytest.raises(WireError, match="ended early"):
        read(lines(stream(profiled=1)[:kept]), profiled=1).measurement()


def test_a_last_line_without_its_end_is_not_read() -> None:
    with pytest.raises(WireError, match="ended early"):
        read(lines(stream())[:-1]).measurement()


@pytest.mark.parametrize("index", range(len(stream(profiled=1)) - 1))
def test_events_out_of_order_are_refused(index: int) -> None:
    events = stream(profiled=1)
    events[index], events[index + 1] = events[index + 1], events[index]
    with pytest.raises(WireError, match="was due"):
        read(lines(events), profiled=1)


def test_more_events_than_were_asked_for_are_refused() -> None:
    with pytest.raises(WireError, match="nothing more"):
        read(lines([*stream(), stream()[-1]]))


@pytest.mark.parametrize(
    "change",
    [
        {"ns": "1000"},
        {"ns": -1},
        {"ns": 1.5},
        {"ns": True},
        {"ns": 2**64},
        {"phase": "cold"},
        {"surplus": 1},
        {"event": "passing"},
        {"cpu": -1},
        {"cpu_ns": -1},
        {"wait_ns": -1},
        {"millicelsius": 41.5},
        {"millicelsius": 2**31},
        {"counters": {}},
        {"counters": {"enabled_ns": 1, "running_ns": 1, "counts": {"branches": 1}}},
        {"counters": {"enabled_ns": 1, "running_ns": 1, "counts": {"cycles": -1}}},
        {"counters": {"enabled_ns": 1, "running_ns": None, "counts": {}}},
    ],
)
def test_a_field_of_another_type_range_or_name_is_refused(change: dict[str, Any]) -> None:
    events = stream()
    events[PASS] |= change
    with pytest.raises(WireError):
        read(lines(events))


@given(st.data())
def test_a_missing_field_is_refused_in_every_event(data: st.DataObject) -> None:
    events = stream(profiled=1)
    event = data.draw(st.sampled_from(events))
    del event[data.draw(st.sampled_from(sorted(event)))]
    with pytest.raises(WireError):
        read(lines(events), profiled=1)


def test_another_wire_version_is_refused_with_what_to_do() -> None:
    events = stream()
    for other in (wire.WIRE_VERSION - 1, wire.WIRE_VERSION + 1):
        events[0]["wire"] = other
        with pytest.raises(WireError, match="rebuild the bundle"):
            read(lines(events))


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(WireError, match="are allowed"):
        read(b"x" * (wire.MAX_LINE_BYTES + 1), chunk=4096)


def test_the_runners_own_error_keeps_its_status_and_message() -> None:
    error = {"event": "error", "status": "bad_model", "message": "cannot load"}
    with pytest.raises(RunnerFailed, match="cannot load") as caught:
        read(lines([stream()[0], error]))
    assert caught.value.status == "bad_model"


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_wait_for_more_but_never_crash(data: bytes) -> None:
    try:
        transcript = read(data + b"\n")
    except DeviceError:
        return
    with pytest.raises(WireError):
        transcript.measurement()


@given(st.data())
def test_a_stream_with_a_damaged_line_is_never_a_measurement_of_other_samples(data: st.DataObject) -> None:
    whole = lines(stream())
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:position] + data.draw(st.binary(min_size=1, max_size=3)) + whole[position + 1 :]
    try:
        measured = read(damaged).measurement()
    except DeviceError:
        return
    assert len(measured.samples) == 2


def test_the_protocols_document_shows_every_event_and_each_example_parses() -> None:
    examples = [line.strip() for line in PROTOCOL.splitlines() if line.startswith('    {"event"')]
    kinds = {type(wire.parse(line.encode())) for line in examples}
    assert kinds == set(wire.Event.__args__)


def test_the_runner_has_the_same_error_statuses_with_the_same_exit_statuses() -> None:
    source = (REPOSITORY / "device/runner/src/failure.hpp").read_text()
    assert {
        name: int(number) for name, number in re.findall(r"^  (\w+) = (\d+),$", source, re.MULTILINE)
    } == EXIT_STATUSES


def error_with(status: str) -> bytes:
    return json.dumps({"event": "error", "status": status, "message": "why"}).encode()


@pytest.mark.parametrize("status", EXIT_STATUSES)
def test_a_runners_own_failure_keeps_its_status(status: str) -> None:
    with pytest.raises(RunnerFailed, match="why") as caught:
        Transcript(warmup=1, passes=1).feed(error_with(status))
    assert caught.value.status == status


@pytest.mark.parametrize("status", ["crashed", "", "usage\n", "usage|bad_model", "misusage"])
def test_a_status_that_no_runner_has_is_refused(status: str) -> None:
    with pytest.raises(WireError, match="status"):
        Transcript(warmup=1, passes=1).feed(error_with(status))
