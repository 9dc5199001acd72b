"""ONNX Runtime's library for each ABI, out of the Python wheels that carry it.

The wheels are pinned by sha256 in `wheels.lock.json` and fetched by this machine's own pip, with whatever
index it is configured for. Of each only the library is kept, below build/.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import BuildError
from toolchain.files import file_sha256
from toolchain.paths import BUILD

FOLDER = BUILD / "wheels"
LOCK = Path(__file__).with_name("wheels.lock.json")
LIBRARY = "libonnxruntime.so"

_PYTHON = "311"  # the wheels' Python; ours may be a newer one, it is only the library that is wanted
_TIMEOUT_S = 900
_HELP = (
    "`pip config list` shows the index that was asked (PIP_INDEX_URL overrides it), "
    "PIP_FIND_LINKS=<folder> takes the wheel from a folder"
)


@dataclass(frozen=True)
class Pin:
    """A wheel and the library in it, down to their bytes."""

    project: str
    version: str
    platform: str
    wheel: str
    wheel_sha256: str
    member: str
    library_sha256: str
    runtime_version: str


def pin(abi: str) -> Pin:
    """The pinned wheel for an ABI. Raises BuildError when there is none."""
    pins = json.loads(LOCK.read_text())
    if abi not in pins:
        raise BuildError(f"no ONNX Runtime is pinned for ABI {abi}; {LOCK.name} has {', '.join(pins)}")
    return Pin(**pins[abi])


def library(abi: str) -> Path:
    """`libonnxruntime.so` for an ABI, fetched first if it is not there yet.

    Raises BuildError when the wheel cannot be had or its bytes are not the pinned ones.
    """
    wanted = pin(abi)
    path = FOLDER / wanted.wheel_sha256[:16] / LIBRARY
    if path.exists():
        if file_sha256(path) == wanted.library_sha256:
            return path
        print(f"wheels: {path} is not the pinned file (sha256 differs): fetching it again", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".fetching-") as scratch:
        wheel = _downloaded(wanted, Path(scratch))
        extracted = Path(scratch) / LIBRARY
        with zipfile.ZipFile(wheel) as archive:
            extracted.write_bytes(archive.read(wanted.member))
        _require(extracted, wanted.library_sha256, f"{wanted.member} in {wanted.wheel}")
        extracted.replace(path)
    return path


def _downloaded(wanted: Pin, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--platform", wanted.platform]
    command += ["--python-version", _PYTHON, "--implementation", "cp", "--dest", str(folder)]
    what = f"{wanted.project}=={wanted.version}"
    try:
        done = subprocess.run([*command, what], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip did not get {what} within {_TIMEOUT_S} s; {_HELP}") from None
    wheel = folder / wanted.wheel
    if done.returncode != 0 or not wheel.is_file():
        raise BuildError(f"pip cannot get {wanted.wheel} ({_complaint(done.stderr, folder)}); {_HELP}")
    _require(wheel, wanted.wheel_sha256, wanted.wheel)
    return wheel


def _complaint(stderr: str, folder: Path) -> str:
    """The first error that pip names, or else its last line, or else what it got instead of the wheel."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    instead = ", ".join(path.name for path in folder.iterdir()) or "nothing"
    return (errors or lines[-1:] or [f"it got {instead}"])[0][:300]


def _require(path: Path, sha256: str, what: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise BuildError(
            f"{what} is not the pinned file: its sha256 is {found}, {LOCK.name} says {sha256}; "
            "look at the index it came from (`pip config list`) before anything else"
        )
