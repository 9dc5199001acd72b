"""Random numbers that are the same, to the last bit, on any machine and with any version of numpy or torch.

Bits come from PCG64, whose stream numpy guarantees (NEP 19), and everything after them is integer arithmetic, or one
exactly rounded operation of IEEE 754 (a product, a quotient) an element. A generator's own `standard_normal`, and
torch's, call logarithms and cosines, whose last bits depend on the CPU.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: The standard deviation of `Noise.bell`, a sum of eight bytes: the root of 8 * (256^2 - 1) / 12. Such a sum is nearly
#: normal.
BELL = math.sqrt(43690)
_MEAN = 1020

#: So many values are drawn at once: it bounds the memory that it takes.
_AT_ONCE = 1 << 20

_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_ADD_ALL = np.uint64(0x0001000100010001)


class Noise:
    """A stream of random numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def bell(self, shape: Sequence[int]) -> NDArray[np.int64]:
        """Whole numbers from -1020 to 1020, distributed as a normal variable of standard deviation BELL, nearly."""
        count = math.prod(shape)
        values = np.empty(count, np.int64)
        for start in range(0, count, _AT_ONCE):
            raw = np.asarray(self._bits.random_raw(min(_AT_ONCE, count - start)), np.uint64)
            pairs = (raw & _EVEN_BYTES) + ((raw >> np.uint64(8)) & _EVEN_BYTES)
            total = (pairs * _ADD_ALL) >> np.uint64(48)  # the product's highest 16 bits are the sum of all four pairs
            values[start : start + len(raw)] = total.astype(np.int64) - _MEAN
        return values.reshape(tuple(shape))

    def normal(self, shape: Sequence[int]) -> NDArray[np.float64]:
        """Nearly normal numbers of mean 0 and standard deviation 1, of which none is beyond 4.9."""
        values: NDArray[np.float64] = self.bell(shape) / BELL
        return values

    def uniform(self, low: float, high: float, count: int) -> NDArray[np.float64]:
        """Numbers from `low` up to, but not, `high`, in 256 steps."""
        steps = np.asarray(self._bits.random_raw(count), np.uint64) >> np.uint64(56)
        values: NDArray[np.float64] = low + (high - low) * (steps.astype(np.float64) / 256)
        return values

    def whole(self, below: int, shape: Sequence[int]) -> NDArray[np.int64]:
        """Whole numbers from 0 up to, but not, `below`, which is at most 256 and a power of two."""
        raw: Any = np.asarray(self._bits.random_raw(math.prod(shape)), np.uint64) >> np.uint64(56)
        values: NDArray[np.int64] = (raw.astype(np.int64) % below).reshape(tuple(shape))
        return values
