"""Tensors on disk: raw little-endian values in C order, as the runner on a device reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from export.artifact import Tensor, describe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: What the elements of a tensor may be, by numpy's names: those that the runner takes (PROTOCOL.md, "Call").
TYPES = (
    *("float32", "float16", "float64"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"),
)


def write_tensor(name: str, values: NDArray[Any], folder: Path, stem: str) -> Tensor:
    """Writes `values`, of one of TYPES, to a file called `stem` and their type (`input.f32`) in `folder`."""
    path = folder / f"{stem}.{values.dtype.kind}{8 * values.dtype.itemsize}"
    values.astype(values.dtype.newbyteorder("<")).tofile(path)
    return Tensor(name, tuple(values.shape), values.dtype.name, describe(path))


def write_tensors(tensors: Mapping[str, NDArray[Any]], folder: Path, stem: str) -> tuple[Tensor, ...]:
    """Writes tensors by name as `write_tensor` does; where there are several, the stems are numbered."""
    return tuple(
        write_tensor(name, values, folder, stem if len(tensors) == 1 else f"{stem}-{place}")
        for place, (name, values) in enumerate(tensors.items())
    )


def read_tensor(folder: Path, tensor: Tensor) -> NDArray[Any]:
    """The values of `tensor` in its file in `folder`. Raises ValueError when they are more or fewer than it says."""
    return read_values(folder / tensor.file.name, tensor.shape, tensor.dtype)


def read_values(path: Path, shape: Sequence[int], dtype: str = "float32") -> NDArray[Any]:
    """The values in the file `path`. Raises ValueError when it holds more or fewer than `shape` says."""
    stored = np.dtype(dtype).newbyteorder("<")
    return np.fromfile(path, dtype=stored).reshape(tuple(shape)).astype(dtype)
