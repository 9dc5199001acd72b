"""Boots an emulated board and leaves it up for `adb connect`: `python -m device.board`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

import click

from device.board.definitions import DEFAULT, UnknownBoard, definitions
from device.board.lifecycle import Board, boot, end_of
from device.errors import DeviceUnavailable

EXIT_USAGE, EXIT_DEVICE_UNAVAILABLE = 2, 3


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", default=DEFAULT)
@click.option("--list", "lists", is_flag=True, help="List the boards, and do nothing else.")
def main(name: str, lists: bool) -> None:
    """Ends with 0 after Ctrl-C or SIGTERM, 2 for an unknown board, 3 when it does not boot."""
    if lists:
        for described in definitions().values():
            click.echo(f"{described.name:16} {described.description}")
        return
    try:
        with _ended_by_signals(), boot(name, on_step=_print_step) as board:
            click.echo(how_to_use(board))
            while board.alive():
                time.sleep(0.5)
            why, code = f"it has ended by itself: {end_of(board.log_path)}", EXIT_DEVICE_UNAVAILABLE
    except UnknownBoard as error:
        why, code = str(error), EXIT_USAGE
    except DeviceUnavailable as error:
        why, code = str(error), EXIT_DEVICE_UNAVAILABLE
    except KeyboardInterrupt:
        return
    _print_step(why)
    sys.exit(code)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; while it ends, further signals change nothing."""

    def interrupt(_signal: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_step(step: str) -> None:
    click.echo(f"board: {step}", err=True)


def how_to_use(board: Board) -> str:
    """How to reach a board that is up, and what its times mean."""
    described = board.definition
    clock = {
        "instructions": "its clock counts instructions (1 ns each): times repeat, and are not a phone's",
        "emulated": "its times mean nothing",
        "wall": "",
    }[described.clock]
    return (
        f"{described.title} is up: Linux {board.kernel_version}, {described.abi}; {clock}.\n"
        f"    adb connect {board.serial}\n"
        f"    python -m harness.run --device {board.serial}\n"
        f"Its console is in {os.path.relpath(board.log_path)}. Ctrl-C switches it off."
    )


if __name__ == "__main__":
    main()
