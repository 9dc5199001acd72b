"""Boards as devices: `board:NAME` boots one, or several side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from device.adb.device import AdbDevice
from device.board.counting import CountingDevice
from device.board.definitions import UnknownBoard, definition, definitions
from device.device import Device, Opening
from device.records import Core, DeviceInfo
from device.timeouts import Timeouts

if TYPE_CHECKING:
    from device.board.lifecycle import Board

PREFIX = "board:"


def open_boards(name: str, opening: Opening) -> list[Device]:
    """As many boards of this name as are wanted, always in the same order of their data disks.

    Raises DeviceUnavailable. They die with this program, at the latest.
    """
    boards = _boot(name.removeprefix(PREFIX), opening)
    try:
        return [device_of(board, opening.timeouts) for board in boards]
    except BaseException:
        for board in boards:
            board.close()
        raise


def canonical(name: str) -> str:
    """The one name of the board that is called so, too; that of a board that there is not stays as it is."""
    with contextlib.suppress(UnknownBoard):
        return PREFIX + definition(name.removeprefix(PREFIX)).name
    return name


def is_deterministic(name: str) -> bool:
    """Whether this board's clock counts instructions, so that several side by side do not disturb one another.

    Raises DeviceUnavailable for a board that there is not.
    """
    return definition(name.removeprefix(PREFIX)).clock == "instructions"


def described(name: str) -> DeviceInfo:
    """What is known of this board before it boots. Raises DeviceUnavailable for a board that there is not."""
    board = definition(name.partition("@")[0].removeprefix(PREFIX))
    cores = tuple(Core(index, None, None) for index in range(board.cores))
    return DeviceInfo(
        serial=name,
        kind="board",
        clock="estimated" if board.chip else board.clock,
        model=board.title,
        soc=None,
        abi=board.abi,
        cores=cores,
        ram_bytes=board.ram_bytes,
        os="Linux",
        page_bytes=board.page_bytes,
        chip=board.chip,
    )


def listed_boards() -> Iterator[tuple[str, str]]:
    """Each board's name, and what it is."""
    for board in definitions().values():
        how = f"emulated, its times estimated: {board.chip}, {board.core}; {board.description}" if board.chip else ""
        yield PREFIX + board.name, how or f"emulated: {board.title}"


def device_of(board: Board, timeouts: Timeouts) -> Device:
    """The board that is up as a device, which records call by the board's own name."""
    described = board.definition
    device = AdbDevice(
        board.serial,
        server=board.adb_server,
        name=PREFIX + described.name,
        timeouts=timeouts,
        on_close=board.close,
        revive=board.revive,
    )
    device.reserve()
    device.take_over()
    if not board.counts_paths or described.caches is None:
        return device
    return CountingDevice(device, board.counts_paths, described.caches, described.chip)


def _boot(name: str, opening: Opening) -> list[Board]:
    """Boots so many boards at the same time. When one does not come up, none stays."""
    from device.board.lifecycle import boot

    counts = opening.counting or (opening.estimating and definition(name).chip is not None)
    booted: queue.SimpleQueue[Board | Exception] = queue.SimpleQueue()

    def boot_one() -> None:
        try:
            booted.put(boot(name, opening.on_step, count=counts, every_memory=True, clock_mhz=opening.clock_mhz))
        except Exception as error:
            booted.put(error)

    for _ in range(opening.count):
        # Daemons: who loses patience need not wait for them, and a board does not outlive the program.
        threading.Thread(target=boot_one, daemon=True).start()
    results = [booted.get() for _ in range(opening.count)]
    boards = [result for result in results if not isinstance(result, Exception)]
    for result in results:
        if isinstance(result, Exception):
            for board in boards:
                board.close()
            raise result
    return sorted(boards, key=lambda board: board.slot)
