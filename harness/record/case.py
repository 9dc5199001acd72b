"""What is measured, and how: one row of a plan."""

from __future__ import annotations

from dataclasses import dataclass

#: Passes to warm up, where nobody says how many. A choice: on hardware more would heat it.
WARMUP = 1

#: So many more at most where the clock counts instructions, until two in a row take the same time. What was seen there
#: (caches of addresses, memory that is cut to size) was over after one to three.
MORE_WARMUP = 3


@dataclass(frozen=True)
class Case:
    """One row of the plan: what is measured, and how.

    `cpus` are the CPUs to run on in the words of --cpus (`big`, `0-3`, `0xf0`); None: any. `abi` is the ABI of the
    runner, None: the device's own.
    """

    model: str
    runtime: str
    format: str = "onnx"  # what of the network is run: the name of one of the runtime's formats
    igc: str | None = (
        None  # how its channel local convolutions are computed, one of export.artifact.IGC; None: it has none
    )
    threads: int = 1
    cpus: str | None = None
    abi: str | None = None
    warmup: int | None = None  # passes before the timed ones; None: as many as the device needs (measure/case.py)
    passes: int = 10
    precision: str = "fp32"  # what the network computes in: fp32, fp16 or int8
    provider: str = "cpu"  # the runtime's execution provider that is asked for

    @property
    def id(self) -> str:
        precision = "" if self.precision == "fp32" else f"-{self.precision}"
        provider = "" if self.provider == "cpu" else f"-{self.provider}"
        cpus = "" if self.cpus is None else f"-cpus-{self.cpus}"
        abi = "" if self.abi is None else f"-{self.abi}"
        runs = self.format if self.format.startswith(self.runtime) else self.runtime
        igc = "" if self.igc is None else f"-{self.igc}"
        return f"{self.model}{igc}{precision}-{runs}{provider}-t{self.threads}{cpus}{abi}"
