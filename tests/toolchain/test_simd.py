"""Which vector instructions a library has code for: told from what the compilers' own assembler makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolchain import compile as compiling
from toolchain import simd
from toolchain.errors import BuildError

ARMV7, AARCH64, X86_64 = (compiling.toolchain(abi) for abi in ("armeabi-v7a", "arm64-v8a", "x86_64"))

#: Instructions with places for three registers, and the feature that each is of.
A64 = {
    "sdot v{}.4s, v{}.16b, v{}.16b": "dotprod",
    "udot v{}.2s, v{}.8b, v{}.8b": "dotprod",
    "sdot v{}.4s, v{}.16b, v{}.4b[3]": "dotprod",
    "udot v{}.4s, v{}.16b, v{}.4b[0]": "dotprod",
    "fmla v{}.8h, v{}.8h, v{}.8h": "fp16",
    "fmla v{}.4h, v{}.4h, v{}.4h": "fp16",
    "smmla v{}.4s, v{}.16b, v{}.16b": "i8mm",
    "ummla v{}.4s, v{}.16b, v{}.16b": "i8mm",
    "usmmla v{}.4s, v{}.16b, v{}.16b": "i8mm",
    "bfmmla v{}.4s, v{}.8h, v{}.8h": "bf16",
    "bfdot v{}.4s, v{}.8h, v{}.8h": "bf16",
    "bfdot v{}.4s, v{}.8h, v{}.2h[2]": "bf16",
    "fmla z{}.s, p1/m, z{}.s, z{}.s": "sve",
    "fmla z{}.d, p0/m, z{}.d, z{}.d": "sve",
    "fmla z{}.h, p7/m, z{}.h, z{}.h": "sve",
}
OTHER_A64 = (
    "fmla v{}.4s, v{}.4s, v{}.4s",
    "fmla v{}.2d, v{}.2d, v{}.2d",
    "mla v{}.8h, v{}.8h, v{}.8h",
    "smlal v{}.4s, v{}.4h, v{}.4h",
    "fmadd s{0}, s{1}, s{2}, s{0}",
    "add x{}, x{}, x{}",
    "pmull v{}.8h, v{}.8b, v{}.8b",
)
X86 = {
    "vpmulld %ymm{}, %ymm{}, %ymm{}": "avx2",
    "vpmaddubsw %ymm{}, %ymm{}, %ymm{}": "avx2",
    "vpermd %ymm{}, %ymm{}, %ymm{}": "avx2",
    "vpbroadcastd %xmm{}, %ymm{}  # {}": "avx2",
    "vfmadd231ps %zmm{}, %zmm{}, %zmm{}": "avx512f",
    "vfmadd213ps (%rax,%r9,4), %zmm{}, %zmm{}  # {}": "avx512f",
}
OTHER_X86 = (
    "vpmulld %xmm{}, %xmm{}, %xmm{}",
    "vfmadd231ps %ymm{}, %ymm{}, %ymm{}",
    "vaddps %ymm{}, %ymm{}, %ymm{}",
    "vfmadd231pd %ymm{}, %ymm{}, %ymm{}",
)


def assembled(chain: compiling.Toolchain, lines: list[str], folder: Path) -> Path:
    source, target = folder / "code.s", folder / "code.o"
    source.write_text("\n".join([".text", *lines, ""]))
    more = ["-march=armv8.6-a+sve+fp16"] if chain is AARCH64 else []
    done = subprocess.run(
        [f"{chain.triplet}-as", *more, str(source), "-o", str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


def of_all_registers(instruction: str, count: int) -> list[str]:
    return [instruction.format(n % 16, (n * 3 + 1) % 16, (n * 7 + 2) % 16) for n in range(count)]


@pytest.mark.parametrize("instruction", A64)
def test_an_instruction_of_an_extension_makes_it_a_feature_of_arm64(instruction: str, tmp_path: Path) -> None:
    enough = of_all_registers(instruction, simd.MIN_INSTRUCTIONS)
    assert simd.features(AARCH64, assembled(AARCH64, enough, tmp_path)) == ("neon", A64[instruction])
    assert simd.features(AARCH64, assembled(AARCH64, enough[:-1], tmp_path)) == ("neon",)


@pytest.mark.parametrize("instruction", OTHER_A64)
def test_what_every_arm64_has_is_no_extension(instruction: str, tmp_path: Path) -> None:
    code = assembled(AARCH64, of_all_registers(instruction, simd.MIN_INSTRUCTIONS), tmp_path)
    assert simd.features(AARCH64, code) == ("neon",)


@pytest.mark.parametrize("instruction", X86)
def test_an_instruction_of_an_extension_makes_it_a_feature_of_x86_64(instruction: str, tmp_path: Path) -> None:
    enough = of_all_registers(instruction, simd.MIN_INSTRUCTIONS)
    assert simd.features(X86_64, assembled(X86_64, enough, tmp_path)) == (X86[instruction],)
    assert simd.features(X86_64, assembled(X86_64, enough[:-1], tmp_path)) == ()


@pytest.mark.parametrize("instruction", OTHER_X86)
def test_narrower_vectors_are_not_the_wider_ones_feature(instruction: str, tmp_path: Path) -> None:
    code = assembled(X86_64, of_all_registers(instruction, simd.MIN_INSTRUCTIONS), tmp_path)
    assert simd.features(X86_64, code) == ()


@given(st.lists(st.sampled_from([*A64, *OTHER_A64]), min_size=1, max_size=4, unique=True))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_features_of_a_library_are_found_in_the_protocols_order(tmp_path: Path, instructions: list[str]) -> None:
    lines = [line for each in instructions for line in of_all_registers(each, simd.MIN_INSTRUCTIONS)]
    expected = {A64[each] for each in instructions if each in A64}
    order = ("neon", "dotprod", "fp16", "i8mm", "bf16", "sve")
    found = simd.features(AARCH64, assembled(AARCH64, lines, tmp_path))
    assert found == tuple(name for name in order if name == "neon" or name in expected)


def test_data_is_not_looked_at(tmp_path: Path) -> None:
    instructions = of_all_registers("sdot v{}.4s, v{}.16b, v{}.16b", simd.MIN_INSTRUCTIONS)
    code = assembled(AARCH64, ["nop", ".section .rodata", *instructions], tmp_path)
    assert simd.features(AARCH64, code) == ("neon",)


@pytest.mark.parametrize(("fpu", "expected"), [("neon-vfpv4", ("neon",)), ("vfpv3-d16", ())])
def test_an_armv7_library_has_neon_where_its_attributes_say_so(
    fpu: str, expected: tuple[str, ...], tmp_path: Path
) -> None:
    code = assembled(ARMV7, [".arch armv7-a", f".fpu {fpu}", "nop"], tmp_path)
    assert simd.features(ARMV7, code) == expected


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a library")
    for chain in (ARMV7, AARCH64, X86_64):
        with pytest.raises(BuildError, match="readelf"):
            simd.features(chain, tmp_path / "text")
