"""The plugin with which an emulator counts (device/emulator/README.md), compiled for the emulator that loads it."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from toolchain import compile as compiling
from toolchain.errors import BuildError
from toolchain.paths import BUILD, EMULATOR

SOURCES = EMULATOR
FOLDER = BUILD / "emulator"
LIBRARY = "libtenpass_count.so"

#: Versions of QEMU's plugin interface that the sources are written for, by the first QEMU that has them, newest first
#: (qemu-plugin.h of these releases). QEMU itself refuses a plugin for a version that it no longer has, and says so.
_INTERFACES = ((10, 4), (6, 1))


@cache
def plugin(emulator: str) -> Path:
    """The plugin for this emulator (a path or name of qemu-system-...), compiled first where need be.

    Raises BuildError when there is no compiler or no such emulator, or when it is too old for plugins.
    """
    compiler = compiling.native()
    command = [
        f"{compiler.triplet}-g++",
        *("-std=c++17", "-O3", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow"),
        f"-DTENPASS_PLUGIN_API={_interface(emulator)}",
        *map(str, [SOURCES / "count.cpp", *sorted(SOURCES.glob("arm/*.cpp"))]),
    ]
    recipe = hashlib.sha256("\n".join([compiling.compiler_version(compiler), *command]).encode())
    for source in sorted(SOURCES.rglob("*.?pp")):
        recipe.update(source.read_bytes())
    library = FOLDER / recipe.hexdigest()[:16] / LIBRARY
    with compiling.locked(FOLDER / "lock"):
        if not library.exists():
            library.parent.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
                compiling.output([*command, "-o", f"{scratch}/{LIBRARY}"])
                (Path(scratch) / LIBRARY).replace(library)
    return library


def copies(library: Path, count: int) -> tuple[Path, ...]:
    """So many files with this plugin, itself the first: of a file that an emulator loads twice it has one state."""
    found = [library, *(library.with_name(f"{number}-{LIBRARY}") for number in range(1, count))]
    for other in (one for one in found if not one.exists()):
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
            Path(shutil.copy(library, scratch)).replace(other)
    return tuple(found)


def _interface(emulator: str) -> int:
    """The version of the plugin interface to compile for."""
    said = compiling.output([emulator, "--version"])
    version = re.search(r"version (\d+)\.", said)
    for since, interface in _INTERFACES:
        if version and int(version.group(1)) >= since:
            return interface
    raise BuildError(f"{emulator} cannot load plugins, it says {said.splitlines()[0]!r}; QEMU 7.2 or newer is needed")
