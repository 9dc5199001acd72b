"""Folders that are used only as they were made: each holds a list of its files' sha256, which is checked before use.

This notices what failing disks, stray programs and people do to a folder below build/. Who means harm and can write
there can write a new list as well, or change our own code: against that only the pins of what is fetched help.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

NAME = ".sha256"

#: What was found intact: looked at once per process, at some 400 MB/s.
_intact: set[Path] = set()


def seal(folder: Path) -> None:
    """Write the list of all that `folder` holds now."""
    (folder / NAME).write_bytes(_listing(folder))


def intact(folder: Path) -> bool:
    """Whether `folder` is there and holds what it did when it was sealed; says on stderr what differs."""
    if not folder.is_dir():
        return False
    if folder in _intact:
        return True
    try:
        sealed = (folder / NAME).read_bytes()
    except OSError:
        return False  # never sealed: made by an older version
    try:
        found = _listing(folder)
    except OSError as error:
        what = str(error)
    else:
        if found == sealed:
            _intact.add(folder)
            return True
        names = {line.partition(b"  ")[2] for line in set(sealed.splitlines()) ^ set(found.splitlines())}
        what = ", ".join(os.fsdecode(name) for name in sorted(names)[:3])
    print(f"{folder} is not as it was made ({what}): making it anew", file=sys.stderr)
    (folder / NAME).unlink(missing_ok=True)  # it is not looked at, nor spoken of, again
    return False


def _listing(folder: Path) -> bytes:
    """A line for each file: sha256 and name, as sha256sum writes them; for a link, where it leads instead of a hash."""
    lines = []
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                first = os.fsencode(path.readlink())
            elif path.is_dir() or path == folder / NAME:
                continue
            else:
                with path.open("rb") as file:
                    first = hashlib.file_digest(file, "sha256").hexdigest().encode()
            lines.append(first + b"  " + os.fsencode(path.relative_to(folder)))
    return b"".join(line + b"\n" for line in sorted(lines))
