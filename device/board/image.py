"""What a board boots: a Debian kernel and an initramfs with what a phone has as /, made without root.

That is Android's tree with mksh as its shell, toybox as its commands, the real adbd, and an sshd beside it
(android.py). It lies in a folder of the initramfs, which the first process makes the root; what that process needs
itself (busybox, modules) lies outside.

    python -m device.board.image        build the images of both architectures, with pages of 4 KB

An image lies in build/boards/<arch>-<size of pages>/<recipe>/; the recipe is a hash over all that goes in (pinned
packages, the scripts, this file), so that an image that is there, with the files that were put there, is up to date.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from device.board import android
from device.errors import DeviceUnavailable
from toolchain import compile as compiling
from toolchain import debian, seal
from toolchain.compile import Toolchain
from toolchain.errors import ToolchainError
from toolchain.paths import BOARDS

FOLDER = BOARDS
_INIT = Path(__file__).with_name("init.sh")

#: The kernels of each architecture by the size of their pages.
KERNELS = {
    "armhf": {4096: "linux-image-armmp-lpae"},
    "arm64": {4096: "linux-image-arm64", 16384: "linux-image-arm64-16k"},
}
_USUAL_PAGE_BYTES = 4096
ABIS = {"armhf": "armeabi-v7a", "arm64": "arm64-v8a"}

#: adbd, and the packages of the libraries it needs (its NEEDED entries, followed to the end).
ADBD_PACKAGES = (
    "adbd",
    "android-libbase",
    "android-libboringssl",
    "android-libcutils",
    "android-liblog",
    "libbrotli1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "liblz4-1",
    "libprotobuf32t64",
    "libstdc++6",
    "libsystemd0",
    "libxxhash0",
    "libzstd1",
    "zlib1g",
)
#: An sshd (dropbear), and the packages of the libraries that it needs and adbd does not.
SSHD_PACKAGES = ("dropbear-bin", "libcrypt1", "libgmp10", "libtomcrypt1", "libtommath1")
#: The shell and its commands; they need no other libraries.
SHELL_PACKAGES = ("mksh", "toybox")

#: Which suite each architecture's parts are pinned from. The 32-bit ones are not trixie's because the mirror's
#: armhf index did not match trixie's signature when they were pinned, so nothing vouched for those packages.
#: Once `apt-get update` accepts it: write trixie here and in the lock, then `python -m toolchain.debian --update-lock`.
KERNEL_SUITES = {"armhf": "bookworm", "arm64": "trixie"}
DAEMON_SUITES = {"armhf": "forky", "arm64": "trixie"}
SHELL_SUITE = "trixie"

#: Kernel modules for the network and the data disk; those they depend on are added.
MODULES = ("virtio_mmio", "virtio_net", "virtio_blk", "ext4")
#: ext4 asks for this checksum by an alias, not as a dependency. Newer kernels have it built in.
_MODULES_WHERE_THERE = ("crc32c_generic",)


class ImageError(DeviceUnavailable):
    """A board's image cannot be built."""


@dataclass(frozen=True)
class Image:
    """A kernel and an initramfs, ready to boot, and the kernel's version ("6.1.0-50-armmp-lpae")."""

    arch: str
    kernel: Path
    initramfs: Path
    kernel_version: str


def packages(arch: str, page_bytes: int = _USUAL_PAGE_BYTES) -> list[tuple[str, str, str]]:
    """The (package, arch, suite) that an image is made of."""
    kernel = KERNELS[arch][page_bytes]
    system = [(package, arch, KERNEL_SUITES[arch]) for package in (kernel, "busybox-static")]
    daemons = [(package, arch, DAEMON_SUITES[arch]) for package in ADBD_PACKAGES + SSHD_PACKAGES]
    return system + daemons + [(package, arch, SHELL_SUITE) for package in SHELL_PACKAGES]


def image(arch: str, page_bytes: int = _USUAL_PAGE_BYTES, on_step: Callable[[str], None] = lambda _step: None) -> Image:
    """The image for "armhf" or "arm64"; built first where need be. Raises DeviceUnavailable."""
    try:
        folder = _folder(arch, page_bytes)
        if not seal.intact(folder):
            with compiling.locked(folder.parent.with_suffix(".lock")):
                folder = _built(arch, page_bytes, on_step)
    except ToolchainError as error:
        raise ImageError(str(error)) from error
    version = (folder / "kernel-version").read_text().strip()
    return Image(arch, folder / "vmlinuz", folder / "initramfs", version)


def _folder(arch: str, page_bytes: int) -> Path:
    digest = hashlib.sha256()
    for file in (Path(__file__), _INIT, *android.SOURCES):
        digest.update(file.read_bytes())
    digest.update(compiling.compiler_version(_toolchain(arch)).encode())
    for package in packages(arch, page_bytes):
        digest.update(debian.pin_in_force(*package).sha256.encode())
    return FOLDER / f"{arch}-{page_bytes >> 10}k" / digest.hexdigest()[:16]


def _toolchain(arch: str) -> Toolchain:
    return compiling.toolchain(ABIS[arch])


