"""Damaged, hostile and random streams of a runner: refused, or read as exactly what their lines say."""

from __future__ import annotations

import json
import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_wire import lines, read, stream

from device import wire
from device.errors import DeviceError, RunnerFailed
from device.records import COUNTS, Counters, Measurement, NodeTime, Pass, Profile
from device.thermal import is_plausible
from device.wire import Transcript, WireError
from toolchain.tensors import ELEMENT_BYTES, TensorType

WARMUP, PASSES, PROFILED = 1, 3, 2


# --- what a stream says, read without the code that is tested -------------------------------------------


def said(data: bytes) -> Measurement:
    """The measurement in a stream that may be believed; an AssertionError or ValueError for any other."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert data.endswith(b"\n")
    events = [json.loads(line, object_pairs_hook=once) for line in data.split(b"\n")[:-1]]
    hello, loaded, *passes = events[: 2 + WARMUP + PASSES]
    output, profile, *nodes, spans, end = events[2 + WARMUP + PASSES :]
    kinds = [event["event"] for event in events]
    assert kinds == [
        *["hello", "loaded"],
        *["pass"] * (WARMUP + PASSES),
        "output",
        "profile",
        *["node"] * len(nodes),
        "spans",
        "end",
    ]
    counted = [("warmup", index) for index in range(WARMUP)] + [("timed", index) for index in range(PASSES)]
    assert [(one["phase"], one["index"]) for one in passes] == counted
    assert (hello["wire"], end["warmup"], end["passes"]) == (6, WARMUP, PASSES)
    assert (profile["passes"], profile["nodes"], profile["spans"]) == (PROFILED, len(nodes), 1)
    assert (spans["index"], {len(span) for span in spans["spans"]}) == (0, {4})
    assert [node["index"] for node in nodes] == list(range(len(nodes)))
    made = [as_pass(one) for one in passes]
    return Measurement(
        runner_version=hello["runner"],
        abi=hello["abi"],
        runtime=hello["runtime"],
        runtime_version=hello["runtime_version"],
        providers=tuple(hello["providers"]),
        machine=hello["machine"],
        cpu_features=tuple(hello["cpu_features"]),
        counters_error=hello["counters_error"],
        load_ns=loaded["load_ns"],
        warmup=tuple(made[:WARMUP]),
        samples=tuple(made[WARMUP:]),
        peak_rss_bytes=end["peak_rss_bytes"],
        cpu_mask=end["cpu_mask"],
        outputs=tuple(TensorType(one["type"], tuple(one["shape"])) for one in output["tensors"]),
        profile=Profile(
            PROFILED,
            profile["total_ns"],
            tuple(NodeTime(node["name"], node["op"], node["total_ns"], node["provider"]) for node in nodes),
        ),
    )


def as_pass(event: dict[str, Any]) -> Pass:
    celsius = None if event["millicelsius"] is None else event["millicelsius"] / 1000
    celsius = celsius if celsius is not None and is_plausible(celsius) else None
    read = event["counters"]
    counters = None if read is None else Counters("perf", read["enabled_ns"], read["running_ns"], read["counts"])
    return Pass(event["ns"], event["cpu"], event["khz"], celsius, counters, event["cpu_ns"], event["wait_ns"])


def outcome(data: bytes, chunk: int = 1 << 16) -> str:
    """ "read" for a stream that became a measurement, which must be what it says, else the kind of the error."""
    try:
        measured = read(data, WARMUP, PASSES, chunk, PROFILED).measurement()
    except DeviceError as error:
        assert len(str(error)) <= 4096
        assert str(error).isprintable()
        return type(error).__name__
    assert measured == said(data)
    return "read"


# --- damage ---------------------------------------------------------------------------------------------

WHOLE = lines(stream(WARMUP, PASSES, PROFILED))
Damage = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


def with_other_byte(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.choice([b"0", b"9", b"\0", b"\n", b'"', b"{", b"}", b",", b"\xff", b" "]) + data[at + 1 :]


def without_a_part(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[at + dice.randrange(1, 40) :]


def with_a_part_twice(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    end = at + dice.randrange(1, 200)
    return data[:end] + data[at:end] + data[end:]


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def spliced(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))] + data[dice.randrange(len(data)) :]


def with_lines_in_another_order(data: bytes, dice: random.Random) -> bytes:
    parts = data.splitlines(keepends=True)
    first, second = dice.randrange(len(parts)), dice.randrange(len(parts))
    parts[first], parts[second] = parts[second], parts[first]
    return b"".join(parts)


def without_a_line(data: bytes, dice: random.Random) -> bytes:
    parts = data.splitlines(keepends=True)
    del parts[dice.randrange(len(parts))]
    return b"".join(parts)


def with_a_line_twice(data: bytes, dice: random.Random) -> bytes:
    parts = data.splitlines(keepends=True)
    at = dice.randrange(len(parts))
    parts.insert(dice.randrange(len(parts)), parts[at])
    return b"".join(parts)


VALUES = [
    *[b"0", b"-1", b"1", b"77", b"1.5", b"1e3", b"1e999", b"NaN", b"Infinity", b"-0", b"007", b"0x7"],
    *[b"9223372036854775807", b"9223372036854775808", b"18446744073709551616", b"9" * 5000, b"1e-99999"],
    *[b"null", b"true", b'"1"', b"[]", b"{}", b"[" * 5000, b'{"a":' * 3000, b'"\\ud800"', b'"\\u0000"', b'"\xc3\x28"'],
]


def with_another_value(data: bytes, dice: random.Random) -> bytes:
    starts = [at + 1 for at, byte in enumerate(data) if byte in b":" and data[at + 1 : at + 2] not in (b"", b"\n")]
    at = dice.choice(starts)
    ends = [data.index(sign, at) for sign in (b",", b"}") if sign in data[at:]]
    return data[:at] + b" " * dice.randrange(2) + dice.choice(VALUES) + data[min(ends, default=at) :]


def with_a_field_twice(data: bytes, dice: random.Random) -> bytes:
    parts = data.splitlines()
    at = dice.randrange(len(parts))
    pairs = list(json.loads(parts[at]).items())
    name, value = dice.choice(pairs)
    pairs.insert(dice.randrange(len(pairs) + 1), (name, dice.choice([value, 7, None])))
    parts[at] = b"{" + b", ".join(f"{json.dumps(k)}: {json.dumps(v)}".encode() for k, v in pairs) + b"}"
    return b"\n".join(parts) + b"\n"


def without_newlines(data: bytes, dice: random.Random) -> bytes:
    return data.replace(b"\n", dice.choice([b"", b" ", b"\r", b"\0", b"\xe2\x80\xa8"]))


def followed(data: bytes, dice: random.Random) -> bytes:
    return data + dice.choice([b" ", b"\n", b"\0" * 1000, b"x" * 100_000, data, data[-60:], b'{"event":"loaded"}'])


def led(data: bytes, dice: random.Random) -> bytes:
    return dice.choice([b"\n", b"\xef\xbb\xbf", b"WARNING: linker\n", b"[" * 70_000, b" "]) + data


def undamaged(data: bytes, dice: random.Random) -> bytes:
    return data


DAMAGES: list[Damage] = [
    *[flipped, with_other_byte, without_a_part, with_a_part_twice, cut, spliced],
    *[with_lines_in_another_order, without_a_line, with_a_line_twice, with_a_field_twice],
    *[with_another_value, with_another_value, with_another_value],
    *[without_newlines, followed, led, undamaged],
]


@pytest.mark.parametrize("streams", [10_000, pytest.param(200_000, marks=pytest.mark.long)])
def test_a_damaged_stream_is_refused_or_read_as_exactly_what_it_says(streams: int) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(streams):
        dice = random.Random(seed)
        data = WHOLE
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            damage = dice.choice(DAMAGES)
            try:
                data = damage(data, dice)
            except (ValueError, IndexError, AttributeError, RecursionError):
                break  # what an earlier damage has left cannot be damaged in this way
        outcomes[outcome(data, dice.choice([1 << 16, 4096, 100, 7]))] += 1
    assert outcomes.keys() <= {"read", "WireError", "RunnerFailed"}
    assert outcomes["read"] > streams / 50  # both happen, or nothing was tried
    assert outcomes["WireError"] > streams / 2


@pytest.mark.parametrize("damage", [with_a_field_twice, without_newlines, followed, cut, without_a_line])
def test_damage_that_leaves_nothing_to_believe_is_always_refused(damage: Damage) -> None:
    for seed in range(100):
        assert outcome(damage(WHOLE, random.Random(seed))) == "WireError"


# --- streams made up ------------------------------------------------------------------------------------

SIZES = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=30)
COUNTED = st.none() | st.fixed_dictionaries(
    {"enabled_ns": SIZES, "running_ns": SIZES, "counts": st.dictionaries(st.sampled_from(COUNTS), SIZES)}
)

TENSORS = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(ELEMENT_BYTES)), "shape": st.lists(st.integers(0, 40), max_size=4)}
)


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Whole runs of any values that the protocol allows."""
    events = stream(WARMUP, PASSES, PROFILED)
    for event in events:
        for name in event.keys() & {"ns", "load_ns", "total_ns", "peak_rss_bytes", "cpu_mask", "pid"}:
            event[name] = draw(SIZES)
        for name in event.keys() & {"runner", "abi", "runtime", "runtime_version", "machine", "name", "op"}:
            event[name] = draw(TEXTS)
        for name in event.keys() & {"providers", "cpu_features"}:
            event[name] = draw(st.lists(TEXTS, max_size=3))
        if event["event"] == "pass":
            event |= {"cpu": draw(st.none() | SIZES), "khz": draw(st.none() | SIZES), "counters": draw(COUNTED)}
            event |= {"cpu_ns": draw(st.none() | SIZES), "wait_ns": draw(st.none() | SIZES)}
            event["millicelsius"] = draw(st.none() | st.integers(-(2**31) + 1, 2**31 - 1))
        if event["event"] == "output":
            event["tensors"] = draw(st.lists(TENSORS, min_size=1, max_size=4))
            event["bytes"] = sum(ELEMENT_BYTES[one["type"]] * math.prod(one["shape"]) for one in event["tensors"])
        if event["event"] == "node":
            event["provider"] = draw(st.none() | TEXTS)
    return events


