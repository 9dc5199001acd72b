"""What is kept on a device for the next run: each set of files in a folder named after its content.

So a second push of the same bytes is no push. All lies below one folder, the root; nothing outside is touched. What has
not been used for long goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from device.device import OnBytes
from device.errors import DeviceUnavailable, NoSpace, PushCorrupted, PushFailed
from device.records import RunRequest
from device.remote import shell as remote_shell
from device.remote.shell import Shell
from device.timeouts import Timeouts
from toolchain.figures import size
from toolchain.files import File

#: The root where there is Android's folder for what a developer puts on a device.
ANDROID_ROOT = PurePosixPath("/data/local/tmp/tenpass")

#: What is kept on a device for the next run. A choice: both runtimes with all networks take about half a gigabyte.
CACHE_MAX_AGE_S = 30 * 24 * 3600
CACHE_MAX_BYTES = 2 << 30

_MAX_NAME_BYTES = 255  # Linux, NAME_MAX
#: Hash tools a device may have, best first: Android 7's toybox has no sha256sum yet.
HASH_TOOLS = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}
_USED = ".used"  # in each folder: when it was last used, in seconds since 1970 by this machine's clock


class FileCache:
    """The cache in the folder `root` of one device, which messages call `name`.

    `root` is a path without any sign that a shell takes for more than itself. `hash_tool` is the one of HASH_TOOLS that
    the device has.
    """

    def __init__(self, shell: Shell, name: str, root: PurePosixPath, hash_tool: str | None, timeouts: Timeouts) -> None:
        self.root = root
        self._shell, self._name, self._hash_tool, self._timeouts = shell, name, hash_tool, timeouts
        self._used: set[str] = set()
        self._has_grown = False

    def folder_of(self, files: tuple[File, ...]) -> PurePosixPath:
        """The folder on the device for these files."""
        return self.root / digest_of(files)

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:
        """Carries over what the request needs and the device lacks; returns the bytes that moved.

        Raises PushFailed's children.
        """
        sets = tuple(_file_sets(request))
        for files in sets:
            _require_names(files)
        self._used |= {digest_of(files) for files in sets}
        pushed_bytes = sum(self._push_set(files, on_bytes) for files in self._missing(sets))
        self._has_grown |= pushed_bytes > 0
        return pushed_bytes

    def clean(self) -> None:
        """Removes all that this program has ever put on the device, and nothing else."""
        self._shell.output_of(f"rm -rf {self.root}", f"{self._name}: {self.root} cannot be removed")

    def tidy(self) -> None:
        """Keeps what is left on the device bounded in age and size; what this run has used stays."""
        if not self._has_grown:
            return
        cached = self._cached()
        too_old = [one for one in cached if one.used_s < time.time() - CACHE_MAX_AGE_S]
        kept = cached[len(too_old) :]
        total_bytes = sum(one.size_bytes for one in kept)
        while kept and total_bytes > CACHE_MAX_BYTES:
            total_bytes -= kept[0].size_bytes
            too_old.append(kept.pop(0))
        self._remove(too_old)

    def _missing(self, sets: tuple[tuple[File, ...], ...]) -> list[tuple[File, ...]]:
        """Those that the device does not have; the others are marked as used.

        One question for all, as the way there and back takes longest.
        """
        folders = {digest_of(files): files for files in sets}
        look = f'test -d $name && echo $name && echo {int(time.time())} > "$name/{_USED}"'
        present = self._shell.ask(
            f"cd {self.root} 2>/dev/null && for name in {' '.join(folders)}; do {look}; done"
        ).split()
        return [files for name, files in folders.items() if name not in present]

    def _push_set(self, files: tuple[File, ...], on_bytes: OnBytes) -> int:
        """Carries the files over, checks what arrived, and only then gives their folder its name."""
        folder = self.folder_of(files)
        partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:8]}")
        size_bytes = sum(file.size_bytes for file in files)
        self._require_room(size_bytes)
        if self._hash_tool is None:
            raise PushFailed(f"{self._name}: it has none of {', '.join(HASH_TOOLS)}; what arrives can't be checked")
        try:
            self._shell.output_of(f"mkdir -p {partial}", f"{self._name}: cannot make {partial}")
            for file in files:
                self._push_file(file, partial / file.name, on_bytes)
            names = " ".join(shlex.quote(f"./{file.name}") for file in files)
            answer = self._shell.output_of(
                # By stdin: given a name, the tools print it, each escaping line ends in its own way or not at all.
                f'cd {partial} && for f in {names}; do {self._hash_tool} < "$f" || exit; done',
                f"{self._name}: cannot read back what was pushed",
                timeout_s=self._timeouts.transfer_s(size_bytes),
            )
            arrived = [line.split()[0] for line in answer.decode(errors="replace").splitlines() if line.strip()]
            sent = [_hexdigest(file, HASH_TOOLS[self._hash_tool]) for file in files]
            if arrived != sent:
                raise PushCorrupted(
                    f"{self._name}: {_names(files)} arrived other than they left; check the cable, push again"
                )
            # Another run may have been faster with the same bytes: then this copy is not needed.
            named = f"{{ test -d {folder} || mv {partial} {folder}; }}"
            used = f"echo {int(time.time())} > {partial}/{_USED}"
            self._shell.output_of(f"{used} && sync && {named} && sync", f"{self._name}: cannot name {folder}")
        finally:
            with contextlib.suppress(DeviceUnavailable):
                self._shell.run(f"rm -rf {partial}", timeout_s=remote_shell.CLEAN_UP_S)
        return size_bytes

    def _push_file(self, file: File, target: PurePosixPath, on_bytes: OnBytes) -> None:
        def content() -> Iterator[bytes]:
            with file.path.open("rb") as stream:
                while data := stream.read(remote_shell.PACKET_BYTES):
                    yield data
                    on_bytes(len(data))

        quoted = shlex.quote(str(target))
        # A full disk must not cut the stream: what cannot be written is read all the same, then told.
        self._shell.output_of(
            f"cat > {quoted} || {{ cat > /dev/null; exit 1; }}; chmod 755 {quoted}",
            f"{self._name}: {_names((file,))} could not be pushed",
            stdin=content(),
            timeout_s=self._timeouts.transfer_s(file.size_bytes),
        )

    def _require_room(self, size_bytes: int) -> None:
        """Sees to `size_bytes` free on the device, and a little more to work with: what is not used goes, oldest first.

        Raises NoSpace when that is not enough.
        """
        headroom_bytes = 1024 * 1024
        free_bytes = self.free_bytes()
        if free_bytes is None:
            return  # the push itself will tell
        lacking = size_bytes + headroom_bytes - free_bytes
        if lacking > 0:
            self._remove(self._oldest(lacking))
            free_bytes = self.free_bytes() or 0
        if free_bytes < size_bytes + headroom_bytes:
            raise NoSpace(
                f"{self._name}: {size(size_bytes)} must be pushed and {size(free_bytes)} are free; make "
                f"room on the device (--clean-device removes what this and earlier runs left in {self.root})"
            )

    def free_bytes(self) -> int | None:
        """What is free where files go; None when the device does not tell. Raises PushFailed where they can't go."""
        answer = self._shell.output_of(
            f"mkdir -p {self.root} && df -k {self.root}", f"{self._name}: cannot make {self.root}"
        )
        return available_bytes(answer.decode(errors="replace"))

    def _cached(self) -> list[_Cached]:
        """What this run does not use, oldest use first. The device's words are not trusted: only our names count."""
        # /dev/null as well: of a single file, grep would not tell the name.
        listing = self._shell.ask(f"cd {self.root} && {{ du -sk -- *; grep . */{_USED} /dev/null; }} 2>/dev/null")
        sizes = re.findall(r"^(\d{1,12})\s+([0-9a-f]{64})$", listing, re.MULTILINE | re.ASCII)
        used = dict(
            re.findall(rf"^([0-9a-f]{{64}})/{re.escape(_USED)}:(\d{{1,12}})$", listing, re.MULTILINE | re.ASCII)
        )
        found = [_Cached(name, int(kib) * 1024, int(used.get(name, 0))) for kib, name in sizes]
        return sorted((one for one in found if one.name not in self._used), key=lambda one: one.used_s)

    def _oldest(self, size_bytes: int) -> list[_Cached]:
        """So many of the oldest sets of files that they make up that size, or all."""
        chosen: list[_Cached] = []
        for one in self._cached():
            if sum(other.size_bytes for other in chosen) >= size_bytes:
                break
            chosen.append(one)
        return chosen

    def _remove(self, sets: list[_Cached]) -> None:
        if sets:
            self._shell.run(f"rm -rf {' '.join(str(self.root / one.name) for one in sets)}")


