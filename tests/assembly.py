"""Arm instructions as bits, by Binutils."""

from __future__ import annotations

import re
from pathlib import Path

from toolchain import compile as compiling
from toolchain.compile import TOOLCHAINS


def assembled(encoding: str, instructions: list[str], folder: Path) -> list[str]:
    """The bits of each instruction, in hexadecimal, as Binutils gives them."""
    chain = TOOLCHAINS["arm64-v8a" if encoding == "a64" else "armeabi-v7a"]
    mode = {"a64": "", "a32": ".arm\n.fpu neon-vfpv4\n", "t32": ".thumb\n.fpu neon-vfpv4\n"}[encoding]
    source, made = folder / "source.s", folder / "made.o"
    source.write_text(".syntax unified\n" * (encoding != "a64") + mode + "\n".join(instructions) + "\n")
    compiling.output([f"{chain.triplet}-g++", "-c", str(source), "-o", str(made)])
    listing = compiling.output([f"{chain.triplet}-objdump", "-d", str(made)])
    bits = re.findall(r"^\s*[0-9a-f]+:\t([0-9a-f]{4}(?: ?[0-9a-f]{4})?) *\t", listing, re.MULTILINE)
    assert len(bits) == len(instructions)
    return [one.replace(" ", "") for one in bits]
