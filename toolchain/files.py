"""Files, as all that makes, stores, sends and checks them describes them."""

from __future__ import annotations

import hashlib
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
