"""The machine that says how many cycles a program takes on a core: known cases, by what was published or measured."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from assembly import assembled
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from programs import PATIENCE_S

from device.board import definitions
from device.board.definitions import CORES
from device.records import Chip
from harness.__main__ import main
from harness.record.errors import EXIT_USAGE
from toolchain import compile as compiling
from toolchain import emulator as emulators
from toolchain.compile import TOOLCHAINS
from toolchain.paths import BUILD, RUNNER

LOSSES = ("pipeline", "dram", "l2", "stores", "tlb", "branches", "fetch", "kernel")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine of device/emulator/ in a program of its own (cycles_driver.cpp)."""
    program = tmp_path_factory.mktemp("cycles") / "cycles_driver"
    sources = [Path(__file__).with_name("cycles_driver.cpp"), *sorted(emulators.SOURCES.glob("arm/*.cpp"))]
    compiler = f"{compiling.native().triplet}-g++"
    options = ["-std=c++17", "-O1", f"-I{emulators.SOURCES}"]
    compiling.output([compiler, *options, *map(str, sources), "-o", str(program)])
    return program


def said(driver: Path, *arguments: object, lines: Sequence[str] = ()) -> str:
    command = [str(driver), *map(str, arguments)]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE_S).stdout


def cycles(
    driver: Path,
    core: Path,
    instructions: Sequence[str],
    folder: Path,
    *,
    rounds: int = 1000,
    stride: int = 0,
    size: int = 4,
    wrap: int = 0,
    chip: Sequence[object] = (),
) -> dict[str, float]:
    """What a round of a loop of these instructions takes, by what it goes to."""
    encoding = "a64" if "a53" in core.name else "a32"
    bits = " ".join(assembled(encoding, list(instructions), folder))
    loop = f"{encoding} {rounds} {1 << 20} {stride} {size} {wrap} {bits}"
    return {
        loss: int(text) / rounds
        for loss, text in zip(LOSSES, said(driver, core, *chip, lines=[loop]).split(), strict=True)
    }


A7, A53 = CORES / "cortex-a7.core", CORES / "cortex-a53.core"

#: What a round takes in the pipeline, as measured or documented; the tables of the cores name the sources.
KNOWN: list[tuple[Path, str, list[str], float]] = [
    (A7, "a chain of vector multiply-adds: a lane a cycle", ["vmla.f32 q0, q1, q2"] * 2, 8),
    (A7, "as many that do not wait for one another", [f"vmla.f32 q{n}, q1, q2" for n in (3, 4, 5, 6)], 16),
    (A7, "half as wide: half of it", [f"vmla.f32 d{n}, d1, d2" for n in (3, 4, 5, 6)], 8),
    (A7, "a chain of scalar multiply-adds: into the accumulator", ["vmla.f32 s0, s2, s4"], 4),
    (A7, "a chain through the factors: all of it", ["vmla.f32 s0, s0, s4"], 8),
    (A7, "additions of numbers: two a cycle", [f"add r{n}, r{n}, #1" for n in range(4)], 2),
    (A7, "additions of registers: one a cycle", [f"add r{n}, r{n}, r8" for n in range(4)], 4),
    (A7, "loads beside multiply-adds cost nothing more", ["vld1.32 {d0-d1}, [r0]", "vmla.f32 q4, q2, q3"], 4),
    (A7, "loads of a Q register: 64 bits a cycle", ["vld1.32 {d0-d1}, [r0]"], 2),
    (A7, "eight D registers", ["vldmia r0, {d0-d7}"], 8),
    (A53, "a chain of vector multiply-adds: into the accumulator", ["fmla v0.4s, v1.4s, v2.4s"] * 2, 8),
    (A53, "vector multiply-adds: one a cycle", [f"fmla v{n}.4s, v1.4s, v2.4s" for n in range(4, 8)], 4),
    (A53, "half as wide: two a cycle", [f"fmla v{n}.2s, v1.2s, v2.2s" for n in range(4, 12)], 4),
    (A53, "scalar: two a cycle", [f"fmadd s{n}, s1, s2, s{n}" for n in range(4, 12)], 4),
    (A53, "loads of a Q register: every other cycle", [f"ldr q{n}, [x0]" for n in range(4)], 8),
    (A53, "pairs of them: every four", ["ldp q0, q1, [x0]", "ldp q2, q3, [x0]"], 8),
    (A53, "four by LD1", ["ld1 {v0.4s-v3.4s}, [x0]"], 8),
    (A53, "stores of a Q register: one a cycle", [f"str q{n}, [x0]" for n in range(4)], 4),
    (A53, "additions: two a cycle", [f"add x{n}, x{n}, x8" for n in range(4)], 2),
    (A53, "a D load beside a multiply-add", ["fmla v4.4s, v1.4s, v2.4s", "ldr d3, [x0]"], 4),
]


