"""A device over ssh: a Raspberry Pi, any Linux machine that runs an sshd."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from device import probe
from device.errors import DeviceError, DeviceUnavailable
from device.probe import Identity
from device.remote import shell as remote_shell
from device.remote.cache import ANDROID_ROOT
from device.remote.device import DESCRIBE_SCRIPT, Found, RemoteDevice
from device.ssh.address import Address
from device.ssh.shell import SshShell
from device.timeouts import DEFAULT, Deadline, Timeouts

#: A choice: slower than the slowest network that anybody would measure over.
_PUSH_FLOOR_BYTES_PER_S = 20_000

#: Finds the folder where all is put: the first that this user may write to and programs may run in. Where there is
#: Android's, it comes first: what was pushed over adb is found there. In folders that all may write to, ours must be
#: this user's alone.
_ROOT_SCRIPT = f"""
try() {{
  [ -d "$1" ] && [ -w "$1" ] && [ ! -h "$1" ] || return 1
  root=$(cd "$1" && pwd -P) || return 1
  case $root in *[!A-Za-z0-9_./+-]*) return 1;; esac
  probe="$root/.probe-$$"
  printf '#!%s\\nexit 7\\n' "$shell" >"$probe" && chmod 700 "$probe" && "$probe"
  ran=$?
  rm -f "$probe"
  [ $ran = 7 ] && echo "@@ root $root"
}} 2>/dev/null
own() {{ mkdir -m 700 "$1" 2>/dev/null; [ -O "$1" ] && try "$1"; }}
for shell in /bin/sh /system/bin/sh; do [ -x $shell ] && break; done
user=$(id -u)
if [ -d {ANDROID_ROOT.parent} ]; then mkdir -p {ANDROID_ROOT} 2>/dev/null; try {ANDROID_ROOT} && exit; fi
if [ -d "$HOME" ]; then mkdir -p "$HOME/.cache/tenpass" 2>/dev/null; try "$HOME/.cache/tenpass" && exit; fi
own "/var/tmp/tenpass-$user" || own "/tmp/tenpass-$user"
"""


class SshDevice(RemoteDevice[SshShell]):
    """The device at this address, which records call `name`.

    Raises DeviceUnavailable's children when it cannot be used.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        timeouts: Timeouts = DEFAULT,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        floor = min(timeouts.push_floor_bytes_per_s, _PUSH_FLOOR_BYTES_PER_S)
        timeouts = replace(timeouts, push_floor_bytes_per_s=floor)
        shell = SshShell(address, name, timeouts)
        try:
            shell.connection.open(timeouts.connect_s)
            answer = shell.ask(DESCRIBE_SCRIPT)
            super().__init__(shell, name, answer, _root(shell, name), timeouts, on_close)
        except BaseException:
            shell.connection.close()
            raise

    def close(self) -> None:
        super().close()
        self.shell.connection.close()

    def _reach(self, deadline: Deadline) -> None:
        self.shell.connection.open(deadline.left_s(self._timeouts.connect_s))

    def _found(self, soon: Deadline, deadline: Deadline) -> list[Found]:
        if self.shell.run("echo here", timeout_s=soon.left_s(remote_shell.PING_S)).stdout.strip() != b"here":
            return []
        answer = self.shell.ask(probe.INFO_SCRIPT, self._limit_s(deadline))
        return [Found(self._name, lambda: None, answer)]

    def _rejoin(self, limit_s: float) -> None:  # noqa: ARG002 (it is ended here; `_reach` makes it anew)
        self.shell.connection.drop()

    def _restart(self, deadline: Deadline) -> None:
        with contextlib.suppress(DeviceUnavailable):
            self.shell.run("reboot || sudo -n reboot", timeout_s=deadline.left_s(remote_shell.PING_S))


def identity_of(address: Address, name: str) -> Identity | None:
    """What the device at this address says it is; None where it cannot be asked now."""
    shell = SshShell(address, name)
    try:
        shell.connection.open(DEFAULT.connect_s)
        return probe.identity(shell.ask(probe.IDENTITY_SCRIPT, remote_shell.PING_S), serial=name)
    except DeviceError:
        return None
    finally:
        shell.connection.close()


def _root(shell: SshShell, name: str) -> PurePosixPath:
    """Raises DeviceUnavailable where there is no folder to work in."""
    for line in shell.ask(_ROOT_SCRIPT).splitlines():
        if line.startswith("@@ root /"):
            return PurePosixPath(line.removeprefix("@@ root "))
    raise DeviceUnavailable(
        f"{name}: programs may run in none of the folders that this user may write to ({ANDROID_ROOT.parent}, the home "
        "folder, /var/tmp, /tmp); mount one without noexec, or log in as another user"
    )
