"""A file of values, a line of JSON each, that is appended to while a run goes on, which may end at any moment."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydantic import TypeAdapter

from harness.record.errors import HarnessError, UsageError

T = TypeVar("T")


class Lines(Generic[T]):
    """Appends values to a file; each is on the disk when `append` returns.

    A last line that a power cut or a kill has torn is cut off first. Raises UsageError when another run writes here.
    """

    def __init__(self, path: Path, adapter: TypeAdapter[T]) -> None:
        self.path = path
        self._adapter = adapter
        self._file = self.path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise UsageError(f"{self.path}: another run is writing to it; wait for its end") from None
        self._file.seek(0)
        whole, torn = split(self._file.read())
        if torn:
            self._file.truncate(len(whole))
        _sync_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, value: T) -> None:
        """Raises HarnessError when the disk does not take it."""
        try:
            data = self._adapter.dump_json(value) + b"\n"
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = error.strerror
            raise HarnessError(
                f"{self.path}: the record could not be written ({reason}); mend that and go on with --resume"
            ) from None


def split(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what follows the last of them."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def _sync_folder(folder: Path) -> None:
    """So that a new file's name outlives a power cut as its content does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
