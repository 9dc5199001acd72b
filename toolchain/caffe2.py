"""Caffe2, the real one: the libraries and headers of pytorch 1.7.1, out of Debian bullseye, the last that has them.

Debian's build is linked against much that a network never calls: OpenCV, FFmpeg, databases, message queues, linear
algebra, oneDNN. In place of each of those libraries stands a stub, made here: it has the name and the symbol
versions that the loader asks for, and the few data objects that it must resolve at once. Functions are resolved when
they are first called, and a stub has none: a call that should never come ends the process with the loader's "symbol
lookup error" and the function's name, never with a wrong result.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from toolchain import compile as compiling
from toolchain import debian, seal
from toolchain.compile import Toolchain
from toolchain.debian import DebianError
from toolchain.files import replacing
from toolchain.paths import BUILD

VERSION = "1.7.1"
SUITE = "bullseye"
FOLDER = BUILD / "caffe2"

#: The library that has all of Caffe2, and what a program that uses Caffe2 is linked with.
ROOT = "libtorch_cpu.so.1.7"
LINKED = (ROOT, "libc10.so.1.7", "libprotobuf.so.23", "libglog.so.0")

#: Debian's architecture -> the packages whose libraries are carried as they are.
_EVERYWHERE = (
    "libtorch1.7",
    "libcpuinfo0",
    "libfmt7",
    "libgflags2.2",
    "libgoogle-glog0v5",
    "libonnx1",
    "libprotobuf23",
    "zlib1g",
)
PACKAGES = {
    "armhf": _EVERYWHERE,
    "arm64": (*_EVERYWHERE, "libpthreadpool0"),
    "amd64": (*_EVERYWHERE, "libpthreadpool0", "libdnnl2", "libunwind8", "liblzma5", "ocl-icd-libopencl1"),
}

#: The packages with the headers, which are the same for every architecture.
HEADERS = ("libtorch-dev", "libprotobuf-dev", "libonnx-dev", "libgoogle-glog-dev", "libgflags-dev")
_HEADERS_ARCH = "amd64"

#: What Caffe2's headers want to know about the ONNX they find.
DEFINITIONS = ("ONNX_NAMESPACE=onnx", "ONNX_ML=1")

#: Libraries that the compiler brings.
_COMPILERS_OWN = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|gomp))\.so\.\d+")

#: A line of `readelf --dyn-syms`: number: value size KIND BINDING visibility SECTION NAME[@version]
_SYMBOL = re.compile(r"\s*\d+: \S+\s+\S+ (\S+)\s+(\S+)\s+\S+\s+(\S+) ([^@\s]+)")

_STUB_OBJECT_BYTES = 4096  # nothing reads them; ample for any vtable


# --- what callers use ---------------------------------------------------------------------------------


def headers() -> list[Path]:
    """The include folders. Raises DebianError when a package cannot be had."""
    return [path.resolve() / "usr" / "include" for path in _packages(HEADERS, _HEADERS_ARCH)]


def libraries(abi: str) -> dict[str, Path]:
    """Caffe2's libraries for an ABI by the names they are loaded by, stubs included, the compiler's own not.

    They all lie in one folder. Raises BuildError for an unknown ABI or a missing compiler, DebianError when a
    package cannot be had.
    """
    chain = compiling.toolchain(abi)
    folder = FOLDER / f"{abi}-{recipe(abi)}"
    if not _ready(chain, folder):
        with compiling.locked(FOLDER / f"{abi}.lock"):
            if not _ready(chain, folder):  # another process may have made it meanwhile
                _collect(chain, folder)
    return {path.name: path for path in sorted(folder.iterdir()) if path.name != seal.NAME}


def recipe(abi: str) -> str:
    """A hash over all that the libraries for an ABI, and what is compiled against them, are made from."""
    chain = compiling.toolchain(abi)
    wanted = [(package, chain.preset) for package in PACKAGES[chain.preset]]
    wanted += [(package, _HEADERS_ARCH) for package in HEADERS]
    digest = hashlib.sha256(Path(__file__).read_bytes() + compiling.compiler_version(chain).encode())
    for package, arch in wanted:
        digest.update(debian.pin_in_force(package, arch, SUITE).sha256.encode())
    return digest.hexdigest()[:16]


def cmake_settings(abi: str) -> dict[str, str]:
    """What the runner's CMake project must be told to build its Caffe2 engine. Raises what `libraries` does."""
    found = libraries(abi)
    return {
        "TENPASS_CAFFE2_INCLUDE_DIRS": ";".join(map(str, headers())),
        "TENPASS_CAFFE2_LIBRARIES": ";".join(str(found[name]) for name in LINKED),
    }


def program(source: Path) -> Path:
    """The program of one C++ file that uses Caffe2, compiled for this machine.

    It is started with `environment()`. Raises BuildError with the compiler's first error, and what `libraries` does.
    """
    chain = compiling.native()
    made_from = hashlib.sha256(recipe(chain.abi).encode() + source.read_bytes()).hexdigest()[:16]
    target = FOLDER / "programs" / f"{source.stem}-{made_from}"
    if target.exists():
        return target
    with compiling.locked(FOLDER / "programs.lock"), tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        if not target.exists():
            found = libraries(chain.abi)
            include = [word for folder in headers() for word in ("-isystem", str(folder))]
            define = [f"-D{definition}" for definition in DEFINITIONS]
            made = Path(scratch, target.name)
            link = [str(found[name]) for name in LINKED]
            link += ["-Wl,--allow-shlib-undefined", f"-Wl,-rpath-link,{found[ROOT].parent}"]
            command = [f"{chain.triplet}-g++", "-std=c++17", "-O2", "-Wall", "-Wextra", *define, *include]
            compiling.output([*command, str(source), *link, "-o", str(made)])
            target.parent.mkdir(exist_ok=True)
            made.rename(target)
    return target


