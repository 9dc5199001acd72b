"""Devices over ssh, with a real sshd on this machine: names, what is found there, and why one is not reached."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import PATIENCE_S
from real_sshd import NAME, Sshd, make_key

from device import named, probe
from device.device import Opening
from device.errors import (
    DeviceBusy,
    DeviceError,
    DeviceLost,
    DeviceNotChosen,
    DeviceUnavailable,
    NoAnswer,
    NoSpace,
    PushFailed,
)
from device.loopback import HOST, free_port
from device.open import choose, listed, open_devices, opener_of
from device.records import Bundle, RunRequest
from device.remote import shell as remote_shell
from device.remote.cache import HASH_TOOLS
from device.ssh import shell as ssh_shell
from device.ssh.address import Address, parse
from device.ssh.client import explained
from device.ssh.device import SshDevice
from device.ssh.shell import SshShell
from device.timeouts import Timeouts
from harness.cli.devices import main as devices_main
from harness.record.errors import EXIT_DEVICE_UNAVAILABLE, EXIT_OK, EXIT_USAGE
from harness.run import main
from toolchain.files import local_file

DEVICE = f"ssh:{NAME}"
PATIENT = Timeouts(connect_s=PATIENCE_S)


@pytest.fixture
def open_device(sshd: Sshd) -> Iterator[Callable[..., SshDevice]]:
    """Opens the device; it is closed at the end."""
    opened: list[SshDevice] = []

    def open_one(timeouts: Timeouts = PATIENT) -> SshDevice:
        opened.append(SshDevice(Address(NAME), name=DEVICE, timeouts=timeouts))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


# --- addresses and names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("raspberrypi", Address("raspberrypi")),
        ("pi@raspberrypi", Address("raspberrypi", "pi")),
        ("raspberrypi:2222", Address("raspberrypi", None, 2222)),
        ("pi@192.168.1.7:22", Address("192.168.1.7", "pi", 22)),
        ("pi@[fd00::2]:2222", Address("fd00::2", "pi", 2222)),
        ("[::1]", Address("::1")),
        ("fe80::1%eth0", Address("fe80::1%eth0")),
        ("my_board.lan", Address("my_board.lan")),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, address: Address) -> None:
    assert parse(f"ssh:{text}") == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", ":22", "pi@", "@host", "host:0", "host:65536", "host:port", "host:22:22x", "[::1", "[host]:22", "a b", "-oX",
     "-l@host", "pi@-oProxyCommand=x", "a/b", "$(x)", "a;b", "a\nb"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(DeviceNotChosen, match=r"names no device over ssh; give ssh:\[USER@\]HOST\[:PORT\]"):
        parse(f"ssh:{text}")


def test_what_is_no_address_is_a_usage_error_in_one_line(tmp_path: Path) -> None:
    text = ":22"
    result = run("--device", f"ssh:{text}", "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_USAGE
    assert "names no device over ssh; give ssh:[USER@]HOST[:PORT]" in result.stderr
    assert result.stderr.count("\n") == 1


@settings(max_examples=40)
@given(st.text(max_size=20))
def test_no_text_reaches_the_client_as_an_option(text: str) -> None:
    try:
        address = parse(f"ssh:{text}")
    except DeviceNotChosen:
        return
    host = address.arguments[-1]
    assert address.arguments[-2] == "--"
    assert not host.startswith("-")
    assert not (address.user or "").startswith("-")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a tenpass.toml into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text: str) -> Path:
        Path(named.FILE).write_text(text)
        return Path(named.FILE)

    return write


def test_named_devices_are_listed_and_all_takes_them(sshd: Sshd, names: Callable[[str], Path]) -> None:
    names(f'[devices]\npi = "ssh:pi@raspberrypi:2222"\nhere = "{DEVICE}"\n')
    assert named.devices() == {"pi": Address("raspberrypi", "pi", 2222), "here": Address(NAME)}
    assert ("pi", "ssh: pi@raspberrypi:2222 (by tenpass.toml)") in list(listed())
    assert set(choose(["all"])) == {"pi", "here"}  # one that cannot be reached is to be heard of
    assert opener_of("here").kind == "linux"
    (device,) = open_devices("here")
    device.close()
    assert device.info.serial == "here"


def test_the_users_own_file_counts_where_there_is_none_in_the_folder(tmp_path: Path, names: object) -> None:
    assert named.devices() == {}
    file = tmp_path / "config/tenpass" / named.FILE
    file.parent.mkdir(parents=True)
    file.write_text('[devices]\npi = "ssh:pi@raspberrypi"\n')
    assert list(named.devices()) == ["pi"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[devices\n", "cannot be read as TOML"),
        ("devices = 3\n", "must be a table"),
        ('[devices]\nhost = "ssh:pi"\n', "'host' cannot be a device's name"),
        ('[devices]\n"a:b" = "ssh:pi"\n', "'a:b' cannot be a device's name"),
        ('[devices]\n"a@b" = "ssh:pi"\n', "'a@b' cannot be a device's name"),
        ('[devices]\npi = "pi@raspberry"\n', 'pi must be "ssh:'),
        ("[devices]\npi = 3\n", 'pi must be "ssh:'),
        ('[devices]\npi = "ssh:a b"\n', "names no device over ssh"),
    ],
)
def test_a_file_of_names_that_is_wrong_is_a_usage_error(names: Callable[[str], Path], text: str, words: str) -> None:
    names(text)
    result = run("--device", "pi", "--models", "clcnet-tiny", "--out", "run")
    assert result.exit_code == EXIT_USAGE
    assert f"{named.FILE}: " in result.stderr
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


# --- what is there ------------------------------------------------------------------------------------


def test_commands_are_told_apart_by_output_errors_and_status(open_device: Callable[..., SshDevice]) -> None:
    shell = open_device().shell
    asked = shell.run("printf 'a\\\\b\\n'; echo \"it's 100 %s\" '!'; echo wrong >&2; exit 3")
    assert (asked.stdout, asked.stderr, asked.exit_code) == (b"a\\b\nit's 100 %s !\n", b"wrong\n", 3)
    assert shell.run("exit 255").exit_code == 254  # ssh has 255 for itself
    assert shell.run("sh -c 'kill -9 $$'").exit_code == 128 + 9
    blob = os.urandom(300_000)
    assert shell.run("cat", stdin=iter([blob[:100_000], blob[100_000:]])).stdout == blob
    assert shell.run("head -c 1 >/dev/null; exit 5", stdin=(blob for _ in range(100))).exit_code == 5
    with pytest.raises(ssh_shell.ShellFlooded):
        shell.run("yes", most_bytes=1000)
    with pytest.raises(NoAnswer, match="no answer within 1 s"):
        shell.run("sleep 600", timeout_s=1)
    assert shell.ask("echo still there") == "still there\n"


@settings(max_examples=30)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_any_command_arrives_as_it_was_written(text: str) -> None:
    line = ssh_shell._as_one_line(text)
    assert b"\n" not in line
    made = subprocess.run(["printf", "%b.", line], capture_output=True, check=True).stdout
    assert made == text.encode() + b"."


def test_what_the_login_shell_is_given_means_the_same_to_each() -> None:
    """To sh, csh and fish: between single quotes stands no sign that any of them takes for more than itself."""
    head, quoted, tail = ssh_shell._BOOTSTRAP.split("'")
    assert (head, tail) == ("exec sh -c ", "")
    assert not set(quoted) & set("'\\!\n")


@pytest.mark.parametrize(
    "greeting",
    ["echo hello from .bashrc", "printf 'no end of line'; echo warning >&2", "head -c 100000 /dev/zero", "stty -a"],
)
def test_what_a_login_prints_is_no_answer(sshd: Sshd, open_device: Callable[..., SshDevice], greeting: str) -> None:
    banner = sshd.folder / "banner"
    banner.write_text("authorised users only\n")
    sshd.start(ForceCommand=f'{greeting}; eval "$SSH_ORIGINAL_COMMAND"', Banner=str(banner))
    try:
        asked = open_device().shell.run("echo here; echo wrong >&2")
    finally:
        sshd.start()
    assert (asked.stdout, asked.stderr, asked.exit_code) == (b"here\n", b"wrong\n", 0)


def test_a_user_who_may_not_log_in_is_said_so(sshd: Sshd, open_device: Callable[..., SshDevice]) -> None:
    sshd.start(ForceCommand="echo This account is currently not available.; exit 1")
    try:
        with pytest.raises(DeviceUnavailable, match=r"ran no command \(This account is currently not available\.\)"):
            open_device()
    finally:
        sshd.start()


def test_one_device_under_two_names_is_one(sshd: Sshd, names: Callable[[str], Path]) -> None:
    names(f'[devices]\nhere = "{DEVICE}"\n')
    with pytest.raises(DeviceNotChosen, match="are the same device"):
        choose([DEVICE, "here"])
    with pytest.raises(DeviceNotChosen, match="are the same device"):
        choose(["here", "host"])
    (first,) = open_devices(DEVICE)
    try:
        with pytest.raises(DeviceBusy):
            open_devices("here", Opening())
    finally:
        first.close()


#: There is one of these on most devices.
BETTER = [tool for tool in HASH_TOOLS if tool != "md5sum"]

#: What is asked for on a device besides what its shell has built in.
TOOLS = """cat chmod df du env grep head id ls mkdir mv rm sed sh sync tr uname""".split()  # noqa: SIM905 (to be read)


def tools(folder: Path, *names: str) -> str:
    """A folder of these of this machine's programs, and no others."""
    folder.mkdir()
    for name in names:
        if path := shutil.which(name):
            (folder / name).symlink_to(path)
    return str(folder)


