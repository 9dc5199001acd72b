"""Android's userland as far as a board has it, made of Debian's programs: what lies where, and how they start there.

A program of Debian's names its loader below /lib, which a phone lacks: it is given another name in the program's own
bytes, and the sshd the PATH of Android's shell. Libraries are found by glibc's cache, as they lie in none of its
folders. Two small programs are compiled here: a library that makes adbd start the shell where Android has it, and su.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import compile as compiling
from toolchain.compile import Toolchain
from toolchain.errors import BuildError

_HERE = Path(__file__).parent
_INIT, _GETPROP = _HERE / "services.sh", _HERE / "getprop.sh"
_SHELL_OF_ADBD, _SU = _HERE / "shell_of_adbd.cpp", _HERE / "su.cpp"
SOURCES = (Path(__file__), _INIT, _GETPROP, _SHELL_OF_ADBD, _SU)

#: What Android links to toybox, of what Debian's has as well (AOSP, external/toybox, Android.bp). No more: what works
#: on a board is to work on a phone.
_TOYBOX = """
base64 basename blockdev cal cat chattr chgrp chmod chown chroot chrt cksum clear cmp comm cp cpio cut date devmem df
dirname dmesg dos2unix du echo egrep env expand fallocate false fgrep file find flock fmt free getconf grep groups
gunzip head hostname hwclock id ifconfig inotifyd insmod install ionice iorenice iotop kill killall ln logname losetup
ls lsattr lsmod lspci lsusb md5sum microcom mkdir mkfifo mknod mkswap mktemp modinfo mount mountpoint mv nc netcat
netstat nice nl nohup nproc nsenter od paste patch pgrep pidof pkill pmap printenv printf ps pwd pwdx readelf readlink
realpath renice rev rfkill rm rmdir rmmod sed seq setfattr setsid sha1sum sha224sum sha256sum sha384sum sha512sum
sleep sort split stat strings swapoff swapon sync sysctl tac tail tar taskset tee test time timeout top touch true
truncate tty ulimit umount uname uniq unix2dos unlink unshare uptime usleep uudecode uuencode uuidgen vmstat watch wc
which whoami xargs xxd yes zcat
"""
COMMANDS = tuple(_TOYBOX.split())

#: As on a phone, the shell's user may.
_REBOOT = """\
#!/system/bin/sh
sync
exec su root toybox reboot -f
"""

#: Where commands are looked for, as on Android 7; services.sh has it for adbd.
PATH = "/sbin:/vendor/bin:/system/sbin:/system/bin:/system/xbin"
_SSHD = "system/xbin/dropbear"
#: What Debian's gives to who logs in, as root or another user.
_SSHD_PATHS = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games",
)

_USERS = """\
root:x:0:0:root:/:/system/bin/sh
system:x:1000:1000:system:/:/system/bin/sh
shell:x:2000:2000:shell:/:/system/bin/sh
"""
_GROUPS = "root:x:0:\nsystem:x:1000:\nshell:x:2000:\n"


@dataclass(frozen=True)
class Tree:
    """Files and links by their paths, without a leading slash; `setuid` are those that run as their owner, root."""

    files: Mapping[str, bytes]
    links: Mapping[str, str]
    folders: Iterable[str]
    setuid: frozenset[str]


def tree(chain: Toolchain, packages: Iterable[Path]) -> Tree:
    """What a phone has as /, of these unpacked packages. Raises BuildError when something cannot be compiled."""
    is_64_bit = "64" in chain.abi
    loader, lib = ("system/bin/linker64", "system/lib64") if is_64_bit else ("system/bin/linker", "system/lib")
    programs: dict[str, bytes] = {}
    libraries: dict[str, bytes] = {}
    for folder in packages:
        programs |= {name: path.read_bytes() for name, path in _programs(folder)}
        libraries |= {path.name: path.read_bytes() for path in _libraries(folder, chain.triplet)}
    for was in _SSHD_PATHS:
        programs[_SSHD] = _renamed(programs[_SSHD], was, PATH)
    programs["system/xbin/su"] = _compiled(chain, _SU)
    libraries["libshell_of_adbd.so"] = _compiled(chain, _SHELL_OF_ADBD, "-shared", "-fPIC")
    files = {
        **{name: _renamed(program, f"/lib/{chain.loader}", f"/{loader}") for name, program in programs.items()},
        loader: libraries.pop(chain.loader),
        **{f"{lib}/{name}": content for name, content in libraries.items()},
        "init": _INIT.read_bytes(),
        "system/bin/getprop": _GETPROP.read_bytes(),
        "system/bin/reboot": _REBOOT.encode(),
        "system/build.prop": f"ro.product.cpu.abi={chain.abi}\nro.product.cpu.abilist={chain.abi}\n".encode(),
        "system/etc/group": _GROUPS.encode(),
        "system/etc/hosts": b"127.0.0.1 localhost\n",
        "system/etc/ld.so.cache": _library_cache(is_64_bit, {name: f"/{lib}/{name}" for name in libraries}),
        "system/etc/passwd": _USERS.encode(),
        "system/etc/shells": b"/system/bin/sh\n",  # whom the sshd lets in
    }
    links = {"etc": "/system/etc", **{f"system/bin/{command}": "toybox" for command in COMMANDS}}
    return Tree(files, links, ("data", "dev", "proc", "sys"), frozenset({"system/xbin/su"}))


def _programs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Where each program of a package is to lie, and where it is."""
    for name, source in (
        ("system/bin/adbd", "usr/lib/android-sdk/platform-tools/adbd"),
        (_SSHD, "usr/sbin/dropbear"),
        ("system/xbin/dropbearkey", "usr/bin/dropbearkey"),
        ("system/bin/sh", "usr/bin/mksh"),
        ("system/bin/toybox", "usr/bin/toybox"),
    ):
        if (folder / source).is_file():
            yield name, folder / source


