"""One user per device: an advisory lock, which the kernel releases when its holder ends, however that happens.

A lock is a file per device in a folder of this user's on this machine, locked with flock(2). All runs of a user are
kept apart. Users are not, for none may write another's files: share a phone among users through one account.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from device.errors import DeviceBusy, DeviceUnavailable
from device.timeouts import Deadline

_POLL_S = 0.2
_MAX_NOTE_BYTES = 200


def folder() -> Path:
    """Where the locks are: $TENPASS_LOCKS (for containers that share a device), else a folder of this user's in /tmp.

    Not $XDG_RUNTIME_DIR or $TMPDIR, which differ between a login and a job of the same user. Raises DeviceUnavailable
    when somebody else could meddle with it.
    """
    given = os.environ.get("TENPASS_LOCKS")
    path = Path(given) if given else Path(f"/tmp/tenpass-{os.getuid()}")  # noqa: S108 (what is there is checked)
    try:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise DeviceUnavailable(
            f"{path}: no folder for locks ({error.strerror}); name one with TENPASS_LOCKS"
        ) from None
    alone = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    if not alone:
        raise DeviceUnavailable(
            f"{path}: not a folder that only this user can write to; remove it, or name another with TENPASS_LOCKS"
        )
    return path


class DeviceLock:
    """A device that is this program's alone, until `release` or the program's end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(
        cls, name: str, wait_s: float = 0, on_wait: Callable[[str], None] = lambda _: None, *, key: str | None = None
    ) -> DeviceLock:
        """The lock of the device of this name; `on_wait` hears who has it, if somebody has.

        `key` is what the device is locked by, where that is not its name. Raises DeviceBusy when it was not to be had
        within `wait_s`.
        """
        # A name may hold any sign, and be long: the file's does not.
        path = folder() / f"{hashlib.sha256((key or name).encode(errors='surrogateescape')).hexdigest()}.lock"
        deadline, announced = Deadline(wait_s), ""
        while (descriptor := _locked(path)) is None:
            holder = _holder(path)
            if deadline.passed:
                how = f"waited {wait_s:g} s for it" if wait_s else "--wait SECONDS waits for it"
                raise DeviceBusy(f"device {name}: another run has it ({holder}); {how}")
            if holder != announced:
                announced = holder
                on_wait(f"{name} is in use ({holder}); waiting up to {wait_s:g} s")
            time.sleep(deadline.left_s(_POLL_S))
        os.ftruncate(descriptor, 0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.pwrite(descriptor, f"process {os.getpid()} since {since}".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.release()


def _locked(path: Path) -> int | None:
    """The file, open and locked; None when another has it. It is never removed, and children do not inherit it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeviceUnavailable(f"{path}: cannot be locked ({error.strerror}); remove it") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise DeviceUnavailable(f"{path}: cannot be locked ({error.strerror}); see TENPASS_LOCKS") from None
    return descriptor


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        note = path.read_bytes()[:_MAX_NOTE_BYTES].decode(errors="replace").strip()
        if note:
            return note
    return "which has only begun"