@given(streams(), st.booleans(), st.integers(1, 5000))
def test_a_stream_of_any_allowed_values_is_read_exactly(events: list[dict[str, Any]], ascii: bool, chunk: int) -> None:
    data = b"".join(json.dumps(event, ensure_ascii=ascii).encode() + b"\n" for event in events)
    assert outcome(data, chunk) == "read"


@given(streams())
def test_a_measurement_turned_into_lines_again_is_the_same_measurement(events: list[dict[str, Any]]) -> None:
    measured = read(lines(events), WARMUP, PASSES, profiled=PROFILED).measurement()
    again = read(b"".join(wire.lines(measured)), WARMUP, PASSES, profiled=PROFILED).measurement()
    assert again == measured


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(streams(), st.data())
def test_a_stream_with_any_json_in_place_of_a_value_is_refused_or_read_as_it_is(
    events: list[dict[str, Any]], data: st.DataObject
) -> None:
    event = data.draw(st.sampled_from(events))
    event[data.draw(st.sampled_from(sorted(event)) | TEXTS)] = data.draw(JSON)
    outcome(lines(events))


@given(st.lists(st.binary(max_size=60), max_size=8), st.integers(1, 50))
def test_any_bytes_after_a_good_beginning_are_no_measurement(parts: list[bytes], chunk: int) -> None:
    beginning = b"".join(WHOLE.splitlines(keepends=True)[:4])
    assert outcome(beginning + b"\n".join(parts), chunk) != "read"


