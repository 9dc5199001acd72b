"""Devices that somebody has given a name: `[devices]` of tenpass.toml, NAME = "ssh:[USER@]HOST[:PORT]".

The file is that of the current folder, else of ~/.config/tenpass ($XDG_CONFIG_HOME/tenpass).
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from device.errors import DeviceNotChosen
from device.ssh import address
from device.ssh.address import Address

FILE = "tenpass.toml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TAKEN = ("all", "host")  # these mean something else


def devices() -> dict[str, Address]:
    """The names, each with where it is, in the file's order. Raises DeviceNotChosen for a file that is wrong."""
    path = next((path for path in _files() if path.is_file()), None)
    if path is None:
        return {}
    try:
        named = tomllib.loads(path.read_text(encoding="utf-8")).get("devices", {})
    except (OSError, ValueError) as error:
        raise DeviceNotChosen(f"{path}: cannot be read as TOML ({error})") from None
    if not isinstance(named, dict):
        raise DeviceNotChosen(f'{path}: [devices] must be a table of NAME = "{address.PREFIX}HOST"')
    return {name: _address(path, name, where) for name, where in named.items()}


def _files() -> tuple[Path, ...]:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(FILE), Path(home, "tenpass", FILE)


def _address(path: Path, name: str, where: object) -> Address:
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise DeviceNotChosen(
            f"{path}: {name!r} cannot be a device's name; take letters, digits, dots, - and _, and neither of "
            f"{', '.join(_TAKEN)}"
        )
    if not isinstance(where, str) or not where.startswith(address.PREFIX):
        raise DeviceNotChosen(f'{path}: {name} must be "{address.PREFIX}[USER@]HOST[:PORT]", and is {where!r}')
    try:
        return address.parse(where)
    except DeviceNotChosen as error:
        raise DeviceNotChosen(f"{path}: {name}: {error}") from None
