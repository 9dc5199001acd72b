"""Tries everything that a run needs of a device, and says what to do. Its report can be shown to others.

Without --device every attached device is examined. Serials, hosts and user names are left out unless --serials is
given.

Exit codes: 0 a run can begin (there may be warnings); 1 something else failed; 2 usage; 3 device unavailable.
"""

from __future__ import annotations

import json
import platform
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from device.adb.server import Server
from harness.cli.command import CONTEXT, guarded
from harness.cli.options import AdbServer

if TYPE_CHECKING:
    from harness.study.doctor import Check, Checkup

_WIDTH = 80
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
_INDENT = 24  # of what was found, behind the status and the check's name


@click.command(help=__doc__, context_settings=CONTEXT)
@click.option(
    "--device",
    "named",
    multiple=True,
    metavar="SERIAL",
    help="As tenpass run takes them: an adb serial, board:NAME, host, or all; may be given several times.",
)
@click.option("--adb-server", type=AdbServer(), metavar="HOST:PORT", help="The adb server that has the devices.")
@click.option("--json", "as_json", is_flag=True, help="For programs: the same as JSON.")
@click.option("--serials", is_flag=True, help="Show serials, hosts and user names as they are.")
@guarded
def main(named: tuple[str, ...], adb_server: Server | None, as_json: bool, serials: bool) -> int:
    from harness.study.doctor import checkups

    found = checkups(named, adb_server, lambda step: click.echo(step, err=True), private=not serials)
    click.echo(_json(found) if as_json else "\n\n".join("\n".join(_lines(one)) for one in (None, *found)))
    return max((one.exit_code for one in found), default=0)


def _here() -> dict[str, str]:
    return {
        "tenpass": version("tenpass"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _json(found: Sequence[Checkup]) -> str:
    return json.dumps({**_here(), "checkups": [asdict(one) for one in found]}, indent=1, ensure_ascii=False)


def _lines(checkup: Checkup | None) -> Iterator[str]:
    """A checkup, or the head of them all, in lines of _WIDTH columns at most."""
    from harness.study.doctor import ADB

    if checkup is None:
        here = _here()
        yield f"tenpass {here['tenpass']} on {here['system']}, Python {here['python']}"
        return
    yield click.style(checkup.device, bold=True)
    for check in checkup.checks:
        yield from _check_lines(check)
    if checkup.device == ADB:
        return
    count = {status: sum(check.status == status for check in checkup.checks) for status in _COLOURS}
    warned = f"{count['warning']} warning{'' if count['warning'] == 1 else 's'}"
    yield f"  {'a run cannot begin' if checkup.exit_code else 'a run can begin'}: {count['failed']} failed, {warned}"


def _check_lines(check: Check) -> Iterator[str]:
    status = click.style(f"{check.status:<8}", fg=_COLOURS[check.status])
    found = textwrap.wrap(check.found, _WIDTH - _INDENT) or [""]
    yield f"  {status} {check.name:<{_INDENT - 11}}{found[0]}"
    yield from (" " * _INDENT + line for line in found[1:])
    if check.advice:
        yield from (" " * _INDENT + line for line in textwrap.wrap(f"-> {check.advice}", _WIDTH - _INDENT))


if __name__ == "__main__":
    main()
