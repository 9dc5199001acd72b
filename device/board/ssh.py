"""The way to a board's sshd: a key that all boards of this checkout let in, and a configuration for OpenSSH's client.

The key lies below build/boards/ssh, what is known of a board beside its disk; the user's own are left alone.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from device import loopback
from device.board.definitions import BoardUnavailable
from device.board.disk import Slot
from device.board.tools import program_path
from toolchain import compile as compiling
from toolchain.paths import BOARDS

_FOLDER = BOARDS / "ssh"
_KEY_MADE_S = 30.0
_HOST_KEY = re.compile(rb"^board: ssh host key (ssh-ed25519 [A-Za-z0-9+/=]+)", re.MULTILINE)


@dataclass(frozen=True)
class ClientKey:
    """A private key's file, and the public key in base 64."""

    private: Path
    public: str


@dataclass(frozen=True)
class Access:
    """`ssh -F config host` reaches the board, at this port of this machine's loopback."""

    config: Path
    host: str
    port: int


def client_key() -> ClientKey:
    """The key that boards let in, made the first time. Raises BoardUnavailable when it cannot be made."""
    private = _FOLDER / "id_ed25519"
    with compiling.locked(BOARDS / "ssh.lock"):
        if not private.exists():
            _make_key(private)
    return ClientKey(private, private.with_suffix(".pub").read_text().split()[1])


def note(slot: Slot, port: int) -> Access:
    """Writes down how the board in this slot is reached. Raises BoardUnavailable when it has told no host key."""
    host = slot.disk.stem
    found = _HOST_KEY.search(slot.log_path.read_bytes())
    if found is None:
        raise BoardUnavailable(f"the board {host} said no ssh host key; all that it said is in {slot.log_path}")
    known, config = slot.disk.with_suffix(".known_hosts"), slot.disk.with_suffix(".ssh_config")
    _write(known, f"{host} {found[1].decode()}\n")
    facts = {
        "HostName": loopback.HOST,
        "Port": f"{port}",
        "User": "shell",
        "IdentityFile": _quoted(_FOLDER / "id_ed25519"),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "HostKeyAlias": host,
        "UserKnownHostsFile": _quoted(known),
    }
    _write(config, f"Host {host}\n" + "".join(f"  {name} {value}\n" for name, value in facts.items()))
    return Access(config, host, port)


def _make_key(private: Path) -> None:
    """The public key is there before the private one, whose being there says that both are."""
    _FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER, prefix=".making-") as scratch:
        made = Path(scratch, private.name)
        keygen = program_path("ssh-keygen", "openssh-client")
        argv = [keygen, *("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(made))]
        try:
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_KEY_MADE_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise BoardUnavailable(f"{private}: the key for the boards' sshd cannot be made: {error}") from None
        made.with_suffix(".pub").replace(private.with_suffix(".pub"))
        made.replace(private)


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.new")  # the board's slot is its own
    scratch.write_text(text)
    scratch.replace(path)


def _quoted(path: Path) -> str:
    """A path as ssh_config(5) takes it: % begins a token there."""
    return '"' + str(path).replace("%", "%%") + '"'
