"""The boards' data disks: each a file with an ext4 file system, which one board at a time has."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from device.board.definitions import BoardUnavailable
from device.board.tools import program_path
from toolchain.paths import BOARDS

DATA_BYTES = 1 << 30
#: Where the boards' data disks and consoles are, below data/ and logs/.
DISKS = BOARDS
_MAX_SLOTS = 64
_DISK_TIMEOUT_S = 120.0  # checking or making a file system of DATA_BYTES takes a second or two


@dataclass
class Slot:
    """A data disk of a board, and the lock that makes it this board's own while it runs.

    The emulator inherits the lock: should this program be killed, the disk is free when the emulator is gone.
    """

    number: int
    disk: Path
    log_path: Path
    tree_path: Path
    lock: int
    closed: bool = False

    @classmethod
    def take(cls, name: str) -> Slot:
        """The first free slot of this board, its disk checked, and made where there is none."""
        folder, logs = DISKS / "data", DISKS / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        for number in range(_MAX_SLOTS):
            slot_name = f"{name}-{number}"
            lock = os.open(folder / f"{slot_name}.lock", os.O_CREAT | os.O_RDWR, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            console, tree = logs / f"{slot_name}.log", folder / f"{slot_name}.dtb"
            slot = cls(number, folder / f"{slot_name}.img", console, tree, lock)
            try:
                prepare(slot.disk)
            except BaseException:
                slot.close()
                raise
            return slot
        raise BoardUnavailable(f"{_MAX_SLOTS} boards {name} are running already; end one of them")

    def counts_path(self, setting: int) -> Path:
        """Where the emulator's counts go, with this setting of a chip's memory."""
        return self.log_path.with_suffix(f".counts{setting or ''}.jsonl")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.lock)


def prepare(disk: Path) -> None:
    """Have a sound ext4 file system in `disk`: replay its journal, or make it anew when it is past repair."""
    if disk.exists():
        check = [program_path("e2fsck", "e2fsprogs"), "-p", str(disk)]
        status = _run(check).returncode
        repaired = 3  # e2fsck(8): 1 errors corrected, 2 "reboot"; 4 and up: errors left
        if status <= repaired:
            return
        print(f"board: {disk} is beyond repair and made anew; what was pushed to it is lost", file=sys.stderr)
    scratch = disk.with_suffix(".new")
    with scratch.open("wb") as file:
        file.truncate(DATA_BYTES)
    # Nothing is left for the kernel to initialise while the board measures (lazy_*=0).
    options = "lazy_itable_init=0,lazy_journal_init=0"
    make = [program_path("mke2fs", "e2fsprogs"), "-q", "-F", "-t", "ext4", "-N", "8192", "-m", "0", "-J", "size=16"]
    made = _run([*make, "-E", options, str(scratch)])
    if made.returncode != 0:
        scratch.unlink()
        raise BoardUnavailable(f"{disk} cannot be made: {made.stderr.strip()}; is there room on this disk?")
    scratch.replace(disk)


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_DISK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BoardUnavailable(
            f"{Path(argv[0]).name} did not end within {_DISK_TIMEOUT_S:g} s; is the disk sound?"
        ) from None
