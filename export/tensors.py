"""Reference tensors on disk: raw little-endian float32 in C order, as the runner on a device reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from export.artifact import Tensor, describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DTYPE = "float32"
SUFFIX = ".f32"


def write_tensor(name: str, values: NDArray[np.float32], folder: Path) -> Tensor:
    """Writes `values` to the file of `name` in `folder`."""
    path = folder / (name + SUFFIX)
    values.astype("<f4").tofile(path)
    return Tensor(name, tuple(values.shape), DTYPE, describe(path))


def read_values(path: Path, shape: Sequence[int]) -> NDArray[np.float32]:
    """The values in the file `path`. Raises ValueError when it holds more or fewer than `shape` says."""
    return np.fromfile(path, dtype="<f4").reshape(tuple(shape)).astype(np.float32)
