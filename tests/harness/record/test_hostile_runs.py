"""What lies in a folder of results may come from anybody: it is refused in one line, or is what a run can write."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import BOARD, CHIP, estimated, record, table6

from harness.measure import replay
from harness.record import bounded, journal, plan
from harness.record.differences import differences
from harness.record.errors import UsageError
from harness.record.journal import Journal
from harness.record.plan import Limits
from harness.record.record import SCHEMA_VERSION, record_adapter

#: Function-scoped folders are written anew by each example.
REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

LINES = [record_adapter().dump_json(one) for one in (*table6(), estimated(table6()[0]))]
NUMBERS = st.sampled_from([-1, 0, 2**63, 2**64, 2**80, 10**4000, 1.5, float("nan"), float("inf")])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def planned() -> plan.Plan:
    cases = tuple(one.case for one in table6())
    return plan.Plan(
        schema_version=SCHEMA_VERSION,
        run="run",
        utc="2026-11-23T12:00:00+00:00",
        commit=None,
        command="python -m harness.run",
        devices=("host",),
        cases=cases,
        seed=1,
        order=plan.shuffled(cases, 3, 1),
        limits=Limits(),
        timeout_s=600.0,
        profile=False,
        counting=False,
        boards=1,
        checkpoints={"clcnet-a": "weights.pt"},
        device_infos={"board:cortex-a7": BOARD},
        networks={cases[0].id: ("ab" * 32,)},
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value in a JSON document."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for key, item in inner:
        found += places(item, (*path, key))
    return found


def changed(document: Any, data: st.DataObject) -> bytes:
    """The document with any JSON in the place of one of its values."""
    *way, last = data.draw(st.sampled_from(places(document)))
    inner = document
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(JSON)
    return json.dumps(document).encode()


def refused_in_one_line(error: UsageError) -> None:
    assert len(str(error)) < 1500
    assert "\n" not in str(error)


@REUSED_FOLDER
@given(st.data())
def test_a_record_with_any_json_in_place_of_a_value_is_refused_or_can_be_played_back(
    tmp_path: Path, data: st.DataObject
) -> None:
    line = changed(json.loads(LINES[0]), data)
    (tmp_path / journal.FILE_NAME).write_bytes(line + b"\n")
    try:
        [found] = journal.read(tmp_path)
    except UsageError as error:
        refused_in_one_line(error)
        return
    if found.status == "ok":
        assert found.check is not None
        assert found.check.passed
        assert found.measurement is not None
    replay.ReplayDevice(replay.read(f"replay:{tmp_path}"))
    assert json.loads(record_adapter().dump_json(found))


@REUSED_FOLDER
@given(st.lists(st.binary(max_size=80) | st.sampled_from(LINES), max_size=6))
def test_any_bytes_in_the_place_of_records_are_refused_or_left_out_as_torn(tmp_path: Path, parts: list[bytes]) -> None:
    (tmp_path / journal.FILE_NAME).write_bytes(b"\n".join(parts))
    try:
        found = journal.read(tmp_path)
    except UsageError as error:
        refused_in_one_line(error)
        return
    assert all(record_adapter().dump_json(one) in LINES for one in found)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"schema_version":' + b"9" * 1_000_000 + b"}",
        b'{"schema_version":"' + b"x" * 1_000_000 + b'"}',
        b'{"schema_version":4,"' + b"x" * 1_000_000 + b'":1}',
        b'{"schema_version":4,"round":1e999}',
        b'{"schema_version":4,"round":NaN}',
        b'{"schema_version":4,"run":"\xff"}',
        b"\0" * 1_000_000,
        b"",
        b"7",
    ],
    ids=lambda line: f"{line[:24]!r} {len(line)}",
)
def test_a_hostile_line_is_refused_with_its_number(tmp_path: Path, line: bytes) -> None:
    (tmp_path / journal.FILE_NAME).write_bytes(LINES[0] + b"\n" + line + b"\n")
    with pytest.raises(UsageError, match=r"records.jsonl:2: ") as caught:
        journal.read(tmp_path)
    refused_in_one_line(caught.value)


def test_lines_and_files_beyond_bounds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / journal.FILE_NAME).write_bytes(LINES[0] + b" " * 5000 + b"\n")
    assert len(journal.read(tmp_path)) == 1
    monkeypatch.setattr(journal, "MOST_RECORD_BYTES", 4096)
    with pytest.raises(UsageError, match="4096 are allowed"):
        journal.read(tmp_path)
    monkeypatch.setattr(journal, "MOST_FILE_BYTES", 4096)
    with pytest.raises(UsageError, match="larger than the 4096 bytes"):
        journal.read(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
@pytest.mark.parametrize("name", [journal.FILE_NAME, plan.FILE_NAME])
def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    with socket.socket(socket.AF_UNIX) as unix:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "socket":
            unix.bind(os.path.relpath(path))
        else:
            path.mkdir()
        with pytest.raises(UsageError, match=name):
            (journal.read if name == journal.FILE_NAME else plan.read)(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"check": None}, "not found right"),
        ({"measurement": None}, "nothing was measured"),
        ({"artifact": None}, "nothing was measured"),
        ({"id": "another"}, "'another' is"),
        ({"round": -1}, "round -1"),
        ({"round": 10**9}, "round 1000000000"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with Journal(tmp_path) as out:
        out.append(replace(table6()[0], **change))
    with pytest.raises(UsageError, match=says):
        journal.read(tmp_path)


def test_an_output_that_was_wrong_is_not_made_right_by_its_status(tmp_path: Path) -> None:
    wrong = record("clcnet-a", [1.0, 1.0, 1.0], status="output_wrong", error="wrong")
    with Journal(tmp_path) as out:
        out.append(replace(wrong, status="ok"))
    with pytest.raises(UsageError, match="not found right"):
        journal.read(tmp_path)


def test_a_measurement_that_no_runner_can_have_made_is_refused(tmp_path: Path) -> None:
    made = table6()[0]
    passes = (replace(made.measurement.samples[0], ns=-5),)
    with Journal(tmp_path) as out:
        out.append(replace(made, measurement=replace(made.measurement, samples=passes)))
    with pytest.raises(UsageError, match="cannot have come from a runner"):
        journal.read(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"chip": None},
        {"clock": "wall"},
        {"clock": "instructions"},
        *({"chip": replace(CHIP, clock_mhz=mhz)} for mhz in (0, -1, float("nan"), float("inf"))),
    ],
    ids=str,
)
def test_an_estimate_for_no_chip_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    made = estimated(table6()[0])
    with Journal(tmp_path) as out:
        out.append(replace(made, device=replace(made.device, **wrong)))
    with pytest.raises(UsageError, match="not a record of this harness"):
        journal.read(tmp_path)


def test_an_estimate_whose_cycles_are_not_what_they_go_to_is_refused(tmp_path: Path) -> None:
    made = estimated(table6()[0])
    assert made.measurement is not None
    first, *others = made.measurement.samples
    assert first.counters is not None
    for number, counters in enumerate((None, replace(first.counters, cycles_by_loss={}))):
        samples = (replace(first, counters=counters), *others)
        (tmp_path / str(number)).mkdir()
        with Journal(tmp_path / str(number)) as out:
            out.append(replace(made, measurement=replace(made.measurement, samples=samples)))
        with pytest.raises(UsageError, match="not there, or not what they go to"):
            journal.read(tmp_path / str(number))


# --- plans ----------------------------------------------------------------------------------------------


@REUSED_FOLDER
@given(st.data())
def test_a_plan_with_any_json_in_place_of_a_value_is_refused_or_a_plan(tmp_path: Path, data: st.DataObject) -> None:
    plan.write(planned(), tmp_path)
    path = tmp_path / plan.FILE_NAME
    path.write_bytes(changed(json.loads(path.read_bytes()), data))
    try:
        found = plan.read(tmp_path)
    except UsageError as error:
        refused_in_one_line(error)
        return
    assert len(found.case_rounds()) == len(found.order)
    assert isinstance(differences(planned(), found), list)


@REUSED_FOLDER
@given(st.binary(max_size=200) | st.sampled_from([b"[" * 500_000, b'{"a":' * 500_000, b"\0" * 500_000]))
def test_any_bytes_are_no_plan(tmp_path: Path, content: bytes) -> None:
    (tmp_path / plan.FILE_NAME).write_bytes(content)
    with pytest.raises(UsageError, match=r"plan\.json") as caught:
        plan.read(tmp_path)
    refused_in_one_line(caught.value)


def test_a_plan_beyond_bounds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.write(planned(), tmp_path)
    monkeypatch.setattr(plan, "MOST_FILE_BYTES", 100)
    with pytest.raises(UsageError, match="larger than the 100 bytes"):
        plan.read(tmp_path)


@pytest.mark.parametrize("text", [b"18446744073709551616", b"-99999999999999999999999", b"1e400", b"NaN", b"[" * 10**6])
def test_json_beyond_bounds_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        bounded.parse_json(text)
    assert bounded.parse_json(b"[18446744073709551615, 1.5]") == [2**64 - 1, 1.5]
