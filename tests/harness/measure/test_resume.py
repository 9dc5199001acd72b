"""A run that was cut off is taken up again: nothing lost, nothing twice, and never onto something else."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import record, table6
from test_replay import keep, recorded, rounds_of, steady

from harness.cli.resume import plan_to_resume
from harness.cli.run import RunOptions, run_command
from harness.cli.where import Where
from harness.record import journal, plan
from harness.record.errors import EXIT_OK, EXIT_USAGE, UsageError


def cut(out: Path, lines: int, torn: str = "") -> None:
    """The run's journal as if it had been cut off after so many records, in the middle of the next."""
    path = out / journal.FILE_NAME
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:lines]) + torn)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two cases in three rounds, from a recording."""
    folder = tmp_path_factory.mktemp("whole")
    kept = keep(folder / "kept", rounds_of({"mobilenet": 1780.0, "clcnet-a": 1431.0}, 3))
    assert run("--device", f"replay:{kept}", "--seed", "7", "--out", str(folder / "out")).exit_code == EXIT_OK
    return folder / "out"


@pytest.fixture
def played(whole_run: Path, tmp_path: Path) -> Path:
    """That run, to be cut."""
    shutil.copytree(whole_run, tmp_path / "out")
    return tmp_path / "out"


def kinds(folder: Path) -> list[tuple[object, ...]]:
    """What of a run's records may not differ, however often it was cut off."""
    return sorted(
        (
            one.round,
            one.id,
            one.order,
            one.status,
            one.case,
            one.device,
            one.measurement and len(one.measurement.samples),
        )
        for one in journal.read(folder)
    )


@pytest.mark.parametrize("done", [3, *(pytest.param(done, marks=pytest.mark.long) for done in (0, 5))])
def test_what_is_missing_is_measured_and_nothing_twice(played: Path, done: int) -> None:
    before, whole = kinds(played), (played / journal.FILE_NAME).read_text().splitlines()
    cut(played, done, torn='{"schema_version":4,"run":')
    result = run("--resume", str(played))
    assert result.exit_code == EXIT_OK, result.stderr
    assert kinds(played) == before
    lines = (played / journal.FILE_NAME).read_text().splitlines()
    assert lines[:done] == whole[:done]
    assert len(lines) == len(whole)


def test_a_torn_last_line_is_dropped_with_a_word(played: Path) -> None:
    cut(played, 3, torn='{"schema_version":4,"run":')
    result = run("--resume", str(played))
    assert "cut short (26 bytes)" in result.stderr
    assert "cut short" not in run("--resume", str(played)).stderr


def test_a_failed_case_is_taken_again_and_its_last_record_counts(tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", [recorded("mobilenet", steady(1780)), recorded("clcnet-a", steady(1431))])
    out = tmp_path / "out"
    run("--device", f"replay:{kept}", "--out", str(out))
    first, second = journal.read(out)
    lost = replace(second, status="device_lost", error="the cable", measurement=None, check=None)
    (out / journal.FILE_NAME).unlink()
    with journal.Journal(out) as again:
        again.append(first)
        again.append(lost)
    assert run("--resume", str(out)).exit_code == EXIT_OK
    assert [one.status for one in journal.read(out)] == ["ok", "ok"]
    assert len((out / journal.FILE_NAME).read_text().splitlines()) == 3  # what happened stays in the file


CONTRADICTIONS = [
    (["--models", "mobilenet"], "--models mobilenet was asked for, but the run has --models mobilenet,clcnet-a"),
    (["--rounds", "2"], "--rounds 2 was asked for, but the run has --rounds 3"),
    (["--max-celsius", "50"], "--max-celsius 50 was asked for, but the run has no --max-celsius"),
    (["--timeout", "5"], "--timeout 5 was asked for, but the run has --timeout 600"),
    (["--profile"], "--profile was asked for, but the run has no --profile"),
    (["--seed", "1"], "--seed 1 was asked for, but the run has --seed 7"),
    (["--seed", "9"], "--seed 9 was asked for, but the run has --seed 7"),  # which would shuffle alike
    (["--order", "sequential"], "--order sequential was asked for, but the run has --order shuffled"),
    (["--models", "googlenet"], "--models googlenet was asked for, but the run has --models mobilenet,clcnet-a"),
    (["--device", "host"], "--device host was asked for, but the run has --device replay:"),
    (
        ["--strict", "--rounds", "2"],
        "--rounds 2 was asked for, but the run has --rounds 3; --strict was asked for, but",
    ),
]


@pytest.mark.parametrize(("options", "words"), CONTRADICTIONS, ids=[" ".join(options) for options, _ in CONTRADICTIONS])
def test_what_contradicts_the_plan_is_refused_in_the_words_that_were_typed(
    played: Path, options: list[str], words: str
) -> None:
    cut(played, 2)
    kept = (played / journal.FILE_NAME).read_text()
    result = run("--resume", str(played), *options)
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.startswith(f"error: --resume {played}: {words}")
    assert result.stderr.count("\n") == 1
    assert not re.search(r"\w\(|\w=|'\w|None|True|\[|shufflenet", result.stderr.replace(str(played), "")), result.stderr
    assert (played / journal.FILE_NAME).read_text() == kept


def test_what_the_plan_has_may_be_said_again_without_the_rest(played: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(played, 2)
    monkeypatch.chdir(played)
    options = ["--models", "mobilenet,clcnet-a", "--rounds", "3", "--timeout", "600", "--out", "."]
    result = run("--resume", str(played), *options)
    assert result.exit_code == EXIT_OK, result.stderr
    assert len(journal.read(played)) == 6


def test_a_run_goes_on_in_its_own_folder(played: Path, tmp_path: Path) -> None:
    result = run("--resume", str(played), "--out", str(tmp_path / "other"))
    assert result.exit_code == EXIT_USAGE
    assert "goes on in its own folder" in result.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (7.0, 8.0, True)),
        (["--command-timeout", "9", "--wait", "1"], (9.0, 8.0, True)),
    ],
)
def test_what_was_recorded_for_failures_stays_unless_it_is_said_anew(
    played: Path, options: list[str], expected: tuple[float, float, bool]
) -> None:
    limits = {"connect_s": 20.0, "push_floor_bytes_per_s": 250_000, "command_s": 7.0, "reconnect_s": 8.0}
    edited(played, lambda content: content.update(timeouts=limits, reboot=True))
    cut(played, 2)
    assert run("--resume", str(played), *options).exit_code == EXIT_OK
    found = plan.read(played)
    assert (found.timeouts.command_s, found.timeouts.reconnect_s, found.reboot) == expected


