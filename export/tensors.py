"""Tensors on disk: raw little-endian values in C order, as the runner on a device reads and writes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from toolchain.files import describe
from toolchain.tensors import ElementType, StoredTensor, TensorType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def write_tensor(name: str, values: NDArray[Any], folder: Path, stem: str) -> StoredTensor:
    """Writes `values`, of an ElementType, to a file called `stem` and their type (`input.f32`) in `folder`."""
    path = folder / f"{stem}.{values.dtype.kind}{8 * values.dtype.itemsize}"
    values.astype(values.dtype.newbyteorder("<")).tofile(path)
    return StoredTensor(cast("ElementType", values.dtype.name), tuple(values.shape), name, describe(path))


def write_tensors(tensors: Mapping[str, NDArray[Any]], folder: Path, stem: str) -> tuple[StoredTensor, ...]:
    """Writes tensors by name as `write_tensor` does; where there are several, the stems are numbered."""
    return tuple(
        write_tensor(name, values, folder, stem if len(tensors) == 1 else f"{stem}-{place}")
        for place, (name, values) in enumerate(tensors.items())
    )


def read_tensor(folder: Path, tensor: StoredTensor) -> NDArray[Any]:
    """The values of `tensor` in its file in `folder`. Raises ValueError when they are more or fewer than it says."""
    return read_values(folder / tensor.file.name, tensor.shape, tensor.type)


def read_outputs(path: Path, written: Sequence[TensorType]) -> list[NDArray[Any]]:
    """The tensors that a runner wrote one after the other. Raises ValueError when the file has more or fewer bytes."""
    content = path.read_bytes()
    due_bytes = sum(one.size_bytes for one in written)
    if len(content) != due_bytes:
        raise ValueError(f"the output has {len(content)} bytes, tensors of these shapes {due_bytes}")
    values, offset = [], 0
    for one in written:
        dtype = np.dtype(one.type).newbyteorder("<")
        elements = np.frombuffer(content, dtype, math.prod(one.shape), offset).reshape(one.shape)
        values.append(elements.astype(one.type))
        offset += one.size_bytes
    return values


def read_values(path: Path, shape: Sequence[int], dtype: str = "float32") -> NDArray[Any]:
    """The values in the file `path`. Raises ValueError when it holds more or fewer than `shape` says."""
    stored = np.dtype(dtype).newbyteorder("<")
    return np.fromfile(path, dtype=stored).reshape(tuple(shape)).astype(dtype)
