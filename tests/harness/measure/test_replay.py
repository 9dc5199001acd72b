"""Recorded and made-up runs played back: the whole harness at work, but for the hardware."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic import STATE, device, estimated, record
from synthetic_runs import profile_of

from device.records import Core, DeviceInfo
from harness.analyse.rows import table_rows
from harness.analyse.warnings import warnings_of
from harness.measure import replay
from harness.record import journal, plan
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, EXIT_USAGE
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import columns
from harness.run import main

PHONE = replace(
    device("wall", "phone", "ABC123"),
    machine="armv7l",
    cores=tuple(Core(index, "Cortex-A7", 1_300_000) for index in range(4)),
)
COOL = replace(STATE, temperatures_celsius={"mtktscpu (1)": 36.0}, battery_celsius=31.0, battery_percent=80)


def recorded(model: str, times_ms: Sequence[float], *, round_: int = 0, on: DeviceInfo = PHONE) -> Record:
    made = record(model, times_ms, on=on, round_=round_)
    case = replace(made.case, passes=len(times_ms), warmup=1)
    return replace(made, case=case, id=case.id, before=COOL, after=COOL)


def keep(folder: Path, records: Sequence[Record]) -> Path:
    folder.mkdir()
    with journal.Journal(folder) as kept:
        for one in records:
            kept.append(one)
    return folder


def play(name: str, out: Path, *options: str) -> tuple[Result, list[Record]]:
    result = CliRunner().invoke(main, ["--device", name, "--out", str(out), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, journal.read(out) if out.exists() else []


def limits_of(folder: Path) -> Limits:
    return plan.read(folder).limits


def steady(ms: float, count: int = 10) -> list[float]:
    return [ms * (1 + 0.0004 * (index * 7 % 5 - 2)) for index in range(count)]


def test_a_recorded_run_comes_out_as_it_went_in(tmp_path: Path) -> None:
    made = [recorded("mobilenet", steady(1780)), recorded("clcnet-a", steady(1431))]
    result, played = play(f"replay:{keep(tmp_path / 'kept', made)}", tmp_path / "out")
    assert result.exit_code == EXIT_OK, result.stderr
    assert [one.measurement for one in played] == [one.measurement for one in made]
    assert [(one.before, one.after, one.check, one.artifact) for one in played] == [
        (one.before, one.after, one.check, one.artifact) for one in made
    ]
    assert {one.device.kind for one in played} == {"replay"}
    assert [row.relative for row in table_rows(played, Limits())] == [1, pytest.approx(1431 / 1780)]


def test_what_the_cycles_of_an_estimate_go_to_is_played_back_too() -> None:
    made = recorded("mobilenet", steady(1780))
    assert made.measurement is not None
    profiled = replace(made, measurement=replace(made.measurement, profile=profile_of("mobilenet", None, 1780)))
    kept = estimated(profiled)
    playing = replay.ReplayDevice(replay.Recording((kept,)))
    request, _ = replay.RecordedNetwork(kept, 0).prepare(kept.case, PHONE, Path("unused"))
    request = replace(request, passes=10, warmup=1)
    playing.push(request, lambda _: None)
    played = playing.run(request, lambda _: None)
    assert kept.measurement is not None
    assert (played.samples, played.profile) == (kept.measurement.samples, kept.measurement.profile)
    assert played.profile
    assert all(node.cycles_by_loss for node in played.profile.nodes)


def test_a_clean_run_carries_no_warning(tmp_path: Path) -> None:
    made = [recorded("mobilenet", steady(1780)), recorded("clcnet-a", steady(1431))]
    result, played = play(f"replay:{keep(tmp_path / 'kept', made)}", tmp_path / "out", "--max-start-celsius", "40")
    assert [warnings_of(one, limits_of(tmp_path / "out")) for one in played] == [(), ()]
    assert "warning" not in result.output


def throttling() -> Record:
    """Clocks fall from 1.3 to 0.8 GHz after the sixth pass, and passes take longer accordingly."""
    made = recorded("mobilenet", [1780.0] * 6 + [2890.0] * 4)
    assert made.measurement is not None
    passes = [replace(one, khz=1_300_000 if one.ns < 2e9 else 800_000) for one in made.measurement.samples]
    return replace(made, measurement=replace(made.measurement, samples=tuple(passes)))


def migrating() -> Record:
    """Two clusters; the last passes ended on the slow one."""
    cores = tuple(
        Core(index, "Cortex-A53" if index < 4 else "Cortex-A73", 1_800_000 if index < 4 else 2_300_000)
        for index in range(8)
    )
    made = recorded("mobilenet", [100.0] * 8 + [180.0] * 2, on=replace(PHONE, cores=cores))
    assert made.measurement is not None
    passes = [replace(one, cpu=5 if one.ns < 110e6 else 1) for one in made.measurement.samples]
    return replace(made, measurement=replace(made.measurement, samples=tuple(passes), cpu_mask=0xFF))


def hot() -> Record:
    made = recorded("mobilenet", steady(1780))
    return replace(made, before=replace(COOL, temperatures_celsius={"mtktscpu (1)": 71.0}))


BAD = {
    "throttled": (throttling, ()),
    "migrated": (migrating, ()),
    "hot_start": (hot, ("--max-start-celsius", "45")),
    "bimodal": (lambda: recorded("mobilenet", [1780.0, 2300.0] * 5), ()),
    "outliers": (lambda: recorded("mobilenet", [*steady(1780, 9), 14240.0]), ()),
    "drifting": (lambda: recorded("mobilenet", [1780.0 * (1 + 0.02 * index) for index in range(10)]), ()),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_bad_condition_is_caught_and_named_in_the_table(kind: str, tmp_path: Path) -> None:
    make, options = BAD[kind]
    result, (played,) = play(f"replay:{keep(tmp_path / 'kept', [make()])}", tmp_path / "out", *options)
    assert result.exit_code == EXIT_OK, result.stderr
    limits = limits_of(tmp_path / "out")
    assert kind in {one.kind for one in warnings_of(played, limits)}
    assert "warning: " in result.stdout
    (shown,) = columns.table6(table_rows([played], limits)).texts
    assert shown["Warnings"] != "–"
    assert shown["Warnings"] in (tmp_path / "out" / "table6.md").read_text()


@pytest.mark.parametrize("kind", ["throttled", "migrated", "hot_start"])
def test_strict_makes_a_failure_of_it_and_says_why(kind: str, tmp_path: Path) -> None:
    make, options = BAD[kind]
    result, (played,) = play(f"replay:{keep(tmp_path / 'kept', [make()])}", tmp_path / "out", "--strict", *options)
    assert result.exit_code == EXIT_CASE_FAILED
    assert played.status == "bad_conditions"
    assert "--strict" in result.stderr
    assert (played.measurement is None) == (kind == "hot_start")  # what is known beforehand costs no passes


def rounds_of(ms: dict[str, float], rounds: int) -> list[Record]:
    return [recorded(model, steady(time), round_=round_) for round_ in range(rounds) for model, time in ms.items()]


def test_sequential_order_under_drift_gives_a_wrong_ratio_and_rounds_the_right_one_within_its_interval(
    tmp_path: Path,
) -> None:
    truth = 1431 / 1780
    kept = keep(tmp_path / "kept", rounds_of({"mobilenet": 1780.0, "shufflenet": 1812.0, "clcnet-a": 1431.0}, 8))
    drifting = f"replay:{kept}?drift=0.01"
    ratios = {}
    for order in ("sequential", "shuffled"):
        result, played = play(drifting, tmp_path / order, "--order", order, "--seed", "1")
        assert result.exit_code == EXIT_OK, result.stderr
        (row,) = [row for row in table_rows(played, Limits()) if row.record.case.model == "clcnet-a"]
        assert row.ratio is not None
        assert row.ratio.low is not None
        assert row.ratio.high is not None
        ratios[order] = row.ratio
    assert ratios["sequential"].low > truth * 1.05
    assert ratios["shuffled"].low < truth < ratios["shuffled"].high
    assert ratios["shuffled"].value == pytest.approx(truth, rel=0.005)  # each order is run backwards, too


def test_a_ratio_over_rounds_is_shown_with_its_interval(tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", rounds_of({"mobilenet": 1780.0, "clcnet-a": 1431.0}, 5))
    result, _ = play(f"replay:{kept}?drift=0.005", tmp_path / "out")
    (line,) = [line for line in result.stdout.splitlines() if "clcNet-A" in line and "[" in line]
    low, high = line.partition("[")[2].partition("]")[0].split(", ")
    assert float(low) < float(high)


def test_rounds_are_shuffled_from_a_recorded_seed_that_shuffles_them_again(tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", rounds_of({"mobilenet": 1780.0, "shufflenet": 1812.0, "clcnet-a": 1431.0}, 6))
    play(f"replay:{kept}", tmp_path / "first")
    first = plan.read(tmp_path / "first")
    play(f"replay:{kept}", tmp_path / "second", "--seed", str(first.seed))
    assert plan.read(tmp_path / "second").order == first.order
    ids = [case.id for case in first.cases]
    by_round = [[id_ for round_, id_ in first.order if round_ == number] for number in range(6)]
    assert all(sorted(of_round) == sorted(ids) for of_round in by_round)
    assert len({tuple(of_round) for of_round in by_round}) > 1
    played = journal.read(tmp_path / "first")
    assert [(one.round, one.id) for one in played] == list(first.order)
    assert [one.order for one in played] == list(range(18))


def test_a_round_more_than_was_recorded_fails_with_that_reason(tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", [recorded("mobilenet", steady(1780))])
    result, played = play(f"replay:{kept}", tmp_path / "out", "--rounds", "2")
    assert result.exit_code == EXIT_CASE_FAILED
    assert [one.status for one in played] == ["ok", "not_recorded"]
    assert "round 2" in result.stderr


def test_a_recorded_failure_fails_again_in_the_same_words(tmp_path: Path) -> None:
    failed = replace(
        recorded("mobilenet", []), status="crashed", error="the runner ended with signal SIGKILL", before=COOL
    )
    result, (played,) = play(f"replay:{keep(tmp_path / 'kept', [failed])}", tmp_path / "out")
    assert result.exit_code == EXIT_CASE_FAILED
    assert (played.status, played.error) == ("crashed", "the runner ended with signal SIGKILL")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("replay:{kept}/none", "no run's records there"),
        ("replay:{kept}?drift=fast", "drift=NUMBER"),
        ("replay:{kept}?speed=2", "drift=NUMBER"),
    ],
)
def test_what_cannot_be_played_is_told_in_one_line(name: str, words: str, tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", [recorded("mobilenet", steady(1780))])
    result, _ = play(name.format(kept=kept), tmp_path / "out")
    assert result.exit_code == EXIT_USAGE
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_cooling_is_waited_for_in_the_recordings_time_and_not_in_ours(tmp_path: Path) -> None:
    """An hour's patience with a phone that stays hot is over at once, and the warning is named."""
    options = ["--max-start-celsius", "45", "--cool-timeout", "3600"]
    _, (played,) = play(f"replay:{keep(tmp_path / 'kept', [hot()])}", tmp_path / "out", *options)
    limits = limits_of(tmp_path / "out")
    assert limits == Limits(45, None, 3600, False)
    assert "hot_start" in {one.kind for one in warnings_of(played, limits)}


def test_passes_and_their_cores_clocks_temperatures_survive_the_wire() -> None:
    made = recorded("mobilenet", steady(1780))
    assert made.measurement is not None
    warm = tuple(replace(one, celsius=41.5, khz=1_300_000, cpu=2) for one in made.measurement.samples)
    made = replace(made, measurement=replace(made.measurement, samples=warm))
    playing = replay.ReplayDevice(replay.Recording((made,)))
    request, _ = replay.RecordedNetwork(made, 0).prepare(made.case, PHONE, Path("unused"))
    request = replace(request, passes=10, warmup=1)
    playing.push(request, lambda _: None)
    heard: list[object] = []
    played = playing.run(request, heard.append)
    assert played == replace(made.measurement, warmup=played.warmup)
    assert len(heard) == 1 + 1 + 1 + 10 + 1 + 1
