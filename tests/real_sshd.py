"""A real sshd on this machine's loopback, the client's configuration for it, and a cable that can be cut."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from programs import PATIENCE_S

from device.loopback import HOST, free_port

NAME = "board"  # a Host of the client's configuration


@dataclass
class Cable:
    """Between client and sshd: forwards all that comes, until it is cut. Then it takes no connection until mended."""

    to: int
    port: int = field(default_factory=free_port)
    cut_after_bytes: int | None = None  # of those that go to the device, from now on; once
    bytes_per_s: int | None = None
    _ends: list[socket.socket] = field(default_factory=list)
    _is_cut: bool = False
    flows: threading.Event = field(default_factory=threading.Event)  # cleared: nothing arrives, and nobody says so

    def __post_init__(self) -> None:
        self.flows.set()

    def cut(self) -> None:
        self._is_cut = True
        self.flows.set()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def mend(self) -> None:
        self._is_cut, self.cut_after_bytes, self.bytes_per_s = False, None, None
        self.flows.set()

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _address = listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection((HOST, self.to))
            self._ends += [near, far]
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, to_device: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                if to_device:
                    if self.bytes_per_s is not None:
                        time.sleep(len(data) / self.bytes_per_s)
                    if self.cut_after_bytes is not None:
                        self.cut_after_bytes -= len(data)
                        if self.cut_after_bytes <= 0:
                            self.cut()
                            threading.Timer(0.3, self.mend).start()
                self.flows.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class Sshd:
    """`home` is that of who logs in; `client` is the folder of the client's configuration and keys."""

    home: Path
    client: Path
    port: int
    cable: Cable
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.client / "config"

    def configure(self, **settings: str) -> None:
        """Writes the client's configuration; it goes by the cable."""
        facts = {
            "HostName": HOST,
            "Port": f"{self.cable.port}",
            "User": pwd.getpwuid(os.getuid()).pw_name,
            "IdentityFile": str(self.client / "id_ed25519"),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "HostKeyAlias": NAME,
            "UserKnownHostsFile": str(self.client / "known_hosts"),
        } | settings
        lines = "".join(f"  {name} {value}\n" for name, value in facts.items())
        self.config.write_text(f"Host {NAME}\n{lines}")

    def start(self, **settings: str) -> None:
        """Starts it anew with more settings of sshd_config(5)."""
        self.stop()
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # it will not start without (sshd(8), FILES)
        facts = {
            "ListenAddress": HOST,
            "Port": f"{self.port}",
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "StrictModes": "no",
            "PidFile": "none",
            "SetEnv": f"HOME={self.home}",
        } | settings
        file = self.folder / "sshd_config"
        file.write_text("".join(f"{name} {value}\n" for name, value in facts.items()))
        path = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert path is not None, "sshd is missing; install the package openssh-server (`make setup` does)"
        # Newer ones keep out for a while whoever fails to log in (sshd_config(5)), and older ones do not know the word.
        forgive = ["-o", "PerSourcePenalties=no"]
        knows = (
            subprocess.run([path, "-t", *forgive, "-f", str(file)], capture_output=True, check=False).returncode == 0
        )
        with (self.folder / "log").open("ab") as log:
            argv = [path, "-D", "-e", *(forgive if knows else []), "-f", str(file)]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self.port)).close()
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def make_key(path: Path) -> str:
    """A key pair; the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Sshd]:
    """An sshd that lets in the client's key; the client knows its host key."""
    home, client, server = folder / "home", folder / "client", folder / "server"
    for one in (home, client, server):
        one.mkdir()
    port = free_port()
    sshd = Sshd(home, client, port, Cable(port), server)
    (client / "known_hosts").write_text(f"{NAME} {make_key(server / 'host_key')}")
    (server / "authorized_keys").write_text(make_key(client / "id_ed25519"))
    sshd.configure()
    with socket.create_server((HOST, sshd.cable.port)) as listener:
        threading.Thread(target=sshd.cable.serve, args=(listener,), daemon=True).start()
        try:
            sshd.start()
            yield sshd
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            sshd.cable.cut()
            sshd.stop()
