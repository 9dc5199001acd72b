"""Tensors, as the export, the devices and the records describe them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from toolchain.files import File, FileIdentity

#: What the elements of a tensor may be, by numpy's names: those that the runner takes (PROTOCOL.md, "Call").
ElementType = Literal[
    "float32",
    "float16",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
]
#: How many bytes each takes: the bits that its name ends in, or the one byte of a bool.
ELEMENT_BYTES: dict[ElementType, int] = {
    name: int(name.lstrip("abcdefghijklmnopqrstuvwxyz") or 8) // 8 for name in get_args(ElementType)
}


@dataclass(frozen=True)
class TensorType:
    """What the elements of a tensor are, and its shape; a scalar's is ()."""

    type: ElementType
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * ELEMENT_BYTES[self.type]


@dataclass(frozen=True)
class Port(TensorType):
    """An input or output of a network, by its name."""

    name: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.type} {list(self.shape)})"


@dataclass(frozen=True)
class StoredTensor(Port):
    """The value of a port: raw little-endian values in C order, in a file beside the model."""

    file: FileIdentity


@dataclass(frozen=True)
class InputTensor(TensorType):
    """What a network is given: raw little-endian values in C order, in a file on this machine."""

    file: File