@pytest.mark.parametrize(
    ("core", "instructions", "expected"),
    [pytest.param(core, code, cycles_, id=f"{core.stem}: {what}") for core, what, code, cycles_ in KNOWN],
)
def test_a_loop_takes_what_it_was_measured_to_take(
    driver: Path, tmp_path: Path, core: Path, instructions: list[str], expected: float
) -> None:
    found = cycles(driver, core, instructions, tmp_path, wrap=64)
    assert found["pipeline"] == pytest.approx(expected, rel=0.01)
    assert sum(found.values()) == pytest.approx(expected, rel=0.02)


def test_what_is_not_in_a_cache_is_waited_for(driver: Path, tmp_path: Path) -> None:
    def chase(kilobytes: int) -> dict[str, float]:
        wrap = kilobytes << 10
        return cycles(driver, A7, ["ldr r0, [r0]"], tmp_path, rounds=20_000, stride=4160, wrap=wrap)

    assert chase(16)["dram"] == chase(16)["l2"] == 0
    in_l2, in_memory = chase(64), chase(8192)
    assert 0.7 * 11 < in_l2["l2"] < 1.05 * 11  # l2_cycles, less the three of a hit; some pages lie well in L1
    assert in_l2["dram"] == pytest.approx(0, abs=1)
    assert in_memory["dram"] == pytest.approx(200 - 3, abs=8)  # DRAM_CYCLES
    assert in_memory["tlb"] > in_l2["tlb"]


@pytest.mark.parametrize(
    ("core", "load", "loads", "misses"),
    [
        *((A7, "ldr r{0}, [r{0}]", loads, misses) for loads, misses in ((1, 1), (2, 1), (4, 2))),
        *((A7, "vld1.32 {{d{0}}}, [r{0}]", loads, loads) for loads in (1, 2, 4)),
        *((A53, "ldr x{0}, [x{0}]", loads, misses) for loads, misses in ((1, 1), (3, 1), (6, 2))),
    ],
)
def test_so_many_misses_are_waited_for_one_after_the_other(
    driver: Path, tmp_path: Path, core: Path, load: str, loads: int, misses: int
) -> None:
    code = [load.format(number) for number in range(loads)]
    found = cycles(driver, core, code, tmp_path, rounds=16_000, stride=320)
    assert found["dram"] == pytest.approx(200 * misses, rel=0.25)  # DRAM_CYCLES


READS = ["vld1.32 {d0-d1}, [r0]!", "vadd.f32 q8, q8, q0"]


def test_one_stream_is_prefetched_and_of_two_none_on_the_a7(driver: Path, tmp_path: Path) -> None:
    one = cycles(driver, A7, READS, tmp_path, rounds=40_000, stride=16, size=16)
    # 16 bytes here and 16 a quarter of the memory further on: two streams.
    apart = (1 << 24) + 64
    two = cycles(driver, A7, READS, tmp_path, rounds=40_000, stride=apart, size=16, wrap=2 * apart - 64)["dram"]
    assert 4 * sum(one.values()) == pytest.approx(40 + 3, abs=3)  # a line: LINE_CYCLES, and the start of each page
    assert two > 150  # DRAM_CYCLES: each line by itself


def test_pld_brings_a_line_before_it_is_read(driver: Path, tmp_path: Path) -> None:
    far = ["pld [r0, #2112]", "ldr r1, [r0], #2112", "add r2, r2, r1", *["vmla.f32 q0, q1, q2"] * 20]
    with_it, without = (cycles(driver, A7, code, tmp_path, rounds=4000, stride=2112)["dram"] for code in (far, far[1:]))
    assert with_it < 0.7 * without


