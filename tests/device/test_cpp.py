"""The native runner's own unit tests, in C++ (device/runner/tests)."""

from __future__ import annotations

import subprocess

import pytest

from toolchain import compile as compiling

#: With the sanitizers they find more (null pointers apart, on which a process ends without them); as users have it
#: built, at length.
VARIANTS = ["-asan", pytest.param("", marks=pytest.mark.long)]


@pytest.mark.parametrize("variant", VARIANTS, ids=["sanitizers", "plain"])
def test_the_cpp_unit_tests_pass(variant: str) -> None:
    compiling.compiled(compiling.native(), "tenpass-tests", variant)
    preset = compiling.native().preset + variant
    done = subprocess.run(
        ["ctest", "--preset", preset, "--no-tests=error"],
        cwd=compiling.RUNNER,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
