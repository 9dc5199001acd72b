"""What the headers of an ELF file say (elf(5)), of either size, little-endian as all our architectures are."""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC, _64_BIT, _LOAD = b"\x7fELF", 2, 1


def largest_page_bytes(path: Path) -> int | None:
    """The largest pages for which the file's segments are aligned: a kernel with larger ones cannot load it.

    None for what is no ELF file, or is none that is loaded. Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(64)
        if len(start) < 64 or not start.startswith(_MAGIC):  # noqa: PLR2004 (the larger of the two headers)
            return None
        # Where the table of segments is, how many entries it has, and what is one: its type first, its alignment last.
        is_64_bit = start[4] == _64_BIT
        (at,) = struct.unpack_from("<Q" if is_64_bit else "<I", start, 32 if is_64_bit else 28)
        (count,) = struct.unpack_from("<H", start, 56 if is_64_bit else 44)
        entry = struct.Struct("<I44xQ" if is_64_bit else "<I24xI")
        file.seek(at)
        table = file.read(entry.size * count)
    whole = table[: len(table) // entry.size * entry.size]
    return min((align for kind, align in entry.iter_unpack(whole) if kind == _LOAD), default=None)