@given(st.text(max_size=300))
def test_whatever_a_runner_says_of_its_failure_is_one_printable_line(message: str) -> None:
    failed = {"event": "error", "status": "bad_model", "message": message}
    with pytest.raises(RunnerFailed) as caught:
        read(lines([failed]))
    assert str(caught.value).isprintable()


# --- numbers that would do harm further on --------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size"),
    [([1, 10], 44), ([1, 10], 0), ([2**40], 2**42), ([2**62], 2**62), ([], 8), ([0, 5], 20), ([0, 2**62], 0)],
)
def test_an_output_of_another_size_than_its_shape_or_beyond_bounds_is_refused(shape: list[int], size: int) -> None:
    events = stream()
    next(event for event in events if event["event"] == "output").update(
        tensors=[{"type": "float32", "shape": shape}], bytes=size
    )
    with pytest.raises(WireError, match="bytes"):
        read(lines(events))


def test_a_measurement_that_no_runner_can_have_made_is_not_turned_into_lines() -> None:
    measured = read(lines(stream())).measurement()
    for wrong in (Pass(-1, 0, None), Pass(1, 0, None, float("nan")), Pass(1, 0, None, float("inf")), Pass(2**70, 0, 0)):
        with pytest.raises(WireError, match="cannot have come from a runner"):
            list(wire.lines(Measurement(**{**vars(measured), "samples": (wrong,)})))


