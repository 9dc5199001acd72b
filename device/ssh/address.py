"""Where a device over ssh is: `ssh:[USER@]HOST[:PORT]`, HOST being a name, an address, or an alias of ssh_config(5)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from device.errors import DeviceNotChosen

PREFIX = "ssh:"

#: Signs that OpenSSH itself takes in no host name, and those that mean something here (ssh.c: valid_hostname).
_HOST = r"[^\s\x00-\x1f\x7f'\"`$\\;&<>|(){}@:\[\]/,-][^\s\x00-\x1f\x7f'\"`$\\;&<>|(){}@:\[\]/,]*"
_IPV6 = r"(?:[0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?"
_USER = r"[^\s\x00-\x1f\x7f'\"`;&<>|(){}@:$\\/,-][^\s\x00-\x1f\x7f'\"`;&<>|(){}@:]*"
_ADDRESS = re.compile(
    rf"(?:(?P<user>{_USER})@)?(?:\[(?P<bracketed>{_IPV6})\]|(?P<bare>{_IPV6})(?=$)|(?P<host>{_HOST}))(?::(?P<port>\d{{1,5}}))?"
)


@dataclass(frozen=True)
class Address:
    """What is asked of the ssh client; user and port are its configuration's where they are None."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def arguments(self) -> list[str]:
        """Of ssh(1), the last of them the host."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", f"{self.port}"]
        return [*user, *port, "--", self.host]

    @property
    def command(self) -> str:
        """What a person types to get there."""
        port = [] if self.port is None else ["-p", f"{self.port}"]
        return " ".join(["ssh", *config(), *port, f"{self.user}@{self.host}" if self.user else self.host])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


def parse(text: str) -> Address:
    """The address behind PREFIX, or as it stands. Raises DeviceNotChosen for what is none."""
    rest = text.removeprefix(PREFIX)
    found = _ADDRESS.fullmatch(rest)
    port = None if found is None or found["port"] is None else int(found["port"])
    if found is None or (port is not None and not 0 < port < 1 << 16):
        raise DeviceNotChosen(
            f"{text!r} names no device over ssh; give {PREFIX}[USER@]HOST[:PORT], such as {PREFIX}pi@raspberrypi or "
            f"{PREFIX}pi@[fd00::2]:2222"
        )
    return Address(found["bracketed"] or found["bare"] or found["host"], found["user"], port)


def config() -> list[str]:
    """The option that names another configuration than ~/.ssh/config: $TENPASS_SSH_CONFIG, where that is set."""
    given = os.environ.get("TENPASS_SSH_CONFIG")
    return ["-F", given] if given else []
