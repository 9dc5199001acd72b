"""ncnn, compiled here from its source, and pnnx, the program that converts networks to it.

The source is the sdist of Python's index, which has all of it; pnnx is a program in a wheel there. Nothing is fetched
or compiled before somebody asks for it: for one ABI that takes two to three minutes of two cores. Whoever has the
sources of another version gets a program with that one, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from toolchain import compile as compiling
from toolchain import seal, wheels
from toolchain.compile import Toolchain
from toolchain.errors import BuildError
from toolchain.paths import BUILD, RUNNER
from toolchain.wheels import Pin, Sdist

_PINS = json.loads(Path(__file__).with_name("ncnn.lock.json").read_text())

SOURCE = Sdist(**_PINS["ncnn"])
VERSION = SOURCE.version

#: By this machine's ABI.
_PNNX = {abi: Pin(**pin) for abi, pin in _PINS["pnnx"].items()}
PNNX_VERSION = _PNNX["x86_64"].version

FOLDER = BUILD / "ncnn"

#: What the library is loaded by.
LIBRARY = "libncnn.so.1"

#: As its releases are built (kernels for what the CPU has are chosen at run time), but for what no network that can be
#: converted here uses: the GPU, 8-bit integers and bfloat16 with the instructions that are for them alone, images.
_LEFT_OUT = (
    *("VULKAN", "INT8", "WEIGHT_QUANT", "BF16", "PIXEL", "PIXEL_ROTATE", "PIXEL_AFFINE", "PIXEL_DRAWING", "C_API"),
    *("PLATFORM_API", "BUILD_TOOLS", "BUILD_EXAMPLES", "BUILD_BENCHMARK"),
    *(
        "XOP",
        "FMA4",
        "AVXVNNI",
        "AVXNECONVERT",
        "AVX512",
        "AVX512VNNI",
        "AVX512BF16",
        "AVX512FP16",
        "ARM82DOT",
        "ARM86SVE",
    ),
)
_SETTINGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "NCNN_VERSION": VERSION.rpartition(".")[2],
    "NCNN_SHARED_LIB": "ON",
    "NCNN_OPENMP": "ON",
    "NCNN_RUNTIME_CPU": "ON",
    **{f"NCNN_{name}": "OFF" for name in _LEFT_OUT},
}
#: By ABI: ncnn leaves it to its builder to say that there is NEON, and then chooses what else there is by itself.
_COMPILER_FLAGS = {"armeabi-v7a": "-march=armv7-a -mfpu=neon -mfloat-abi=hard"}

#: How it is compiled, and how our engine runs it (device/runner/src/engines/ncnn.cpp).
OPTIONS = (
    "-O3 -ffast-math, OpenMP, kernels by what the CPU has, no Vulkan, AVX-512, int8 or bf16; light mode, packing, "
    "winograd and sgemm convolutions, fp16 storage and arithmetic in fp16 rows alone"
)

_TIMEOUT_S = 7200  # a machine may have other things to do

#: For programs of other versions: as Android's NDK builds them, as far as that is known and matters here.
_PROGRAM_SETTINGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "NCNN_VERSION": "0",
    "NCNN_OPENMP": "ON",
    **{f"NCNN_DISABLE_{name}": "ON" for name in ("RTTI", "EXCEPTION")},
    **{f"NCNN_{name}": "OFF" for name in ("SHARED_LIB", "ARM82", "VULKAN", "C_API")},
    **{f"NCNN_{name}": "OFF" for name in ("PIXEL", "PIXEL_ROTATE", "PIXEL_AFFINE", "PIXEL_DRAWING")},
    **{f"NCNN_BUILD_{name}": "OFF" for name in ("TOOLS", "EXAMPLES", "BENCHMARK")},
}
#: A32, and not T32 as the NDK's: GCC finds no registers in T32 for what one of ncnn's files has in assembly. What the
#: difference comes to: docs/timing.md.
_PROGRAM_FLAGS = {"armeabi-v7a": "-march=armv7-a -mfpu=neon-vfpv4 -mfloat-abi=hard -marm"}


def library(abi: str) -> Path:
    """The library for an ABI, compiled first where need be.

    Raises BuildError for an unknown ABI or a missing compiler, and when the source cannot be had.
    """
    return _installed(compiling.toolchain(abi)) / LIBRARY


def is_built() -> bool:
    """Whether the library for this machine, which every conversion needs, is there."""
    return _folder(compiling.native()).is_dir()


def recipe(abi: str) -> str:
    """A hash over all that the library for an ABI is made from."""
    chain = compiling.toolchain(abi)
    parts = [compiling.compiler_version(chain), SOURCE.sha256, repr(_SETTINGS), _COMPILER_FLAGS.get(abi, "")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def cmake_settings(abi: str) -> dict[str, str]:
    """What the runner's CMake project must be told to build its ncnn engine. Raises what `library` does."""
    folder = library(abi).parent
    return {"TENPASS_NCNN_INCLUDE_DIR": str(folder / "include"), "TENPASS_NCNN_LIBRARY": str(folder / LIBRARY)}