def environment() -> dict[str, str]:
    """The environment in which a `program` finds its libraries."""
    folder = libraries(compiling.native().abi)[ROOT].parent
    return os.environ | {"LD_LIBRARY_PATH": str(folder)}


# --- packages -----------------------------------------------------------------------------------------


def _packages(names: Iterable[str], arch: str) -> list[Path]:
    try:
        return debian.ensure((name, arch, SUITE) for name in names)
    except DebianError as error:
        raise DebianError(
            f"Caffe2 comes from Debian {SUITE}: {error}; a mirror that keeps old releases is named with "
            "DEBIAN_MIRROR=<URL>, and everything but Caffe2 works without"
        ) from error


def _ready(chain: Toolchain, folder: Path) -> bool:
    """Whether the folder is there as it was made, and each link in it leads to a file of an intact package."""
    if not seal.intact(folder):
        return False
    _packages(PACKAGES[chain.preset], chain.preset)  # those that were changed are unpacked anew, where the links lead
    return all(path.exists() for path in folder.iterdir())


def _collect(chain: Toolchain, folder: Path) -> None:
    """Make `folder`: links to the real libraries that Caffe2 needs, and stubs for the others."""
    offered = {
        path.name: path
        for package in _packages(PACKAGES[chain.preset], chain.preset)
        for path in package.glob("**/lib/**/*.so*")
    }
    real, missing = _closure(chain, offered)
    compilers = [compiling.library(chain, name) for name in _compilers(chain, real.values())]
    objects = _undefined_objects(chain, [*real.values(), *compilers])
    versions = _versions_wanted(chain, real.values())
    with replacing(folder) as workspace:
        (new := workspace / "new").mkdir()
        for name, path in real.items():
            # as the way leads from the folder's final place: the tree can be moved
            (new / name).symlink_to(os.path.relpath(path.resolve(), folder))
        for name in missing:
            _make_stub(chain, new / name, objects, versions.get(name, []))
        seal.seal(new)
    for other in FOLDER.glob(f"{chain.abi}-*"):
        if other != folder:
            shutil.rmtree(other)  # outdated


def _closure(chain: Toolchain, offered: dict[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """What ROOT needs, and that needs in turn: those of `offered`, and the names of those that are not."""
    missing: set[str] = set()

    def find(name: str) -> Path | None:
        if name not in offered and not _COMPILERS_OWN.fullmatch(name):
            missing.add(name)
        return None if _COMPILERS_OWN.fullmatch(name) else offered.get(name)

    return compiling.closure(chain, {ROOT: offered[ROOT]}, find), sorted(missing)


def _compilers(chain: Toolchain, libraries: Iterable[Path]) -> list[str]:
    """Those libraries of the compiler's own that `libraries` need."""
    names = {name for library in libraries for name in compiling.needed(chain, library)}
    return sorted(name for name in names if _COMPILERS_OWN.fullmatch(name))


# --- stubs --------------------------------------------------------------------------------------------


def _undefined_objects(chain: Toolchain, libraries: Iterable[Path]) -> list[str]:
    """The data objects that some of `libraries` must have, and none has."""
    defined: set[str] = set()
    wanted: set[str] = set()
    for library in libraries:
        for line in compiling.output([f"{chain.triplet}-readelf", "--wide", "--dyn-syms", str(library)]).splitlines():
            if not (symbol := _SYMBOL.match(line)):
                continue
            kind, binding, section, name = symbol.groups()
            if section != "UND":
                defined.add(name)
            elif kind == "OBJECT" and binding != "WEAK":
                wanted.add(name)
    return sorted(wanted - defined)


def _versions_wanted(chain: Toolchain, libraries: Iterable[Path]) -> dict[str, list[str]]:
    """Library name -> the symbol versions that `libraries` ask it for."""
    wanted: dict[str, set[str]] = {}
    for library in libraries:
        name = ""
        for line in compiling.output(
            [f"{chain.triplet}-readelf", "--wide", "--version-info", str(library)]
        ).splitlines():
            if file := re.search(r" File: (\S+) ", line):
                name = file[1]
            elif version := re.search(r" Name: (\S+)  Flags: .* Version: ", line):
                wanted.setdefault(name, set()).add(version[1])
    return {name: sorted(versions) for name, versions in wanted.items()}


def _make_stub(chain: Toolchain, path: Path, objects: list[str], versions: list[str]) -> None:
    """A library of that name which defines `objects`, as zeros, and `versions`, and nothing else."""
    with tempfile.TemporaryDirectory(dir=path.parent.parent) as scratch:
        source, script = Path(scratch, "stub.c"), Path(scratch, "stub.map")
        source.write_text("".join(f"char {name}[{_STUB_OBJECT_BYTES}];\n" for name in objects))
        script.write_text("".join(f"{version} {{}};\n" for version in versions))
        command = [f"{chain.triplet}-g++", "-x", "c", "-shared", "-nostdlib", "-fPIC", "-s", f"-Wl,-soname,{path.name}"]
        command += [*compiling.PAGE_FLAGS, *([f"-Wl,--version-script,{script}"] if versions else [])]
        compiling.output([*command, str(source), "-o", str(path)])
