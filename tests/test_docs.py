"""The documents show what is: help texts, tables and schema are compared with the real ones."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

from harness.record import journal
from harness.report import markdown
from harness.report.write import write
from harness.study.timing import report as timing
from toolchain.paths import REPOSITORY

_spec = importlib.util.spec_from_file_location("docs", REPOSITORY / "setup" / "docs.py")
assert _spec is not None
assert _spec.loader is not None
docs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(docs)

FAULTS = REPOSITORY / "docs" / "faults.md"
MARKDOWN = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md"), REPOSITORY / "device" / "runner" / "PROTOCOL.md"]


@pytest.mark.parametrize("name", docs.DOCUMENTS)
def test_what_a_document_shows_is_what_there_is(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    assert "<!-- shown: " in text
    assert docs.up_to_date(text) == text, "run `make docs`"


def test_the_drawing_is_what_would_be_drawn() -> None:
    assert docs.DRAWING.read_text() == docs.drawing(), "run `make docs`"


def test_the_examples_tables_come_from_its_records(tmp_path: Path) -> None:
    for name in (journal.FILE_NAME, "plan.json"):
        shutil.copy(docs.EXAMPLE / name, tmp_path)
    write(tmp_path)
    for name in ("table6.md", "table6.csv", "table6.tex", "report.md"):
        assert (tmp_path / name).read_text() == (docs.EXAMPLE / name).read_text(), name


def test_the_accuracy_of_estimates_and_its_tables_come_from_the_examples_study() -> None:
    assert docs.ACCURACY.read_text() == docs.accuracy(), "run `make docs`"
    study = timing.read(docs.EXAMPLE / "timing")
    assert (docs.EXAMPLE / "timing" / timing.REPORT_NAME).read_text() == markdown.rendered(timing.document(study))


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_that_a_document_names_are_there(path: Path) -> None:
    text = path.read_text()
    linked = re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)
    quoted = [name for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)+)`", text) if name.startswith(docs_folders())]
    for name, _, heading in (link.partition("#") for link in linked):
        target = path.parent / name
        assert target.exists(), name
        assert not heading or heading in anchors(target.read_text()), f"{name}#{heading}"
    for name in quoted:
        assert (REPOSITORY / name).exists(), name


def test_each_fault_in_the_table_is_shown_by_a_test_that_there_is() -> None:
    rows = re.findall(r"^\| .+ \| .+ \| `(tests/[\w/]+\.py)::(\w+)` \|$", FAULTS.read_text(), re.MULTILINE)
    assert len(rows) >= 25
    assert len(rows) == FAULTS.read_text().count("`tests/")
    for file, test in rows:
        assert re.search(rf"^def {test}\(", (REPOSITORY / file).read_text(), re.MULTILINE), f"{file}::{test}"


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def docs_folders() -> tuple[str, ...]:
    return ("models/", "export/", "device/", "harness/", "tests/", "setup/", "toolchain/", "results/README")
