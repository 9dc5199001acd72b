"""Emulated boards: real kernel, real adbd, reached over the real adb; they leave nothing behind."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import adbutils
import pytest
from click.testing import CliRunner
from programs import PATIENCE_S

from device.board import android, definitions, disk, emulator, lifecycle, ssh
from device.board import image as board_image
from harness.cli.board import main
from toolchain import debian, seal
from toolchain.paths import REPOSITORY

SMALL = "bcm2837b0"  # boots fastest

#: All boards, but of the chips with one core the first alone: what boots is the same.
KINDS = [
    name
    for name, described in definitions.definitions().items()
    if described.chip is None or definitions.definition(described.core) is described
]


def shell(booted: lifecycle.Board, command: str) -> str:
    """What a command prints on the board, which must succeed."""
    adb = adbutils.AdbClient(host="127.0.0.1", port=booted.adb_server.port)
    answer = adb.device(booted.serial).shell2(command, v2=True, timeout=PATIENCE_S)
    assert answer.returncode == 0, answer.output
    return str(answer.output).strip()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds at last."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.05)
    return False


def gone(pid: int) -> bool:
    """Whether the process ends (a zombie has ended)."""

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    return eventually(ended)


def listening(port: int) -> set[str]:
    """The local addresses, as the kernel prints them, on which something listens on `port`."""
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _number, local, _remote, state = line.split()[:4]
            address, _colon, hexadecimal = local.rpartition(":")
            if state == "0A" and int(hexadecimal, 16) == port:
                addresses.add(address)
    return addresses


LOOPBACK = {"0100007F"}


# --- without booting ----------------------------------------------------------------------------------


def test_the_default_board_is_the_papers_phone_in_cores_memory_and_abi() -> None:
    described = definitions.definition(definitions.DEFAULT)
    assert next(iter(definitions.definitions())) == definitions.DEFAULT
    assert (described.abi, described.cores, described.ram_bytes) == ("armeabi-v7a", 1, 1 << 30)
    assert described.clock == "instructions"


@pytest.mark.parametrize("described", definitions.definitions().values(), ids=lambda described: described.name)
def test_only_a_single_core_has_a_clock_that_counts_instructions(described: definitions.BoardDefinition) -> None:
    assert (described.clock == "instructions") == (described.cores == 1)
    assert described.page_bytes in board_image.KERNELS[described.architecture]
    assert board_image.ABIS[described.architecture] == described.abi


def test_an_unknown_board_is_refused_with_the_names_there_are() -> None:
    result = CliRunner().invoke(main, ["cortex-m0"])
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ["cortex-m0", *definitions.definitions()])


def test_a_missing_emulator_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(emulator.MACHINES, "armhf", ("qemu-system-nothing", "virt"))
    with pytest.raises(
        definitions.BoardUnavailable, match=r"qemu-system-nothing .* package qemu-system-arm .*make setup"
    ):
        lifecycle.boot("cortex-a7")


def test_a_wait_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENPASS_BOOT_TIMEOUT_S", "soon")
    with pytest.raises(definitions.BoardUnavailable, match="TENPASS_BOOT_TIMEOUT_S='soon'"):
        lifecycle._boot_timeout_s()


def test_a_data_disk_beyond_repair_is_made_anew_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "data.img"
    image.write_bytes(b"nonsense" * 4096)
    disk.prepare(image)
    assert "beyond repair" in capsys.readouterr().err
    assert image.stat().st_size == disk.DATA_BYTES
    disk.prepare(image)
    assert capsys.readouterr().err == ""


def test_a_data_disk_in_use_is_left_to_its_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "DISKS", tmp_path)
    first, second = disk.Slot.take("b"), disk.Slot.take("b")
    assert first.disk != second.disk
    first.close()
    third = disk.Slot.take("b")
    assert third.disk == first.disk
    second.close()
    third.close()


def test_an_image_that_was_tampered_with_is_noticed_and_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parts stand in for Debian's: what is looked at is the image's folder."""
    kernel, busybox = tmp_path / "kernel", tmp_path / "busybox"
    (kernel / "boot").mkdir(parents=True)
    (kernel / "boot/vmlinuz-9.9").write_bytes(b"a kernel")
    busybox.mkdir()
    monkeypatch.setattr(board_image, "FOLDER", tmp_path / "boards")
    monkeypatch.setattr(debian, "ensure", lambda _packages: [kernel, busybox])
    monkeypatch.setattr(board_image, "_initramfs", lambda *_parts: b"an initramfs")
    image = board_image.image("arm64")
    for file in (image.kernel, image.initramfs):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + b"?")
        monkeypatch.setattr(seal, "_intact", set())  # as in another process
        assert board_image.image("arm64") == image
        assert f"is not as it was made ({file.name}): making it anew" in capsys.readouterr().err
        assert file.read_bytes() == content
    assert board_image.image("arm64") == image
    assert capsys.readouterr().err == ""


