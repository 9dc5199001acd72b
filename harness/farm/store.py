"""What a worker keeps of what runs have sent: artifacts, each in a folder named by its manifest's sha256.

`lacks` and `put` are called from runs, on the worker. A manifest names its files' sha256: so does the folder's name.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from export.artifact import MANIFEST_NAME, Artifact, ExportError, read_artifact
from toolchain.files import file_sha256
from toolchain.paths import BUILD

FOLDER = BUILD / "farm"

_KEPT_S = 30 * 24 * 3600  # a choice: as long as files are kept on a device


def name_of(artifact: Artifact) -> str:
    """What an artifact of this machine's is called in a store."""
    return file_sha256(artifact.folder / MANIFEST_NAME)


def lacks(name: str) -> bool:
    return not (FOLDER / name).is_dir()


def put(name: str, files: dict[str, bytes]) -> None:
    """Keeps an artifact of these files, the manifest among them. Raises ExportError for one that is damaged."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=FOLDER, prefix=".", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch, "artifact")
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_bytes(content)
        if file_sha256(folder / MANIFEST_NAME) != name:
            raise ExportError(f"{name}: its manifest arrived other than it left")
        read_artifact(folder)
        with contextlib.suppress(OSError):  # another run was first
            folder.rename(FOLDER / name)


def get(name: str) -> Artifact:
    """The artifact of that name. Raises ExportError when it is not there, or damaged: it is removed then."""
    try:
        return read_artifact(FOLDER / name)
    except ExportError as error:
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        raise ExportError(f"{error} (on the farm's worker, which has removed it: --resume sends it anew)") from None


def sweep() -> None:
    """Removes what nobody has sent for long, and what a killed worker left half written."""
    for path in FOLDER.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT_S:
                shutil.rmtree(path)