def request_of(folder: Path, size_bytes: int = 1000) -> RunRequest:
    """What stands for a runner with its model, as far as a push is concerned."""
    folder.mkdir()
    for name in ("runner", "model.onnx"):
        (folder / name).write_bytes(os.urandom(size_bytes))
    runner, model = local_file(folder / "runner"), local_file(folder / "model.onnx")
    return RunRequest(Bundle("x86_64", "null", "1", "runner", (runner,)), (model,), (), folder / "output")


@pytest.mark.parametrize("hash_tool", ["md5sum", None, *(pytest.param(one, marks=pytest.mark.long) for one in BETTER)])
def test_a_push_needs_few_tools_and_is_made_once(
    sshd: Sshd, tmp_path: Path, open_device: Callable[..., SshDevice], hash_tool: str | None
) -> None:
    home, request = tmp_path / "home", request_of(tmp_path / "files")
    home.mkdir()
    sshd.start(SetEnv=f"HOME={home} PATH={tools(tmp_path / 'bin', *TOOLS, *filter(None, [hash_tool]))}")
    try:
        device = open_device()
        if hash_tool is None:
            with pytest.raises(PushFailed, match="none of sha256sum, sha1sum, md5sum"):
                device.push(request, lambda _: None)
            return
        assert device.push(request, lambda _: None) == 2000
        assert device.push(request, lambda _: None) == 0
        (device_files,) = home.glob(".cache/tenpass")
        assert sorted(path.name for path in device_files.glob("*/[!.]*")) == ["model.onnx", "runner"]
        device.reserve()
        (device_files / "run-left").mkdir()
        device.take_over()
        assert not (device_files / "run-left").exists()
        result = CliRunner().invoke(devices_main, ["--clean", DEVICE])
        assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
        assert "another run has it" in result.stderr
        device.close()
        result = CliRunner().invoke(devices_main, ["--clean", DEVICE])
        assert (result.exit_code, result.output) == (EXIT_OK, f"{DEVICE}: {device_files} is removed\n")
        assert not device_files.exists()
    finally:
        sshd.start()


