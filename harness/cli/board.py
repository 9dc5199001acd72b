"""Boots an emulated board and leaves it up for adb and ssh, until Ctrl-C. Default: the first of --list.

Exit codes: 0; 2 there is no board of that name; 3 it does not boot, or has ended by itself.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import click

from harness.cli.command import CONTEXT, guarded
from harness.record.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from device.board.lifecycle import Board

_CLOCKS = {
    "instructions": "its clock counts instructions (1 ns each): times repeat, and are not a phone's",
    "emulated": "its times mean nothing",
}


@click.command(help=__doc__, context_settings=CONTEXT)
@click.argument("name", required=False)
@click.option("--list", "lists", is_flag=True, help="List the boards, and do nothing else.")
@guarded
def main(name: str | None, lists: bool) -> int:
    from device.board.definitions import DEFAULT, UnknownBoard, definitions
    from device.board.lifecycle import boot

    if lists:
        for described in definitions().values():
            click.echo(f"{described.name:16} {described.description}")
        return EXIT_OK
    try:
        with boot(name or DEFAULT, on_step=lambda step: click.echo(f"board: {step}", err=True)) as board:
            _wait(board)
    except UnknownBoard as error:
        raise UsageError(str(error)) from None
    return EXIT_OK


def _wait(board: Board) -> None:
    """Says how to reach the board, and returns on Ctrl-C or SIGTERM. Raises BoardUnavailable when the board ends."""
    from device.board.definitions import BoardUnavailable
    from device.board.lifecycle import console_end

    described = board.definition
    click.echo(
        f"{described.title} is up: Linux {board.kernel_version}, {described.abi}; {_CLOCKS[described.clock]}.\n"
        f"    adb connect {board.serial}\n"
        f"    python -m harness.run --device {board.serial}\n"
        f"    ssh -F {os.path.relpath(board.ssh.config)} {board.ssh.host}\n"
        f"Its console is in {os.path.relpath(board.log_path)}. Ctrl-C switches it off."
    )
    try:
        while board.alive():
            time.sleep(0.5)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # nothing is to stop it from being switched off
        return
    raise BoardUnavailable(f"it has ended by itself: {console_end(board.log_path)}")


if __name__ == "__main__":
    main()
