"""Bundles: a runner with its own loader and every library it needs, in one folder per ABI and build.

A bundle needs nothing from the device but a kernel, so the same one runs on an Android phone, a Linux board
and this machine. It is built when it is asked for, and again when its sources, its compiler or a pin changed,
or when one of its files is no longer what it was. What is built for which runtime: harness/record/runtimes.py.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from device.errors import BundleError
from device.records import Bundle
from toolchain import compile as compiling
from toolchain import elf, simd
from toolchain.compile import TOOLCHAINS, Toolchain
from toolchain.errors import ToolchainError
from toolchain.files import FileIdentity, describe, replacing
from toolchain.paths import BUILD

FOLDER = BUILD / "bundles"
INDEX = "bundle.json"

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """A runner that can be built: its engine, and its libraries for each ABI. A runtime may have several builds.

    `engine` is the C++ file that defines make_engine(). `libraries` gives them by their names in the bundle (what they
    need in turn is found by itself); `computes` are those that compute, none for a runtime of our own code alone.
    `pins` is a text that changes when the libraries do, `settings` are CMake variables for the engine. `options` says
    what the runtime was compiled and is run with, where that was for us to choose.
    """

    name: str
    engine: Path
    version: Callable[[str], str]
    pins: Callable[[str], str] = lambda _abi: ""
    libraries: Callable[[str], dict[str, Path]] = lambda _abi: {}
    computes: tuple[str, ...] = ()
    abis: tuple[str, ...] = tuple(TOOLCHAINS)
    settings: Callable[[str], dict[str, str]] = lambda _abi: {}
    options: str = ""

    @property
    def runner(self) -> str:
        """The name of its CMake target and of the runner's file."""
        return compiling.engine_target(self.engine)


def build(abi: str, wanted: Build, on_step: OnStep = lambda _: None) -> Bundle:
    """The bundle of a build for an ABI, made or mended first where need be; `on_step` is told what is done.

    Raises BundleError for an unknown ABI, a missing compiler or library, or a failed build.
    """
    try:
        return _build(abi, wanted, on_step)
    except ToolchainError as error:
        raise BundleError(str(error)) from error


def _build(abi: str, wanted: Build, on_step: OnStep) -> Bundle:
    chain = compiling.toolchain(abi)
    folder = FOLDER / f"{wanted.name}-{abi}"
    recipe = _recipe(chain, wanted)
    ready = _intact(folder, recipe)
    if ready:
        return ready
    with compiling.locked(FOLDER / f"{folder.name}.lock"):
        ready = _intact(folder, recipe)  # another process may have built it meanwhile
        if ready is None:
            _assemble(chain, wanted, recipe, folder, on_step)
            ready = _intact(folder, recipe)
    if ready is None:
        raise BundleError(f"{folder} does not hold what was just put there; is another program writing to it?")
    return ready


def command(bundle: Bundle, folder: str = ".") -> list[str]:
    """How the bundle's runner is started when its files lie in `folder`; the runner's own options follow."""
    loader = TOOLCHAINS[bundle.abi].loader
    return [f"{folder}/{loader}", "--library-path", folder, f"{folder}/{bundle.runner}"]


def require_page_size(bundle: Bundle, page_bytes: int | None) -> None:
    """Raises BundleError for a bundle that cannot start on a kernel with pages of this size (None: nobody knows)."""
    if page_bytes is None:
        return
    made_for = [(elf.largest_page_bytes(file.path) or page_bytes, file.name) for file in bundle.files]
    too_small = sorted((largest_bytes, name) for largest_bytes, name in made_for if largest_bytes < page_bytes)
    if too_small:
        largest_bytes, name = too_small[0]
        others = f" and {len(too_small) - 1} other files are" if len(too_small) > 1 else " is"
        raise BundleError(
            f"the runner with {bundle.runtime} for {bundle.abi} cannot start on a device with pages of "
            f"{page_bytes >> 10} KB: its {name}{others} made for pages of at most {largest_bytes >> 10} KB"
        )


def _recipe(chain: Toolchain, wanted: Build) -> str:
    """A sha256 over all that a bundle is made from."""
    recipe = hashlib.sha256()
    for part in (
        compiling.recipe(chain),
        Path(__file__).read_text(),
        Path(simd.__file__).read_text(),
        compiling.engine_sources(wanted.engine),
        Path(inspect.getsourcefile(wanted.libraries) or "").read_text(),  # where it is said which these are
        wanted.pins(chain.abi),
        wanted.version(chain.abi),
        wanted.options,
    ):
        recipe.update(part.encode() + b"\0")
    return recipe.hexdigest()


# --- what is there ------------------------------------------------------------------------------------


def _intact(folder: Path, recipe: str) -> Bundle | None:
    """The bundle in `folder`, if it is of this recipe and each of its files is as it was written."""
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["recipe"] != recipe:
            return None
        files = tuple(FileIdentity(**entry).at(folder) for entry in index["files"])
        bundle = Bundle(**index["bundle"] | {"files": files, "simd": tuple(index["bundle"]["simd"])})
        sound = all(describe(file.path).at(folder) == file for file in files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return bundle if sound else None


# --- how it is made -----------------------------------------------------------------------------------


def _assemble(chain: Toolchain, wanted: Build, recipe: str, folder: Path, on_step: OnStep) -> None:
    on_step(f"{folder.name}: getting its runtime, {wanted.version(chain.abi)}")
    libraries = wanted.libraries(chain.abi)
    on_step(f"{folder.name}: compiling the runner with {chain.triplet}-g++")
    runner = compiling.engine(chain, wanted.engine, wanted.settings(chain.abi))
    on_step(f"{folder.name}: collecting its libraries")
    parts = compiling.closure(chain, {wanted.runner: runner, **libraries}, lambda name: compiling.library(chain, name))
    parts.setdefault(chain.loader, compiling.library(chain, chain.loader))  # or that of the libc that came along
    with replacing(folder) as workspace:
        (new := workspace / "new").mkdir()
        for name, path in parts.items():
            _put(chain, path, new / name, is_program=name in (chain.loader, wanted.runner))
        features = [one for name in wanted.computes for one in simd.features(chain, libraries[name])]
        index = {
            "recipe": recipe,
            "bundle": {
                "abi": chain.abi,
                "runtime": wanted.name,
                "runtime_version": wanted.version(chain.abi),
                "runner": wanted.runner,
                "simd": list(dict.fromkeys(features)),
                "options": wanted.options,
            },
            "files": [asdict(describe(new / name)) for name in sorted(parts)],
        }
        (new / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _put(chain: Toolchain, source: Path, target: Path, *, is_program: bool) -> None:
    """Copies one part into the bundle, stripped."""
    shutil.copyfile(source, target)
    compiling.strip(chain, target)
    target.chmod(0o755 if is_program else 0o644)
