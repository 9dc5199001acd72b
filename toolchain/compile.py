"""Compiling native programs: which compiler for which ABI, and what a finished binary needs at run time.

The compilers are Debian's, each by its full name, so that the machine's own and a cross compiler are called
alike. CMake's side is in device/runner/CMakeLists.txt, a preset per target; it builds below build/runner/.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain import debian
from toolchain.errors import BuildError
from toolchain.paths import BUILD, RUNNER

FOLDER = BUILD / "runner"

#: Where our engines are; the runner is built once with each.
ENGINES = RUNNER / "src" / "engines"

#: Debian packages that hold the headers; they are the same for every architecture.
HEADERS = ("libcli11-dev", "nlohmann-json3-dev", "doctest-dev", "libonnxruntime-dev")
_HEADERS_ARCH = "amd64"
_TIMEOUT_S = 900

#: So that what is linked starts on kernels with pages of 4, 16 and 64 KB alike.
PAGE_FLAGS = ("-Wl,-z,max-page-size=65536",)


@dataclass(frozen=True)
class Toolchain:
    """The compiler and binutils for one ABI, and the name of the ABI's dynamic loader."""

    abi: str  # Android's name
    preset: str  # CMake's, and Debian's name of the architecture
    triplet: str
    machine: str  # as `uname -m` has it
    loader: str

    @property
    def is_native(self) -> bool:
        """Whether it makes programs for the machine that this runs on."""
        return self.machine == platform.machine()


TOOLCHAINS = {
    chain.abi: chain
    for chain in (
        Toolchain("armeabi-v7a", "armhf", "arm-linux-gnueabihf", "armv7l", "ld-linux-armhf.so.3"),
        Toolchain("arm64-v8a", "arm64", "aarch64-linux-gnu", "aarch64", "ld-linux-aarch64.so.1"),
        Toolchain("x86_64", "amd64", "x86_64-linux-gnu", "x86_64", "ld-linux-x86-64.so.2"),
    )
}


def toolchain(abi: str) -> Toolchain:
    """Raises BuildError for an ABI that nothing is built for."""
    try:
        return TOOLCHAINS[abi]
    except KeyError:
        raise BuildError(f"there is no bundle for ABI {abi}; there are {', '.join(TOOLCHAINS)}") from None


def native() -> Toolchain:
    """The toolchain of the machine that this runs on. Raises BuildError for a machine that nothing is built for."""
    for chain in TOOLCHAINS.values():
        if chain.is_native:
            return chain
    machines = ", ".join(chain.machine for chain in TOOLCHAINS.values())
    raise BuildError(f"there is no bundle for this machine ({platform.machine()}); there are {machines}")


def compiler_version(chain: Toolchain) -> str:
    """One line. Raises BuildError when the compiler is not installed."""
    compiler = f"{chain.triplet}-g++"
    if shutil.which(compiler) is None:
        package = "g++" if chain.is_native else f"g++-{chain.triplet.replace('_', '-')}"
        raise BuildError(
            f"{compiler} is not installed; `make setup` installs it (Debian package {package}), "
            f"and ABI {chain.abi} needs it"
        )
    return output([compiler, "--version"]).splitlines()[0]


def header_pins() -> str:
    """The headers' pins as text: it changes when one of them does."""
    return " ".join(debian.pin_in_force(package, _HEADERS_ARCH).sha256 for package in HEADERS)


def sources() -> list[Path]:
    """What the runner is made of, its tests left out."""
    made_of = [RUNNER / "CMakeLists.txt", RUNNER / "CMakePresets.json"]
    return made_of + sorted(path for part in ("cmake", "src", "clc") for path in (RUNNER / part).rglob("*.*"))


