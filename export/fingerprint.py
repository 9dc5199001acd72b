"""What an ONNX file is, in a few numbers: enough to tell, of two files that are not here, by how much they differ.

The sha256 of a file says that it is the same or that it is not. A fingerprint parts it in two:

- `structure` is a hash of all but the values of floating point tensors: nodes, attributes, shapes, names, integers;
- `sums` are SUMS random projections of those values: each tensor, scaled to length 1, and the logarithm of its length
  are added up with random signs. The root mean square of the differences of two files' sums estimates the length of the
  difference of all their values, each tensor relative to itself, within a factor of two in 19 of 20 cases.

What it can prove: files of one structure and a small `difference` have the same numbers but for rounding, as nobody
chooses numbers that hide from random signs without meaning to. What it cannot: tell rounding from a change that is as
small, such as one weight among a million that is another by less than a thousandth of itself.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

#: A choice: their mean square is within a factor of four of the truth, mostly (chi squared), in 200 bytes of a record.
SUMS = 8

#: The largest difference that may be rounding, by what a file's weights are stored in. float32: 100 tensors in which
#: every other value is one step (2^-23) off come to 1e-6. fp16: such differences decide now and then to which step
#: (2^-10) a value is rounded, one of some thousand; 100 tensors come to 2e-4. int8's weights are integers, which are of
#: the structure; its scales are float32.
ROUNDING = {"fp32": 2e-6, "fp16": 4e-4, "int8": 2e-6}

_AT_ONCE = 1 << 16  # values that are projected together: it bounds the memory that it takes


@dataclass(frozen=True)
class Fingerprint:
    """See the module; the same on any machine, but for the last digits of `sums`."""

    structure: str
    sums: tuple[float, ...]


def of_file(path: Path) -> Fingerprint:
    """The fingerprint of the ONNX file at `path`."""
    import onnx

    return of_model(onnx.load(path))


def of_model(model: onnx.ModelProto) -> Fingerprint:
    """The fingerprint of `model`, with all its values in it."""
    import numpy as np
    from onnx import numpy_helper

    rest = type(model)()
    rest.CopyFrom(model)
    signs = np.random.PCG64(0)
    sums = np.zeros(SUMS)
    for tensor in _tensors(rest.graph):
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            continue
        sums += _projected(values.astype(np.float64).ravel(), signs)
        for field in ("raw_data", "float_data", "double_data", "int32_data"):  # int32_data: where float16 may lie
            tensor.ClearField(field)
    structure = hashlib.sha256(rest.SerializeToString(deterministic=True)).hexdigest()
    return Fingerprint(structure, tuple(sums.tolist()))


def difference(one: Fingerprint, other: Fingerprint) -> float | None:
    """How far two files' values are apart, about: the root of the sum over their tensors of the squared relative
    difference (1: one tensor is another altogether). None where they differ in structure."""
    if one.structure != other.structure or len(one.sums) != len(other.sums) or not one.sums:
        return None
    return math.dist(one.sums, other.sums) / math.sqrt(len(one.sums))


def _projected(values: NDArray[np.float64], bits: np.random.PCG64) -> NDArray[np.float64]:
    """SUMS sums of `values`, scaled to length 1, and of the logarithm of their length, with random signs."""
    import numpy as np

    largest = float(np.abs(values).max(initial=0))
    length = largest * math.sqrt(float(np.square(values / largest).sum())) if largest else 0.0
    sums = _signs(1, bits)[0] * (math.log(length) if length else 0.0)
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        sums += (part / length if length else part) @ _signs(len(part), bits)
    return np.asarray(sums, np.float64)


def _signs(count: int, bits: np.random.PCG64) -> NDArray[np.float64]:
    """(count, SUMS) of 1 and -1."""
    import numpy as np

    raw = np.asarray(bits.random_raw(-(-count // 8)), "<u8").view(np.uint8)[:count]
    return 1.0 - 2.0 * np.unpackbits(raw[:, np.newaxis], axis=1).astype(np.float64)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All in a graph, in its order, those of the graphs in its nodes as well."""
    yield from graph.initializer
    for node in graph.node:
        for one in node.attribute:
            held: Any = (*([one.t] if one.HasField("t") else []), *one.tensors)
            yield from held
            for inner in (*([one.g] if one.HasField("g") else []), *one.graphs):
                yield from _tensors(inner)
