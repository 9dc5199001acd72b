"""Times networks on chips by the model: ncnn's own, of sources that somebody has, and this project's as runs do it."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from device.board.definitions import BoardDefinition, definitions
from device.errors import BundleError
from device.records import Chip, Loss
from harness.measure.progress import Progress
from harness.record import bounded
from harness.record.errors import EXPECTED, UsageError
from harness.record.lines import Lines, split
from harness.record.plan import FILE_NAME as PLAN_NAME
from harness.study.timing.constants import variations
from harness.study.timing.published import NCNN, published
from toolchain import compile as compiling
from toolchain import ncnn
from toolchain.errors import ToolchainError
from toolchain.paths import EMULATOR

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from device.board.lifecycle import Board
    from device.board.programs import Section

#: Of ncnn's networks, a line each; and the folder of the run with our own.
FILE_NAME, OWN = "timing.jsonl", "own"

#: A choice: small ones of several kinds, as each is timed once for each change.
VARIED = ("blazeface", "shufflenet", "shufflenet_v2", "squeezenet_int8", "mobilenet_v3")

_CODE = Path(__file__).with_name("ncnn_networks.cpp")
_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 7200.0  # of one network; the largest take a minute, and a machine may have other things to do


@dataclass(frozen=True)
class Timed:
    """A warm pass of one network on one chip, as the model has it: raw.

    `version` is what the folder of the sources is called; `made_of` changes with these, the network's file, the chip
    and the model.
    """

    chip: Chip
    network: str
    version: str
    made_of: str
    variation: str  # which constant was changed, and how; empty for the model as it is
    instructions: int
    cycles: dict[Loss, int]

    @property
    def key(self) -> tuple[str, str, str]:
        """Of several lines with the same, the last counts."""
        return self.chip.name, self.network, self.variation

    @property
    def total_cycles(self) -> int:
        return sum(self.cycles.values())


def chips() -> dict[str, BoardDefinition]:
    """The boards that are chips, by name."""
    return {name: board for name, board in definitions().items() if board.chip is not None}


def chips_with_published_times() -> tuple[str, ...]:
    """Those that ncnn's networks have been timed on."""
    return tuple(table.chip for table in published() if table.library == NCNN and table.chip in chips())


@contextmanager
def opened(sources: Path) -> Iterator[Path]:
    """The folder of ncnn's sources: `sources` itself, or what it holds as an archive.

    Raises UsageError for what are no sources of ncnn.
    """
    if sources.is_dir():
        yield _checked(sources, sources)
        return
    with tempfile.TemporaryDirectory(prefix="tenpass-") as scratch:
        if not (sources.is_file() and tarfile.is_tarfile(sources)):
            raise UsageError(
                f"--ncnn-source {sources}: no folder and no archive (.tar.xz); name one with ncnn's sources"
            )
        try:
            compiling.output(["tar", "-xf", str(sources.resolve()), "-C", scratch])
        except ToolchainError as error:
            raise UsageError(f"--ncnn-source {sources}: cannot be unpacked ({error})") from None
        inside = list(Path(scratch).iterdir())
        yield _checked(inside[0] if len(inside) == 1 else Path(scratch), sources)


def _checked(folder: Path, named: Path) -> Path:
    if not (folder / "src" / "net.h").is_file() or not any((folder / "benchmark").glob("*.param")):
        raise UsageError(f"--ncnn-source {named}: has no src/net.h and benchmark/*.param; name ncnn's sources")
    return folder


def networks_of(sources: Path, wanted: Sequence[str] | None, chip: str) -> list[str]:
    """Those that are wanted, by default those that have been timed on this chip. Raises UsageError for unknown ones."""
    there = {path.stem for path in (sources / "benchmark").glob("*.param")}
    if wanted is None:
        times = [table.ms for table in published() if (table.library, table.chip) == (NCNN, chip)]
        return [name for name in dict.fromkeys(name for ms in times for name in ms) if name in there]
    if unknown := [name for name in wanted if name not in there]:
        raise UsageError(f"--networks {unknown[0]}: none of these sources, which have {', '.join(sorted(there))}")
    return list(wanted)


def measure_ncnn(
    sources: Path,
    wanted_chips: Sequence[str],
    networks: Sequence[str] | None,
    folder: Path,
    progress: Progress,
    *,
    varies: bool = False,
) -> bool:
    """Times ncnn's networks on each chip, but for what `folder` has already; whether all could be.

    `varies`: some networks also with one constant of the model after the other changed.

    Raises UsageError for what are no sources of ncnn, and unknown networks; what fails on a chip holds up no other.
    """
    is_whole = True
    with opened(sources) as found:
        wanted = {chip: networks_of(found, networks, chip) for chip in wanted_chips}
        known = {one.key: one.made_of for one in read(folder)}
        with Lines(folder / FILE_NAME, _adapter()) as lines, tempfile.TemporaryDirectory(prefix="tenpass-") as tables:
            for name, its_networks in wanted.items():
                of_chip = _OfChip(found, known, lines, progress)
                boards: list[tuple[str, BoardDefinition, Sequence[str]]] = [("", chips()[name], its_networks)]
                if varies:
                    few = networks or [network for network in its_networks if network in VARIED]
                    boards += [(what, board, few) for what, board in variations(chips()[name], Path(tables))]
                try:
                    for board in boards:
                        is_whole &= of_chip.measure(*board)
                except EXPECTED as error:
                    progress.say(f"failed: {name}: {error}")
                    is_whole = False
    return is_whole


