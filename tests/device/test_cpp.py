"""The native runner's own unit tests, in C++ (device/runner/tests)."""

from __future__ import annotations

import subprocess

import pytest
from programs import BUILDS

from toolchain import compile as compiling


@pytest.mark.parametrize("build", BUILDS)
def test_the_cpp_unit_tests_pass(build: str) -> None:
    compiling.compiled(compiling.native(), "tenpass-tests", build)
    preset = compiling.native().preset + build
    done = subprocess.run(
        ["ctest", "--preset", preset, "--no-tests=error"],
        cwd=compiling.RUNNER,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
