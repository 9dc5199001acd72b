"""Networks of any size: no figure of a report reads as zero that is not, in no form of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pages import in_precision, write_run
from synthetic import BOARD, record
from synthetic_runs import PHONE, profile_of, rounds, with_counters

from harness.analyse.rows import table_rows
from harness.compare import formats, history, two_runs
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import html, markdown, sections, terminal
from harness.report.write import drawn, table6_in_latex

#: "0.0", "0.000 ms", "0M", "0k", "0 MB"; not "0.05", "10.0", "0", "1.000".
READS_AS_ZERO = re.compile(r"(?<![\d.,])0\.0+(?!\d)|(?<![\d.])0\s?(?:[kM]|kB|MB|ms)\b")


#: Passes of some nanoseconds, files of a byte.
SMALLEST = 1e-8


def small(one: Record, scale: float) -> Record:
    """The record of a network that is so much smaller in all: costs, files, times, counts."""

    def less(value: int) -> int:
        return max(round(value * scale), 1)

    assert one.artifact is not None
    assert one.bundle is not None
    assert one.measurement is not None
    samples = tuple(replace(it, ns=less(it.ns)) for it in one.measurement.samples)
    profile = one.measurement.profile
    if profile is not None:
        nodes = tuple(replace(node, total_ns=less(node.total_ns)) for node in profile.nodes)
        profile = replace(profile, total_ns=sum(node.total_ns for node in nodes) + 1, nodes=nodes)
    sizes = {
        name: less(getattr(one.artifact, name)) for name in ("size_bytes", "onnx_size_bytes", "mult_adds", "params")
    }
    return replace(
        one,
        artifact=replace(one.artifact, **sizes),
        bundle=replace(one.bundle, size_bytes=less(one.bundle.size_bytes)),
        measurement=replace(one.measurement, samples=samples, profile=profile),
        phases_ns={phase: less(ns) for phase, ns in one.phases_ns.items()},
        pushed_bytes=less(one.pushed_bytes),
    )


def run(scale: float) -> list[Record]:
    """Several rounds, precisions, threads, counts and profiles, of two networks of which one is much quicker."""
    made = []
    for on in (PHONE, BOARD):
        for model, part in (("mobilenet", 1.0), ("clcnet-a", 0.002)):
            for one in rounds(model, [[ms * part * (1 + 1e-4 * n) for n in range(7)] for ms in (500, 501, 502)], on=on):
                assert one.measurement is not None
                profile = profile_of(model, None, 510 * part) if model == "mobilenet" else None
                counted = with_counters(one, {"instructions": 498_000_000, "l2_misses": 700_000}, step=1e-7)
                assert counted.measurement is not None
                made.append(replace(counted, measurement=replace(counted.measurement, profile=profile)))
        made.append(in_precision(record("mobilenet", [250.0] * 3, on=on), "int8", 1e-7))
        made.append(record("mobilenet", [251.0] * 3, on=on, threads=2))
    return [small(one, scale) for one in made]


def texts(folder: Path, records: list[Record], *, is_drawn: bool) -> Iterator[str]:
    rows = table_rows(records, Limits())
    made = two_runs.read(write_run(folder / "run", records))
    figures = drawn(rows, records) if is_drawn else []
    document = sections.run_document(made.plan, records, rows, figures)
    yield markdown.rendered(document)
    yield terminal.rendered(document)
    yield re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>|<svg.*?</svg>", "", html.rendered(document))
    yield table6_in_latex(rows)
    yield terminal.table(sections.brief_table(rows))
    yield from (figure.description for figure in figures)
    yield formats.markdown(two_runs.compare(made, made))
    yield terminal.rendered(history.document(history.lines([made, made])))


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4, 1e-6, SMALLEST])
def test_nothing_that_is_not_zero_reads_as_zero(tmp_path: Path, scale: float) -> None:
    for text in texts(tmp_path, run(scale), is_drawn=scale == SMALLEST):
        found = READS_AS_ZERO.search(text)
        assert found is None, text[max(found.start() - 200, 0) : found.end() + 100] if found else ""