@dataclass(frozen=True)
class _OfChip:
    """What all measurements of a chip have in common: the sources, what is known already, where results go."""

    sources: Path
    known: Mapping[tuple[str, str, str], str]
    lines: Lines[Timed]
    progress: Progress

    def measure(self, variation: str, board: BoardDefinition, networks: Sequence[str]) -> bool:
        """Times what is missing of the networks on a board, booted for that; whether all could be."""
        from device.board.lifecycle import boot
        from device.board.programs import push_program

        files = {network: self.sources / "benchmark" / f"{network}.param" for network in networks}
        what = f"{board.name} {variation}".strip()
        with self.progress.stage(what, len(files)) as stage, tempfile.TemporaryDirectory(prefix="tenpass-") as scratch:
            try:
                stage.detail("compiling ncnn, where need be")
                program = ncnn.program(self.sources, _CODE, board.abi)
            except ToolchainError as error:
                raise BundleError(str(error)) from None
            recipes = {network: _made_of(program, file, board) for network, file in files.items()}
            missing = [it for it in files if self.known.get((board.name, it, variation)) != recipes[it]]
            stage.advance(len(files) - len(missing))
            if not missing:
                return True
            for path in (program, *(files[network] for network in missing)):
                shutil.copy(path, scratch)
            with boot(board, count=True) as up:
                push_program(up, Path(scratch))
                is_whole = True
                for network in missing:
                    stage.detail(network)
                    warm = self._warm_pass(up, network)
                    stage.advance()
                    if warm is None:
                        is_whole = False
                        continue
                    made_with = self.sources.name.removeprefix("ncnn-"), recipes[network], variation
                    timed = Timed(board.require_chip(), network, *made_with, warm.instructions, warm.cycles)
                    self.lines.append(timed)
        return is_whole

    def _warm_pass(self, board: Board, network: str) -> Section | None:
        """None of a network that cannot be run, which is said."""
        from device.board.programs import run_program

        printed = bytearray()
        ran = run_program(board, [f"./{_CODE.stem}", f"{network}.param"], _TIMEOUT_S, printed.extend)
        if ran.exit_code == 0 and ran.sections:
            return ran.sections[-1]
        words = bounded.printable(printed.decode(errors="replace").strip()[-300:])
        self.progress.say(f"failed: {board.definition.name}: {network}: exit status {ran.exit_code}: {words}")
        return None


def _made_of(program: Path, network: Path, board: BoardDefinition) -> str:
    """A hash over all that decides the cycles."""
    found = hashlib.sha256(repr((board.chip, board.caches)).encode())
    model = sorted(path for path in EMULATOR.rglob("*") if path.suffix in (".hpp", ".cpp"))
    for path in (program, network, board.core_table, *model):
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def measure_own(
    wanted_chips: Sequence[str],
    models: Sequence[str],
    runtimes: Sequence[str],
    folder: Path,
    progress: Progress,
    *,
    warmup: int = 1,
) -> bool:
    """Measures our own networks on each chip under each runtime, in a run of its own; whether all could be.

    A run that is there is gone on with, as it was planned.
    """
    from harness.measure.cases import Choices
    from harness.measure.device import Attachment
    from harness.measure.planning import plan_of
    from harness.measure.run import measure_plan, sessions_here
    from harness.record import journal
    from harness.record import plan as plans
    from harness.report.write import write

    out, devices = folder / OWN, tuple(f"board:{name}" for name in wanted_chips)
    is_resumed = (out / PLAN_NAME).exists()
    if is_resumed:
        plan = plans.read(out)
    else:
        out.mkdir(exist_ok=True)
        choices = Choices(models=tuple(models), runtimes=tuple(runtimes), warmup=warmup, passes=1, boards=1)
        plan = plan_of(choices, partial(tuple, devices), out.name, shlex.join(["tenpass", "study", "timing"]))
    result = measure_plan(plan, out, progress, sessions_here(Attachment()), is_resumed=is_resumed)
    write(out)
    for device, error in result.failures.items():
        progress.say(f"failed: {device}: {error}")
    records = journal.read(out)
    return not plans.missing_cases(result.plan, records) and all(record.status == "ok" for record in records)


def read(folder: Path) -> list[Timed]:
    """What was timed of ncnn's networks, of one on one chip the last; nothing where none were.

    Raises UsageError, naming the line, for a file that was damaged; a torn last line is left out.
    """
    from pydantic import ValidationError

    path = folder / FILE_NAME
    if not path.exists():
        return []
    found: dict[tuple[str, str, str], Timed] = {}
    for number, line in enumerate(split(bounded.read_bytes(path, _MOST_BYTES))[0].splitlines(), start=1):
        try:
            one = _adapter().validate_json(line)
        except ValidationError:
            raise UsageError(f"{path}:{number}: not what a study wrote; make the study again") from None
        found[one.key] = one
    return list(found.values())


def require_chips(names: Sequence[str]) -> tuple[str, ...]:
    """The boards of these names, `cortex-a7` being the first with that core. Raises UsageError for unknown ones."""
    known = chips()
    found = []
    for name in names:
        board = known.get(name) or next((it for it in known.values() if it.core == name), None)
        if board is None:
            raise UsageError(f"--chips {name}: no such chip; there are {', '.join(known)}")
        found.append(board.name)
    return tuple(dict.fromkeys(found))


def _adapter() -> TypeAdapter[Timed]:
    from pydantic import TypeAdapter

    return TypeAdapter(Timed)