def available_bytes(answer: str) -> int | None:
    """What `df -k FOLDER` says is available; None where it does not tell, as Android's before 7."""
    fields = answer.split()
    # The last line is "device blocks used available use% mount"; a long device name breaks it in two.
    available = fields[-3] if len(fields) > 5 else ""  # noqa: PLR2004
    return int(available) * 1024 if available.isascii() and available.isdecimal() else None


@dataclass(frozen=True)
class _Cached:
    """A set of files on the device: its folder's name, its size, and when it was last used (seconds since 1970)."""

    name: str
    size_bytes: int
    used_s: int


def _require_names(files: tuple[File, ...]) -> None:
    """Raises PushFailed for a name that is none of a file in its folder."""
    for file in files:
        inside = file.name not in ("", ".", "..") and "/" not in file.name and "\0" not in file.name
        if not inside or len(file.name.encode(errors="surrogateescape")) > _MAX_NAME_BYTES or file.name == _USED:
            raise PushFailed(f"{_names((file,))} is no name that a file can have on a device; rename it")


def _names(files: tuple[File, ...]) -> str:
    return ", ".join(file.name for file in files)


def _file_sets(request: RunRequest) -> Iterator[tuple[File, ...]]:
    yield request.bundle.files
    yield request.model_files
    for tensor in request.inputs:
        yield (tensor.file,)


def digest_of(files: tuple[File, ...]) -> str:
    """A hexadecimal digest of exactly these names with exactly these bytes."""
    listing = "\n".join(sorted(f"{file.sha256} {file.name!a}" for file in files))
    return hashlib.sha256(listing.encode()).hexdigest()


def _hexdigest(file: File, algorithm: str) -> str:
    if algorithm == "sha256":
        return file.sha256
    with file.path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
