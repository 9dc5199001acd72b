"""Table 5: what is counted, what is quoted, and how it looks."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from pytest_regressions.file_regression import FileRegressionFixture

from harness.cli.study import main as study
from harness.record.errors import EXIT_OK, EXIT_USAGE
from harness.report import csv as as_csv
from harness.study import table5
from harness.study.table5 import CostRow
from models import paper
from models.paper import PAPER_TABLE5, PaperFigures

ACCURACY = re.compile(r"\d\d\.\d%")


@cache
def rows() -> list[CostRow]:
    return table5.counted_rows()


# How it looks


def test_markdown_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(table5.markdown(rows()), extension=".md")


def test_csv_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(as_csv.rendered(table5.data(rows())), extension=".csv")


def test_latex_looks_as_agreed(file_regression: FileRegressionFixture) -> None:
    file_regression.check(table5.in_latex(rows()), extension=".tex")


def test_a_terminal_shows_the_same_in_lines_that_fit(file_regression: FileRegressionFixture) -> None:
    text = table5.for_terminal(rows())
    assert max(map(len, text.splitlines())) <= 140
    file_regression.check(text, extension=".txt")


# What is in it


def test_every_row_of_tables_5_3_and_4_is_there_in_the_papers_order() -> None:
    found = [(row.table, row.spec.name) for row in rows()]
    assert found == [(table, name) for table in (5, 3, 4) for name in paper.rows(table)]
    assert tuple(name for table, name in found if table == 5) == PAPER_TABLE5


def test_costs_are_counted_and_compared_with_the_papers() -> None:
    googlenet, mobilenet, *_ = rows()
    assert googlenet.counted.mult_adds == 1_582_671_872
    assert googlenet.mult_adds_difference == pytest.approx(1_582_671_872 / 1_550_000_000 - 1)
    assert googlenet.params_difference == pytest.approx(6_998_552 / 6_800_000 - 1)
    assert table5.table5([mobilenet]).texts[0]["Mult-Adds, difference"] == "+0.0%"  # never -0.0%


@pytest.mark.parametrize("name", PAPER_TABLE5)
def test_every_network_is_within_3_percent_of_table_5(name: str) -> None:
    (found,) = [row for row in rows() if row.table == 5 and row.spec.name == name]
    assert found.mult_adds_difference == pytest.approx(0, abs=0.03)
    assert found.params_difference == pytest.approx(0, abs=0.03)


def test_what_the_paper_does_not_print_is_a_dash_and_not_a_number() -> None:
    unknown = replace(rows()[0], printed=PaperFigures())
    shown = table5.table5([unknown]).texts[0]
    assert {name for name, text in shown.items() if text == "–"} == {
        "Mult-Adds, paper",
        "Mult-Adds, difference",
        "Params, paper",
        "Params, difference",
        "Top-1, quoted from the paper (Table 5)",
        "Top-5, quoted from the paper (Table 3)",
    }
    shown = table5.tables3_and_4([replace(unknown, table=4)]).texts[0]
    assert shown["Top-1, quoted from the paper"] == shown["Top-5, quoted from the paper"] == "–"


def test_every_note_stands_below_the_tables_once() -> None:
    text = table5.markdown(rows())
    for row in rows():
        assert text.count(f"- {row.spec.title}: {row.spec.note}") == 1


# Accuracies are the paper's


def test_an_accuracy_stands_only_in_columns_that_say_that_it_is_quoted() -> None:
    for table in (table5.table5(rows()), table5.tables3_and_4(rows())):
        texts = [item for row in table.texts for item in row.items()]
        with_accuracies = {name for name, text in texts if ACCURACY.fullmatch(text)}
        assert len(with_accuracies) == 2
        assert all("quoted from the paper" in name for name in with_accuracies)


def test_every_accuracy_is_that_of_the_table_it_is_said_to_be_of() -> None:
    for row, shown in zip(rows(), table5.table5(rows()).texts, strict=False):
        top1 = paper.printed(5, row.spec.name).top1
        top5 = paper.printed(3, row.spec.name).top5
        assert shown["Top-1, quoted from the paper (Table 5)"] == f"{top1:.1%}"
        assert shown["Top-5, quoted from the paper (Table 3)"] == (f"{top5:.1%}" if top5 else "–")
    shown = table5.tables3_and_4(rows()).texts
    last = shown[-1]
    assert (last["Model"], last["Quoted from"]) == ("clcNet-Ap", "Table 4")
    assert (last["Top-1, quoted from the paper"], last["Top-5, quoted from the paper"]) == ("67.7%", "87.8%")


def test_programs_too_are_told_that_accuracies_are_quoted() -> None:
    found = list(csv.DictReader(io.StringIO(as_csv.rendered(table5.data(rows())))))
    assert {name for name in found[0] if "top" in name} == {"quoted_top1", "quoted_top5"}
    assert (found[0]["quoted_top1"], found[0]["quoted_top5"]) == ("0.698", "")


@pytest.mark.parametrize("text", [table5.markdown, table5.for_terminal, table5.in_latex])
def test_each_form_says_in_words_that_no_accuracy_is_measured(text: object) -> None:
    assert callable(text)
    assert re.search(r"quoted from\s+the\s+(clcNet )?paper,\s+not\s+measured", text(rows()))


# The command


def test_the_command_prints_the_tables_and_leaves_them_in_a_folder_that_it_makes(tmp_path: Path) -> None:
    result = CliRunner().invoke(study, ["table5", "--out", str(tmp_path / "new" / "folder")])
    assert result.exit_code == EXIT_OK
    assert result.stdout == table5.for_terminal(rows())
    names = ["table5.md", "table5.csv", "table5.tex"]
    assert [Path(line).name for line in result.stderr.splitlines()] == names
    texts = (table5.markdown(rows()), as_csv.rendered(table5.data(rows())), table5.in_latex(rows()))
    for name, text in zip(names, texts, strict=True):
        assert (tmp_path / "new" / "folder" / name).read_text() == text


def test_a_folder_that_cannot_be_written_is_a_usage_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(study, ["table5", "--out", str(tmp_path / "file" / "out")])
    assert result.exit_code == EXIT_USAGE
    assert result.stderr == f"error: {tmp_path}/file/out: the report could not be written (Not a directory)\n"


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, harness.study.table5; print({'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
