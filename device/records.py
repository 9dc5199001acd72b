"""The records that cross the device seam. All frozen; None always means "the device cannot tell"."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from toolchain.files import File
from toolchain.tensors import InputTensor, TensorType

#: What a device is: an Android phone or tablet, another machine with Linux, an emulated board, the machine that this
#: program runs on, or a recording.
Kind = Literal["phone", "linux", "board", "host", "replay"]

#: What a nanosecond on this device is.
#: "wall": a nanosecond of hardware. "instructions": an emulator's clock that advances 1 ns per executed
#: instruction (modelled time). "emulated": wall time of an emulator without such a clock (meaningless). "estimated": a
#: nanosecond of the chip that a model says would take so many cycles; nobody has measured it.
Clock = Literal["wall", "instructions", "emulated", "estimated"]


_RAM_DIFFERS = 0.01  # a choice: less than any two sizes of memory that are sold


@dataclass(frozen=True)
class Core:
    """One CPU core: its part ("Cortex-A7"), its highest clock, and what the kernel takes it to be worth beside the
    fastest, which is 1024 (cpu_capacity)."""

    index: int
    part: str | None
    max_khz: int | None
    capacity: int | None = None

    def may_be(self, other: Core) -> bool:
        """Whether nothing that both tell differs: a core that is switched off tells less."""
        facts = zip((self.part, self.max_khz, self.capacity), (other.part, other.max_khz, other.capacity), strict=True)
        return self.index == other.index and all(None in pair or pair[0] == pair[1] for pair in facts)


@dataclass(frozen=True)
class MemoryTimes:
    """A chip's memory: from a miss of L2 until its line is there; how long it is busy with a line that is read, and
    with one that is written; how long at least from one line that is stored as a whole to the next. And its L2, in
    cycles of the core: from a miss of L1 until the line is there, and how long L2 is busy with it."""

    dram_ns: float
    line_ns: float
    write_line_ns: float
    store_line_ns: float
    l2_cycles: int
    l2_line_cycles: int

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in vars(self).items())


@dataclass(frozen=True)
class Chip:
    """A chip whose times an emulator estimates: `core` ("cortex-a7") names the table of its instructions.

    `memory` has several settings where nobody has published which is right: the first is the estimate's.
    """

    name: str
    title: str
    core: str
    clock_mhz: float
    memory: tuple[MemoryTimes, ...]

    def __str__(self) -> str:
        return f"{self.title} at {self.clock_mhz / 1000:g} GHz"

    def ns(self, cycles: int) -> int:
        """How long so many cycles last at its clock."""
        return round(cycles * 1000 / self.clock_mhz)


@dataclass(frozen=True)
class DeviceInfo:
    """What a device is: facts that do not change during a run.

    `machine` is the kernel's (`uname -m`), which a 32-bit system on a 64-bit core contradicts. `chip` is the one whose
    times are estimated, None but where `clock` says so. `cache_model` says which caches an emulator simulates, None
    where nothing is simulated. `page_bytes` are the kernel's pages: 4096, as a rule, and 16384 on some new phones,
    where what is aligned for less does not start.
    """

    serial: str
    kind: Kind
    clock: Clock
    model: str
    soc: str | None
    abi: str  # Android's name: armeabi-v7a, arm64-v8a, x86_64
    cores: tuple[Core, ...]
    ram_bytes: int | None
    os: str
    machine: str = "?"
    cache_model: str | None = None
    page_bytes: int | None = None
    chip: Chip | None = None

    @property
    def is_exact(self) -> bool:
        """Whether times are made of exact counts, and repeat: an emulator's."""
        return self.clock in ("instructions", "estimated")

    @property
    def timed_by(self) -> tuple[Clock, Chip | None]:
        """What a nanosecond is there: only times for which this is the same are ever compared, or averaged."""
        return self.clock, self.chip

    def is_same_as(self, other: DeviceInfo) -> bool:
        """Whether both tell of one device. What a kernel leaves of the memory differs a little from boot to boot, and a
        core may be switched off now and then."""
        mine, others = self.ram_bytes, other.ram_bytes
        alike = mine == others or (mine and others and abs(mine - others) < mine * _RAM_DIFFERS)
        same_cores = len(self.cores) == len(other.cores) and all(map(Core.may_be, self.cores, other.cores))
        return bool(alike) and same_cores and replace(self, ram_bytes=others, cores=other.cores) == other


