"""Runs of more devices than anyone reads about one by one: which are told of in full, and what all have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from device.records import DeviceInfo
from harness.analyse import warnings
from harness.analyse.rows import MOST_SIDE_BY_SIDE, Row, by_device
from harness.record.record import Record
from harness.record.titles import case_runtime_title, estimated
from harness.record.units import factor, milliseconds

#: A choice: enough to see what a fleet's troubles look like.
MOST_IN_FULL = 4


@dataclass(frozen=True)
class Spread:
    """One case on all devices of one kind of clock, or chip: a row for each that has a time, the fastest first."""

    title: str
    rows: tuple[Row, ...]

    @property
    def device(self) -> DeviceInfo:
        """One of them: what its times are, those of the others are, too."""
        return self.rows[0].record.device

    @property
    def medians_ns(self) -> list[float]:
        return [row.summary.median_ns for row in self.rows if row.summary]


def is_fleet(table: Sequence[Row]) -> bool:
    """Whether there are more devices than can stand side by side."""
    return len(by_device(table)) > MOST_SIDE_BY_SIDE


def in_full(table: Sequence[Row], records: Sequence[Record]) -> tuple[list[Row], list[Record]]:
    """Those of the devices that are told of in full: all, or of a fleet those with the most to tell.

    They are the ones with failed cases and the most warnings that belong to the moment; the others follow in their
    order.
    """
    if not is_fleet(table):
        return list(table), list(records)
    devices = by_device(table)
    chosen = sorted(devices, key=_to_tell, reverse=True)[:MOST_IN_FULL]
    serials = {rows[0].record.device.serial for rows in chosen}
    return (
        [row for row in table if row.record.device.serial in serials],
        [record for record in records if record.device.serial in serials],
    )


def _to_tell(rows: Sequence[Row]) -> tuple[int, int]:
    failed = sum(row.summary is None for row in rows)
    return failed, sum(len(warnings.failing(row.warnings)) for row in rows)


def spreads(table: Sequence[Row]) -> list[Spread]:
    """How each case fares on all devices; never across kinds of clock or chips, and not where times mean nothing."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in table:
        if row.summary is not None and row.record.device.clock != "emulated":
            found.setdefault((row.record.id, *row.record.device.timed_by), []).append(row)
    return [
        Spread(
            f"{rows[0].title}; {case_runtime_title(rows[0].record)}",
            tuple(sorted(rows, key=lambda row: row.summary.median_ns if row.summary else 0)),
        )
        for rows in found.values()
    ]


def sentences(table: Sequence[Row]) -> list[str]:
    """What a reader wants to know first of a fleet; none of fewer devices."""
    if not is_fleet(table):
        return []
    devices = by_device(table)
    has_trouble = any(any(_to_tell(rows)) for rows in devices)
    which = "those with the most failures and warnings" if has_trouble else "the first of them"
    said = [
        f"There are {len(devices)} devices: {MOST_IN_FULL} are told of in full, {which}; the table and records.jsonl "
        "have all."
    ]
    return [*said, *map(_sentence, spreads(table))]


def _sentence(one: Spread) -> str:
    times, serials = one.medians_ns, [row.record.device.serial for row in one.rows]
    title = f"{one.title} ({estimated(one.device.chip)})" if one.device.chip else one.title
    least = f"{milliseconds(times[0])} ms on {serials[0]}"
    if len(times) == 1:
        return f"{title} on one device: {least}."
    longer = f", {factor(times[-1] / times[0])} times as long" if times[0] else ""
    return (
        f"{title} on {len(times)} devices: {milliseconds(median(times))} ms in the middle, from {least} to "
        f"{milliseconds(times[-1])} ms on {serials[-1]}{longer}."
    )
