"""Where things lie in the project's folder: everything else asks here."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

#: All that is downloaded or built; `make clean` removes it.
BUILD = REPOSITORY / "build"

#: Images, disks and consoles of emulated boards.
BOARDS = BUILD / "boards"
EXPORTS = BUILD / "export"
RESULTS = REPOSITORY / "results"
RUNNER = REPOSITORY / "device" / "runner"
EMULATOR = REPOSITORY / "device" / "emulator"