# --- booted -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phone() -> Iterator[lifecycle.Board]:
    """The default board, booted once."""
    with lifecycle.boot(definitions.DEFAULT) as booted:
        yield booted


@pytest.mark.board
def test_a_board_answers_over_adb_as_the_phone_it_stands_for(phone: lifecycle.Board) -> None:
    assert shell(phone, "uname -m") == "armv7l"
    assert shell(phone, "uname -r") == phone.kernel_version
    assert shell(phone, "getprop ro.product.cpu.abi") == "armeabi-v7a"
    assert shell(phone, "getprop ro.product.model") == "QEMU virt, cortex-a7"
    assert shell(phone, "getprop ro.build.version.release")
    assert shell(phone, "ls -d /data/local/tmp") == "/data/local/tmp"
    assert "[ro.tenpass.board]: [mt6580]" in shell(phone, "getprop")


@pytest.mark.board
def test_the_shell_sees_what_a_phones_sees_and_nothing_else(phone: lifecycle.Board) -> None:
    assert shell(phone, "ls -A /").split() == ["data", "dev", "etc", "init", "proc", "sys", "system"]
    assert shell(phone, "ls -A /system").split() == ["bin", "build.prop", "etc", "lib", "xbin"]
    for gone in ("/bin", "/usr", "/tmp", "/lib", "/sbin", "/var", "/root", "/run", "/home"):  # noqa: S108
        assert shell(phone, f"test -e {gone} || echo none") == "none"
    programs = set(shell(phone, "cd /system/bin; ls -A").split())
    assert programs == {"adbd", "getprop", "linker", "reboot", "sh", "toybox", *android.COMMANDS}
    assert shell(phone, "ls -A /system/xbin").split() == ["dropbear", "dropbearkey", "su"]
    assert "busybox" not in shell(phone, "cat /system/bin/toybox | strings")
    assert set(android.COMMANDS) <= set(shell(phone, "toybox").split())
    assert "MIRBSD KSH" in shell(phone, "echo $KSH_VERSION")


@pytest.mark.board
def test_the_shell_is_whom_a_phones_is(phone: lifecycle.Board) -> None:
    assert shell(phone, "id") == "uid=2000(shell) gid=2000(shell) groups=2000(shell)"
    assert shell(phone, "stat -c '%A %U %G' /data /data/local /data/local/tmp").splitlines() == [
        "drwxrwx--x system system",
        "drwxr-x--x root root",
        "drwxrwx--x shell shell",
    ]
    assert shell(phone, "echo $0; pwd; echo $HOME $SHELL $ANDROID_ROOT $ANDROID_DATA").splitlines() == [
        "/system/bin/sh",
        "/",
        "/ /system/bin/sh /system /data",
    ]
    assert "/system/bin" in shell(phone, "echo $PATH").split(":")
    assert "denied" in shell(phone, "ls /data 2>&1 || true")
    assert "denied" in shell(phone, "echo x 2>&1 >/system/x || true")
    assert shell(phone, "su root id -u; su 2000 id -u").split() == ["0", "2000"]


@pytest.mark.board
def test_who_attaches_to_a_board_by_serial_learns_that_its_time_is_modelled(phone: lifecycle.Board) -> None:
    assert shell(phone, "getprop ro.tenpass.clock") == "instructions"


@pytest.mark.board
def test_the_clock_counts_instructions(phone: lifecycle.Board) -> None:
    """The same work takes the same time, however long it takes here: the guest's clock is not the host's."""
    work = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done"
    real_s = [float(shell(phone, f"time -p sh -c '{work}' 2>&1").split()[1]) for _run in range(2)]
    assert real_s[0] == pytest.approx(real_s[1], abs=0.011)  # `time` prints hundredths


@pytest.mark.board
def test_a_board_listens_on_loopback_only(phone: lifecycle.Board) -> None:
    assert listening(int(phone.serial.rpartition(":")[2])) == LOOPBACK
    assert listening(phone.adb_server.port) == LOOPBACK