def test_a_full_disk_is_said_before_anything_is_pushed(
    sshd: Sshd, tmp_path: Path, open_device: Callable[..., SshDevice]
) -> None:
    bin_ = Path(tools(tmp_path / "bin", *TOOLS, "sha256sum"))
    (bin_ / "df").unlink()
    (bin_ / "df").write_text(
        "#!/bin/sh\necho Filesystem 1K-blocks Used Available Use% Mounted on\necho /dev/x 9 9 0 99% /\n"
    )
    (bin_ / "df").chmod(0o755)
    sshd.start(SetEnv=f"HOME={sshd.home} PATH={bin_}")
    try:
        with pytest.raises(NoSpace, match="must be pushed and 0 bytes are free"):
            open_device().push(request_of(tmp_path / "files"), lambda _: None)
    finally:
        sshd.start()


def test_where_programs_may_not_run_nothing_is_put(
    sshd: Sshd, tmp_path: Path, open_device: Callable[..., SshDevice]
) -> None:
    """A home whose name a shell would take for more than a name stands for one that is mounted noexec."""
    home = tmp_path / "ho(me"
    home.mkdir()
    sshd.start(SetEnv=f"HOME={home}")
    try:
        root = open_device().root
    finally:
        sshd.start()
    assert root == PurePosixPath(f"/var/tmp/tenpass-{os.getuid()}")  # noqa: S108


# --- a slow link, and one that is cut -----------------------------------------------------------------


