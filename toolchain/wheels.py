"""Files out of Python packages: ONNX Runtime's library for each ABI, a program of a wheel, the source in an sdist.

All are pinned by sha256 (ONNX Runtime's wheels in `wheels.lock.json`) and fetched by this machine's own pip, with
whatever index it is configured for. Of a wheel only the one file is kept, below build/.
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
    "PIP_FIND_LINKS=<folder> takes the file from a folder"
)

#: The link of an sdist, in pip's own words: `pip download` would build it to learn its version, which takes minutes and
#: is then refused where a package makes its version of the day's date. pip has no command that only fetches.
_FETCH_SDIST = """
import sys
from pip._internal.commands import create_command
from pip._vendor.packaging.specifiers import SpecifierSet

project, version, target = sys.argv[1:]
command = create_command("download")
options, _ = command.parse_args(["--no-binary=:all:", project])
with command.main_context():
    session = command.get_default_session(options)
    finder = command._build_package_finder(options, session)
    found = finder.find_best_candidate(project, SpecifierSet("==" + version)).best_candidate
    if found is None:
        sys.exit(f"ERROR: no source of {project} {version} there")
    answer = session.get(found.link.url_without_fragment, headers={"Accept-Encoding": "identity"})
    answer.raise_for_status()
    with open(target, "wb") as file:
        file.write(answer.content)
"""


@dataclass(frozen=True)
class Pin:
    """A wheel and the library (or program) in it, down to their bytes."""

    project: str
    version: str
    platform: str
    wheel: str
    wheel_sha256: str
    member: str
    library_sha256: str
    runtime_version: str


@dataclass(frozen=True)
class Sdist:
    """A source package, down to its bytes."""

    project: str
    version: str
    file: str
    sha256: str

    @property
    def folder(self) -> str:
        """What all its files lie in."""
        return f"{self.project}-{self.version}"


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
    return member(pin(abi), LIBRARY)


def member(wanted: Pin, name: str) -> Path:
    """The one file of a pinned wheel, under that name. Raises what `library` does."""
    path = FOLDER / wanted.wheel_sha256[:16] / name
    if path.exists():
        if file_sha256(path) == wanted.library_sha256:
            return path
        print(f"wheels: {path} is not the pinned file (sha256 differs): fetching it again", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".fetching-") as scratch:
        wheel = _downloaded(wanted, Path(scratch))
        extracted = Path(scratch) / name
        with zipfile.ZipFile(wheel) as archive:
            extracted.write_bytes(archive.read(wanted.member))
        _require(extracted, wanted.library_sha256, f"{wanted.member} in {wanted.wheel}")
        extracted.replace(path)
    return path


def sdist(wanted: Sdist, folder: Path) -> Path:
    """A source package, fetched into `folder`. Raises what `library` does."""
    target = folder / wanted.file
    command = [sys.executable, "-c", _FETCH_SDIST, wanted.project, wanted.version, str(target)]
    _fetch(command, wanted.project, wanted.version, target, wanted.sha256)
    return target


def _downloaded(wanted: Pin, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--platform", wanted.platform]
    command += ["--python-version", _PYTHON, "--implementation", "cp", "--dest", str(folder)]
    wheel = folder / wanted.wheel
    command.append(f"{wanted.project}=={wanted.version}")
    _fetch(command, wanted.project, wanted.version, wheel, wanted.wheel_sha256)
    return wheel


def _fetch(command: list[str], project: str, version: str, target: Path, sha256: str) -> None:
    """Runs what fetches a file of a project to `target`. Raises BuildError where it does not come, or is another."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise BuildError(f"pip did not get {project}=={version} within {_TIMEOUT_S} s; {_HELP}") from None
    if done.returncode != 0 or not target.is_file():
        raise BuildError(f"pip cannot get {target.name} ({_complaint(done.stderr, target.parent)}); {_HELP}")
    _require(target, sha256, target.name)


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
            f"{what} is not the pinned file: its sha256 is {found}, the pin says {sha256}; "
            "look at the index it came from (`pip config list`) before anything else"
        )
