"""What each plot of a run shows, in words and numbers, for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.analyse import fleet, groups, profile, ranking, scaling, sizes
from harness.analyse.gains import promise
from harness.analyse.rows import Row, is_baseline
from harness.analyse.statistics import outliers
from harness.record.record import Record
from harness.record.titles import MEANING_OF_TIME, case_title, group_title
from harness.record.units import milliseconds

_OPERATORS_NAMED = 3  # a choice: they hold most of the time of nearly every network


def latency_vs_mult_adds(_: Sequence[Record], table: Sequence[Row]) -> str:
    return _by_verdict(table, _latency)


def _latency(row: Row) -> str:
    artifact = row.record.artifact
    cost = (
        "an unknown number of" if artifact is None or artifact.mult_adds is None else f"{artifact.mult_adds / 1e6:.0f}M"
    )
    time = f"{milliseconds(row.summary.mean_ns)} ms" if row.summary else "no time"
    paper = f" (paper: {row.paper_ms:.0f} ms)" if row.paper_ms is not None else ""
    return f"{row.title}: {cost} mult-adds, {time}{paper}"


def relative_speed(_: Sequence[Record], table: Sequence[Row]) -> str:
    baselines = [row for row in table if is_baseline(row.record)]

    def told(row: Row) -> str:
        if not row.relative:
            return f"{row.title}: unknown"
        promised = promise(row, baselines[0]) if baselines else None
        by_theory = f", {1 / promised:.2f} by its mult-adds" if promised else ""
        paper = f", {1 / row.paper_relative:.2f} in the paper" if row.paper_relative else ""
        return f"{row.title}: {1 / row.relative:.2f} times as fast as MobileNet{by_theory}{paper}"

    return _by_verdict([row for row in table if row.relative], told)


def samples(records: Sequence[Record], _: Sequence[Row]) -> str:
    lines = []
    for device in groups.by_device(groups.measured(records)):
        told = [_sampled(rounds) for rounds in groups.by_case(device) if groups.timed_passes(rounds)]
        lines.append(f"{device[0].device.serial}: {'; '.join(told)}.")
    return " ".join(lines)


def _sampled(rounds: Sequence[Record]) -> str:
    passes = [one.ns for one in groups.timed_passes(rounds)]
    middle = groups.median_ns(groups.timed_passes(rounds))
    found = sum(len(outliers([one.ns for one in groups.timed_passes([record])])) for record in rounds)
    reach = f", from {min(passes) / middle - 1:+.2%} to {max(passes) / middle - 1:+.2%} of it" if middle else ""
    marked = f", {found} outlier{'s' if found > 1 else ''}" if found else ""
    return f"{case_title(rounds[0])}: {len(passes)} passes, median {milliseconds(middle)} ms{reach}{marked}"


def profile_by_operator(records: Sequence[Record], _: Sequence[Row]) -> str:
    lines = []
    for cases in profile.comparable(records):
        told = []
        for case in cases:
            largest = profile.by_operator(case.profile)[:_OPERATORS_NAMED]
            named = ", ".join(f"{profile.shown_op(time.op)} {time.share:.0%}" for time in largest)
            told.append(f"{case.title}: {milliseconds(case.pass_ns)} ms a profiled pass, most of it {named}")
        lines.append(f"{group_title(cases[0].record)}: {'; '.join(told)}.")
    return " ".join(lines)


def thread_scaling(records: Sequence[Record], _: Sequence[Row]) -> str:
    lines = []
    for sweeps in scaling.sweeps(records):
        told = [
            f"{sweep.title}: "
            + ", ".join(f"{it.speed_up:.2f} on {it.threads} threads" for it in sweep.points if it.speed_up is not None)
            for sweep in sweeps
        ]
        lines.append(
            f"{group_title(sweeps[0].record, with_threads=False)}, speed-up over one thread: {'; '.join(told)}."
        )
    return " ".join(lines)


def devices(_: Sequence[Record], table: Sequence[Row]) -> str:
    """Of the devices told of in full; the sentences at the top of the page tell of all."""

    def times(one: fleet.Spread) -> str:
        of_rows = zip(one.rows, one.medians_ns, strict=True)
        return ", ".join(f"{row.record.device.serial} {milliseconds(ns)} ms" for row, ns in of_rows)

    told = [f"{one.title}: {times(one)}" for one in fleet.spreads(table)]
    return f"Among others {'; '.join(told)}."


def file_sizes(_: Sequence[Record], table: Sequence[Row]) -> str:
    told = []
    for size in sizes.of(table):
        nets = "".join(f", {title} {megabytes:.1f} MB" for title, megabytes in size.files_megabytes.items())
        paper = "" if size.paper_megabytes is None else f", ONNX file in the paper {size.paper_megabytes:.1f} MB"
        told.append(f"{size.title}: ONNX file {size.onnx_megabytes:.1f} MB{nets}{paper}")
    return f"{'; '.join(told)}."


def _by_verdict(table: Sequence[Row], told: Callable[[Row], str]) -> str:
    """What is told of each row, those that may be compared with one another together."""
    return " ".join(
        f"{one.title}, time is {MEANING_OF_TIME[one.fastest.record.device.clock]}: {'; '.join(map(told, one.ranked))}."
        for one in ranking.of(table)
    )


#: By the names of the plots' files.
OF: dict[str, Callable[[Sequence[Record], Sequence[Row]], str]] = {
    "latency-vs-mult-adds": latency_vs_mult_adds,
    "relative-speed": relative_speed,
    "devices": devices,
    "samples": samples,
    "profile-by-operator": profile_by_operator,
    "thread-scaling": thread_scaling,
    "sizes": file_sizes,
}
