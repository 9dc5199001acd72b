"""Does the runner measure what ONNX Runtime's own Python API measures? The same network in both, on this machine.

Blocks of passes alternate: the runner in a process of its own, then Python in one of its own, or the other way round.
Both load the network anew, with the same options, and make the same passes: what is left is the program around it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from device.records import RunRequest
    from export.artifact import Artifact
    from harness.analyse.statistics import Ratio


@dataclass(frozen=True)
class Block:
    """The timed passes of both, in nanoseconds, a few seconds apart."""

    runner_first: bool
    runner_ns: list[int]
    python_ns: list[int]


@dataclass(frozen=True)
class Agreement:
    """Raw samples of the network `model` from both; the versions are ONNX Runtime's."""

    model: str
    runner_version: str
    python_version: str
    warmup: int
    blocks: list[Block]


def measure(
    artifact: Artifact, *, blocks: int, passes: int, warmup: int, on_block: Callable[[int], None] = lambda _: None
) -> Agreement:
    """One thread each. Raises DeviceError's children where the runner fails."""
    from export.onnx import session

    measured = []
    with tempfile.TemporaryDirectory(prefix="tenpass-") as folder:
        request = _request(artifact, Path(folder) / "output", passes=passes, warmup=warmup)
        for index in range(blocks):
            runner_first = index % 2 == 0
            if runner_first:
                runner_ns = _in_runner(request)
                python_ns = _in_python(request)
            else:
                python_ns = _in_python(request)
                runner_ns = _in_runner(request)
            measured.append(Block(runner_first, runner_ns, python_ns))
            on_block(index)
    return Agreement(artifact.model, request.bundle.runtime_version, session.version(), warmup, measured)


def ratio(agreement: Agreement) -> Ratio:
    """The runner's time over Python's: the median over the blocks of the ratio of their medians in each.

    Not a mean, as `statistics.ratio` has of rounds: some of the many blocks are disturbed.
    """
    import numpy as np

    from harness.analyse.statistics import Ratio, median_interval

    ratios = [np.median(block.runner_ns) / np.median(block.python_ns) for block in agreement.blocks]
    low, high = median_interval(ratios) or (None, None)
    return Ratio(float(np.median(ratios)), low, high, len(ratios))


def _request(artifact: Artifact, output: Path, *, passes: int, warmup: int) -> RunRequest:
    from device.records import RunRequest
    from harness.record import runtimes
    from toolchain import compile as compiling

    return RunRequest(
        bundle=runtimes.build_bundle(compiling.native().abi),
        model_files=artifact.local_model_files,
        inputs=artifact.input_tensors,
        output_path=output,
        passes=passes,
        warmup=warmup,
    )


def _in_runner(request: RunRequest) -> list[int]:
    from device.host import HostDevice

    measurement = HostDevice().run(request, lambda _event: None)
    return [sample.ns for sample in measurement.samples]


def _in_python(request: RunRequest) -> list[int]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_passes_in_python, request).result()


def _passes_in_python(request: RunRequest) -> list[int]:
    """The timed passes of `request`, with the options that the runner sets."""
    import os

    import numpy as np

    from device.host import go_first
    from export.onnx.session import open_session

    os.setsid()
    go_first(os.getpid())  # both as for the runner
    session = open_session(request.model_files[0].path, threads=request.threads)
    values = np.fromfile(request.inputs[0].file.path, "<f4").reshape(request.inputs[0].shape)
    inputs = {session.get_inputs()[0].name: values}
    samples_ns = []
    for _ in range(request.warmup + request.passes):
        start_ns = time.perf_counter_ns()
        session.run(None, inputs)
        samples_ns.append(time.perf_counter_ns() - start_ns)
    return samples_ns[request.warmup :]
