"""Which vector instructions a library has code for, by the names in device/runner/PROTOCOL.md.

Code that is there may still be left aside at run time, on a CPU that lacks it or for a network that has no use for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain import compile as compiling
from toolchain.compile import Toolchain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A library has code for a feature when it has so many of its instructions. A choice: a kernel that is worth having has
#: more; of the words of data between the code (constants, jump tables), which can look like anything, fewer do.
MIN_INSTRUCTIONS = 64


@dataclass(frozen=True)
class Word:
    """A fixed-length instruction: the bits in `mask` are those of `value`."""

    value: int
    mask: int


#: AArch64, from the Arm Architecture Reference Manual for A-profile (DDI 0487), C4.1 "A64 instruction set encoding":
#: what a kernel of matrix products must have of each extension. Advanced SIMD is part of the architecture.
A64 = {
    "dotprod": (  # FEAT_DotProd: SDOT and UDOT, by vector and by element
        Word(0x0E80_9400, 0x9FE0_FC00),
        Word(0x0F80_E000, 0x9FC0_F400),
    ),
    "fp16": (  # FEAT_FP16: FMLA of half precision, by vector and by element
        Word(0x0E40_0C00, 0xBFE0_FC00),
        Word(0x0F00_1000, 0xBFC0_F400),
    ),
    "i8mm": (  # FEAT_I8MM: SMMLA and UMMLA, USMMLA
        Word(0x4E80_A400, 0xDFE0_FC00),
        Word(0x4E80_AC00, 0xFFE0_FC00),
    ),
    "bf16": (  # FEAT_BF16: BFMMLA, BFDOT by vector and by element
        Word(0x6E40_EC00, 0xFFE0_FC00),
        Word(0x2E40_FC00, 0xBFE0_FC00),
        Word(0x0F40_F000, 0xBFC0_F400),
    ),
    "sve": (  # FEAT_SVE: FMLA (predicated) of half, single and double precision
        Word(0x6560_0000, 0xFFE0_E000),
        Word(0x65A0_0000, 0xFFA0_E000),
    ),
}


@dataclass(frozen=True)
class Prefixed:
    """An x86 instruction behind a VEX or EVEX prefix: for each byte of the prefix a value and a mask; the opcodes."""

    prefix: tuple[tuple[int, int], ...]
    opcodes: tuple[int, ...]


#: x86-64, from Intel's Software Developer's Manual, volume 2, 2.3 "AVX" (VEX), 2.7 "AVX-512" (EVEX) and the
#: instructions' own pages. All are of opcode map 0F38, whose three and four bytes of prefix random bytes seldom hit.
X86 = {
    # VEX.256.66.0F38.W0 and whole-number vectors, which AVX lacks: VPMADDUBSW, VPERMPS, VPERMD, VPMINSD, VPMAXSD,
    # VPMULLD, VPBROADCASTD, VPBROADCASTB
    "avx2": Prefixed(
        ((0xC4, 0xFF), (0x02, 0x1F), (0x05, 0x87)),
        (0x04, 0x16, 0x36, 0x39, 0x3D, 0x40, 0x58, 0x78),
    ),
    # EVEX.512.66.0F38.W0: VFMADD132PS, VFMADD213PS, VFMADD231PS
    "avx512f": Prefixed(
        ((0x62, 0xFF), (0x02, 0x0F), (0x05, 0x87), (0x40, 0x60)),
        (0x98, 0xA8, 0xB8),
    ),
}


def features(chain: Toolchain, library: Path) -> tuple[str, ...]:
    """The features that `library`, built for `chain`'s ABI, has code for. Raises BuildError for what is no library."""
    return _BY_MACHINE[chain.machine](chain, library)


def _armv7(chain: Toolchain, library: Path) -> tuple[str, ...]:
    """What the linker noted (Addenda to the ABI for the Arm Architecture, "Tag_Advanced_SIMD_arch")."""
    attributes = compiling.output([f"{chain.triplet}-readelf", "--arch-specific", str(library)])
    return ("neon",) if re.search(r"Tag_Advanced_SIMD_arch: NEON", attributes) else ()


def _aarch64(chain: Toolchain, library: Path) -> tuple[str, ...]:
    code = [section[: len(section) // 4 * 4].view("<u4") for section in _code(chain, library)]
    found = (name for name, words in A64.items() if _enough(_count_word(part, word) for part in code for word in words))
    return ("neon", *found)


def _x86_64(chain: Toolchain, library: Path) -> tuple[str, ...]:
    code = _code(chain, library)
    return tuple(name for name, kind in X86.items() if _enough(_count_prefixed(part, kind) for part in code))


_BY_MACHINE: dict[str, Callable[[Toolchain, Path], tuple[str, ...]]] = {
    "armv7l": _armv7,
    "aarch64": _aarch64,
    "x86_64": _x86_64,
}


def _enough(counts: Iterable[int]) -> bool:
    return sum(counts) >= MIN_INSTRUCTIONS


def _count_word(code: NDArray[np.uint32], word: Word) -> int:
    return int(((code & word.mask) == word.value).sum())


def _count_prefixed(code: NDArray[np.uint8], kind: Prefixed) -> int:
    import numpy as np

    (first, _mask), *_ = kind.prefix
    length = len(kind.prefix)
    starts = np.flatnonzero(code[: len(code) - length] == first)
    for offset, (value, mask) in enumerate(kind.prefix[1:], start=1):
        starts = starts[(code[starts + offset] & mask) == value]
    return int(np.isin(code[starts + length], kind.opcodes).sum())


def _code(chain: Toolchain, library: Path) -> list[NDArray[np.uint8]]:
    """The bytes of each executable section."""
    import numpy as np

    headers = compiling.output([f"{chain.triplet}-readelf", "--wide", "--section-headers", str(library)])
    section = r"PROGBITS +[0-9a-f]+ ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ +[A-Z]*X"
    content = np.fromfile(library, np.uint8)
    found = ((int(offset, 16), int(size, 16)) for offset, size in re.findall(section, headers))
    return [content[offset : offset + size] for offset, size in found]
