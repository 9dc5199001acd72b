"""What set-up installs, on each kind of machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from toolchain.compile import TOOLCHAINS
from toolchain.paths import REPOSITORY


def installed_on(machine: str, folder: Path) -> set[str]:
    """The Debian packages that set-up installs on a machine of this architecture that has none of them."""
    asked = folder / "asked"
    programs = {
        "dpkg": f"echo {machine}",
        "dpkg-query": "exit 1",
        "apt-get": f'[ "$1" = update ] || printf "%s\\n" "$@" >{asked}',
        "sudo": 'exec "$@"',
    }
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    subprocess.run(
        ["sh", str(REPOSITORY / "setup" / "debian-packages.sh")],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": "true"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {word for word in asked.read_text().split() if word != "install" and not word.startswith("-")}


@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_a_machine_gets_a_compiler_for_itself_and_for_each_other_architecture(machine: str, tmp_path: Path) -> None:
    packages = installed_on(machine, tmp_path)
    others = {chain.triplet.replace("_", "-") for chain in TOOLCHAINS.values() if chain.preset != machine}
    assert {package for package in packages if package.startswith("g++")} == {
        "g++",
        *(f"g++-{triplet}" for triplet in others),
    }
    assert ("adb" in packages) is (machine != "amd64"), "adbutils brings one for amd64 alone"
