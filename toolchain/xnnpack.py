"""ONNX Runtime with the XNNPACK execution provider: Debian trixie's build, and all that it needs, libc included.

The wheels' builds (toolchain/wheels.py) have no provider but the CPU's. Debian's needs a newer libc than the compiler
of Debian 12 brings, so that libc and its loader are carried, too. Its build for arm64 is left out: it ends with SIGILL
on Cortex-A53, A57 and A72. While a model is loaded it says a thousand times on stderr that an operator is already
registered ("Schema error"): nothing is wrong, but the time to load a model holds that (0.2 s on board:cortex-a7).
"""

from __future__ import annotations

from pathlib import Path

from toolchain import compile as compiling
from toolchain import debian
from toolchain.errors import BuildError

VERSION = "1.21.0"
SUITE = "trixie"

#: What it is called in the packages, in a bundle, and the library with XNNPACK's own code.
_FILE = "libonnxruntime.so.1.21"
LIBRARY = "libonnxruntime.so"
KERNELS = "libXNNPACK.so.0.20241108"

_EVERYWHERE = (
    "libabsl20240722",
    "libc6",
    "libcpuinfo0",
    "libgcc-s1",
    "libonnx1t64",
    "libonnxruntime1.21",
    "libprotobuf32t64",
    "libpthreadpool0",
    "libre2-11",
    "libstdc++6",
    "libxnnpack0.20241108",
    "zlib1g",
)

#: ABI -> the packages, of the ABI's Debian architecture.
PACKAGES = {
    "armeabi-v7a": _EVERYWHERE,
    "x86_64": (*_EVERYWHERE, "libdnnl3.6", "libgomp1"),
}


def libraries(abi: str) -> dict[str, Path]:
    """The library and all that it needs, by the names they are loaded by, loader included.

    Raises BuildError for an ABI that there is none for, DebianError when a package cannot be had.
    """
    chain = compiling.toolchain(abi)
    offered = {
        path.name: path
        for package in debian.ensure(_wanted(abi))
        for path in sorted(package.glob("**/lib/**/*.so*"))
        if path.is_file()
    }
    return compiling.closure(chain, {LIBRARY: _one(offered, _FILE)}, lambda name: _one(offered, name))


def recipe(abi: str) -> str:
    """A text that changes when one of the packages, or what is taken of them, does. Raises what `libraries` does."""
    pins = [debian.pin_in_force(*package).sha256 for package in _wanted(abi)]
    return " ".join([*pins, Path(__file__).read_text()])


def _wanted(abi: str) -> list[tuple[str, str, str]]:
    if abi not in PACKAGES:
        raise BuildError(
            f"there is no ONNX Runtime with XNNPACK for ABI {abi}, only for {', '.join(PACKAGES)}: Debian's build for "
            "arm64 uses instructions that many a core does not have; leave --provider xnnpack out there"
        )
    return [(package, compiling.toolchain(abi).preset, SUITE) for package in PACKAGES[abi]]


def _one(offered: dict[str, Path], name: str) -> Path:
    try:
        return offered[name].resolve()
    except KeyError:
        raise BuildError(f"{name}, which ONNX Runtime with XNNPACK needs, is in none of its packages") from None