def test_a_slow_push_that_goes_on_is_no_time_out(
    sshd: Sshd, tmp_path: Path, open_device: Callable[..., SshDevice]
) -> None:
    device = open_device(replace(PATIENT, command_s=1.0, push_floor_bytes_per_s=10**9))
    device._cache._timeouts = device._timeouts = replace(PATIENT, command_s=PATIENCE_S)
    sshd.cable.bytes_per_s = 200_000
    begun = time.monotonic()
    assert device.push(request_of(tmp_path / "files", 150_000), lambda _: None) == 300_000
    assert time.monotonic() - begun > 1.0


def test_a_push_of_which_nothing_moves_any_more_is_given_up(sshd: Sshd, open_device: Callable[..., SshDevice]) -> None:
    device = open_device(replace(PATIENT, command_s=1.0))
    with pytest.raises(NoAnswer):
        device.shell.run("sleep 600", stdin=(bytes(65536) for _ in range(10_000)), timeout_s=PATIENCE_S)


def test_a_connection_that_breaks_is_told_and_made_anew(sshd: Sshd, open_device: Callable[..., SshDevice]) -> None:
    device = open_device()
    threading.Timer(0.5, sshd.cable.cut).start()
    with pytest.raises(DeviceLost, match="the connection broke"):
        device.shell.run("sleep 600")
    with pytest.raises(DeviceLost, match="the connection broke"):
        device.shell.run("echo")
    with pytest.raises(DeviceUnavailable, match="did not come back within 1 s: ssh:board: "):
        device.reconnect(1)
    sshd.cable.mend()
    device.reconnect(PATIENCE_S)
    assert device.shell.ask("echo here") == "here\n"


def test_a_network_that_says_nothing_any_more_is_noticed_and_waited_for(
    sshd: Sshd, open_device: Callable[..., SshDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_shell, "PING_S", 1.0)
    device = open_device()
    sshd.cable.flows.clear()
    with pytest.raises(NoAnswer):
        device.shell.run("echo", timeout_s=0.5)
    with pytest.raises(DeviceUnavailable, match="did not come back within 2 s"):
        device.reconnect(2)
    threading.Timer(0.5, sshd.cable.flows.set).start()
    device.reconnect(PATIENCE_S)
    assert device.shell.ask("echo here") == "here\n"


def test_who_ends_the_program_waits_for_nobody(sshd: Sshd, open_device: Callable[..., SshDevice]) -> None:
    device = open_device()
    threading.Timer(0.5, device.close).start()
    with pytest.raises(DeviceLost):
        device.shell.run("sleep 600")
    end_s = time.monotonic() + PATIENCE_S
    while device.shell.connection._folder.exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not device.shell.connection._folder.exists()
    with socket.create_server((HOST, 0)) as silent:
        sshd.configure(Port=f"{silent.getsockname()[1]}")
        waiting = SshShell(Address(NAME), DEVICE)
        threading.Timer(0.5, waiting.connection.close).start()
        with pytest.raises(DeviceUnavailable):
            waiting.connection.open(10 * PATIENCE_S)


# --- why it is not reached ----------------------------------------------------------------------------


def refused(sshd: Sshd) -> None:
    sshd.configure(Port=f"{free_port()}")


def unresolved(sshd: Sshd) -> None:
    sshd.configure(HostName="no-such-host.invalid")


def silent(sshd: Sshd) -> None:
    listener = socket.create_server((HOST, 0))
    sshd.configure(Port=f"{listener.getsockname()[1]}")
    threading.Timer(10, listener.close).start()


def changed(sshd: Sshd) -> None:
    file = sshd.client / "changed"
    if not file.exists():
        file.write_text(f"{NAME} {make_key(sshd.client / 'other_host')}")
    sshd.configure(UserKnownHostsFile=str(file))


def unknown(sshd: Sshd) -> None:
    sshd.configure(UserKnownHostsFile=str(sshd.client / "nobody"))


def stranger(sshd: Sshd) -> None:
    file = sshd.client / "stranger"
    if not file.exists():
        make_key(file)
    sshd.configure(IdentityFile=str(file))


def locked_key(sshd: Sshd) -> None:
    file = sshd.client / "locked"
    if not file.exists():
        shutil.copy(sshd.client / "id_ed25519", file)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "a passphrase", "-f", str(file)], check=True)
    sshd.configure(IdentityFile=str(file))


def open_key(sshd: Sshd) -> None:
    file = sshd.client / "open"
    shutil.copy(sshd.client / "id_ed25519", file)
    file.chmod(0o644)
    sshd.configure(IdentityFile=str(file))


