"""The records that cross the device seam. All frozen; None always means "the device cannot tell"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["phone", "board", "host", "replay"]

#: What a nanosecond on this device is.
#: "wall": a nanosecond of hardware. "instructions": an emulator's clock that advances 1 ns per executed
#: instruction (modelled time). "emulated": wall time of an emulator without such a clock (meaningless).
Clock = Literal["wall", "instructions", "emulated"]


@dataclass(frozen=True)
class Core:
    """One CPU core: its part ("Cortex-A7"), and its highest clock."""

    index: int
    part: str | None
    max_khz: int | None


@dataclass(frozen=True)
class DeviceInfo:
    """What a device is: facts that do not change during a run."""

    serial: str
    kind: Kind
    clock: Clock
    model: str
    soc: str | None
    abi: str  # Android's name: armeabi-v7a, arm64-v8a, x86_64
    cores: tuple[Core, ...]
    ram_bytes: int | None
    os: str


@dataclass(frozen=True)
class DeviceState:
    """What changes during a run: taken before and after each case."""

    temperatures_celsius: dict[str, float]
    clocks_khz: tuple[int | None, ...]
    governors: tuple[str | None, ...]
    battery_percent: int | None
    battery_celsius: float | None
    charging: bool | None
    load_average: float | None
    free_ram_bytes: int | None


@dataclass(frozen=True)
class File:
    """A file by its name on the device, and where its bytes are on this machine."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """A runner with all it needs, its own loader and libraries included: one folder, for one ABI and runtime."""

    abi: str
    runtime: str
    runtime_version: str
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class RunRequest:
    """One case for the runner: all files are local, the device carries them over.

    `output_path` is where the output tensor is to be put on this machine (raw little-endian values).
    `cpu_mask` pins the process (bit n is CPU n); None leaves it to the kernel.
    The runner sleeps for `settle_ms` before each pass, outside the clock.
    """

    bundle: Bundle
    model_files: tuple[File, ...]
    input_file: File
    input_shape: tuple[int, ...]
    output_path: Path
    threads: int = 1
    cpu_mask: int | None = None
    warmup: int = 1
    passes: int = 10
    settle_ms: int = 0
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Pass:
    """One pass through the network: its time, the CPU it ended on, that CPU's clock then."""

    ns: int
    cpu: int | None
    khz: int | None


@dataclass(frozen=True)
class Measurement:
    """What the runner measured: every pass, none dropped. `output_shape` is the shape of the tensor it wrote."""

    runner_version: str
    abi: str
    runtime: str
    runtime_version: str
    providers: tuple[str, ...]
    load_ns: int
    warmup: tuple[Pass, ...]
    samples: tuple[Pass, ...]
    peak_rss_bytes: int
    output_shape: tuple[int, ...]
