"""Exact counts on emulated boards: the cache model, the instructions it knows, and what a counting board gives."""

from __future__ import annotations

import json
import random
import subprocess
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from assembly import assembled
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from programs import PATIENCE_S

from device import probe
from device.adb.device import AdbDevice
from device.board import definitions, lifecycle
from device.board.counting import COUNTED, OTHERS, Cache, Caches, CountingDevice, CountsWrong, with_counts
from device.device import Device, OnBytes, OnEvent, Opening
from device.errors import RunnerCrashed
from device.open import open_devices
from device.records import LOSSES, DeviceState, Loss, Measurement, NodeTime, Pass, Profile, RunRequest
from device.wire import Span
from export.artifact import Artifact
from toolchain import compile as compiling
from toolchain import emulator as emulators
from toolchain.errors import BuildError

COUNTING_BOARD = "mt6580"


def ignore(_: object) -> None:
    pass


# --- the simulated caches -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The headers of device/emulator/ in a program of their own (counting_driver.cpp)."""
    program = tmp_path_factory.mktemp("driver") / "counting_driver"
    source = Path(__file__).with_name("counting_driver.cpp")
    compiler = f"{compiling.native().triplet}-g++"
    compiling.output([compiler, "-std=c++17", "-O1", f"-I{emulators.SOURCES}", str(source), "-o", str(program)])
    return program