@dataclass(frozen=True)
class DeviceState:
    """What changes during a run: taken before and after each case.

    `online_cpus` are those that are switched on: kernels take some away from a device that is idle or hot.
    `thermal_status` is Android's (0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown).
    """

    temperatures_celsius: dict[str, float]
    clocks_khz: tuple[int | None, ...]
    governors: tuple[str | None, ...]
    battery_percent: int | None
    battery_celsius: float | None
    charging: bool | None
    load_average: float | None
    free_ram_bytes: int | None
    thermal_status: int | None = None
    power_save: bool | None = None
    screen_on: bool | None = None
    foreground_app: str | None = None
    online_cpus: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Bundle:
    """A runner with all it needs, its own loader and libraries included: one folder, for one ABI and build.

    `runtime` is the build's name; `runner` is the name of the runner's file.
    """

    abi: str
    runtime: str
    runtime_version: str
    runner: str
    files: tuple[File, ...]
    simd: tuple[str, ...] = ()  # the features of PROTOCOL.md that the runtime's library has code for
    options: str = ""  # what the runtime was compiled and is run with, where that was for us to choose

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class RunRequest:
    """One case for the runner: all files are local, the device carries them over.

    `inputs` are in the order of the model's. `output_path` is where the output tensors are to be put on this machine:
    raw little-endian values, one tensor after the other, in the order of the model's.
    `provider` is the runtime's execution provider that is asked for; what it cannot run, the CPU's does.
    `cpu_mask` pins the process (bit n is CPU n); None leaves it to the kernel.
    After `warmup` passes to warm up, at most `more_warmup` more are made, until their times have settled.
    The runner sleeps for `settle_ms` before each pass, outside the clock. `repeatable` is for a device whose clock
    counts instructions: what differs from run to run and is not the network's is kept out of passes. `counters` asks
    for the CPU's counters around each pass, where the kernel has them; `profile_passes` for so many more passes, after
    the timed ones, that tell the time of each node.
    """

    bundle: Bundle
    model_files: tuple[File, ...]
    inputs: tuple[InputTensor, ...]
    output_path: Path
    threads: int = 1
    cpu_mask: int | None = None
    warmup: int = 1
    more_warmup: int = 0
    passes: int = 10
    settle_ms: int = 0
    repeatable: bool = False
    counters: bool = False
    profile_passes: int = 0
    timeout_s: float = 600.0
    provider: str = "cpu"


#: Where counts come from. "perf": the CPU's own counters, by perf_event_open. "emulator": an instrumented emulator,
#: which sees every instruction, and simulates caches.
CountsFrom = Literal["perf", "emulator"]

#: The names that counts may have. cache_misses is perf's generic event (last level, as a rule); the L1 and L2 misses of
#: an emulator are those of the caches that it simulates.
CountName = Literal[
    "instructions",
    "cycles",
    "cache_references",
    "cache_misses",
    "simd_instructions",
    "l1i_misses",
    "l1d_misses",
    "l2_misses",
]
COUNTS: tuple[CountName, ...] = get_args(CountName)

#: What an estimate's cycles go to, as device/emulator/model/memory.hpp names it: the core itself, waiting for memory,
#: for L2, for room to store, for where a page is, for a branch foretold wrongly, for instructions; and the kernel.
Loss = Literal["pipeline", "dram", "l2", "stores", "tlb", "branches", "fetch", "kernel"]
LOSSES: tuple[Loss, ...] = get_args(Loss)


@dataclass(frozen=True)
class Counters:
    """Counts of one pass, all threads of the runner together; a name of COUNTS that is missing could not be counted.

    The CPU has few counters and may share them out: `running_ns` of `enabled_ns` they were on, and `counts` are as
    read. `scaled` is what they make of the whole pass. Of an estimate, `cycles_by_loss` says what the cycles go to, and
    adds up to them; of a measurement nothing is known of that. `other_cycles` are those with each of the chip's other
    settings of its memory.
    """

    source: CountsFrom
    enabled_ns: int
    running_ns: int
    counts: dict[CountName, int]
    cycles_by_loss: dict[Loss, int] = field(default_factory=dict)
    other_cycles: tuple[int, ...] = ()

    @property
    def share(self) -> float:
        """The part of the time for which the counters were on; 1.0: the counts are exact."""
        return self.running_ns / self.enabled_ns if self.enabled_ns else 1.0

    def scaled(self, name: CountName) -> float | None:
        """The count for the whole pass; None where it was not counted."""
        count = self.counts.get(name)
        return count / self.share if count is not None and self.share > 0 else None


@dataclass(frozen=True)
class Pass:
    """One pass through the network: its time; the CPU it ended on, that CPU's clock and the hottest zone's temperature
    then; its counts; the CPU time of all threads of the runner in it, and how long these together waited for a CPU that
    others had."""

    ns: int
    cpu: int | None
    khz: int | None
    celsius: float | None = None
    counters: Counters | None = None
    cpu_ns: int | None = None
    wait_ns: int | None = None


@dataclass(frozen=True)
class NodeTime:
    """One node of the network as the runtime runs it (nodes it has fused are one), over all profiled passes.

    `provider` is the execution provider that ran it, as the runtime calls it; None where it does not say. Of an
    estimate, `cycles_by_loss` says what its cycles go to.
    """

    name: str
    op: str
    total_ns: int
    provider: str | None = None
    cycles_by_loss: dict[Loss, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Where the time goes, from passes of their own that are never among the timed ones.

    `total_ns` is the time of those passes whole: what the nodes do not add up to is the runtime's own, and what
    measuring them costs. Of an estimate, `cycles_by_loss` says what the cycles of those passes go to.
    """

    passes: int
    total_ns: int
    nodes: tuple[NodeTime, ...]
    cycles_by_loss: dict[Loss, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What the runner measured: every pass, none dropped. `outputs` are the tensors it wrote, in their order.

    `machine` is `uname -m` as the runner sees it; `cpu_features` are those of FEATURES in PROTOCOL.md that the CPU has;
    `cpu_mask` is where the kernel let the runner run, asked after the last pass (bit n is CPU n; CPUs up to 63);
    `counters_error` says why there are no counters, None where there are or none were asked for. `settled`: had the
    times of the warm-up passes settled when the timed ones began? None where nobody looked.
    """

    runner_version: str
    abi: str
    runtime: str
    runtime_version: str
    providers: tuple[str, ...]
    machine: str
    cpu_features: tuple[str, ...]
    counters_error: str | None
    load_ns: int
    warmup: tuple[Pass, ...]
    samples: tuple[Pass, ...]
    peak_rss_bytes: int
    cpu_mask: int
    outputs: tuple[TensorType, ...]
    profile: Profile | None = None
    settled: bool | None = None
