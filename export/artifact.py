"""`Artifact`: one exported, verified network on disk, and the manifest that says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MANIFEST_NAME = "manifest.json"


class ExportError(Exception):
    """An export or its verification failed; the message names the model and says what to do."""


@dataclass(frozen=True)
class ArtifactFile:
    """A file of an artifact, by its name in the artifact's folder."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Tensor:
    """A reference tensor: raw little-endian values in C order, in a file beside the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: ArtifactFile


@dataclass(frozen=True)
class Artifact:
    """An exported network with the reference input and output that prove it.

    `model_files` is what a runtime loads (one ONNX file; two nets for Caffe2).
    `max_abs_error` and `output_spread` (largest minus smallest value of PyTorch's output) are from the
    verification on this machine. `recipe_sha256` covers all that went into it: sources, options,
    weights and tool versions; an artifact whose recipe is unchanged is up to date.
    """

    model: str
    weights: str  # "seed 0", or the sha256 of a checkpoint
    format: str  # "onnx"
    folder: Path
    model_files: tuple[ArtifactFile, ...]
    input: Tensor
    output: Tensor
    opset: int
    op_counts: dict[str, int]
    mult_adds: int
    params: int
    max_abs_error: float
    output_spread: float
    recipe_sha256: str
    tool_versions: dict[str, str]

    @property
    def model_size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.model_files)