@pytest.mark.parametrize("said", [[], ["--adb-server", "127.0.0.1:5039"]])
def test_where_its_devices_are_had_is_recorded_with_a_run(played: Path, said: list[str]) -> None:
    recorded = {"adb_server": "127.0.0.1:5038"}
    edited(played, lambda content: content.update(where=recorded))
    found: list[Where] = []

    def job(options: RunOptions) -> int:
        found.append(plan_to_resume(options, played)[1])
        return EXIT_OK

    with pytest.raises(SystemExit):
        run_command(job).main(["--resume", str(played), *said], standalone_mode=False)
    assert found[0].recorded == ({"adb_server": "127.0.0.1:5039"} if said else recorded)


def edited(folder: Path, change: object) -> None:
    path = folder / plan.FILE_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_other_networks_under_the_same_names_are_refused(played: Path) -> None:
    edited(played, lambda content: content["networks"].update({"mobilenet-onnxruntime-t1": ["00" * 32]}))
    result = run("--resume", str(played))
    assert result.exit_code == EXIT_USAGE
    assert "the files of mobilenet-onnxruntime-t1" in result.stderr


def test_another_device_under_the_same_name_is_refused(played: Path) -> None:
    cut(played, 2)
    edited(played, lambda content: next(iter(content["device_infos"].values())).update(model="another phone"))
    result = run("--resume", str(played))
    assert result.exit_code == EXIT_USAGE
    assert "another phone" in result.stderr


def test_a_folder_without_a_run_cannot_be_taken_up(tmp_path: Path) -> None:
    result = run("--resume", str(tmp_path))
    assert result.exit_code == EXIT_USAGE
    assert "plan.json" in result.stderr


def test_two_runs_never_write_to_one_journal(tmp_path: Path) -> None:
    with journal.Journal(tmp_path), pytest.raises(UsageError, match="another run is writing"):
        journal.Journal(tmp_path)
    with journal.Journal(tmp_path):
        pass  # free again


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=20_000))
def test_wherever_a_journal_is_cut_all_whole_records_come_back_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    written = [*table6(), record("clcnet-a", status="crashed", error="signal SIGKILL", threads=2)]
    with journal.Journal(folder) as out:
        for one in written:
            out.append(one)
    path = folder / journal.FILE_NAME
    content = path.read_bytes()[:length]
    path.write_bytes(content)
    assert journal.read(folder) == written[: content.count(b"\n")]
    with journal.Journal(folder) as out:
        out.append(written[-1])
    assert journal.read(folder) == [*written[: min(content.count(b"\n"), 4)], written[-1]]


@pytest.mark.parametrize("kills", [2, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_run_killed_at_any_moment_is_whole_after_it_is_taken_up_again(tmp_path: Path, kills: int) -> None:
    """By SIGKILL, on this machine: real runners, several times in one run; the moments differ from test to test."""
    generator = random.Random(4)
    options = ["--device", "host", "--models", "clcnet-tiny", "--threads", "1,2", "--rounds", "3", "--passes", "20"]
    whole = tmp_path / "whole"
    began = time.monotonic()
    argv = [sys.executable, "-m", "harness.run", *options, "--seed", "7", "--out", str(whole)]
    subprocess.run(argv, check=True, capture_output=True)
    whole_s = time.monotonic() - began  # the moments are spread over all that a run does, its start included
    out, killed, done = tmp_path / "cut", 0, 0
    arguments = [*options, "--seed", "7", "--out", str(out)]
    while killed < kills:
        argv = [sys.executable, "-m", "harness.run", *arguments]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            time.sleep(generator.uniform(0, whole_s))
            ended = process.poll() is not None
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
        killed += not ended
        if ended:
            assert process.returncode == EXIT_OK, errors
            assert kinds(out) == kinds(whole)
            done += 1
            out = tmp_path / f"cut{done}"
            arguments = [*options, "--seed", "7", "--out", str(out)]
        elif (out / plan.FILE_NAME).exists():
            arguments = ["--resume", str(out)]
    result = run(*arguments)
    assert result.exit_code == EXIT_OK, result.stderr
    assert kinds(out) == kinds(whole)
