"""Programs of one's own on a board whose emulator times them: what lies between two marks, in cycles of a chip.

A program has the marks of device/runner/src/marks.h around what matters in it; each pair of them is a section.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from device.adb.server import Attached
from device.adb.shell import AdbShell
from device.board.counting import Counted
from device.board.lifecycle import Board
from device.errors import DeviceError
from device.records import Loss
from device.remote.shell import PACKET_BYTES

#: Where a program's folder goes on the board.
_FOLDER = PurePosixPath("/data/local/tmp/tenpass-program")


@dataclass(frozen=True)
class Section:
    """What was executed between two marks: instructions, and the cycles they take on the chip, by what they go to."""

    instructions: int
    cycles: dict[Loss, int]

    @property
    def total_cycles(self) -> int:
        return sum(self.cycles.values())

    def share(self, loss: Loss) -> float:
        return self.cycles[loss] / self.total_cycles if self.total_cycles else 0.0


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended on the board, and its sections."""

    exit_code: int
    sections: tuple[Section, ...]


def run_program(board: Board, argv: Sequence[str], timeout_s: float, on_output: Callable[[bytes], None]) -> ProgramRun:
    """Runs `argv` in the folder that was pushed, and says what its sections took; `on_output` hears what it prints.

    The board was booted to count, and is a chip. Raises DeviceError when the program does not end in time, and when the
    emulator says what is no count.
    """
    if not board.counts_paths or board.definition.chip is None:
        raise DeviceError(f"the board {board.definition.name} was booted so that its emulator times nothing")
    shell = AdbShell(Attached(board.serial), board.adb_server)
    [counts, *_] = board.counts_paths
    counts.write_bytes(b"")  # an empty file: the first section finds empty caches
    command = f"cd {_FOLDER} && LD_LIBRARY_PATH={_FOLDER} {shlex.join(argv)} 2>&1"
    ended = shell.run(command, timeout_s=timeout_s, on_stdout=on_output)
    lines = counts.read_text().splitlines()
    where = board.definition.name
    found = [Counted.parsed(line, where, is_timed=True) for line in lines]
    return ProgramRun(ended.exit_code, tuple(Section(one.counts["instructions"], one.cycles) for one in found))


def push_program(board: Board, folder: Path) -> None:
    """Pushes the folder of a program, in place of any other's. Raises DeviceError for one that cannot be had."""
    shell = AdbShell(Attached(board.serial), board.adb_server)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise DeviceError(f"{folder}: no folder with files in it; what the program needs must be there")
    shell.output_of(f"rm -rf {_FOLDER} && mkdir -p {_FOLDER}", f"{_FOLDER} cannot be made")
    for path in files:
        target = shlex.quote(str(_FOLDER / path.relative_to(folder)))
        made = f"mkdir -p {shlex.quote(str((_FOLDER / path.relative_to(folder)).parent))}"
        shell.output_of(
            f"{made} && cat > {target} && chmod 755 {target}",
            f"{path} could not be pushed",
            stdin=_content(path),
            timeout_s=60 + path.stat().st_size / 1e5,
        )


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while data := stream.read(PACKET_BYTES):
            yield data
