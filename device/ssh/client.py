"""The system's OpenSSH client: one connection to a device, over which all commands go, and why there is none.

The user's configuration, keys, agent, jump hosts and known hosts count. Nothing is ever asked: what a person would have
to answer is an error that says so. The connection is the master of ssh_config(5), ControlMaster; its socket is in a
folder of its own, and it ends with this program, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path

from device import lifeline
from device.errors import DeviceError, DeviceLost, DeviceUnauthorised, DeviceUnavailable, NoAnswer
from device.ssh import address as addresses
from device.ssh.address import Address
from device.timeouts import Deadline

#: Of every call. What the user has configured for a person at a terminal is of no use here.
_OPTIONS = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "LogLevel": "ERROR",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
}

#: A device whose only core is at work for minutes answers late; one that is gone says nothing for ever.
_ALIVE = {"ServerAliveInterval": "30", "ServerAliveCountMax": "10"}

_MOST_LOG_BYTES = 64 * 1024
_MOST_QUOTED = 300

#: What a command's client says when the connection is gone, of the one of its own that it is not to make.
_OF_PROXY = re.compile(r"UNKNOWN port|kex_exchange_identification")
_LOOK_EVERY_S = 0.02


class Connection:
    """The one connection to a device. `open` it first; commands are started with `argv`."""

    def __init__(self, address: Address, name: str) -> None:
        self.address, self._name = address, name
        self._changing = threading.Lock()
        # Not in $TMPDIR: a socket's path has 108 bytes at most (unix(7)), and ssh makes it longer for a while.
        self._folder = Path(tempfile.mkdtemp(prefix="tenpass-ssh-", dir="/tmp"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)  # at the end, at last
        self._master: subprocess.Popen[bytes] | None = None
        self._closed = False

    def open(self, limit_s: float) -> None:
        """Connects, where that is not done already, within so long. Raises DeviceUnavailable's children."""
        with self._changing:
            if self._closed:
                raise DeviceLost(f"{self._name}: the connection is closed")
            if not self.alive():
                self._start(Deadline(limit_s))

    def alive(self) -> bool:
        """Whether the client holds the connection for one that works."""
        master = self._master
        return master is not None and master.poll() is None and self._socket.exists()

    def drop(self) -> None:
        """Ends it; it may be opened again."""
        with self._changing:
            self._end()

    def close(self) -> None:
        """Ends it for good, and so the wait of who opens it in another thread."""
        self._closed = True
        with self._changing:
            self._end()
            self._remove()

    def argv(self, command: str) -> list[str]:
        """The client's command line for a command over the connection; never one of its own where that is gone."""
        options = {**_OPTIONS, "ControlMaster": "no", "ControlPath": str(self._socket), "ProxyCommand": "false"}
        return [*_ssh(options), *self.address.arguments, command]

    def trouble(self, said: bytes = b"") -> DeviceError:
        """Why the connection is not there any more, by what its client and that of a command have `said`."""
        words = [line for line in said.decode(errors="replace").splitlines() if not _OF_PROXY.search(line)]
        return explained(self._name, self.address, "\n".join([self._log(), *words]))

    @property
    def _socket(self) -> Path:
        return self._folder / "socket"

    def _start(self, deadline: Deadline) -> None:
        self._end()
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        connect_s = max(1, int(deadline.left_s()))
        options = {**_OPTIONS, **_ALIVE, "ConnectTimeout": f"{connect_s}"}
        options |= {"ControlMaster": "yes", "ControlPersist": "no", "ControlPath": str(self._socket)}
        self._master = lifeline.spawn(
            [*_ssh(options), "-N", *self.address.arguments], log=log, environment=environment()
        )
        while not self._socket.exists():
            if self._master.poll() is not None:
                raise self.trouble()
            if self._closed or deadline.passed:
                self._end()
                raise NoAnswer(
                    f"{self._name}: it did not let this machine in in time; is it switched on, and its network sound? "
                    f"Try `{self.address.command}`"
                )
            time.sleep(_LOOK_EVERY_S)

    def _end(self) -> None:
        if self._master is not None:
            lifeline.end(self._master)
            self._master = None
            self._socket.unlink(missing_ok=True)

    def _log(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "log").read_bytes()[-_MOST_LOG_BYTES:].decode(errors="replace")
        return ""


