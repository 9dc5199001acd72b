"""Times ONNX files on this machine in one process, pass by pass in turn, so that drift hits all alike.

It is ONNX Runtime's Python API here, not the runner, which measures one network a process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.analyse.statistics import Ratio, ratio_of_turns
from harness.record.errors import UsageError

if TYPE_CHECKING:
    from export.artifact import Artifact

FILE_NAME = "interleaved.json"


@dataclass(frozen=True)
class Interleaved:
    """Raw samples, in nanoseconds, of networks that were run in turn: sample i of each is of the same turn."""

    runtime_version: str
    threads: int
    warmup: int
    sha256: dict[str, str]  # of each network's ONNX file
    samples_ns: dict[str, list[int]]


def measure(
    artifacts: Mapping[str, Artifact],
    *,
    threads: int,
    passes: int,
    warmup: int = 3,
    on_pass: Callable[[], None] = lambda: None,
) -> Interleaved:
    """Runs the ONNX artifacts, by the names they are shown by, `passes` times in turn."""
    import numpy as np

    from export import tensors
    from export.onnx.session import open_session, version

    sessions, inputs = {}, {}
    for name, artifact in artifacts.items():
        sessions[name] = open_session(artifact.local_model_files[0].path, threads=threads)
        inputs[name] = {
            one.name: np.ascontiguousarray(tensors.read_tensor(artifact.folder, one)) for one in artifact.inputs
        }
    samples: dict[str, list[int]] = {name: [] for name in artifacts}
    for turn in range(warmup + passes):
        for name, session in sessions.items():
            start_ns = time.perf_counter_ns()
            session.run(None, inputs[name])
            spent_ns = time.perf_counter_ns() - start_ns
            if turn >= warmup:
                samples[name].append(spent_ns)
        on_pass()
    digests = {name: artifact.model_files[0].sha256 for name, artifact in artifacts.items()}
    return Interleaved(version(), threads, warmup, digests, samples)


def ratio(measured: Interleaved, name: str, baseline: str) -> Ratio:
    """The median time of network `name` over that of `baseline`, of the same turns."""
    return ratio_of_turns(measured.samples_ns[name], measured.samples_ns[baseline])


def write(measured: list[Interleaved], folder: Path) -> None:
    (folder / FILE_NAME).write_text(json.dumps([asdict(one) for one in measured], indent=1) + "\n")


def read(folder: Path) -> list[Interleaved]:
    """What `write` wrote; nothing where it wrote nothing. Raises UsageError for a damaged file."""
    from pydantic import TypeAdapter, ValidationError

    path = folder / FILE_NAME
    if not path.exists():
        return []
    try:
        return TypeAdapter(list[Interleaved]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(
            f"{path}: not what a study wrote ({error.error_count()} errors); make the study again"
        ) from None
