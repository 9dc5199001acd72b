"""The recipes of CONTRIBUTING.md, followed: a model, a column, a warning (a runtime: test_runtimes.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic import table6

import harness
from device.records import Measurement
from harness.analyse import warnings
from harness.analyse.rows import table_rows
from harness.analyse.warnings import CaseWarning, Kind
from harness.record.plan import Limits
from harness.record.record import Record
from harness.report import columns, csv, html, latex, markdown, terminal
from harness.report.columns import Column
from harness.report.document import Document, Section
from models import registry
from models.spec import ModelSpec

POCKET = '''"""A network in a file of its own."""

from torch import nn


def pocket() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 5))
'''


def test_a_model_is_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pocket.py").write_text(POCKET)
    monkeypatch.syspath_prepend(tmp_path)
    line = ModelSpec("pocket", "Pocket", "pocket", "pocket:pocket", (1, 3, 16, 16), "this test")
    monkeypatch.setattr(registry, "REGISTRY", (*registry.REGISTRY, line))
    monkeypatch.setattr("toolchain.paths.EXPORTS", tmp_path / "export")
    results = harness.benchmark("pocket", device="host", passes=2)
    (row,) = results.rows
    assert (row.title, row.record.status) == ("Pocket", "ok")
    assert row.record.artifact is not None
    assert row.record.artifact.mult_adds == 8 * 14 * 14 * 27 + 1568 * 5


def test_a_column_is_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_ns(row: columns.Row) -> int | None:
        return row.record.measurement.load_ns if row.record.measurement else None

    entry = Column("load_ns", load_ns, "Load", lambda row: f"{(load_ns(row) or 0) / 1e6:.1f}", unit="ms", is_brief=True)
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, entry))
    rows = table_rows(table6(), Limits())
    table = columns.table6(rows)
    page = Document("A run", (), (Section("Table 6", (table,)),))
    for text in (markdown.rendered(page), html.rendered(page), latex.rendered(table, "", ""), terminal.table(table)):
        assert "Load (ms)" in text
    assert csv.rendered(columns.data(rows)).splitlines()[0].endswith(",load_ns")


def test_a_warning_is_a_kind_and_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def haunted(_: Record, measured: Measurement, __: Limits) -> Iterator[CaseWarning]:
        if measured.samples[0].ns:
            yield warnings.made("haunted", "the first pass took time")

    monkeypatch.setitem(warnings.KINDS, "haunted", Kind("haunted", "call somebody", strict=True))
    monkeypatch.setattr(warnings, "CHECKS", (*warnings.CHECKS, haunted))
    row = table_rows(table6(), Limits())[0]
    assert warnings.failing(row.warnings)[-1] == CaseWarning("haunted", "the first pass took time; call somebody")
    assert "haunted" in columns.table6([row]).texts[0]["Warnings"]