def environment() -> dict[str, str]:
    """The client's: in English, as what it says is read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LC_")} | {"LC_ALL": "C"}


def _ssh(options: dict[str, str]) -> list[str]:
    path = shutil.which("ssh")
    if path is None:
        raise DeviceUnavailable("ssh is missing; install the package openssh-client (`make setup` does)")
    words = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
    return [path, *addresses.config(), *words, "-T"]


def explained(name: str, address: Address, said: str) -> DeviceError:
    """Why ssh did not connect, or lost the connection, by what it `said`: one line, with what to do."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for pattern, kind, words in _REASONS:
        if found := [line for line in lines if re.search(pattern, line, re.IGNORECASE)]:
            return kind(f"{name}: {words.format(**_advice(address, lines), said=found[0][:_MOST_QUOTED])}")
    return DeviceLost(f"{name}: the connection broke: {lines[-1][:_MOST_QUOTED] if lines else 'ssh did not say why'}")


def _advice(address: Address, lines: list[str]) -> dict[str, str]:
    """What _REASONS puts into its words: commands, and names."""
    host, port = address.host, address.port
    who = f"{address.user}@{host}" if address.user else host
    forget = f"ssh-keygen -R {f'[{host}]:{port}' if port else host}"
    # ssh knows best how the host is called in its files, and says so in most systems.
    said = [line for line in lines if re.fullmatch(r"ssh-keygen (-f \S+ )?-R \S+", line)]
    return {
        "host": host,
        "port": f" {port}" if port else "",
        "ssh": address.command,
        "copy": f"ssh-copy-id{f' -p {port}' if port else ''} {who}",
        "forget": (said or [forget])[0],
    }


#: What OpenSSH's client says (ssh.c, sshconnect.c, sshconnect2.c, packet.c, clientloop.c, mux.c), the most telling
#: first, as what it means here and what to do.
_REASONS: tuple[tuple[str, type[DeviceError], str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .*has changed",
        DeviceUnavailable,
        "its host key is not the one that is known: another machine answers, or it was installed anew; if that is so, "
        "run `{forget}`, connect once with `{ssh}`, and compare the fingerprint",
    ),
    (
        r"Host key verification failed|No \S+ host key is known|key is not known by any other names|REVOKED HOST KEY",
        DeviceUnavailable,
        "its host key is not known here; connect once with `{ssh}`, compare the fingerprint, and accept it",
    ),
    (
        r"Load key .*bad permissions",
        DeviceUnauthorised,
        "the private key's file may be read by others, so that ssh does not use it ({said}); `chmod 600` it",
    ),
    (
        r"Permission denied \(|Too many authentication failures|No supported authentication methods",
        DeviceUnauthorised,
        "it lets in none of the keys here, and no password is asked for ({said}); `{copy}` puts a key there, `ssh-add` "
        "unlocks one that has a passphrase",
    ),
    (
        r"Could not resolve hostname",
        DeviceLost,
        "the name {host} is not known ({said}); see its spelling, give an address, or add a Host to ~/.ssh/config",
    ),
    (
        r"Connection refused",
        DeviceLost,
        "nothing listens on its port{port} ({said}); start its sshd, or give another port",
    ),
    (
        r"timed out|No route to host|Network is unreachable|Host is down|not responding",
        DeviceLost,
        "it does not answer ({said}); see that it is switched on, and look at its network",
    ),
    (
        r"Unable to negotiate|no matching .* found",
        DeviceUnavailable,
        "its sshd and this ssh have no method in common ({said}); update it, or allow the method in ~/.ssh/config",
    ),
    (
        r"Bad configuration option|bad configuration options|Can't open user config file|Bad owner or permissions on",
        DeviceUnavailable,
        "ssh does not take its configuration ({said}); mend it",
    ),
    (
        r"administratively prohibited|open failed|session request failed|session open refused|Session open refused",
        DeviceLost,
        "its sshd takes no more sessions on one connection ({said}); MaxSessions of its sshd_config must be 2 or more",
    ),
    (
        r"closed by remote host|Connection (closed|reset|to)|Broken pipe|kex_exchange_identification",
        DeviceLost,
        "the connection broke ({said})",
    ),
)
