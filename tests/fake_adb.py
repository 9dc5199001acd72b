"""An adb server that speaks the real wire protocol, for faults that a real device won't produce on demand.

Behind it is no device but this machine's shell, in a folder that stands for the device's /data/local/tmp. So the
real client, the real commands and the real runner are at work; only what `Faults` says goes wrong.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


@dataclass
class Faults:
    """What goes wrong, from now on."""

    corrupt_pushes: bool = False
    no_space: bool = False
    cut_after_passes: int | None = None  # the connection breaks once the runner has told of so many
    hang_on: str | None = None  # commands with this in them are never answered
    garbage_on_stdout: bytes = b""  # said before the runner's own words


@dataclass
class FakeAdb:
    root: Path
    devices: dict[str, str]
    port: int = 0
    faults: Faults = field(default_factory=Faults)
    pushed_bytes: int = 0
    commands: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving(root: Path, devices: dict[str, str]) -> Iterator[FakeAdb]:
    fake = FakeAdb(root, devices)
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(EOFError, OSError):
                _answer(self.request, fake, ended)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def _answer(connection: socket.socket, fake: FakeAdb, ended: threading.Event) -> None:
    while True:
        command = _read(connection, int(_read(connection, 4), 16)).decode()
        if command == "host:version":
            connection.sendall(b"OKAY" + _block("0029"))
        elif command == "host:devices":
            connection.sendall(b"OKAY" + _block("".join(f"{s}\t{state}\n" for s, state in fake.devices.items())))
        elif command.startswith("host:tport:serial:"):
            serial = command.removeprefix("host:tport:serial:")
            if fake.devices.get(serial) != "device":
                connection.sendall(b"FAIL" + _block(f"device '{serial}' not found"))
                return
            connection.sendall(b"OKAY" + bytes(8))
            continue
        elif command.startswith("shell,v2,raw:"):
            connection.sendall(b"OKAY")
            _shell(connection, command.removeprefix("shell,v2,raw:"), fake, ended)
        return


def _shell(connection: socket.socket, command: str, fake: FakeAdb, ended: threading.Event) -> None:
    fake.commands.append(command)
    if fake.faults.hang_on and fake.faults.hang_on in command:
        ended.wait()
        return
    script = command.replace("/data/local/tmp", str(fake.root))
    if fake.faults.no_space and "cat >" in command:
        script = "cat > /dev/null; echo 'write error: No space left on device' >&2; exit 1"
    with subprocess.Popen(
        ["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        threading.Thread(target=_feed, args=(connection, process, fake), daemon=True).start()
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        try:
            is_runner = "--passes" in command
            if is_runner and fake.faults.garbage_on_stdout:
                _send(connection, _STDOUT, fake.faults.garbage_on_stdout)
            passes = 0
            for line in process.stdout:
                passes += b'"timed"' in line
                if is_runner and fake.faults.cut_after_passes is not None and passes > fake.faults.cut_after_passes:
                    process.kill()
                    return
                _send(connection, _STDOUT, line)
            code = process.wait()
        finally:
            process.kill()
            reader.join()
        _send(connection, _STDERR, errors[0])
        _send(connection, _EXIT, bytes([code if code >= 0 else 128 - code]))


def _feed(connection: socket.socket, process: subprocess.Popen[bytes], fake: FakeAdb) -> None:
    with contextlib.suppress(EOFError, OSError, ValueError), process.stdin:
        while True:
            header = _read(connection, 5)
            if header[0] == _CLOSE_STDIN:
                return
            data = _read(connection, int.from_bytes(header[1:], "little"))
            fake.pushed_bytes += len(data)
            if fake.faults.corrupt_pushes and data:
                data = bytes([data[0] ^ 1]) + data[1:]
            process.stdin.write(data)


def _send(connection: socket.socket, kind: int, data: bytes) -> None:
    connection.sendall(bytes([kind]) + len(data).to_bytes(4, "little") + data)


def _block(text: str) -> bytes:
    return f"{len(text):04x}{text}".encode()


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data
