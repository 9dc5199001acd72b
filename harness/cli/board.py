"""Boots an emulated board and leaves it up for adb and ssh, until Ctrl-C. Default: the first of --list.

With --run, it runs a program of your own on a board that is a chip instead, and says what this takes there in cycles,
section by section: what lies between the marks of device/runner/src/marks.h.

\b
    tenpass board mt6580 --run FOLDER -- ./program ARGUMENTS

Exit codes: 0; 1 the program failed, or has no marks; 2 there is no board of that name, or it is no chip; 3 the board
does not boot, or has ended by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.command import CONTEXT, guarded
from harness.cli.options import Gigahertz
from harness.record.errors import EXIT_CASE_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from device.board.lifecycle import Board
    from device.board.programs import Section
    from device.records import Chip

_CLOCKS = {
    "instructions": "its clock counts instructions (1 ns each): times repeat, and are not a phone's",
    "emulated": "its times mean nothing",
}


@click.command(help=__doc__, context_settings=CONTEXT)
@click.argument("name", required=False)
@click.argument("program", nargs=-1)
@click.option("--list", "lists", is_flag=True, help="List the boards, and do nothing else.")
@click.option(
    "--run",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Push this folder, and run the program that stands behind -- in it.",
)
@click.option("--clock", "clock_ghz", type=Gigahertz(), metavar="GHZ", help="For --run: the chip at another clock.")
@click.option(
    "--timeout", "timeout_s", metavar="SECONDS", type=float, default=600.0, show_default=True, help="For --run."
)
@click.option("--json", "as_json", is_flag=True, help="With --run: the sections as JSON.")
@guarded
def main(
    name: str | None,
    program: tuple[str, ...],
    lists: bool,
    folder: Path | None,
    clock_ghz: float | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    from device.board.definitions import DEFAULT, BoardUnavailable, definition, definitions
    from device.board.lifecycle import boot

    if lists:
        for described in definitions().values():
            what = f"{described.chip}, {described.core}: " if described.chip else ""
            also = (
                f"; also called {described.core}" if described.chip and definition(described.core) is described else ""
            )
            click.echo(f"{described.name:16} {what}{described.description}{also}")
        return EXIT_OK
    if (folder is None) != (not program):
        raise UsageError("a program is run with both: --run FOLDER -- ./program ARGUMENTS")
    if clock_ghz is not None and folder is None:
        raise UsageError("--clock is for --run: a board that is merely up has its own clock, which counts instructions")
    clock_mhz = None if clock_ghz is None else 1000 * clock_ghz
    try:
        named = definition(name or DEFAULT)
        chip = None if folder is None else named.at_clock(clock_mhz).require_chip()
    except BoardUnavailable as error:
        raise UsageError(str(error)) from None
    with boot(named.name, on_step=_step, count=chip is not None, clock_mhz=clock_mhz) as board:
        if folder is None or chip is None:
            _wait(board)
            return EXIT_OK
        return _run(board, folder, program, chip, timeout_s, as_json=as_json)


def _step(step: str) -> None:
    click.echo(f"board: {step}", err=True)


def _run(board: Board, folder: Path, program: tuple[str, ...], chip: Chip, timeout_s: float, *, as_json: bool) -> int:
    """Runs the program and prints its sections. What it prints itself goes to stderr."""
    from device.board.programs import push_program, run_program

    def show(output: bytes) -> None:
        sys.stderr.buffer.write(output)
        sys.stderr.buffer.flush()

    push_program(board, folder)
    ran = run_program(board, program, timeout_s, show)
    if as_json:
        click.echo(json.dumps(_in_json(ran.sections, chip)))
    elif ran.sections:
        click.echo(_table(ran.sections, chip))
    if ran.exit_code != 0:
        click.echo(f"error: {program[0]} ended with exit status {ran.exit_code}", err=True)
        return EXIT_CASE_FAILED
    if not ran.sections:
        click.echo(
            f"error: {program[0]} has executed no marks: put those of device/runner/src/marks.h into it", err=True
        )
        return EXIT_CASE_FAILED
    return EXIT_OK


def _in_json(sections: tuple[Section, ...], chip: Chip) -> dict[str, object]:
    return {"chip": chip.name, "clock_mhz": chip.clock_mhz, "sections": [asdict(one) for one in sections]}


def _table(sections: tuple[Section, ...], chip: Chip) -> str:
    """A line a section: instructions, cycles, the time they are at the chip's clock, and where they go, in percent."""
    from harness.record.titles import estimated, sentence

    losses = list(sections[0].cycles)
    lines = [
        sentence(estimated(chip)),
        f"{'section':>7} {'instructions':>13} {'cycles':>13} {'ms':>9}  " + " ".join(f"{loss:>8}" for loss in losses),
    ]
    for place, one in enumerate(sections, 1):
        shares = " ".join(f"{100 * one.share(loss):7.1f}%" for loss in losses)
        milliseconds = chip.ns(one.total_cycles) / 1e6
        lines.append(f"{place:>7} {one.instructions:>13,} {one.total_cycles:>13,} {milliseconds:>9.4g}  {shares}")
    return "\n".join(lines)


def _wait(board: Board) -> None:
    """Says how to reach the board, and returns on Ctrl-C or SIGTERM. Raises BoardUnavailable when the board ends."""
    from device import loopback
    from device.board.definitions import BoardUnavailable
    from device.board.lifecycle import console_end

    described, config = board.definition, os.path.relpath(board.ssh.config)
    click.echo(
        f"{described.title} is up: Linux {board.kernel_version}, {described.abi}; {_CLOCKS[described.clock]}.\n"
        f"    adb connect {board.serial}\n"
        f"    python -m harness.run --device {board.serial}\n"
        f"    ssh -F {config} {board.ssh.host}    # at port {board.ssh.port} of {loopback.HOST}\n"
        f"    TENPASS_SSH_CONFIG={config} python -m harness.run --device ssh:{board.ssh.host}\n"
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
