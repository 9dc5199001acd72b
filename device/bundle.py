"""Bundles: the runner with its own loader and every library it needs, in one folder per ABI and runtime.

A bundle needs nothing from the device but a kernel, so the same one runs on an Android phone, a Linux board
and this machine. It is built when it is asked for, and again when its sources, its compiler or a pin changed,
or when one of its files is no longer what it was.

    python -m device.bundle [--abi ABI ...] [--runtime RUNTIME] [--provider PROVIDER]
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from device.errors import BundleError, DeviceError
from device.records import PROVIDERS, Bundle, File
from toolchain import caffe2, clc, simd, wheels, xnnpack
from toolchain import compile as compiling
from toolchain.compile import TOOLCHAINS, Toolchain
from toolchain.errors import ToolchainError
from toolchain.paths import BUILD

FOLDER = BUILD / "bundles"
INDEX = "bundle.json"

#: The runtime that computes nothing: for harness.selfcheck, which measures the harness with it.
NULL = "null"

#: ONNX Runtime in the build that has the XNNPACK execution provider.
XNNPACK = "onnxruntime-xnnpack"

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Runtime:
    """A runtime that a runner is built for: its CMake target, and its libraries for each ABI.

    `libraries` gives them by their names in the bundle (what they need in turn is found by itself); `computes` are
    those that compute, none for a runtime of our own code alone. `pins` is a text that changes when the libraries
    do, `settings` are CMake variables for the target.
    """

    name: str
    target: str
    version: Callable[[str], str]
    pins: Callable[[str], str]
    libraries: Callable[[str], dict[str, Path]]
    computes: tuple[str, ...]
    abis: tuple[str, ...] = tuple(TOOLCHAINS)
    settings: Callable[[str], dict[str, str]] = lambda _abi: {}


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            name="onnxruntime",
            target="tenpass-onnxruntime",
            version=lambda abi: wheels.pin(abi).runtime_version,
            pins=lambda abi: wheels.pin(abi).library_sha256,
            libraries=lambda abi: {
                wheels.LIBRARY: wheels.library(abi),
                clc.LIBRARY: clc.library(compiling.toolchain(abi)),
            },
            computes=(wheels.LIBRARY,),
        ),
        Runtime(
            name=XNNPACK,
            target="tenpass-onnxruntime",
            version=lambda _abi: xnnpack.VERSION,
            pins=xnnpack.recipe,
            libraries=lambda abi: {
                **xnnpack.libraries(abi),
                clc.LIBRARY: clc.library(compiling.toolchain(abi)),
            },
            computes=(xnnpack.LIBRARY, xnnpack.KERNELS),
            abis=tuple(xnnpack.PACKAGES),
        ),
        Runtime(
            name="caffe2",
            target="tenpass-caffe2",
            version=lambda _abi: caffe2.VERSION,
            pins=caffe2.recipe,
            libraries=caffe2.libraries,
            computes=(caffe2.ROOT,),
            settings=caffe2.cmake_settings,
        ),
        Runtime(
            name=NULL,
            target="tenpass-null",
            version=lambda _abi: "1",
            pins=lambda _abi: "",
            libraries=lambda _abi: {},
            computes=(),
        ),
    )
}


def bundle_runtime(runtime: str, provider: str) -> str:
    """The name in RUNTIMES of the build of `runtime` that has the execution provider.

    Raises BundleError where none has it.
    """
    if provider == "cpu":
        return runtime
    if runtime == "onnxruntime" and provider == "xnnpack":
        return XNNPACK
    if runtime == "onnxruntime" and provider == "nnapi":
        raise BundleError(
            "no bundle has the NNAPI execution provider: it needs ONNX Runtime built for Android's own libc (bionic), "
            "which ours, made to run anywhere, is not; use --provider cpu or xnnpack"
        )
    raise BundleError(f"no bundle of {runtime} has an execution provider {provider}; use --provider cpu")


def build(abi: str, runtime: str = "onnxruntime", on_step: OnStep = lambda _: None) -> Bundle:
    """The bundle for an ABI and a runtime, built or mended first where need be; `on_step` is told what is done.

    Raises BundleError for an unknown ABI or runtime, a missing compiler or library, or a failed build.
    """
    try:
        return _build(abi, runtime, on_step)
    except ToolchainError as error:
        raise BundleError(str(error)) from error


def _build(abi: str, runtime: str, on_step: OnStep) -> Bundle:
    chain, engine = compiling.toolchain(abi), _runtime(runtime)
    folder = FOLDER / f"{runtime}-{abi}"
    recipe = _recipe(chain, engine)
    ready = _intact(folder, recipe)
    if ready:
        return ready
    with compiling.locked(FOLDER / f"{folder.name}.lock"):
        ready = _intact(folder, recipe)  # another process may have built it meanwhile
        if ready is None:
            _assemble(chain, engine, recipe, folder, on_step)
            ready = _intact(folder, recipe)
    if ready is None:
        raise BundleError(f"{folder} does not hold what was just put there; is another program writing to it?")
    return ready


def command(bundle: Bundle, folder: str = ".") -> list[str]:
    """How the bundle's runner is started when its files lie in `folder`; the runner's own options follow."""
    loader, runner = TOOLCHAINS[bundle.abi].loader, RUNTIMES[bundle.runtime].target
    return [f"{folder}/{loader}", "--library-path", folder, f"{folder}/{runner}"]


def _runtime(name: str) -> Runtime:
    try:
        return RUNTIMES[name]
    except KeyError:
        raise BundleError(f"there is no runtime {name}; there are {', '.join(RUNTIMES)}") from None


def _recipe(chain: Toolchain, runtime: Runtime) -> str:
    """A sha256 over all that a bundle is made from."""
    recipe = hashlib.sha256()
    for part in (
        compiling.recipe(chain),
        Path(__file__).read_text(),
        Path(simd.__file__).read_text(),
        runtime.pins(chain.abi),
        runtime.version(chain.abi),
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
        files = tuple(File(path=folder / entry["name"], **entry) for entry in index["files"])
        bundle = Bundle(index["abi"], index["runtime"], index["runtime_version"], files, tuple(index["simd"]))
        sound = all(file.path.stat().st_size == file.size_bytes and _sha256(file.path) == file.sha256 for file in files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return bundle if sound else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- how it is made -----------------------------------------------------------------------------------


def _assemble(chain: Toolchain, runtime: Runtime, recipe: str, folder: Path, on_step: OnStep) -> None:
    on_step(f"{folder.name}: getting {runtime.name} {runtime.version(chain.abi)}")
    libraries = runtime.libraries(chain.abi)
    on_step(f"{folder.name}: compiling the runner with {chain.triplet}-g++")
    runner = compiling.compiled(chain, runtime.target, settings=runtime.settings(chain.abi))
    on_step(f"{folder.name}: collecting its libraries")
    parts = _closure(chain, {runtime.target: runner, **libraries})
    parts.setdefault(chain.loader, compiling.library(chain, chain.loader))  # or that of the libc that came along
    for left in FOLDER.glob(f".{folder.name}-*"):  # by a build that was killed; we hold the lock
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=f".{folder.name}-") as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        entries = [_put(chain, path, new / name, runtime) for name, path in sorted(parts.items())]
        index = {
            "recipe": recipe,
            "abi": chain.abi,
            "runtime": runtime.name,
            "runtime_version": runtime.version(chain.abi),
            "simd": list(
                dict.fromkeys(one for name in runtime.computes for one in simd.features(chain, libraries[name]))
            ),
            "files": entries,
        }
        (new / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        if folder.exists():
            folder.rename(Path(scratch, "old"))
        new.rename(folder)


def _closure(chain: Toolchain, roots: dict[str, Path]) -> dict[str, Path]:
    """`roots` and every library that they need, and those need, from the compiler's own."""
    parts = dict(roots)
    waiting = list(roots.values())
    while waiting:
        for name in compiling.needed(chain, waiting.pop()):
            if name not in parts:
                parts[name] = compiling.library(chain, name)
                waiting.append(parts[name])
    return parts