def test_whole_lines_in_a_row_are_stored_without_being_read(driver: Path, tmp_path: Path) -> None:
    stores = ["vst1.32 {d0-d1}, [r0]!"] * 4
    in_a_row = cycles(driver, A7, stores, tmp_path, rounds=20_000, stride=16, size=16)
    scattered = cycles(driver, A7, stores[:1], tmp_path, rounds=20_000, stride=4160, size=16)
    assert sum(in_a_row.values()) == pytest.approx(25, rel=0.1)  # STORE_LINE_CYCLES
    assert sum(scattered.values()) == pytest.approx(
        200, rel=0.2
    )  # DRAM_CYCLES: one line after the other is read before


def test_a_changed_constant_changes_what_hangs_on_it(driver: Path, tmp_path: Path) -> None:
    text = A7.read_text()
    for kind, code, changed, expected in (
        ("simd_fp_multiply_add", ["vmla.f32 q0, q1, q2"], "simd_fp_multiply_add fp 0+3 8 4 -", 6),
        ("fp_multiply_add", ["vmla.f32 s0, s2, s4"], "fp_multiply_add fp 1+0 9 4 -", 5),
        ("alu_immediate", ["add r0, r0, #1", "add r1, r1, #1"], "alu_immediate alu 1+0 1 0 F", 2),
        ("set tlb_miss_cycles", ["ldr r0, [r0]"], "set tlb_miss_cycles 40", 0),
    ):
        table = tmp_path / "other.core"
        table.write_text(re.sub(rf"^{kind} .*$", changed, text, flags=re.MULTILINE))
        stride, wrap = (4160, 8 << 20) if kind.startswith("set") else (0, 64)
        before, after = (
            cycles(driver, core, code, tmp_path, rounds=5000, stride=stride, wrap=wrap) for core in (A7, table)
        )
        if expected:
            assert after["pipeline"] == pytest.approx(expected, rel=0.01)
            assert before["pipeline"] != pytest.approx(after["pipeline"], rel=0.1)
        else:
            assert after["tlb"] - before["tlb"] == pytest.approx(40 - 20, rel=0.1)  # a page of its own for each


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("\nalu  ", "\nalu9 "), "there is no kind of instruction alu9"),
        (("alu_immediate           alu ", "alu_immediate           able"), "there is no pipe able"),
        (("set tlb_entries ", "set tlb_entrees "), "the core's table has no line: set tlb_entries"),
        (("nop  ", "#nop "), "has no line for nop"),
        (("1+0   1  0  FS  # [gcc]\nalu ", "1+0   1  0  X   # [gcc]\nalu "), ":16: KIND PIPE CYCLES+PER_UNIT"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_line(
    driver: Path, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    table = tmp_path / "bad.core"
    assert change[0] in A7.read_text()
    table.write_text(A7.read_text().replace(*change, 1))
    assert words in said(driver, table, lines=["a32 1 0 0 4 0 e1a00000"])


# --- what each instruction does, against Binutils' disassembler -------------------------------------------

_NAMED = {"sp": 13, "lr": 14, "ip": 12, "fp": 11, "sl": 10, "sb": 9}
#: Left out: what belongs to no core here, and what a label follows.
_LEFT_OUT = re.compile(
    r"ldc|stc|mrc|mcr|mrrc|cdp|hlt|svc|udf|smc|hvc|bkpt|cps|msr|mrs|sys|tt|dls|wls|le$|bf|vscclrm|"
    r"(b|bl|blx|blxns|cbz|cbnz|adr|adrp)([.]|$|(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)([.]|$))|it|b\.|tbn?z"
)


def _registers_32(operands: str) -> tuple[int, int]:
    core = vector = 0

    def all_of(match: re.Match[str]) -> str:
        kind, first, last = match.group(1), int(match.group(2)), int(match.group(3))
        return ", ".join(f"{kind}{number}" for number in range(first, last + 1))

    for token in re.findall(r"[a-z][a-z0-9_]*", re.sub(r"\b([rsd])(\d+)-[rsd](\d+)\b", all_of, operands)):
        kind, number = token[0], int(token[1:]) if token[1:].isdigit() else None
        if token in _NAMED or (kind == "r" and number is not None):
            place = _NAMED.get(token, number)
            core |= 1 << place if place is not None and place < 15 else 0
        elif kind == "s" and number is not None:
            vector |= 1 << number
        elif kind in "dq" and number is not None:
            for double in [number] if kind == "d" else [2 * number, 2 * number + 1]:
                vector |= 3 << 2 * double if double < 16 else 1 << (16 + double)
    return core, vector


def _registers_64(operands: str) -> tuple[int, int]:
    core = vector = 0

    def all_of(match: re.Match[str]) -> str:
        first, last = int(match.group(1)), int(match.group(2))
        return ", ".join(f"v{(first + one) % 32}" for one in range((last - first) % 32 + 1))

    expanded = re.sub(r"v(\d+)\.\w+\s*-\s*v(\d+)\.\w+", all_of, operands)
    for token in re.findall(r"(?<![#\w])[a-z][a-z0-9]*", expanded):
        if token in ("sp", "wsp"):
            core |= 1 << 31
        elif re.fullmatch(r"[xw]\d+", token):
            core |= 1 << int(token[1:])
        elif re.fullmatch(r"[vqdshb]\d+", token):
            vector |= 1 << int(token[1:])
    return core, vector


def _disassembled(encoding: str, library: Path, most: int) -> dict[tuple[str, int], str]:
    """Instructions of a library by their bits and size, each kind of them at most 200 times."""
    chain = TOOLCHAINS["arm64-v8a" if encoding == "a64" else "armeabi-v7a"]
    start = 0x200000
    window = [f"--start-address={start}", f"--stop-address={start + most}"] if most else []
    mode = ["-M", "force-thumb"] if encoding == "t32" else []
    listing = compiling.output([f"{chain.triplet}-objdump", "-d", "-w", *mode, *window, str(library)])
    found: dict[tuple[str, int], str] = {}
    seen: dict[str, int] = {}
    for bits, line in re.findall(r"^\s+[0-9a-f]+:\t([0-9a-f ]+?)\s*\t(.*)$", listing, re.MULTILINE):
        text = re.split(r"\s*[;@]|\s//", line)[0].strip()
        name = text.split()[0] if text else ""
        if not name or _LEFT_OUT.match(name) or re.search(r"<|UND|illegal|z\d+\.|p\d+[/.]", text):
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= 200:
            found[bits.replace(" ", ""), 2 * len(bits.split()) if encoding == "t32" else 4] = text
    return found


@pytest.mark.parametrize(
    ("encoding", "abi"),
    [("t32", "armeabi-v7a"), ("a64", "arm64-v8a")],
)
@pytest.mark.parametrize("most", [1 << 16, pytest.param(0, marks=pytest.mark.long)], ids=["64 KB", "all"])
def test_the_registers_of_an_instruction_are_those_that_the_disassembler_names(
    driver: Path, encoding: str, abi: str, most: int
) -> None:
    [library, *_] = sorted((BUILD / "bundles" / f"onnxruntime-{abi}").glob("libonnxruntime.so*"))
    known = _disassembled(encoding, library, most)
    answers = said(driver, "decode", lines=[f"{encoding} {bits} {size}" for bits, size in known]).splitlines()
    wrong = []
    for text, answer in zip(known.values(), answers, strict=True):
        name, _, operands = text.partition("\t")
        core = vector = 0
        for registers in answer.split()[2:]:
            one, other = (int(half, 16) for half in registers.split("/"))
            core, vector = core | one, vector | other
        expected = (_registers_64 if encoding == "a64" else _registers_32)(operands)
        if name.startswith(("push", "pop", "vpush", "vpop")):
            expected = (expected[0] | 1 << 13, expected[1])
        if name in ("blx", "blr") or name.startswith("blx"):
            expected = (expected[0] | 1 << (30 if encoding == "a64" else 14), expected[1])
        if name == "ret" and not operands:
            expected = (1 << 30, 0)
        if (core & 0xFFFFFFFF, vector) != expected:
            wrong.append(f"{text}: {answer}")
    assert len(known) > (1000 if most else 10_000)
    assert len(wrong) <= len(known) // 500, wrong[:20]  # data among the code, which is no instruction of any core


# --- chips --------------------------------------------------------------------------------------------

CHIPS = {name: one.chip for name, one in definitions.definitions().items() if one.chip}


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_every_chip_has_its_core_and_memory(chip: Chip) -> None:
    assert (CORES / f"{chip.core}.core").is_file()
    assert chip.memory
    assert all(one.dram_ns > one.line_ns > 0 and one.store_line_ns > 0 for one in chip.memory)
    assert chip.name in CHIPS
    assert 500 < chip.clock_mhz < 2500


def test_a_core_is_a_name_of_the_first_chip_that_has_it() -> None:
    assert definitions.definition("cortex-a7") == definitions.definition("mt6580")
    assert definitions.definition("cortex-a53") == definitions.definition("bcm2837b0")
    assert {chip.core for chip in CHIPS.values()} == {"cortex-a7", "cortex-a53"}


@given(cycles_=st.integers(0, 10**12), ghz=st.floats(0.01, 10))
def test_a_chip_at_another_clock_takes_as_many_cycles_in_another_time(cycles_: int, ghz: float) -> None:
    chip = definitions.definition("mt6580").at_clock(1000 * ghz).require_chip()
    assert chip.ns(cycles_) == pytest.approx(cycles_ / ghz, abs=1, rel=1e-6)
    assert (chip.name, chip.memory) == ("mt6580", definitions.definition("mt6580").require_chip().memory)


def test_what_is_no_chip_has_no_clock_to_set() -> None:
    with pytest.raises(
        definitions.BoardUnavailable, match=r"cortex-a76-16k is no chip: .*; mt6580, imx7d, .* are some"
    ):
        definitions.definition("cortex-a76-16k").at_clock(1000)


# --- a program of one's own on a board ------------------------------------------------------------------

PROGRAM = r"""
#include <string.h>

#include "marks.h"

static char data[1 << 22] __attribute__((aligned(64)));

int main(void) {
  memset(data, 1, sizeof data);
  for (int again = 0; again < 2; ++again) {
    tenpass_mark_begin();
    for (int round = 0; round < 100000; ++round) MULTIPLY_ADDS;
    tenpass_mark_end();
    tenpass_mark_begin();
    memset(data, again, sizeof data);
    tenpass_mark_end();
  }
  return 0;
}
"""
MULTIPLY_ADDS = {
    "cortex-a7": '__asm__ volatile("vmla.f32 q0,q1,q2\\n vmla.f32 q0,q1,q2" ::: "q0")',
    "cortex-a53": '__asm__ volatile("fmla v0.4s,v1.4s,v2.4s\\n fmla v0.4s,v1.4s,v2.4s" ::: "v0")',
}


@pytest.mark.long
@pytest.mark.parametrize("name", ["cortex-a7", "cortex-a53"])
def test_a_program_of_ones_own_says_what_its_sections_take(name: str, tmp_path: Path) -> None:
    described = definitions.definition(name)
    chip, chain = described.require_chip(), TOOLCHAINS[described.abi]
    (tmp_path / "program.c").write_text(PROGRAM.replace("MULTIPLY_ADDS", MULTIPLY_ADDS[name]))
    folder = tmp_path / "a folder"
    folder.mkdir()
    marks = RUNNER / "src"
    options = ["-O2", "-static", f"-I{marks}", *(["-mfpu=neon-vfpv4"] if name == "cortex-a7" else [])]
    source, program = str(tmp_path / "program.c"), str(folder / "program")
    compiling.output([f"{chain.triplet}-g++", "-x", "c", *options, source, "-o", program])
    command = ["board", name, "--run", str(folder), "--json", "--timeout", str(PATIENCE_S), "--", "./program"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    said_ = json.loads(result.stdout)
    chain_of_8, memory = said_["sections"][0], said_["sections"][3]
    assert said_["chip"] == chip.name
    assert len(said_["sections"]) == 4
    assert [said_["sections"][at]["instructions"] for at in (0, 2)] == pytest.approx([400_000] * 2, rel=0.001)
    assert chain_of_8["cycles"]["pipeline"] == pytest.approx(
        800_000, rel=0.01
    )  # 4 a multiply-add, into the accumulator
    at_least = (1 << 22) / 64 * chip.memory[0].store_line_ns * chip.clock_mhz / 1e3
    assert sum(memory["cycles"].values()) == pytest.approx(at_least, rel=0.15)


#: What tinymembench and ramlat say of two chips (sbc-bench, results 466y and 3MGs), in ns a line of 64 bytes; of chases
#: a load, or as many loads as there are chases. tinymembench says how much longer they are than in L1: 3 cycles. Chases
#: in as much memory as a cache has are left out: how much of it fits is a matter of the pages that one gets.
PUBLISHED_NS = {
    "mt6580": {
        "read": 64e3 / 1870,
        "read-two": 64e3 / 458,
        "read-two-pld": 64e3 / 1064,
        "fill": 64e3 / 4188,
        "fill-shuffled-16": 64e3 / 4185,
        "fill-shuffled-32": 64e3 / 515,
        "copy": 64e3 / 1355,
        "chase-1-16k": 2.31,
        "chase-2-16k": 2.31,
        "chase-4-16k": 3.18,
        "chase-1-128k": 11.9,
        "chase-2-128k": 17.4,
        "chase-4-128k": 28.4,
        "chase-1-4096k": 143.7,
        "chase-2-4096k": 150.5,
        "chase-4-4096k": 273.7,
    },
    "bcm2836": {
        "read": 64e3 / 1312,
        "read-two": 64e3 / 368,
        "read-two-pld": 64e3 / 719,
        "fill": 64e3 / 1178,
        "fill-shuffled-16": 64e3 / 1177,
        "fill-shuffled-32": 64e3 / 387,
        "copy": 64e3 / 938,
        "chase-1-128k": 13.3,
        "chase-2-128k": 20.1,
        "chase-1-4096k": 165.9,
        "chase-2-4096k": 217.7,
    },
}


@pytest.mark.long
@pytest.mark.parametrize("name", PUBLISHED_NS)
def test_loops_that_read_and_write_memory_take_what_was_published(name: str, tmp_path: Path) -> None:
    chip, chain = definitions.definition(name).require_chip(), TOOLCHAINS["armeabi-v7a"]
    options = ["-O2", "-static", "-marm", "-mcpu=cortex-a7", "-mfpu=neon-vfpv4", f"-I{RUNNER / 'src'}"]
    source = str(Path(__file__).with_name("memory_loops.c"))
    compiling.output([f"{chain.triplet}-gcc", *options, source, "-o", str(tmp_path / "loops")])
    command = ["board", name, "--run", str(tmp_path), "--json", "--timeout", str(PATIENCE_S), "--", "./loops"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    loops = [line.split() for line in result.stderr.splitlines() if re.fullmatch(r"[a-z0-9-]+ \d+", line)]
    warm = json.loads(result.stdout)["sections"][1::2]
    assert len(loops) == len(warm)
    found = {
        loop: sum(section["cycles"].values()) / int(units) * 1e3 / chip.clock_mhz
        for (loop, units), section in zip(loops, warm, strict=True)
    }
    off = {loop: found[loop] / ns - 1 for loop, ns in PUBLISHED_NS[name].items()}
    assert sum(map(abs, off.values())) / len(off) < 0.1, off
    assert max(map(abs, off.values())) < 0.35, off


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["cortex-a7", "--", "./program"], "a program is run with both: --run FOLDER -- ./program ARGUMENTS"),
        (["cortex-a7", "--run", "."], "a program is run with both: --run FOLDER -- ./program ARGUMENTS"),
        (["cortex-a9", "--run", ".", "--", "./program"], "there is no board 'cortex-a9'"),
        (["big-little", "--run", ".", "--", "./p"], "the board big-little is no chip: nothing is known of its cycles"),
        (["big-little", "--run", ".", "--clock", "1", "--", "./p"], "the board big-little is no chip:"),
        (["mt6580", "--clock", "1.2"], "--clock is for --run: a board that is merely up has its own clock"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_boots(options: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["board", *options])
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.startswith(f"error: {words}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("ghz", ["nan", "inf", "-1", "0", "1300", "fast", ""])
@pytest.mark.parametrize("command", [["run"], ["board", "mt6580", "--run", "."]], ids=["run", "board"])
def test_what_is_no_clock_is_refused(command: list[str], ghz: str) -> None:
    result = CliRunner().invoke(main, [*command, "--clock", ghz])
    assert result.exit_code == EXIT_USAGE
    assert f"Error: Invalid value for '--clock': {ghz!r} is no clock in GHz, from 0.01 to 10" in result.stderr
