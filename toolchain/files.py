"""Files, as all that makes, stores, sends and checks them describes them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileIdentity:
    """A file by its name in whatever folder it lies in, and what its bytes are."""

    name: str
    sha256: str
    size_bytes: int

    def at(self, folder: Path) -> File:
        """The file as it lies in `folder`."""
        return File(self.name, self.sha256, self.size_bytes, folder / self.name)


@dataclass(frozen=True)
class File(FileIdentity):
    """A file whose bytes are at `path` on this machine; elsewhere it goes by its name."""

    path: Path


def describe(path: Path) -> FileIdentity:
    """The file at `path` as it is now."""
    return FileIdentity(path.name, file_sha256(path), path.stat().st_size)


def local_file(path: Path) -> File:
    """The file at `path` as it is now, and there."""
    return describe(path).at(path.parent)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A workspace beside `folder`; when the block ends, the folder `new` in it takes the place of `folder` at once.

    Where there is no `new`, or the block raises, `folder` is as it was. One process at a time may be here: what is left
    of others' workspaces for this folder, which were killed, is removed. Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.work-"
    for abandoned in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as scratch:
        workspace = Path(scratch)
        yield workspace
        if (new := workspace / "new").exists():
            if folder.exists():
                folder.rename(workspace / "old")
            new.rename(folder)