def _put(chain: Toolchain, source: Path, target: Path, runtime: Runtime) -> dict[str, Any]:
    """Copy one part into the bundle, stripped; its entry in the index."""
    shutil.copyfile(source, target)
    compiling.strip(chain, target)
    target.chmod(0o755 if target.name in (chain.loader, runtime.target) else 0o644)
    file = File(target.name, target, _sha256(target), target.stat().st_size)
    return {key: value for key, value in asdict(file).items() if key != "path"}


# --- the command --------------------------------------------------------------------------------------


@click.command()
@click.option("--abi", "abis", multiple=True, metavar="ABI", help="Default: all that the runtime is there for.")
@click.option("--runtime", default="onnxruntime", show_default=True, help=f"One of {', '.join(RUNTIMES)}.")
@click.option("--provider", default="cpu", show_default=True, type=click.Choice(tuple(PROVIDERS)))
def main(abis: tuple[str, ...], runtime: str, provider: str) -> None:
    """Build the runner's bundles that are not up to date."""
    try:
        runtime = bundle_runtime(runtime, provider)
        for abi in abis or _runtime(runtime).abis:
            made = build(abi, runtime, on_step=lambda step: click.echo(f"bundle: {step}", err=True))
            megabytes = made.size_bytes / 1e6
            what = f"{runtime}-{abi}: {made.runtime} {made.runtime_version}"
            click.echo(f"bundle: {what}, {len(made.files)} files, {megabytes:.1f} MB", err=True)
    except DeviceError as error:
        click.echo(f"bundle: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