def answer(program: Path, *arguments: str, lines: Iterable[str] = ()) -> str:
    done = subprocess.run([program, *arguments], input="\n".join(lines), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


Access = tuple[str, int, int]  # "i" or "d", its first and its last byte


class Reference:
    """The same hierarchy as plainly as it can be said: a set is an ordered dictionary, its oldest line first."""

    def __init__(self, caches: Caches) -> None:
        self.caches = caches
        self.sets: dict[tuple[str, int], OrderedDict[int, None]] = {}
        self.misses = {"l1i": 0, "l1d": 0, "l2": 0}

    def touch(self, name: str, byte: int) -> None:
        cache: Cache = getattr(self.caches, name)
        line = byte // cache.line_bytes
        number_of_sets = cache.size_bytes // cache.ways // cache.line_bytes
        lines = self.sets.setdefault((name, line % number_of_sets), OrderedDict())
        if line in lines:
            lines.move_to_end(line)
            return
        self.misses[name] += 1
        lines[line] = None
        if len(lines) > cache.ways:
            lines.popitem(last=False)
        if name != "l2":
            self.touch("l2", line * cache.line_bytes)

    def access(self, kind: str, first: int, last: int) -> None:
        name = f"l1{kind}"
        line_bytes: int = getattr(self.caches, name).line_bytes
        for line in range(first // line_bytes, last // line_bytes + 1):
            self.touch(name, line * line_bytes)


def simulated(driver: Path, caches: Caches, trace: list[Access]) -> dict[str, int]:
    geometry = [
        str(number) for level in vars(caches).values() for number in (level.size_bytes, level.ways, level.line_bytes)
    ]
    said = answer(driver, "caches", *geometry, lines=(f"{kind} {first} {last}" for kind, first, last in trace))
    return dict(zip(("l1i", "l1d", "l2"), map(int, said.split()), strict=True))


def random_trace(seed: int, accesses: int = 20_000) -> list[Access]:
    """Loops of instructions, and data at random, in strides and again where it was, some of it across two lines."""
    chance = random.Random(seed)
    trace: list[Access] = []
    pc, at = 0x10000, 0x200000
    while len(trace) < accesses:
        pc = chance.choice([pc, pc + 4 * chance.randrange(40), 0x10000 + 4 * chance.randrange(20_000)])
        trace.append(("i", pc, pc + 4 * chance.randrange(1, 40) - 1))
        for _ in range(chance.randrange(6)):
            at = chance.choice([at, at + 16, at + 4096, 0x200000 + chance.randrange(1 << 20)])
            trace.append(("d", at, at + chance.choice([1, 2, 4, 8, 16]) - 1))
    return trace


BOARD_CACHES = {name: one.caches for name, one in definitions.definitions().items() if one.caches}
TINY_CACHES = Caches(Cache(64, 1, 16, "lru"), Cache(64, 2, 16, "lru"), Cache(256, 4, 32, "lru"))


@pytest.mark.parametrize("caches", [*BOARD_CACHES.values(), TINY_CACHES], ids=[*BOARD_CACHES, "tiny"])
@pytest.mark.parametrize("seed", range(3))
def test_the_caches_miss_where_a_plain_model_of_them_does(driver: Path, caches: Caches, seed: int) -> None:
    trace = random_trace(seed)
    reference = Reference(caches)
    for access in trace:
        reference.access(*access)
    assert simulated(driver, caches, trace) == reference.misses
    assert all(reference.misses.values())


def test_the_line_that_was_used_least_lately_gives_way(driver: Path) -> None:
    a, b, c = (("d", start, start) for start in (0, 32, 64))  # one set of TINY_CACHES' two ways
    assert simulated(driver, TINY_CACHES, [a, b, a, c, a])["l1d"] == 3
    assert simulated(driver, TINY_CACHES, [a, b, a, c, b])["l1d"] == 4


def test_an_access_across_two_lines_counts_on_both(driver: Path) -> None:
    assert simulated(driver, TINY_CACHES, [("d", 14, 17)]) == {"l1i": 0, "l1d": 2, "l2": 1}


def test_what_one_l1_brought_into_l2_is_there_for_the_other(driver: Path) -> None:
    assert simulated(driver, TINY_CACHES, [("i", 0, 3), ("d", 8, 11)]) == {"l1i": 1, "l1d": 1, "l2": 1}


@pytest.mark.parametrize("geometry", ["96 1 16", "64 1 24", "64 0 16", "0 1 16"])
def test_what_is_no_cache_is_refused(driver: Path, geometry: str) -> None:
    fine = ["64", "1", "16"]
    said = answer(driver, "caches", *geometry.split(), *fine, *fine)
    assert said.startswith("l1i: the sets and the bytes of a line must be powers of two")


# --- instructions -------------------------------------------------------------------------------------

SIMD = ["vmla.f32 q8, q9, d0[0]", "vadd.i32 d1, d2, d3", "vmov.i32 q0, #0", "vdup.32 q3, d4[1]"]
SIMD += ["vld1.32 {d0-d3}, [r0]!", "vst1.32 {q8}, [r1]", "vld1.32 {d0[]}, [r2]", "vtbl.8 d0, {d1}, d2"]
NOT_SIMD = ["vadd.f32 s0, s1, s2", "vmla.f64 d0, d1, d2", "vldr d0, [r0]", "vldmia r0!, {d0-d7}", "vmov r0, s0"]
NOT_SIMD += ["vmov d0, r0, r1", "vmrs r0, fpscr", "add r0, r1, r2, lsl #3", "ldr r0, [r1, #2000]", "bl .", "nop"]
SIMD_64 = [
    "fmla v0.4s, v1.4s, v2.s[1]",
    "add v0.2d, v1.2d, v2.2d",
    "movi v0.4s, #0",
    "dup v0.4s, w1",
    "umov w0, v0.s[1]",
]
SIMD_64 += ["ld1 {v0.4s-v3.4s}, [x0], #64", "st1 {v0.s}[2], [x1]", "ld1r {v0.4s}, [x0]", "tbl v0.8b, {v1.16b}, v2.8b"]
NOT_SIMD_64 = ["fadd s0, s1, s2", "fmadd d0, d1, d2, d3", "ldp q0, q1, [x0]", "str s0, [x0]", "fmov w0, s0", "nop"]
NOT_SIMD_64 += ["scvtf s0, w0", "add x0, x1, x2", "ldr x0, [x1]", "bl .", "madd x0, x1, x2, x3", "fadd d0, d1, d2"]
MARKS = {
    "a32": [f".inst 0xe320f07{n}" for n in range(3)],
    "t32": [f".inst.w 0xf3af807{n}" for n in range(3)],
    "a64": [f"hint #0x7{n}" for n in range(3)],
}


@pytest.mark.parametrize("encoding", ["a32", "t32", "a64"])
def test_simd_instructions_and_marks_are_known_by_their_bits(driver: Path, encoding: str, tmp_path: Path) -> None:
    simd, others = (SIMD_64, NOT_SIMD_64) if encoding == "a64" else (SIMD, NOT_SIMD)
    instructions = [*simd, *others, *MARKS[encoding]]
    said = answer(driver, encoding, lines=assembled(encoding, instructions, tmp_path)).split()
    expected = ["simd"] * len(simd) + ["other"] * len(others) + ["begin", "end", "point"]
    assert dict(zip(instructions, said, strict=True)) == dict(zip(instructions, expected, strict=True))


# --- the plugin ---------------------------------------------------------------------------------------


def refused(tmp_path: Path, *arguments: str, machine: str = "virt") -> str:
    """What the emulator says that must not start."""
    plugin = ",".join([str(emulators.plugin("qemu-system-arm")), *arguments])
    command = ["qemu-system-arm", "-M", machine, "-display", "none", "-plugin", plugin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize(
    ("l2", "complaint"),
    [
        ("l2=1:2:3", "count: l2=1:2:3: SIZE_BYTES:WAYS:LINE_BYTES:lru, or :random, is expected"),
        ("l2=524288:8:64:fifo", "count: l2=524288:8:64:fifo: SIZE_BYTES:WAYS:LINE_BYTES:lru, or :random, is expected"),
        ("l2=524288:8:16:lru", "count: l2: its lines must not be shorter than those of l1i and l1d"),
        ("l3=524288:8:64:lru", "count: the argument l2=... is missing"),
    ],
)
def test_the_plugin_refuses_arguments_that_it_does_not_understand(tmp_path: Path, l2: str, complaint: str) -> None:
    said = refused(tmp_path, f"out={tmp_path}/counts", "l1i=64:1:16:lru", "l1d=64:1:32:lru", l2)
    assert said.splitlines()[0] == complaint


def test_the_plugin_is_compiled_once() -> None:
    first = emulators.plugin("qemu-system-arm")
    modified = first.stat().st_mtime_ns
    emulators.plugin.cache_clear()
    assert emulators.plugin("qemu-system-arm") == first
    assert first.stat().st_mtime_ns == modified


def test_an_emulator_too_old_for_plugins_is_named(tmp_path: Path) -> None:
    old = tmp_path / "qemu-system-arm"
    old.write_text("#!/bin/sh\necho QEMU emulator version 3.1.0\n")
    old.chmod(0o755)
    with pytest.raises(
        BuildError, match=r"cannot load plugins, it says 'QEMU emulator version 3\.1\.0'.* QEMU 7\.2 or"
    ):
        emulators.plugin(str(old))


def test_the_plugins_sources_are_none_of_a_bundles() -> None:
    assert not any(emulators.SOURCES in path.parents for path in compiling.sources())


# --- counts and passes --------------------------------------------------------------------------------


def line(**changed: object) -> str:
    return json.dumps(dict.fromkeys([*COUNTED, OTHERS], 7) | changed)


CHIP = definitions.definition("mt6580").require_chip()
CYCLES = {loss: 100 * place for place, loss in enumerate(LOSSES, 1)}


def a_measurement(warmup: int, passes: int) -> Measurement:
    def some(number: int) -> tuple[Pass, ...]:
        return tuple(Pass(ns=100 + index, cpu=0, khz=None) for index in range(number))

    return Measurement(
        runner_version="0", abi="armeabi-v7a", runtime="fake", runtime_version="0", providers=(), machine="armv7l",
        cpu_features=(), counters_error=None, load_ns=1, warmup=some(warmup), samples=some(passes), peak_rss_bytes=1,
        cpu_mask=1, outputs=(),
    )  # fmt: skip


def test_counts_go_to_their_passes_in_order_and_say_that_they_are_whole() -> None:
    lines = "\n".join(line(instructions=number) for number in range(3))
    counted = with_counts(a_measurement(warmup=1, passes=2), lines, where="here")
    counters = [one.counters for one in (*counted.warmup, *counted.samples)]
    assert [one.counts["instructions"] for one in counters if one] == [0, 1, 2]
    assert [(one.source, one.share, one.enabled_ns) for one in counters if one] == [
        ("emulator", 1.0, 100),
        ("emulator", 1.0, 100),
        ("emulator", 1.0, 101),
    ]
    assert all(tuple(one.counts) == COUNTED for one in counters if one)


def test_with_a_chip_the_time_of_a_pass_is_the_estimate_and_what_the_board_said_is_not_taken_for_it() -> None:
    told = [replace(one, cpu_ns=90, wait_ns=5) for one in a_measurement(warmup=1, passes=1).samples]
    measured_ = replace(a_measurement(warmup=0, passes=1), samples=tuple(told))
    for clock_mhz, expected_ns in ((1300, 2769), (1000, 3600), (3600, 1000)):
        chip = replace(CHIP, clock_mhz=clock_mhz)
        (one,) = with_counts(measured_, line(cycles=CYCLES), chip, where="here").samples
        assert (one.ns, one.cpu_ns, one.wait_ns) == (expected_ns, None, None)
        assert one.counters is not None
        assert one.counters.counts["cycles"] == sum(one.counters.cycles_by_loss.values()) == 3600
        assert one.counters.cycles_by_loss == CYCLES
        assert one.counters.share == 1


def test_each_setting_of_a_chips_memory_has_its_cycles_and_as_many_passes() -> None:
    measured_ = a_measurement(warmup=1, passes=1)
    lines = [f"{line(cycles=CYCLES | {'dram': dram})}\n" * 2 for dram in (200, 100, 150)]
    counted = with_counts(measured_, lines[0], CHIP, lines[1:], where="here")
    assert [one.counters and one.counters.other_cycles for one in (*counted.warmup, *counted.samples)] == [
        (3500, 3550)
    ] * 2
    with pytest.raises(CountsWrong, match="counted 1 passes of 2"):
        with_counts(measured_, lines[0], CHIP, [line(cycles=CYCLES)], where="here")


@pytest.mark.parametrize(
    "wrong",
    [line(), line(cycles={}), line(cycles=CYCLES | {"more": 1}), line(cycles=CYCLES | {"dram": -1}), line(cycles=7)],
)
def test_with_a_chip_cycles_must_be_there_and_whole(wrong: str) -> None:
    with pytest.raises(CountsWrong, match="here: the emulator wrote what are no counts"):
        with_counts(a_measurement(warmup=0, passes=1), wrong, CHIP, where="here")


@st.composite
def profiled_runs(draw: st.DrawFn) -> tuple[Profile, list[str], list[Span], list[dict[Loss, int]]]:
    """A profile as a runner tells it, what the emulator and the runner say of it, and the cycles of each node.

    In each pass nodes run in any order, some never and some often, with other work between them.
    """
    nodes, passes = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    step = st.lists(st.integers(0, 10**9), min_size=len(LOSSES), max_size=len(LOSSES))
    taken: list[dict[Loss, int]] = [dict.fromkeys(LOSSES, 0) for _ in range(nodes)]
    spans: list[Span] = []
    lines: list[str] = []
    for place in range(passes):
        points = [draw(step)]
        for node in draw(st.lists(st.integers(0, nodes - 1), max_size=6)):
            for inside in (False, True):
                more = draw(step)
                points.append([before + one for before, one in zip(points[-1], more, strict=True)])
                for loss, one in zip(LOSSES, more, strict=True):
                    taken[node][loss] += one if inside else 0
            spans.append((node, place, len(points) - 2, len(points) - 1))
        whole = {loss: points[-1][at] + 7 for at, loss in enumerate(LOSSES)}
        lines.append(line(cycles=whole, points=points))
    told = tuple(NodeTime(f"n{node}", "Conv", 5, "CPU") for node in range(nodes))
    return Profile(passes, 999, told), lines, draw(st.permutations(spans)), taken


@settings(max_examples=30)
@given(profiled_runs())
def test_nodes_have_the_cycles_of_their_spans_and_all_of_a_pass_is_the_profiles(
    made: tuple[Profile, list[str], list[Span], list[dict[Loss, int]]],
) -> None:
    told, lines, spans, taken = made
    assume(spans)
    measured_ = replace(a_measurement(warmup=1, passes=1), profile=told)
    text = "\n".join([line(cycles=CYCLES)] * 2 + lines)
    counted = with_counts(measured_, text, CHIP, [text], spans, where="here")
    assert counted.profile is not None
    assert [node.cycles_by_loss for node in counted.profile.nodes] == taken
    assert [node.total_ns for node in counted.profile.nodes] == [CHIP.ns(sum(one.values())) for one in taken]
    whole = {loss: sum(json.loads(one)["cycles"][loss] for one in lines) for loss in LOSSES}
    assert counted.profile.cycles_by_loss == whole
    assert counted.profile.total_ns == CHIP.ns(sum(whole.values()))
    assert [one.counters.cycles_by_loss for one in (*counted.warmup, *counted.samples) if one.counters] == [CYCLES] * 2
    names = [(node.name, node.op, node.provider) for node in counted.profile.nodes]
    assert names == [(node.name, node.op, node.provider) for node in told.nodes]


PROFILED = replace(a_measurement(warmup=0, passes=1), profile=Profile(1, 9, (NodeTime("a", "Conv", 5),)))


@pytest.mark.parametrize(
    ("span", "says"),
    [
        ((0, 0, 0, 2), "has not seen when node 0 ran"),
        ((0, 0, 1, 0), "has not seen when node 0 ran"),
        ((0, 1, 0, 1), "has not seen when node 0 ran"),
        ((1, 0, 0, 1), "has not seen when node 1 ran"),
        (None, "must be told to be repeatable"),
    ],
)
def test_spans_that_do_not_fit_what_the_emulator_saw_are_an_error(span: Span | None, says: str) -> None:
    points = [[1] * len(LOSSES), [2] * len(LOSSES)]
    lines = [line(cycles=CYCLES), line(cycles=CYCLES, points=points)]
    with pytest.raises(CountsWrong, match=f"here: .*{says}"):
        with_counts(PROFILED, "\n".join(lines), CHIP, spans=[span] if span else [], where="here")


@pytest.mark.parametrize("points", [[[1] * 7], [[-1] * 8], [["1"] * 8], [8], 8, [[1.5] * 8]])
def test_points_that_are_no_cycles_are_an_error(points: object) -> None:
    lines = [line(cycles=CYCLES), line(cycles=CYCLES, points=points)]
    with pytest.raises(CountsWrong, match="here: the emulator wrote what are no counts"):
        with_counts(PROFILED, "\n".join(lines), CHIP, spans=[(0, 0, 0, 0)], where="here")


@pytest.mark.parametrize("lines", [[], [line()] * 2, [line()] * 4], ids=["none", "one too few", "one too many"])
def test_other_counts_than_passes_are_an_error(lines: list[str]) -> None:
    with pytest.raises(CountsWrong, match=rf"here: the emulator counted {len(lines)} passes of 3"):
        with_counts(a_measurement(warmup=1, passes=2), "\n".join(lines), where="here")


@pytest.mark.parametrize("wrong", ["{", "[]", "{}", line(l2_misses=-1), line(l2_misses=1.5), line(more=1), line()[:-5]])
def test_what_are_no_counts_is_an_error(wrong: str) -> None:
    with pytest.raises(CountsWrong, match="here: the emulator wrote what are no counts"):
        with_counts(a_measurement(warmup=0, passes=1), wrong, where="here")


class Flaky:
    """A device whose first run ends after a pass, and whose later ones are whole."""

    info = probe.info("@@ machine\narmv7l\n@@ end\n", serial="flaky", kind="board")

    def __init__(self, counts: Path) -> None:
        self.counts, self.runs = counts, 0

    def state(self) -> DeviceState:
        return probe.state("@@ end\n", serial="flaky")

    def push(self, request: RunRequest, on_bytes: OnBytes) -> int:  # noqa: ARG002
        return 0

    def run(self, request: RunRequest, on_event: OnEvent) -> Measurement:  # noqa: ARG002
        assert self.counts.read_text() == ""
        assert not request.counters
        self.runs += 1
        self.counts.write_text(line(instructions=self.runs) + "\n")
        if self.runs == 1:
            raise RunnerCrashed("gone")
        return a_measurement(warmup=0, passes=1)

    def close(self) -> None:
        pass


def test_counts_of_a_run_that_failed_are_not_taken_for_the_nexts(
    tmp_path: Path, request_for: Callable[..., RunRequest], tiny: Artifact
) -> None:
    flaky = Flaky(tmp_path / "counts")
    device = CountingDevice(flaky, [flaky.counts], TINY_CACHES)
    request = request_for(tiny, "armeabi-v7a")
    with pytest.raises(RunnerCrashed):
        device.run(request, ignore)
    (one,) = device.run(request, ignore).samples
    assert one.counters is not None
    assert one.counters.counts["instructions"] == 2


# --- boards -------------------------------------------------------------------------------------------


def test_boards_whose_clock_counts_instructions_can_count_and_no_others() -> None:
    described = definitions.definitions().values()
    assert {one.name for one in described if one.caches} == {
        one.name for one in described if one.clock == "instructions"
    }


def test_a_board_that_cannot_count_says_so_and_names_those_that_can() -> None:
    able = ", ".join(name for name, board in definitions.definitions().items() if board.caches)
    why = rf"board cortex-a7-smp cannot count: .*\({able}\)"
    with pytest.raises(definitions.BoardUnavailable, match=why):
        open_devices("board:cortex-a7-smp", Opening(counting=True))


def measured(device: Device, request: RunRequest) -> Measurement:
    device.push(request, ignore)
    return device.run(request, ignore)


@pytest.fixture
def request_tiny(request_for: Callable[..., RunRequest], tiny: Artifact) -> RunRequest:
    return request_for(tiny, definitions.definition(COUNTING_BOARD).abi, warmup=1, passes=2)


@pytest.mark.board
def test_counts_repeat_from_boot_to_boot(request_tiny: RunRequest) -> None:
    """Also where nothing gives adbd the time to be done with a pass's event before the next one starts."""
    assert request_tiny.settle_ms == 0
    runs = []
    for _boot in range(2):
        (device,) = open_devices(f"board:{COUNTING_BOARD}", Opening(counting=True))
        try:
            runs.append(measured(device, request_tiny))
            assert (device.info.cache_model or "").startswith(str(BOARD_CACHES[COUNTING_BOARD]))
        finally:
            device.close()
    first, second = ([*one.warmup, *one.samples] for one in runs)
    for one, other in zip(first, second, strict=True):
        assert one.counters is not None
        assert other.counters is not None
        assert one.counters.counts["cycles"] == sum(one.counters.cycles_by_loss.values())
        for name in COUNTED:
            tolerance = 1e-4 if "instructions" in name else 5e-3
            assert one.counters.counts[name] == pytest.approx(other.counters.counts[name], rel=tolerance), name
        own = [sum(it.cycles_by_loss.values()) - it.cycles_by_loss["kernel"] for it in (one.counters, other.counters)]
        assert own[0] == pytest.approx(own[1], rel=1e-4)


@pytest.fixture(scope="module")
def counting() -> Iterator[tuple[CountingDevice, Path]]:
    """A counting board, and the file of its counts."""
    with lifecycle.boot(COUNTING_BOARD, count=True) as booted:
        [counts] = booted.counts_paths
        assert not counts.exists()
        device = AdbDevice(booted.serial, server=booted.adb_server)
        described = booted.definition
        assert described.caches is not None
        yield CountingDevice(device, [counts], described.caches, described.chip), counts


@pytest.mark.board
def test_with_the_systems_they_add_up_to_the_boards_clock(
    counting: tuple[CountingDevice, Path], request_tiny: RunRequest
) -> None:
    """The board's clock counts instructions, too: all of them, and by other means. So none is lost or counted twice."""
    device, path = counting
    path.write_bytes(b"")
    run = measured(device.device, request_tiny)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    for place, (one, counts) in enumerate(zip((*run.warmup, *run.samples), lines, strict=True)):
        # Seen: 118 to 171 instructions of the clock reads outside the marks, on a clock of 62.5 MHz. A few of the
        # kernel's are counted twice at each timer tick (README.md).
        left = one.ns - counts["instructions"] - counts[OTHERS]
        assert left > -50
        # A pass to warm up may wait for a page from the disk: then the clock goes on, and nothing is executed.
        assert left < 300 or place < len(run.warmup)


@pytest.mark.board
def test_a_profiled_pass_is_like_the_timed_ones_and_simd_has_its_share(
    counting: tuple[CountingDevice, Path], request_for: Callable[..., RunRequest], tiny: Artifact
) -> None:
    device, _path = counting
    request = replace(request_for(tiny, device.info.abi, warmup=2, passes=1), profile_passes=1, repeatable=True)
    run = measured(device, request)
    assert run.profile is not None
    nodes = run.profile.nodes
    kinds = {op: sum(it.total_ns for it in nodes if it.op.startswith(op)) for op in ("Conv", "FusedConv")}
    assert min(kinds.values()) > 0.2 * run.samples[0].ns  # 55 % and 52 % of a timed pass, with the profiler's own work
    inside = sum(node.total_ns for node in run.profile.nodes)
    assert 0.8 * run.profile.total_ns < inside < run.profile.total_ns
    assert run.samples[0].ns < run.profile.total_ns < 2 * run.samples[0].ns
    for one in (*run.warmup, *run.samples):
        assert one.counters is not None
        counts = one.counters.counts
        assert 0.05 < counts["simd_instructions"] / counts["instructions"] < 0.6
        assert 0 < counts["l2_misses"] <= counts["l1i_misses"] + counts["l1d_misses"]
