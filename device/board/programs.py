"""Programs of one's own on a board whose emulator times them: what lies between two marks, in cycles of a chip.

A program has the marks of device/runner/src/marks.h around what matters in it; each pair of them is a section.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from device.adb.server import Attached
from device.adb.shell import AdbShell
from device.board.counting import CountsWrong
from device.board.lifecycle import Board
from device.errors import DeviceError
from device.remote.shell import PACKET_BYTES

#: Where a program's folder goes on the board.
_FOLDER = PurePosixPath("/data/local/tmp/tenpass-program")


@dataclass(frozen=True)
class Section:
    """What was executed between two marks: instructions, and the cycles that they take on the chip, by what they go to.

    `cycles` has all of the time under the names of device/emulator/model/memory.hpp (pipeline, dram, l2, ...).
    """

    instructions: int
    cycles: dict[str, int]

    @property
    def total_cycles(self) -> int:
        return sum(self.cycles.values())

    def share(self, loss: str) -> float:
        return self.cycles[loss] / self.total_cycles if self.total_cycles else 0.0


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended on the board, and its sections."""

    exit_code: int
    sections: tuple[Section, ...]


def run_program(
    board: Board, folder: Path, argv: Sequence[str], timeout_s: float, on_output: Callable[[bytes], None]
) -> ProgramRun:
    """Pushes the folder, runs `argv` in it, and says what its sections took; `on_output` hears what it prints.

    The board was booted for a chip. Raises DeviceError for a folder that cannot be had, when the program does not end
    in time, and when the emulator says what is no count.
    """
    if board.counts_path is None:
        raise DeviceError(f"the board {board.definition.name} was booted without a chip: its emulator times nothing")
    shell = AdbShell(Attached(board.serial), board.adb_server)
    _push(shell, folder)
    board.counts_path.write_bytes(b"")  # an empty file: the first section finds empty caches
    command = f"cd {_FOLDER} && LD_LIBRARY_PATH={_FOLDER} {shlex.join(argv)} 2>&1"
    ended = shell.run(command, timeout_s=timeout_s, on_stdout=on_output)
    lines = board.counts_path.read_text().splitlines()
    return ProgramRun(ended.exit_code, tuple(_section(line) for line in lines))


def _push(shell: AdbShell, folder: Path) -> None:
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


def _section(line: str) -> Section:
    try:
        said = json.loads(line)
        return Section(int(said["instructions"]), {str(loss): int(value) for loss, value in said["cycles"].items()})
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CountsWrong(f"the emulator wrote what are no counts: {line[:120]!r}; run it again") from None