def _built(arch: str, page_bytes: int, on_step: Callable[[str], None]) -> Path:
    """The folder of an image that is as it was made; only one process may be here."""
    on_step(f"fetching the parts of the {arch} board")
    kernel, busybox, *userland = debian.ensure(packages(arch, page_bytes))
    folder = _folder(arch, page_bytes)  # known only now: the mirror may have had a replacement only
    if seal.intact(folder):  # another process made it meanwhile
        return folder
    on_step(f"building the {arch} board's image")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        content = Path(scratch) / "content"
        content.mkdir()
        vmlinuz = next((kernel / "boot").glob("vmlinuz-*"))
        shutil.copyfile(vmlinuz, content / "vmlinuz")
        (content / "kernel-version").write_text(vmlinuz.name.removeprefix("vmlinuz-") + "\n")
        (content / "initramfs").write_bytes(_initramfs(arch, kernel, busybox, userland))
        seal.seal(content)
        if folder.exists():
            folder.rename(Path(scratch, "old"))
        content.rename(folder)
    for old in folder.parent.iterdir():
        if old != folder and not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)
    return folder


# --- the initramfs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One entry of the archive: a path without a leading slash, its mode, and its bytes (a link's target)."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def _initramfs(arch: str, kernel: Path, busybox: Path, userland: list[Path]) -> bytes:
    """The archive's bytes: the same for the same parts. Not compressed: unpacking costs emulated seconds."""
    modules = dict(_modules(kernel))
    phone = android.tree(_toolchain(arch), userland)
    files = {
        "init": _INIT.read_bytes(),
        "bin/busybox": next(path for path in busybox.glob("**/bin/busybox")).read_bytes(),
        "modules/order": "".join(f"{name}\n" for name in modules).encode(),
        **{f"modules/{name}": content for name, content in modules.items()},
        **{f"android/{path}": content for path, content in phone.files.items()},
    }
    links = {f"android/{path}": target for path, target in phone.links.items()}
    folders = {str(parent) for path in (*files, *links) for parent in Path(path).parents}
    folders |= {f"android/{folder}" for folder in phone.folders}
    entries = [_Entry(folder, stat.S_IFDIR | 0o755) for folder in folders - {"."}]
    for path, content in files.items():
        setuid = stat.S_ISUID if path.removeprefix("android/") in phone.setuid else 0
        entries.append(_Entry(path, stat.S_IFREG | 0o755 | setuid, content))
    entries += [_Entry(path, stat.S_IFLNK | 0o777, target.encode()) for path, target in links.items()]
    entries.append(_Entry("android/dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    return _cpio(sorted(entries, key=lambda entry: entry.path))


def _modules(kernel: Path) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of the needed kernel modules, each after those it depends on."""
    tree = next(path for path in kernel.glob("**/lib/modules/*") if path.is_dir())
    at = {_module_name(path.name): path for path in tree.glob("kernel/**/*.ko*")}
    built_in = {_module_name(Path(line).name) for line in (tree / "modules.builtin").read_text().split()}
    done: set[str] = set()

    def with_dependencies(name: str) -> Iterator[tuple[str, bytes]]:
        if name in done or name in built_in:
            return
        if name not in at:
            raise ImageError(f"the kernel {tree.name} has no module {name}; see MODULES in {__file__}")
        done.add(name)
        content = at[name].read_bytes()
        content = lzma.decompress(content) if at[name].suffix == ".xz" else content
        for dependency in _dependencies(content):
            yield from with_dependencies(dependency)
        yield f"{name}.ko", content

    for name in _MODULES_WHERE_THERE:
        if name in at:
            yield from with_dependencies(name)
    for name in MODULES:
        yield from with_dependencies(name)


def _module_name(file_name: str) -> str:
    return file_name.partition(".ko")[0].replace("-", "_")


def _dependencies(module: bytes) -> list[str]:
    """The modules that a module's own description says it needs ("depends=a,b" in its .modinfo)."""
    start = module.find(b"\0depends=")
    if start < 0:
        return []
    listed = module[start + len(b"\0depends=") : module.index(b"\0", start + 1)].decode()
    return [name.replace("-", "_") for name in listed.split(",") if name]


def _cpio(entries: list[_Entry]) -> bytes:
    """A "newc" archive (kernel documentation, driver-api/early-userspace/buffer-format), all owned by root."""
    archive = bytearray()
    trailer = _Entry("TRAILER!!!", 0)
    for inode, entry in enumerate([*entries, trailer], start=1):
        name = entry.path.encode() + b"\0"
        links, owner, mtime_s = 1, 0, 0
        owned = (inode, entry.mode, owner, owner, links, mtime_s, len(entry.content))
        numbers = (*owned, 0, 0, *entry.device, len(name), 0)
        archive += b"070701" + b"".join(b"%08x" % number for number in numbers)
        archive += name
        archive += b"\0" * (-len(archive) % 4)
        archive += entry.content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Ends with 0 when both images are there, 3 when one cannot be had."""
    for arch in KERNELS:
        start = time.monotonic()
        try:
            built = image(arch, on_step=lambda step: click.echo(f"boards: {step}", err=True))
        except DeviceUnavailable as error:
            click.echo(f"boards: {error}", err=True)
            sys.exit(3)
        seconds = time.monotonic() - start
        where = os.path.relpath(built.kernel.parent)
        click.echo(f"boards: {arch} is ready (kernel {built.kernel_version}, {seconds:.1f} s): {where}", err=True)


if __name__ == "__main__":
    main()
