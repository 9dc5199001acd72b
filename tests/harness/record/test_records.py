"""Raw records: appended whole, read back the same, never guessed at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pages import run_of
from synthetic import device, record, table6

from harness.record import journal
from harness.record.errors import UsageError
from harness.record.journal import Journal
from harness.record.plan import missing_cases


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = [*table6(), record("clcnet-a", status="crashed", error="signal SIGKILL", threads=2)]
    with Journal(tmp_path) as out:
        for item in written:
            out.append(item)
    assert journal.read(tmp_path) == written


def test_each_record_is_in_the_file_before_the_next_begins(tmp_path: Path) -> None:
    with Journal(tmp_path) as out:
        for count, item in enumerate(table6(), start=1):
            out.append(item)
            assert len(journal.read(tmp_path)) == count


def test_a_second_journal_appends_and_overwrites_nothing(tmp_path: Path) -> None:
    for item in table6():
        with Journal(tmp_path) as out:
            out.append(item)
    assert journal.read(tmp_path) == table6()


def test_every_sample_is_kept_as_integer_nanoseconds(tmp_path: Path) -> None:
    with Journal(tmp_path) as out:
        out.append(record("mobilenet", [1.000001, 2.5]))
    stored = json.loads((tmp_path / journal.FILE_NAME).read_text())
    assert [sample["ns"] for sample in stored["measurement"]["samples"]] == [1000001, 2500000]


def test_a_folder_without_a_run_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"records\.jsonl"):
        journal.read(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: line[:-40], ":2: not a record"),
        (lambda line: line.replace('"schema_version":4', '"schema_version":99'), "schema version 99"),
        (lambda line: line.replace('"load_ns":400000000', '"load_ns":"soon"'), "load_ns"),
        (lambda line: line.replace('"status":"ok"', '"state":"ok"'), ":2: not a record"),
        (lambda _: "[]", ":2: not a record"),
    ],
)
def test_a_damaged_record_is_refused_by_line_and_reason(tmp_path: Path, damage, message: str) -> None:
    with Journal(tmp_path) as out:
        for item in table6()[:2]:
            out.append(item)
    first, second = (tmp_path / journal.FILE_NAME).read_text().splitlines()
    (tmp_path / journal.FILE_NAME).write_text(f"{first}\n{damage(second)}\n")
    with pytest.raises(UsageError, match=message):
        journal.read(tmp_path)


def test_what_is_missing_of_a_plan_is_told_for_each_device_with_the_attempt_that_failed() -> None:
    other = device("wall", "phone", "ABC")
    ours, theirs = table6()[:2], [replace(one, device=other) for one in table6()[:2]]
    planned = run_of([*ours, *theirs], devices=("board:cortex-a7", "the phone"), device_infos={"the phone": other})
    failed = replace(theirs[0], status="crashed", error="signal SIGKILL")
    assert missing_cases(planned, [*ours, *theirs]) == []
    assert [
        (one.device, one.case_round.id, one.record) for one in missing_cases(planned, [ours[1], failed, theirs[1]])
    ] == [
        ("board:cortex-a7", ours[0].id, None),
        ("the phone", theirs[0].id, failed),
    ]
    assert missing_cases(planned, [*ours, failed, *theirs]) == []  # a later attempt ended well
