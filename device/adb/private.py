"""This program's own adb server, for boards: phones, and the user's server and keys, are left alone."""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from device import lifeline, loopback
from device.adb.server import Server, answers
from device.errors import DeviceUnavailable
from device.timeouts import Deadline
from toolchain.paths import BOARDS

_START_S = 10.0
_server_lock = threading.Lock()
_server: list[tuple[subprocess.Popen[bytes], Server]] = []


def private_server() -> Server:
    """This program's own adb server, started once; it leaves phones and the user's keys alone."""
    with _server_lock:
        if _server and _server[0][0].poll() is None:
            return _server[0][1]
        _server.clear()
        for _attempt in range(5):
            server = Server(loopback.free_port())
            process = _start(server.port)
            if _answers(process, server):
                _server.append((process, server))
                return server
            lifeline.end(process)
        raise DeviceUnavailable(f"adb's server does not start; see {_log()}")


def _start(port: int) -> subprocess.Popen[bytes]:
    import adbutils

    home = BOARDS / "adb"
    home.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ADB_", "ANDROID_"))}
    environment |= {
        "HOME": str(home),  # its keys, not the user's
        "ANDROID_USER_HOME": str(home),
        "ADB_USB": "0",
        "ADB_MDNS": "0",
        "ADB_EMU": "0",  # nor look for emulators on ports 5555 to 5585
    }
    command = [_bundled_adb(adbutils), "-L", f"tcp:localhost:{port}", "server", "nodaemon"]  # an address is refused
    return lifeline.spawn(command, log=_log(), environment=environment)


def _bundled_adb(adbutils: Any) -> str:
    """The adb that comes with adbutils; the one on PATH may be far older."""
    bundled = Path(adbutils.__file__).parent / "binaries" / "adb"
    return str(bundled) if bundled.exists() else str(adbutils.adb_path())


def _log() -> Path:
    return BOARDS / "adb" / "server.log"


def _answers(process: subprocess.Popen[bytes], server: Server) -> bool:
    deadline = Deadline(_START_S)
    while not deadline.passed and process.poll() is None:
        if answers(server):
            return process.poll() is None
        time.sleep(0.02)
    return False


@atexit.register
def _end() -> None:
    for process, _address in _server:
        lifeline.end(process)
    _server.clear()
