"""A device that answers too much, or in other packets than adb's: an error, in time, and nothing piles up."""

from __future__ import annotations

import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_adb import FakeAdb, serving

from device import runner_call
from device.adb import shell as adb_shell
from device.adb.device import AdbDevice
from device.adb.server import Attached, Connection, Server
from device.adb.shell import AdbShell
from device.errors import DeviceError, DeviceLost, NoAnswer, RunnerCrashed
from device.host import HostDevice
from device.records import RunRequest
from device.remote.shell import ShellFlooded
from device.timeouts import Deadline
from device.wire import WireError
from export.artifact import Artifact
from toolchain import compile as compiling
from toolchain.files import describe

MACHINE_ABI = compiling.native().abi


@pytest.fixture
def adb(tmp_path: Path) -> Iterator[FakeAdb]:
    with serving(tmp_path / "device", {"ABC123": "device"}) as fake:
        fake.root.mkdir()
        yield fake


@pytest.fixture
def shell(adb: FakeAdb) -> AdbShell:
    return AdbShell(Attached("ABC123"), Server(adb.port))


def test_an_answer_without_end_is_cut_off(shell: AdbShell) -> None:
    with pytest.raises(ShellFlooded, match="bytes came in answer"):
        shell.run("exec yes $(head -c 9999 /dev/zero | tr '\\0' y)", timeout_s=60)


def test_output_that_keeps_coming_does_not_keep_a_command_beyond_its_time(shell: AdbShell) -> None:
    with pytest.raises(NoAnswer):  # `yes` itself never ends
        shell.run("exec yes", timeout_s=1, on_stdout=lambda _: None)


def test_of_what_comes_on_stderr_the_end_is_kept(shell: AdbShell) -> None:
    ended = shell.run("head -c 900000 /dev/zero >&2; echo the reason >&2; exit 3")
    assert ended.exit_code == 3
    assert ended.stderr.endswith(b"\0the reason\n")
    assert len(ended.stderr) == runner_call.MOST_STDERR_BYTES


def packets(shell: AdbShell, sent: bytes) -> list[tuple[int, bytes]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Connection(Server(server.getsockname()[1]), Deadline(5)) as ours,
    ):
        theirs, _ = server.accept()
        with theirs:
            theirs.sendall(sent)
            theirs.shutdown(socket.SHUT_WR)
            return list(shell._packets(ours))


def test_a_packet_larger_than_adbs_is_refused_by_its_header(shell: AdbShell) -> None:
    with pytest.raises(ShellFlooded, match="4294967295 bytes"):
        packets(shell, b"\x01\xff\xff\xff\xff")
    with pytest.raises(EOFError):
        packets(shell, b"\x01\x05\x00\x00\x00abc")


def test_an_exit_status_without_a_value_is_no_end(shell: AdbShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AdbShell, "_packets", lambda *_: iter([(adb_shell._EXIT, b"")]))
    with pytest.raises(DeviceLost, match="before the command ended"):
        shell.run("true")


def test_a_runner_on_a_device_that_floods_is_an_error_at_once(
    adb: FakeAdb, request_for: Callable[..., RunRequest], tiny: Artifact
) -> None:
    phone = AdbDevice("ABC123", server=Server(adb.port))
    request = request_for(tiny, MACHINE_ABI)
    phone.push(request, lambda _: None)
    adb.faults.garbage_on_stdout = b"y" * 500_000
    with pytest.raises(WireError, match="are allowed"):
        phone.run(request, lambda _: None)


# --- the same of a runner on this machine ---------------------------------------------------------------


@pytest.fixture
def run_as(request_for: Callable[..., RunRequest], tiny: Artifact, tmp_path: Path) -> Callable[[str], None]:
    """Runs a Python program in the place of the bundle's loader, on this machine."""

    def run(program: str, timeout_s: float = 60) -> None:
        request = request_for(tiny, MACHINE_ABI, timeout_s=timeout_s)
        folder = tmp_path / "bundle"
        folder.mkdir()
        loader = next(file for file in request.bundle.files if file.name.startswith("ld-linux"))
        fake = folder / loader.name
        fake.write_text(f"#!{sys.executable}\n{program}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
        found = describe(fake)
        file = replace(loader, path=fake, sha256=found.sha256, size_bytes=found.size_bytes)
        HostDevice().run(replace(request, bundle=replace(request.bundle, files=(file,))), lambda _: None)

    return run


def test_a_runner_that_floods_stderr_is_judged_by_its_end(run_as: Callable[[str], None]) -> None:
    with pytest.raises(RunnerCrashed, match=r"exit status 3 \(the reason\)"):
        run_as("import sys; sys.stderr.write('x' * 30_000_000 + '\\nthe reason\\n'); sys.exit(3)")


def test_a_runner_that_floods_stdout_is_ended(run_as: Callable[[str], None]) -> None:
    with pytest.raises(WireError, match="are allowed"):
        run_as("import sys\nwhile True: sys.stdout.write('x' * 65536)")


def test_a_runner_that_says_nothing_but_blanks_is_ended(run_as: Callable[[str], None]) -> None:
    with pytest.raises(DeviceError):
        run_as("import sys\nwhile True: sys.stdout.write('\\n'); sys.stdout.flush()")


def test_a_crash_is_told_in_one_printable_line(run_as: Callable[[str], None]) -> None:
    with pytest.raises(RunnerCrashed) as caught:
        run_as("import os, sys; sys.stderr.write('\\x1b[2J gone \\x07'); sys.stderr.flush(); os.kill(os.getpid(), 11)")
    assert "signal SIGSEGV" in str(caught.value)
    assert str(caught.value).isprintable()