def _libraries(folder: Path, triplet: str) -> Iterator[Path]:
    """The package's loader and shared libraries under the names they are asked for by: libz.so.1, not libz.so.1.3.1."""
    for where in (f"usr/lib/{triplet}/android", f"usr/lib/{triplet}", "usr/lib"):
        for path in sorted((folder / where).glob("*.so.*")):
            if re.fullmatch(r".*\.so\.\d+", path.name) and path.is_file():  # not a link out of the package
                yield path


def _renamed(program: bytes, was: str, now: str) -> bytes:
    """The program with another text, no longer than it was, in the place of one that it has once."""
    old, new = was.encode() + b"\0", now.encode() + b"\0"
    if program.count(old) != 1 or len(new) > len(old):
        raise BuildError(f"a program of the boards does not have {was!r} once, with room for {now!r}")
    return program.replace(old, new.ljust(len(old), b"\0"))


def _compiled(chain: Toolchain, source: Path, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        target = f"{scratch}/compiled"
        flags = ("-std=c++17", "-Os", "-s", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", *compiling.PAGE_FLAGS)
        compiling.output([f"{chain.triplet}-g++", *flags, *options, str(source), "-o", target])
        return Path(target).read_bytes()


def _library_cache(is_64_bit: bool, paths: Mapping[str, str]) -> bytes:
    """glibc's /etc/ld.so.cache (its sysdeps/generic/dl-cache.h): where the loader finds libraries by these names."""
    entry_flags = (0x0A00 if is_64_bit else 0x0900) | 3  # of this architecture's libraries for glibc
    header, entry = struct.Struct("<17s3sIIB3xI12x"), struct.Struct("<iIIIQ")
    strings_at = header.size + entry.size * len(paths)
    entries, strings = bytearray(), bytearray()
    for name in sorted(paths, key=_cache_order, reverse=True):
        name_at = strings_at + len(strings)
        strings += name.encode() + b"\0"
        path_at = strings_at + len(strings)
        strings += paths[name].encode() + b"\0"
        entries += entry.pack(entry_flags, name_at, path_at, 0, 0)
    little_endian = 2
    return header.pack(b"glibc-ld.so.cache", b"1.1", len(paths), len(strings), little_endian, 0) + entries + strings


def _cache_order(name: str) -> list[tuple[bool, int]]:
    """As _dl_cache_libcmp orders names: digits by the number they make, after all else."""
    return [(part.isdigit(), int(part) if part.isdigit() else ord(part)) for part in re.findall(r"\d+|\D", name)]
