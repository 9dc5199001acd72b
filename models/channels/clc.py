"""The CLC block's group parameters: the rule for FCRF and the least cost (section 3.3 of the clcNet paper).

A CLC block is an IGC kernel from M to L channels in g1 groups, then a 1x1 GC kernel from L to N channels in g2
groups (figure 6). M, L and N are `c_in`, `c_mid` and `c_out` here.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.channels.graph import ChannelError, ChannelGraph, grouped, interlaced_grouped

#: A, the area of a 3x3 kernel (section 3.3).
AREA_3X3 = 9


@dataclass(frozen=True)
class Candidate:
    """A pair of group parameters and C(g1, g2), its cost."""

    g1: int
    g2: int
    cost: int


def satisfies_rule(c_mid: int, g1: int, g2: int) -> bool:
    """Eq. 1, the rule for FCRF: g1 * g2 <= L.

    It is exact, for every valid block. Any g1 consecutive outputs of the IGC, wherever they begin, are of g1
    different groups, so they depend on all inputs, and fewer do not. A group of the GC takes L / g2 consecutive
    ones: enough of them if, and only if, L / g2 >= g1.
    """
    return g1 * g2 <= c_mid


def kernels(
    c_in: int, c_mid: int, c_out: int, g1: int, g2: int, *, interlaced: bool = True
) -> tuple[ChannelGraph, ChannelGraph]:
    """The graphs of the block's two kernels, IGC and GC; without `interlaced` two GC, as in figure 4.

    Raises ChannelError where g1 does not divide M and L, or g2 not L and N.
    """
    first = interlaced_grouped if interlaced else grouped
    return first(c_in, c_mid, g1), grouped(c_mid, c_out, g2)


def cost(c_in: int, c_mid: int, c_out: int, g1: int, g2: int, area: int = AREA_3X3) -> int:
    """Eq. 2's C(g1, g2) = A L M / g1 + N L / g2: mult-adds per location, which is also the number of weights.

    It counts a stride of 1 for both kernels. Raises ChannelError where g1 does not divide M and L, or g2 not L
    and N.
    """
    _check("g1", g1, c_in, c_mid)
    _check("g2", g2, c_mid, c_out)
    return area * c_mid * (c_in // g1) + c_out * (c_mid // g2)


def common_divisors(a: int, b: int) -> list[int]:
    """What divides both; Eq. 2 allows these as group parameters, in ascending order."""
    return [divisor for divisor in range(1, min(a, b) + 1) if a % divisor == 0 and b % divisor == 0]


def candidates(
    c_in: int, c_mid: int, c_out: int, *, area: int = AREA_3X3, g1: int | None = None, g2: int | None = None
) -> list[Candidate]:
    """All pairs that the constraints of Eq. 2 allow, the least cost first; `g1` or `g2` fixes one of them.

    Of pairs of the same cost the one with the larger g1 comes first: its 3x3 kernel has the smaller receptive
    field, and "if the channel receptive field size is small, the IGC kernel could be more efficiently
    implemented" (section 4.1). That leaves nothing open: pairs of the same cost and g1 have the same g2.

    Raises ChannelError where a fixed parameter is not allowed, or none is left for the other.
    """
    for name, groups, a, b in (("g1", g1, c_in, c_mid), ("g2", g2, c_mid, c_out)):
        if groups is not None:
            _check(name, groups, a, b)
    found = [
        Candidate(first, second, cost(c_in, c_mid, c_out, first, second, area))
        for first in ([g1] if g1 else common_divisors(c_in, c_mid))
        for second in ([g2] if g2 else common_divisors(c_mid, c_out))
        if satisfies_rule(c_mid, first, second)
    ]
    if not found:
        raise ChannelError(f"g1 = {g1}, g2 = {g2} violate g1 * g2 <= L = {c_mid} (Eq. 1)")
    return sorted(found, key=lambda candidate: (candidate.cost, -candidate.g1))


def minimise(
    c_in: int, c_mid: int, c_out: int, *, area: int = AREA_3X3, g1: int | None = None, g2: int | None = None
) -> Candidate:
    """Eq. 2: the pair of least cost under its constraints, by enumeration; ties as in `candidates`.

    With nothing fixed there is always one, for g1 = g2 = 1 satisfies everything.
    """
    return candidates(c_in, c_mid, c_out, area=area, g1=g1, g2=g2)[0]


def _check(name: str, groups: int, a: int, b: int) -> None:
    """Raises ChannelError unless `groups`, the parameter `name`, divides the channels on both sides."""
    if groups < 1 or a % groups or b % groups:
        sides = "M = {} and L = {}" if name == "g1" else "L = {} and N = {}"
        choice = ", ".join(map(str, common_divisors(a, b)))
        raise ChannelError(f"{name} = {groups} does not divide {sides.format(a, b)}: it can be {choice}")
