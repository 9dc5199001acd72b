"""Which records belong together: the rounds of a case, and the cases that may be compared with one another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from device.records import Pass
from harness.analyse.statistics import typical_ns
from harness.record.record import Record


def measured(records: Sequence[Record]) -> list[Record]:
    """The records whose figures may be shown: they have some, and the output was right."""
    return [record for record in records if record.status == "ok" and record.measurement is not None]


def by_device(records: Sequence[Record]) -> list[list[Record]]:
    return _grouped(records, _device)


def by_runtime(records: Sequence[Record]) -> list[list[Record]]:
    """Groups that differ in nothing but the network and the number of threads."""
    return _grouped(records, _runtime)


def comparable(records: Sequence[Record]) -> list[list[Record]]:
    """Groups that differ in nothing but the network and how it is computed: within one, figures may be compared."""
    return _grouped(records, lambda record: (*_runtime(record), record.case.threads))


def by_network(records: Sequence[Record]) -> list[list[Record]]:
    """Groups of one network, computed in one way and precision, and all else the same but the number of threads."""
    return _grouped(records, lambda record: (*_runtime(record), *_network(record)))


def by_case(records: Sequence[Record]) -> list[list[Record]]:
    """The rounds of each case, in their order."""
    cases = _grouped(records, lambda record: (*_runtime(record), record.case.threads, *_network(record)))
    return [sorted(rounds, key=lambda record: record.round) for rounds in cases]


def across_precisions(records: Sequence[Record]) -> list[list[Record]]:
    """Groups that differ in nothing but the precision: what fp16 and int8 gain over fp32 is seen within one."""
    return _grouped(
        records, lambda record: (*_runtime(record), record.case.threads, record.case.model, record.case.igc)
    )


def timed_passes(rounds: Sequence[Record]) -> list[Pass]:
    """The timed passes of all these records, one after the other."""
    return [sample for record in rounds if record.measurement for sample in record.measurement.samples]


def median_ns(rounds: Sequence[Record]) -> float | None:
    """A case's time as it is shown (`statistics.typical_ns`), over its rounds; None for no passes at all."""
    measured_rounds = [record.measurement.samples for record in rounds if record.measurement]
    found = [samples for samples in measured_rounds if samples]
    return typical_ns(found) if found else None


def _device(record: Record) -> tuple[Hashable, ...]:
    return (record.device.serial, *record.device.timed_by)


def _runtime(record: Record) -> tuple[Hashable, ...]:
    case = record.case
    return (*_device(record), case.runtime, case.format, case.provider, case.cpus, case.abi)


def _network(record: Record) -> tuple[Hashable, ...]:
    return (record.case.model, record.case.igc, record.case.precision)


def _grouped(records: Sequence[Record], key: Callable[[Record], Hashable]) -> list[list[Record]]:
    """Groups of the same key, each where its first record stands."""
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())