def layers() -> frozenset[str]:
    """The types of layers that ncnn has, by the names in its files. Raises what `library` does."""
    header = _installed(compiling.native()) / "include" / "layer_type_enum.h"
    return frozenset(re.findall(r"^(\w+) = \d+,", header.read_text(), re.MULTILINE))


def converter() -> Path:
    """pnnx. Raises BuildError for a machine that there is none for, and when the wheel cannot be had."""
    abi = compiling.native().abi
    if abi not in _PNNX:
        raise BuildError(f"there is no pnnx, ncnn's converter, for {abi}, only for {', '.join(_PNNX)}")
    program = wheels.member(_PNNX[abi], "pnnx")
    program.chmod(0o755)
    return program


def _folder(chain: Toolchain) -> Path:
    return FOLDER / f"{chain.abi}-{recipe(chain.abi)}"


@cache
def _installed(chain: Toolchain) -> Path:
    """The folder with the library and its headers."""
    folder = _folder(chain)
    if not seal.intact(folder):
        with compiling.locked(FOLDER / f"{chain.abi}.lock"):
            if not seal.intact(folder):  # another process may have made it meanwhile
                _make(chain, folder)
    return folder


def _make(chain: Toolchain, folder: Path) -> None:
    compiling.require_tools()
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=f".{chain.abi}-") as scratch:
        compiling.output(["tar", "-xzf", str(wheels.sdist(SOURCE, Path(scratch))), "-C", scratch])
        new = Path(scratch, "new")
        made = _compiled(Path(scratch, SOURCE.folder), Path(scratch), chain, _SETTINGS, _COMPILER_FLAGS)
        shutil.copytree(made / "include" / "ncnn", new / "include")
        shutil.copyfile(made / "lib" / LIBRARY, new / LIBRARY)
        seal.seal(new)
        for index, outdated in enumerate(FOLDER.glob(f"{chain.abi}-*")):
            outdated.rename(Path(scratch, f"old-{index}"))
        new.rename(folder)


def _compiled(
    source: Path, scratch: Path, chain: Toolchain, settings: Mapping[str, str], flags: Mapping[str, str]
) -> Path:
    """Compiles the sources in a folder with these settings and the ABI's flags; where it is installed, in `scratch`."""
    build, installed = scratch / "build", scratch / "installed"
    settings = {
        **settings,
        "CMAKE_TOOLCHAIN_FILE": str(RUNNER / "cmake" / f"{chain.preset}.cmake"),
        "CMAKE_C_COMPILER": f"{chain.triplet}-gcc",
        # no path of this machine in the library: the same source gives the same bytes
        "CMAKE_CXX_FLAGS": f"-ffile-prefix-map={scratch}=. -ffile-prefix-map={source}=. {flags.get(chain.abi, '')}",
        "CMAKE_INSTALL_PREFIX": str(installed),
    }
    command = ["cmake", "-S", str(source), "-B", str(build), "-G", "Ninja"]
    compiling.output([*command, *(f"-D{name}={value}" for name, value in settings.items())])
    compiling.output(["cmake", "--build", str(build), "--target", "install", *compiling.parallel()], _TIMEOUT_S)
    return installed


def program(source: Path, code: Path, abi: str) -> Path:
    """The C++ program in the file `code`, compiled for an ABI and linked statically with the ncnn whose sources are in
    the folder `source`; kept, and given again for the same files.

    It may include what the runner's sources have. Raises BuildError when it cannot be built.
    """
    chain = compiling.toolchain(abi)
    folder = FOLDER / f"program-{abi}-{_program_recipe(source, code, chain)}"
    with compiling.locked(FOLDER / f"program-{abi}.lock"):
        if not seal.intact(folder):
            compiling.require_tools()
            with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".program-") as scratch:
                new = Path(scratch, "new")
                new.mkdir()
                made = _compiled(source.resolve(), Path(scratch), chain, _PROGRAM_SETTINGS, _PROGRAM_FLAGS)
                include = (made / "include" / "ncnn", RUNNER / "src")
                options = ["-O2", "-std=c++17", "-fno-rtti", "-fopenmp", "-static", "-s", *compiling.PAGE_FLAGS]
                options += [*_PROGRAM_FLAGS.get(abi, "").split(), *(f"-I{path}" for path in include)]
                inputs = [str(code), str(made / "lib" / "libncnn.a")]
                compiling.output([f"{chain.triplet}-g++", *options, *inputs, "-o", str(new / code.stem)])
                seal.seal(new)
                if folder.exists():
                    folder.rename(Path(scratch, "old"))
                new.rename(folder)
    return folder / code.stem


def _program_recipe(source: Path, code: Path, chain: Toolchain) -> str:
    """A hash over all that such a program is made from."""
    found = hashlib.sha256(repr((_PROGRAM_SETTINGS, _PROGRAM_FLAGS)).encode())
    found.update(compiling.compiler_version(chain).encode())
    for path in (code, RUNNER / "src" / "marks.h"):
        found.update(path.read_bytes())
    for path in sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".param"):
        found.update(f"{path.relative_to(source)} {path.stat().st_size}\n".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
