"""The whole export of one network: build, PyTorch to ONNX, simplify, verify both files, put in place."""

from __future__ import annotations

import fcntl
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from export.artifact import (
    INPUT_NAME,
    OUTPUT_NAME,
    Artifact,
    ExportError,
    describe,
    file_sha256,
    read_artifact,
    write_manifest,
)
from export.recipe import recipe_sha256, tool_versions
from export.simplify import simplify
from export.to_onnx import DEFAULT_OPSET, to_onnx
from models.spec import SEED, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from export.verify import Deviation
    from models.spec import ModelSpec

#: What an export does, in order; `on_step` hears of each as it begins.
STEPS = ("build", "export", "simplify", "verify", "store")

#: The seed of the reference input, normal noise.
INPUT_SEED = 0


def export_model(
    spec: ModelSpec,
    out: Path,
    weights: Path | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _step: None,
    network: nn.Module | None = None,
) -> Artifact:
    """The artifact of `spec` in its folder below `out`: the one there if it is up to date, else a new one.

    `weights` is a checkpoint; without one the weights are seeded. `on_step` is called with each of STEPS, and not
    at all when nothing is to be done. `network` is written to ONNX in place of the one that `spec` and `weights`
    make, and must compute the same. Any number of processes may export into one `out` at once.

    Raises ExportError when the export fails or an ONNX file does not compute what PyTorch does: then nothing new
    is there, and what was there before is up to date only if its own recipe is. Raises ModelError for a checkpoint
    that cannot be read or does not fit.
    """
    weights_id = f"seed {SEED}" if weights is None else _checkpoint_sha256(weights)
    folder = out / (spec.name if weights is None else f"{spec.name}-{weights_id[:12]}")
    recipe = recipe_sha256(spec, opset, weights_id)

    def present() -> Artifact | None:
        return None if force or network else _up_to_date(folder, recipe)

    if artifact := present():
        return artifact
    try:
        with _turn(folder) as workspace:
            if artifact := present():  # another process made it while this one waited
                return artifact
            new = workspace / "new"
            new.mkdir()
            artifact = _make(spec, weights, new, opset, on_step, network)
            artifact = replace(artifact, weights=weights_id, recipe_sha256=recipe)
            on_step("store")
            write_manifest(artifact)
            if folder.exists():
                folder.rename(workspace / "old")
            new.rename(folder)
    except OSError as error:
        where = error.filename or folder
        raise ExportError(f"{spec.name}: cannot write {str(where)!r}: {error.strerror}") from error
    return replace(artifact, folder=folder)