def nonsense(sshd: Sshd) -> None:
    sshd.configure(NoSuchOption="yes")


@pytest.mark.parametrize(
    ("spoil", "status", "words"),
    [
        (refused, "device_lost", r"nothing listens on its port \(.*refused\); start its sshd"),
        (unresolved, "device_lost", r"the name board is not known \(.*\); see its spelling"),
        (
            changed,
            "device_unavailable",
            r"its host key is not the one that is known.*run `ssh-keygen .*-R \"?board\"?`, connect once",
        ),
        (unknown, "device_unavailable", r"its host key is not known here; connect once with `ssh -F .* board`"),
        (stranger, "unauthorised", r"it lets in none of the keys here.*Permission denied.*; `ssh-copy-id board`"),
        (locked_key, "unauthorised", r"it lets in none of the keys here.*`ssh-add` unlocks"),
        (open_key, "unauthorised", r"may be read by others.*chmod 600"),
        (nonsense, "device_unavailable", r"ssh does not take its configuration.*[Nn]o[Ss]uch[Oo]ption"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_why_a_device_is_not_reached_is_one_line_with_what_to_do(
    sshd: Sshd, tmp_path: Path, spoil: Callable[[Sshd], None], status: str, words: str
) -> None:
    spoil(sshd)
    result = run("--device", DEVICE, "--models", "clcnet-tiny", "--out", str(tmp_path / "run"))
    assert result.exit_code == EXIT_DEVICE_UNAVAILABLE
    (line,) = [line for line in result.stderr.splitlines() if DEVICE in line]
    assert re.search(words, line)
    with pytest.raises(DeviceUnavailable) as raised:
        SshDevice(Address(NAME), name=DEVICE, timeouts=PATIENT)
    assert raised.value.status == status


def test_a_port_where_nobody_speaks_is_given_up_in_time(sshd: Sshd) -> None:
    silent(sshd)
    with pytest.raises(DeviceLost, match=r"does not answer|did not let this machine in in time"):
        SshDevice(Address(NAME), name=DEVICE, timeouts=replace(PATIENT, connect_s=1))


@settings(max_examples=40)
@given(st.text(max_size=200))
def test_whatever_ssh_says_is_one_line(said: str) -> None:
    error = explained("ssh:x", Address("x", "pi", 22), said)
    assert isinstance(error, DeviceUnavailable)
    assert len(str(error).splitlines()) == 1


def test_what_is_no_linux_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"it runs Darwin 23\.0\.0; a runner is built for Linux and Android alone"):
        probe.info("@@ machine\nx86_64\n@@ kernel\nDarwin 23.0.0\n@@ end\n", serial=DEVICE, kind="phone")


# --- hardware or not ----------------------------------------------------------------------------------

PI = {"machine": "aarch64", "compatible": "raspberrypi,4-model-b\nbrcm,bcm2711\n"}
QEMU_ARM = {"machine": "aarch64", "compatible": "linux,dummy-virt\n"}
QEMU_PC = {"machine": "x86_64", "dmi": "QEMU\nStandard PC (Q35 + ICH9, 2009)\n"}
PC_CPU = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"


@pytest.mark.parametrize(
    ("facts", "is_emulator"),
    [
        (PI, False),
        (QEMU_ARM, True),
        (QEMU_ARM | {"virtual": "arch_sys_counter\nKVM virtual PTP\n"}, False),
        ({"machine": "aarch64", "dmi": "QEMU\nQEMU Virtual Machine\n"}, True),
        ({"machine": "aarch64", "dmi": "Amazon EC2\nc7g.large\n"}, False),
        (QEMU_PC | {"virtual": "tsc hpet acpi_pm\n"}, True),
        (QEMU_PC | {"virtual": "kvm-clock tsc acpi_pm\n"}, False),
        ({"machine": "x86_64", "cpuinfo": "model name\t: QEMU Virtual CPU version 2.5+\n"}, True),
        ({"machine": "x86_64", "cpuinfo": PC_CPU, "dmi": "LENOVO\n20XW\n"}, False),
    ],
)
def test_an_emulated_linux_is_told_from_hardware(facts: dict[str, str], is_emulator: bool) -> None:
    sections = "".join(f"@@ {name}\n{text}\n" for name, text in facts.items())
    info = probe.info(f"{sections}@@ end\n", serial=DEVICE, kind="phone")
    assert (info.kind, info.clock) == (("board", "emulated") if is_emulator else ("linux", "wall"))
