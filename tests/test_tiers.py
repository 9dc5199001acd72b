"""What the short tier leaves out, it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from programs import PATIENCE_S

FILE = "tests/device/test_wire_fuzz.py"  # has one long test


@pytest.mark.parametrize("processes", ["0", pytest.param("1", marks=pytest.mark.long)])
def test_what_is_left_out_is_counted_by_file_unless_all_is_asked_for(processes: str) -> None:
    command = [sys.executable, "-m", "pytest", FILE, "-k", "no_test_at_all", "--numprocesses", processes]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert "left out: 1 long tests (`make test-all` runs them, too)" in done.stdout
    assert f"1 in {FILE}" in done.stdout


@pytest.mark.long
def test_with_all_nothing_is_left_out() -> None:
    command = [sys.executable, "-m", "pytest", "--all", FILE, "--collect-only", "--quiet", "--numprocesses", "0"]
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "left out" not in done.stdout
    assert f"{FILE}::test_a_damaged_stream_is_refused_or_read_as_exactly_what_it_says[200000]" in done.stdout