@pytest.mark.board
def test_a_boards_sshd_lets_in_the_key_of_this_checkout_and_nobody_else(phone: lifecycle.Board, tmp_path: Path) -> None:
    def over_ssh(*options: str, command: str = "id -un; pwd") -> subprocess.CompletedProcess[str]:
        host = phone.ssh.host
        argv = ["ssh", "-F", str(phone.ssh.config), "-o", "BatchMode=yes", "-n", *options, host, command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert listening(phone.ssh.port) == LOOPBACK
    assert (ssh.client_key().private.stat().st_mode & 0o777) == 0o600
    assert over_ssh().stdout.split() == ["shell", "/"]
    assert over_ssh("-l", "root").stdout.split() == ["root", "/"]
    for command in ("id", "ls -A / /system/*", "echo $PATH; ulimit -r", "cat /proc/mounts"):
        assert over_ssh(command=command).stdout.strip() == shell(phone, command)
    stranger, config = tmp_path / "key", tmp_path / "config"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    config.write_text(phone.ssh.config.read_text().replace(str(ssh.client_key().private), str(stranger)))
    assert "Permission denied (publickey)" in over_ssh("-F", str(config)).stderr
    config.write_text(phone.ssh.config.read_text().replace(".known_hosts", ".unknown"))
    assert "Host key verification failed" in over_ssh("-F", str(config)).stderr


@pytest.mark.board
def test_a_board_cannot_reach_this_machine_nor_a_network(phone: lifecycle.Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        answer = shell(phone, f"echo hello | nc -w 2 10.0.2.2 {port} >/dev/null 2>&1; echo status $?")
        assert answer != "status 0"
        with pytest.raises(TimeoutError):
            server.accept()
    routes = shell(phone, "cat /proc/net/route").splitlines()[1:]
    assert all(line.split()[1] != "00000000" for line in routes)


@pytest.mark.board
@pytest.mark.parametrize("name", [SMALL, pytest.param(definitions.DEFAULT, marks=pytest.mark.long)])
def test_two_boards_run_at_once_and_a_synced_file_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(disk, "DISKS", tmp_path)  # disks of its own: another test's board might take a freed one
    source = tmp_path / "pushed"
    source.write_bytes(os.urandom(1 << 20))
    with lifecycle.boot(name) as first:
        with lifecycle.boot(name) as second:
            assert second.serial != first.serial
            assert second.log_path != first.log_path
            adb = adbutils.AdbClient(host="127.0.0.1", port=second.adb_server.port)
            adb.device(second.serial).sync.push(source, "/data/local/tmp/outlives")
            pushed = shell(second, "sync; sha256sum /data/local/tmp/outlives")
            shell(second, "echo unsynced > /data/local/tmp/unsynced")
            assert shell(first, "getprop ro.tenpass.board") == name
            os.kill(second.pid, signal.SIGKILL)
            assert gone(second.pid)
            assert eventually(lambda: not second.alive())  # its threads may outlive it by a moment
        with lifecycle.boot(name) as again:
            assert again.log_path == second.log_path
            assert shell(again, "sha256sum /data/local/tmp/outlives") == pushed
        assert gone(again.pid)


@pytest.mark.board
@pytest.mark.parametrize(
    "name",
    [SMALL, *(pytest.param(name, marks=pytest.mark.long) for name in KINDS if name != SMALL)],
)
def test_a_board_that_was_booted_in_a_thread_outlives_it_and_is_what_its_definition_says(name: str) -> None:
    """A board ends with the program, not with the thread."""
    described = definitions.definition(name)
    boards: list[lifecycle.Board] = []
    thread = threading.Thread(target=lambda: boards.append(lifecycle.boot(name)))
    thread.start()
    thread.join()
    port = int(boards[0].serial.rpartition(":")[2])
    with boards[0] as booted:
        assert listening(port) == LOOPBACK
        assert shell(booted, "grep -c ^processor /proc/cpuinfo") == str(described.cores)
        assert shell(booted, "getprop ro.tenpass.clock") == described.clock
        last = f"{1 << (described.cores - 1):x}"
        assert shell(booted, f"taskset {last} sh -c 'echo on the last'") == "on the last"
    booted.close()  # once more is nothing
    assert gone(booted.pid)
    assert eventually(lambda: not listening(port))


@pytest.mark.board
def test_a_board_and_its_adb_server_die_with_a_program_that_is_killed() -> None:
    command = [sys.executable, "-m", "harness.cli.board", SMALL]
    root = REPOSITORY
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _line in range(5)]
        try:
            assert "is up: Linux" in lines[0]
            assert "adb connect 127.0.0.1:" in lines[1]
            assert "python -m harness.run --device 127.0.0.1:" in lines[2]
            assert f"ssh -F build/boards/data/{SMALL}-" in lines[3]
            assert "at port" in lines[3]
            assert f" python -m harness.run --device ssh:{SMALL}-" in lines[4]
            children = [
                int(pid)
                for task in Path(f"/proc/{program.pid}/task").iterdir()
                for pid in (task / "children").read_text().split()
            ]
            names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in children}
            assert {"adb"} < names
            assert any(name.startswith("qemu-system") for name in names)
            ports = [int(port) for port in re.findall(r"(?<=127\.0\.0\.1:)\d+", lines[1])]
            assert ports
            assert all(listening(port) == LOOPBACK for port in ports)
        finally:
            program.kill()
    assert all(gone(pid) for pid in children)
    assert eventually(lambda: not any(listening(port) for port in ports))  # threads may outlive it by a moment


@pytest.mark.board
def test_a_board_that_does_not_come_up_says_where_its_console_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "DISKS", tmp_path)
    with pytest.raises(
        definitions.BoardUnavailable, match=r"not up in time .*TENPASS_BOOT_TIMEOUT_S.*bcm2837b0-0\.log"
    ):
        lifecycle.boot(SMALL, timeout_s=0.3)
    lock = os.open(tmp_path / "data" / f"{SMALL}-0.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free again
    os.close(lock)