def compiled(
    chain: Toolchain, target: str, variant: str = "", settings: Mapping[str, str] | None = None, file: str = ""
) -> Path:
    """A CMake target, brought up to date; the path of its binary, which is called `file` (default: like the target).

    `variant` "-asan" is the sanitizers' build. `settings` are CMake variables that the target needs.

    Raises BuildError with the compiler's first error.
    """
    preset = chain.preset + variant
    folder = FOLDER / preset
    version = compiler_version(chain)
    require_tools()
    headers = debian.ensure((package, _HEADERS_ARCH) for package in HEADERS)
    include = ";".join(str(path / "usr" / "include") for path in headers)
    with locked(FOLDER / f"{preset}.lock"):
        _discard_if_made_elsewhere(folder, f"{version}\n{RUNNER}")
        values = {"TENPASS_INCLUDE_DIRS": include, **(settings or {})}
        output(["cmake", "--preset", preset, *(f"-D{name}={value}" for name, value in values.items())])
        output(["cmake", "--build", str(folder), "--target", target, *parallel()])
    return folder / (file or target)


def require_tools() -> None:
    """Raises BuildError unless all is there that CMake projects are built with."""
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            package = {"ninja": "ninja-build"}.get(tool, tool)
            raise BuildError(f"{tool} is not installed; `make setup` installs it (Debian package {package})")


def parallel() -> tuple[str, ...]:
    """The option of `cmake --build` that takes all cores."""
    return ("--parallel", str(os.cpu_count() or 1))


def engine(chain: Toolchain, source: Path, settings: Mapping[str, str]) -> Path:
    """The runner with the engine in the C++ file `source`, which may lie anywhere; as `compiled` does it."""
    elsewhere = {} if source.parent == ENGINES else {"TENPASS_ENGINE": str(source)}
    return compiled(chain, engine_target(source), settings={**elsewhere, **settings})


def engine_target(source: Path) -> str:
    """The CMake target of the runner with this engine."""
    return f"tenpass-{source.stem}"


def engine_sources(source: Path) -> str:
    """The text of an engine, and of the CMake file beside it, if it has one."""
    return "".join(path.read_text() for path in (source, source.with_suffix(".cmake")) if path.exists())


def recipe(chain: Toolchain) -> str:
    """A text that changes when something does that our programs for `chain` are made of."""
    parts = [compiler_version(chain), header_pins()]
    for path in [*sources(), Path(__file__)]:
        parts.append(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return "\n".join(parts)


def _discard_if_made_elsewhere(folder: Path, origin: str) -> None:
    """CMake looks at a compiler once, never notices that it was upgraded, and refuses a tree that was moved."""
    note = folder / "origin.txt"
    if folder.exists() and (not note.exists() or note.read_text() != origin):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(origin)


def library(chain: Toolchain, name: str) -> Path:
    """A library of the compiler's own (libc, libstdc++...). Raises BuildError when it has none of that name."""
    path = Path(output([f"{chain.triplet}-g++", f"-print-file-name={name}"]).strip())
    if not path.is_absolute():
        raise BuildError(f"{chain.triplet}-g++ has no {name}, which a bundle for {chain.abi} needs")
    return path


def needed(chain: Toolchain, binary: Path) -> list[str]:
    """The libraries that a binary names as NEEDED."""
    dynamic = output([f"{chain.triplet}-readelf", "--wide", "--dynamic", str(binary)])
    return re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)


def closure(chain: Toolchain, roots: Mapping[str, Path], find: Callable[[str], Path | None]) -> dict[str, Path]:
    """`roots`, the libraries that they need, and those in turn, by name: as `find` gives them; None leaves one out."""
    found = dict(roots)
    waiting = list(roots.values())
    while waiting:
        for name in needed(chain, waiting.pop()):
            if name not in found and (path := find(name)):
                found[name] = path
                waiting.append(path)
    return found


def strip(chain: Toolchain, binary: Path) -> None:
    """Drop the symbols that nothing needs at run time; a binary that has none stays as it is."""
    sections = output([f"{chain.triplet}-readelf", "--wide", "--section-headers", str(binary)])
    if " .symtab " in sections:
        output([f"{chain.triplet}-strip", "--strip-unneeded", str(binary)])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def output(command: list[str], timeout_s: float = _TIMEOUT_S) -> str:
    """Run a build tool; its stdout. Raises BuildError with its first complaint."""
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            cwd=RUNNER,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed; `make setup` installs what is needed") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"`{' '.join(command[:4])}` did not end within {timeout_s:g} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        complaint = next((line for line in lines if "error" in line.lower()), (lines or ["no output"])[-1])
        raise BuildError(f"`{' '.join(command[:4])}` failed: {complaint[:300]}")
    return done.stdout