# --- endless streams ------------------------------------------------------------------------------------


def drained(chunks: Iterator[bytes], transcript: Transcript) -> int:
    """How many bytes an endless stream could bring before it was refused."""
    taken = 0
    with pytest.raises(WireError):
        for chunk in chunks:
            taken += len(chunk)
            for _ in transcript.receive(chunk):
                pass
    return taken


def endless(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


@pytest.mark.parametrize("data", [b"x" * 4096, b"\n" * 4096, b"[" * 4096, b"\0" * 4096, b" " * 4096, b"{}\n" * 999])
def test_an_endless_stream_is_refused_before_it_fills_the_memory(data: bytes) -> None:
    transcript = Transcript(warmup=1, passes=10)
    tracemalloc.start()
    try:
        taken = drained(endless(data), transcript)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken <= wire.MAX_LINE_BYTES + len(data)
    assert peak < 4_000_000


def test_endless_lines_after_the_end_are_refused_at_once() -> None:
    transcript = read(WHOLE, WARMUP, PASSES, profiled=PROFILED)
    assert drained(endless(WHOLE[-100:]), transcript) == 100


def test_a_profile_with_names_beyond_all_measure_is_refused_by_the_sum_of_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "MAX_STREAM_BYTES", 100_000)
    events = stream(profiled=1)
    nodes = next(event for event in events if event["event"] == "profile")
    nodes["nodes"] = 1000
    transcript = read(lines(events[:-4]), profiled=1)
    node = {"event": "node", "op": "Conv", "total_ns": 1, "provider": None, "name": "n" * 4000}
    many = (json.dumps(node | {"index": index}).encode() + b"\n" for index in range(1000))
    assert drained(many, transcript) < 120_000


def test_every_pass_of_a_long_run_fits_its_bounds() -> None:
    most = 2**63 - 1
    longest = wire.PassEnded(
        "pass",
        "warmup",
        most,
        most,
        most,
        most,
        most,
        most,
        -(2**31) + 1,
        wire.PassCounters(most, most, dict.fromkeys(COUNTS, most)),
    )
    assert len(wire._EVENT.dump_json(longest)) < wire.MAX_PASS_BYTES
