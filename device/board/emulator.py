"""The emulator: QEMU's command line for a board, and its process."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from device import lifeline, loopback
from device.board import device_tree, ssh
from device.board import image as board_image
from device.board.definitions import BoardDefinition, BoardUnavailable, definitions
from device.board.disk import Slot
from device.board.tools import program_path
from toolchain import emulator as emulators
from toolchain.errors import ToolchainError

_ADBD_PORT, _SSHD_PORT = 5555, 22  # in the guest
_TREE_S = 60.0  # for what takes a tenth of a second
_PORT_TAKEN = b"Could not set up host forwarding rule"

#: Debian's architecture -> emulator and machine. Without highmem=off a 32-bit kernel does not find its PCI window.
MACHINES = {
    "armhf": ("qemu-system-arm", "virt,highmem=off"),
    "arm64": ("qemu-system-aarch64", "virt"),
}


def plugins(described: BoardDefinition, step: Callable[[str], None], *, every_memory: bool) -> tuple[Path, ...]:
    """The plugin that makes this board's emulator count; with `every_memory` one for each setting of its chip's memory.

    Raises BoardUnavailable where there can be none.
    """
    if described.caches is None:
        able = ", ".join(name for name, other in definitions().items() if other.caches)
        raise BoardUnavailable(
            f"the board {described.name} cannot count: instructions are counted on boards with one core"
            f" and a clock that counts them too ({able})"
        )
    emulator, _machine = MACHINES[described.architecture]
    path = program_path(emulator, "qemu-system-arm")
    step("compiling what counts, where need be")
    try:
        settings = len(described.chip.memory) if described.chip and every_memory else 1
        return emulators.copies(emulators.plugin(path), settings)
    except ToolchainError as error:
        raise BoardUnavailable(f"the board {described.name} cannot count: {error}") from error


class Ports(NamedTuple):
    """Where a board's daemons are reached, on this machine's loopback."""

    adbd: int
    sshd: int


def start(
    described: BoardDefinition, image: board_image.Image, slot: Slot, plugins: Sequence[Path]
) -> tuple[subprocess.Popen[bytes], Ports]:
    """Start the emulator on free ports; others when somebody was faster to take one."""
    key = ssh.client_key().public
    for setting in range(len(plugins)):
        slot.counts_path(setting).unlink(missing_ok=True)  # it is made when the first run starts
    tree = _device_tree(described, slot)
    for _attempt in range(5):
        ports = Ports(loopback.free_port(), loopback.free_port())
        slot.log_path.write_bytes(b"")
        command = _command(described, image, slot, ports, key) + _counting(described, slot, plugins) + tree
        process = lifeline.spawn(command, log=slot.log_path, keep_open=(slot.lock,))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)  # a taken port shows at once
        if process.returncode is None or _PORT_TAKEN not in slot.log_path.read_bytes():
            return process, ports
    raise BoardUnavailable(f"no free port was found for the board on {loopback.HOST} in five attempts")


def _command(described: BoardDefinition, image: board_image.Image, slot: Slot, ports: Ports, key: str) -> list[str]:
    deterministic = ["-icount", "shift=0,sleep=on,align=off"] if described.clock == "instructions" else []
    # norandmaps: a program has the same addresses in each run, and so the same alignments and cache sets.
    kernel = (
        "console=ttyAMA0 quiet panic=-1 cryptomgr.notests transparent_hugepage=never maxcpus=1 norandmaps"
        f" tenpass.board={described.name} tenpass.clock={described.clock} tenpass.cpu={described.core}"
        f" tenpass.key={key}"
    )
    forwarded = zip(ports, (_ADBD_PORT, _SSHD_PORT), strict=True)
    forwards = "".join(f",hostfwd=tcp:{loopback.HOST}:{port}-:{guest}" for port, guest in forwarded)
    return [
        *_machine(described),
        *deterministic,
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel),
        *("-netdev", f"user,id=net,restrict=on,ipv6=off{forwards}"),
        *("-device", "virtio-net-device,netdev=net"),
        *("-drive", f"if=none,id=data,format=raw,file={_escaped(slot.disk)}"),
        *("-device", "virtio-blk-device,drive=data"),
        *("-no-user-config", "-monitor", "none", "-no-reboot", "-serial", "stdio"),
    ]


def _machine(described: BoardDefinition, more: str = "") -> list[str]:
    """The emulator with this board's machine, to whose properties `more` is added."""
    emulator, machine = MACHINES[described.architecture]
    clusters = len(set(described.capacities or (None,)))
    topology = f",sockets=1,clusters={clusters},cores={described.cores // clusters},threads=1" if clusters > 1 else ""
    return [
        *(program_path(emulator, "qemu-system-arm"), "-M", machine + more, "-cpu", described.core),
        *("-smp", f"{described.cores}{topology}", "-m", f"{described.ram_bytes >> 20}M"),
        *("-nodefaults", "-display", "none"),
    ]


def _device_tree(described: BoardDefinition, slot: Slot) -> list[str]:
    """The emulator's options for a device tree with the cores' capacities; none where all are alike.

    Raises BoardUnavailable when the emulator does not say which tree its machine has.
    """
    if described.capacities is None:
        return []
    slot.tree_path.unlink(missing_ok=True)
    command = _machine(described, f",dumpdtb={_escaped(slot.tree_path)}")
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_TREE_S)
        tree = device_tree.with_capacities(slot.tree_path.read_bytes(), described.capacities)
    except (OSError, subprocess.SubprocessError) as error:
        raise BoardUnavailable(
            f"the board {described.name}: {command[0]} does not tell its device tree: {error}"
        ) from None
    slot.tree_path.write_bytes(tree)
    return ["-dtb", str(slot.tree_path)]


def _counting(described: BoardDefinition, slot: Slot, plugins: Sequence[Path]) -> list[str]:
    """The emulator's options for counting with these plugins, each of which times as with a setting of its own."""
    options: list[str] = []
    for setting, plugin in enumerate(plugins):
        out = f"out={_escaped(slot.counts_path(setting))}"
        options += ["-plugin", ",".join([_escaped(plugin), out, *described.plugin_arguments(setting)])]
    return options


def _escaped(path: Path) -> str:
    """A path as QEMU's option syntax wants it."""
    return str(path).replace(",", ",,")
