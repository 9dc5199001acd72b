"""An adb server that speaks the real wire protocol, for faults that a real device won't produce on demand.

Behind it is no device but this machine's shell, in a folder that stands for the device's /data/local/tmp. So the
real client, the real commands and the real runner are at work; only what `Faults` says goes wrong.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)


@dataclass
class Faults:
    """What goes wrong, from now on."""

    corrupt_pushes: int = 0  # so many files arrive with a bit flipped
    no_space: bool = False
    forbidden: str | None = None  # commands with this in them fail for want of permission
    free_kib: int | None = None  # what df says is free; a removed folder makes it more
    cut_after_passes: int | None = None  # the connection breaks once the runner has told of so many
    cut_after_pushed_bytes: int | None = None  # ... or so much of a file has come
    cuts: int = 1_000_000  # so many times
    leave_when_cut: str | None = None  # the device is then in this state, "gone" for not listed
    hang_on: str | None = None  # commands with this in them are never answered
    hang_always: bool = False  # nor is any other, nor a request for the device
    garbage_on_stdout: bytes = b""  # said before the runner's own words
    instead_of_the_runner: str | None = None  # a shell script that is run in its place
    greeting: bytes | None = None  # said to every request in place of OKAY or FAIL
    trickle_s: float = 0  # a byte of no meaning, each so many seconds, for ever
    repaired_by: tuple[str, ...] = ()  # requests (as they begin) that bring the device back
    back_after_s: float | None = None  # a device that was cut off comes back by itself


@dataclass
class Phone:
    """What a device of a fake server says of itself, besides its state. It is called by its serial, if nothing else."""

    serial: str | None = None  # where several have it, each is called by its USB port
    boot_id: str | None = None  # by default one of its own
    properties: dict[str, str] = field(default_factory=dict)  # Android's
    shell_v2: bool = True
    sysfs: Path | None = None  # its /sys, where it is not this machine's


@dataclass
class FakeAdb:
    root: Path
    devices: dict[str, str]
    apart: bool = False  # each device has a folder of its own in the root, else all share it
    phones: dict[str, Phone] = field(default_factory=dict)
    port: int = 0
    faults: Faults = field(default_factory=Faults)
    pushed_bytes: int = 0
    commands: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)  # that stand for the device's
    stop: Callable[[], None] = lambda: None  # the server goes away, and all its connections with it
    start: Callable[[], None] = lambda: None  # ... and is back on the same port

    def phone(self, name: str) -> Phone:
        return self.phones.get(name, Phone())

    def serial(self, name: str) -> str:
        return self.phone(name).serial or name

    def listing(self, *, long: bool) -> str:
        """As adb 36 lists devices (adb/transport.cpp: append_transport)."""
        lines = []
        for number, (name, state) in enumerate(self.devices.items(), 1):
            if long:
                port = f" {name}" if name.startswith("usb:") else ""
                facts = " product:p roduct model:M device:d" if state == "device" else ""
                lines.append(f"{self.serial(name):<22} {state}{port}{facts} transport_id:{number}\n")
            else:
                lines.append(f"{self.serial(name)}\t{state}\n")
        return "".join(lines)

    def named(self, request: str) -> list[str]:
        """The devices that a transport request means."""
        kind, _, wanted = request.partition(":")
        if kind == "transport-id":
            return list(self.devices)[int(wanted) - 1 : int(wanted)]
        return [name for name in self.devices if wanted in (name, self.serial(name))]

    def repair(self) -> None:
        """All is well again."""
        self.faults = Faults()
        for serial in list(self.devices) or [PHONE]:
            self.devices[serial] = "device"


PHONE = "ABC123"


@contextlib.contextmanager
def serving(
    root: Path, devices: dict[str, str], *, apart: bool = False, phones: dict[str, Phone] | None = None
) -> Iterator[FakeAdb]:
    fake = FakeAdb(root, devices, apart, phones or {})
    ended = threading.Event()
    connections: set[socket.socket] = set()
    running: list[tuple[socketserver.BaseServer, threading.Thread]] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connections.add(self.request)
            with contextlib.suppress(EOFError, OSError, ValueError):
                _answer(self.request, fake, ended)
            connections.discard(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    def start() -> None:
        server = Server(("127.0.0.1", fake.port), Handler)
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))

    def stop() -> None:
        for server, thread in running:
            server.shutdown()
            server.server_close()
            thread.join()
        running.clear()
        for connection in tuple(connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    fake.start, fake.stop = start, stop
    start()
    try:
        yield fake
    finally:
        ended.set()
        stop()
        for process in tuple(fake.processes):  # a device that is switched off runs nothing any more
            process.kill()


def _answer(connection: socket.socket, fake: FakeAdb, ended: threading.Event) -> None:
    root, name = fake.root, ""
    while True:
        command = _read(connection, int(_read(connection, 4), 16)).decode(errors="surrogateescape")
        fake.requests.append(command)
        if fake.faults.repaired_by and command.startswith(fake.faults.repaired_by):
            fake.repair()
        if fake.faults.greeting is not None:
            connection.sendall(fake.faults.greeting)
            return
        if command in ("host:devices", "host:devices-l"):
            connection.sendall(b"OKAY" + _block(fake.listing(long=command.endswith("-l"))))
        elif command.startswith("host-serial:") and command.endswith(":features"):
            (name,) = fake.named(command.replace("host-serial:", "transport:").removesuffix(":features"))
            connection.sendall(b"OKAY" + _block("shell_v2,cmd,stat_v2" if fake.phone(name).shell_v2 else ""))
        elif command.startswith(("host:connect:", "host:disconnect:", "host-serial:")):
            connection.sendall(b"OKAY" + _block("done"))
        elif command.startswith("host:transport"):
            found = fake.named(command.removeprefix("host:"))
            name = found[0] if found else ""
            state = fake.devices.get(name)
            if len(found) > 1 or state != "device":
                known = {"offline": "device offline", "unauthorized": "device unauthorized.\nThis adb server's keys"}
                other = "more than one device/emulator" if found[1:] else f"device '{command}' not found"
                connection.sendall(b"FAIL" + _block(other if found[1:] else known.get(state or "", other)))
                return
            root = fake.root / name if fake.apart else root
            connection.sendall(b"OKAY")
            continue
        elif command == "reboot:":
            connection.sendall(b"OKAY")
        elif command.startswith("shell,v2,raw:") and fake.phone(name).shell_v2:
            connection.sendall(b"OKAY")
            _shell(connection, command.removeprefix("shell,v2,raw:"), fake, ended, root, name)
        elif command.startswith("shell:getprop "):
            value = fake.phone(name).properties.get(command.removeprefix("shell:getprop "), "")
            connection.sendall(f"OKAY{value}\r\n".encode())
        elif command.startswith("shell"):
            connection.sendall(b"FAIL" + _block("closed"))
        return


def _cut(fake: FakeAdb) -> None:
    """The device has gone, in the way that the faults say."""
    fake.faults.cuts -= 1
    for serial in list(fake.devices):
        if fake.faults.leave_when_cut == "gone":
            del fake.devices[serial]
        elif fake.faults.leave_when_cut:
            fake.devices[serial] = fake.faults.leave_when_cut
    if fake.faults.back_after_s is not None:
        timer = threading.Timer(fake.faults.back_after_s, fake.repair)
        timer.daemon = True
        timer.start()


def _shell(
    connection: socket.socket, command: str, fake: FakeAdb, ended: threading.Event, root: Path, name: str
) -> None:
    fake.commands.append(command)
    faults = fake.faults
    if faults.hang_always or (faults.hang_on and faults.hang_on in command):
        while not ended.wait(0.05) and fake.faults is faults:
            pass
        return
    is_runner = "--passes" in command
    if faults.trickle_s and is_runner:
        while not ended.wait(faults.trickle_s):
            _send(connection, _STDERR, b".")
        return
    script = _on_phone(_faulty(command, faults), fake, root, name)
    with subprocess.Popen(
        # The command as the script's name: who looks for a runner by its command line finds what is run in its place.
        ["sh", "-c", script.encode(errors="surrogateescape"), *([command] if is_runner else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=fake.root.parent,
    ) as process:
        fake.processes.add(process)
        threading.Thread(target=_feed, args=(connection, process, fake), daemon=True).start()
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        try:
            if is_runner and faults.garbage_on_stdout:
                _send(connection, _STDOUT, faults.garbage_on_stdout)
            passes = 0
            for line in process.stdout:
                passes += b'"timed"' in line
                cut = faults.cut_after_passes if faults.cuts > 0 else None
                if is_runner and cut is not None and passes > cut:
                    process.kill()
                    _cut(fake)
                    return
                _send(connection, _STDOUT, line)
            code = process.wait()
        finally:
            process.kill()
            fake.processes.discard(process)
            reader.join()
        _send(connection, _STDERR, errors[0])
        _send(connection, _EXIT, bytes([code if code >= 0 else 128 - code]))


def _faulty(command: str, faults: Faults) -> str:
    """What is run in place of the command."""
    if faults.no_space and "cat >" in command:
        return "cat > /dev/null; echo 'write error: No space left on device' >&2; exit 1"
    if faults.forbidden and faults.forbidden in command:
        return f"echo '{faults.forbidden}: Permission denied' >&2; exit 1"
    if faults.free_kib is not None and "df -k" in command:
        return f"echo Filesystem 1K-blocks Used Available Use% Mounted; echo x 1 1 {faults.free_kib} 1% /"
    if faults.instead_of_the_runner is not None and "--passes" in command:
        return faults.instead_of_the_runner
    return command


def _on_phone(script: str, fake: FakeAdb, root: Path, name: str) -> str:
    """The script with this machine's folders and files in place of the phone's."""
    phone = fake.phone(name)
    script = script.replace("/data/local/tmp", str(root))
    boot_id = phone.boot_id or f"{fake.port} {name}"
    script = script.replace("cat /proc/sys/kernel/random/boot_id", f"echo {shlex.quote(boot_id)}")
    if phone.sysfs is not None:
        script = re.sub(r"/sys(?=/(class|devices)/)", str(phone.sysfs), script)
        if "say end" in script:  # a probe's question, whose answer names files
            script = f"( {script} ) | sed 's|{phone.sysfs}/|/sys/|'"
    if phone.properties:
        cases = "".join(f"{key}) echo {shlex.quote(value)};;" for key, value in phone.properties.items())
        script = f"getprop() {{ case $1 in {cases} esac; }}; {script}"
    return script


def _feed(connection: socket.socket, process: subprocess.Popen[bytes], fake: FakeAdb) -> None:
    corrupt = fake.faults.corrupt_pushes > 0
    with contextlib.suppress(EOFError, OSError, ValueError), process.stdin:
        while True:
            header = _read(connection, 5)
            if header[0] == _CLOSE_STDIN:
                return
            data = _read(connection, int.from_bytes(header[1:], "little"))
            fake.pushed_bytes += len(data)
            if corrupt and data:
                fake.faults.corrupt_pushes -= 1
                data, corrupt = bytes([data[0] ^ 1]) + data[1:], False
            process.stdin.write(data)
            cut = fake.faults.cut_after_pushed_bytes
            if cut is not None and fake.pushed_bytes > cut:
                process.kill()
                _cut(fake)
                connection.shutdown(socket.SHUT_RDWR)
                return


def _send(connection: socket.socket, kind: int, data: bytes) -> None:
    connection.sendall(bytes([kind]) + len(data).to_bytes(4, "little") + data)


def _block(text: str) -> bytes:
    data = text.encode(errors="surrogateescape")
    return f"{len(data):04x}".encode() + data


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data
