"""Channel dependency graphs (section 3.1 of the clcNet paper): which input channels an output channel is made of.

Channels are counted from 0. A graph knows nothing of space: a 3x3 and a 1x1 kernel of the same kind have the
same graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from models.spec import ModelError


class ChannelError(ModelError):
    """Channels that cannot be grouped, joined or drawn as asked; the message says why."""


@dataclass(frozen=True)
class ChannelGraph:
    """The channel dependency graph of a kernel, or of a block seen from its input to its output.

    `fields[o]` is the channel receptive field (CRF) of output channel `o`: the input channels, of 0 to
    `inputs - 1`, that it depends on.
    """

    inputs: int
    fields: tuple[frozenset[int], ...]

    def __post_init__(self) -> None:
        strangers = {channel for field in set(self.fields) for channel in field if not 0 <= channel < self.inputs}
        if strangers:
            raise ChannelError(f"an output depends on channel {min(strangers)}, but there are {self.inputs} inputs")

    @property
    def outputs(self) -> int:
        """The number of output channels."""
        return len(self.fields)

    @property
    def edges(self) -> int:
        """The number of dependencies: the weights of the kernel at one point of its area."""
        return sum(self.receptive_field_sizes)

    def receptive_field(self, output: int) -> frozenset[int]:
        """The input channels that `output` depends on."""
        return self.fields[output]

    @property
    def receptive_field_sizes(self) -> tuple[int, ...]:
        """The size of each output's receptive field. The paper speaks of the CRF size where all are the same."""
        return tuple(len(field) for field in self.fields)

    @property
    def has_full_receptive_field(self) -> bool:
        """Whether every output depends on every input (FCRF)."""
        return all(size == self.inputs for size in self.receptive_field_sizes)

    def then(self, following: ChannelGraph) -> ChannelGraph:
        """The graph of the block of this and what follows it; also written `self >> following`.

        Raises ChannelError where `following` does not take as many channels as this gives.
        """
        if self.outputs != following.inputs:
            raise ChannelError(f"{self.outputs} output channels cannot feed a kernel of {following.inputs} inputs")
        # all outputs of a group share one field, so that even thousands of channels take a moment
        reached = {field: self._reached(field) for field in set(following.fields)}
        return ChannelGraph(self.inputs, tuple(reached[field] for field in following.fields))

    __rshift__ = then

    def _reached(self, outputs: Iterable[int]) -> frozenset[int]:
        return frozenset[int]().union(*{self.fields[output] for output in outputs})

    def groups(self) -> tuple[frozenset[int], ...]:
        """The output channels, together where they share inputs, directly or by way of others; in order.

        Of a grouped convolution these are its groups, however they are interlaced.
        """
        groups: list[tuple[frozenset[int], frozenset[int]]] = []  # inputs, outputs
        for output, field in enumerate(self.fields):
            joined = [group for group in groups if group[0] & field]
            apart = [group for group in groups if not group[0] & field]
            inputs = field.union(*(group[0] for group in joined))
            groups = [*apart, (inputs, frozenset({output}).union(*(group[1] for group in joined)))]
        return tuple(sorted((outputs for _, outputs in groups), key=min))


def grouped(c_in: int, c_out: int, groups: int) -> ChannelGraph:
    """A grouped convolution: an output depends on the inputs of its own group (figure 2b).

    Raises ChannelError where `groups` does not divide both numbers of channels.
    """
    if min(c_in, c_out, groups) < 1 or c_in % groups or c_out % groups:
        raise ChannelError(f"{c_in} input and {c_out} output channels do not make {groups} groups")
    size = c_in // groups
    fields = [frozenset(range(group * size, (group + 1) * size)) for group in range(groups)]
    return ChannelGraph(c_in, tuple(fields[output * groups // c_out] for output in range(c_out)))


def regular(c_in: int, c_out: int) -> ChannelGraph:
    """A regular convolution: every output depends on every input (figure 2a)."""
    return grouped(c_in, c_out, groups=1)


def pointwise(c_in: int, c_out: int) -> ChannelGraph:
    """A 1x1 convolution; along the channels it is a regular one (figure 3c, lower half)."""
    return regular(c_in, c_out)


def depthwise(channels: int, multiplier: int = 1) -> ChannelGraph:
    """A depthwise convolution: every output depends on one input (figure 2c), `multiplier` outputs on each."""
    return grouped(channels, channels * multiplier, groups=channels)


def shuffle(channels: int, groups: int) -> ChannelGraph:
    """Channels dealt out in turn, the first of each group, the second of each, and so on.

    Channel `j` of group `i` becomes channel `j * groups + i`, as in `models.clcnet.Interlace` and
    `models.shufflenet.Shuffle`. Raises ChannelError where `groups` does not divide `channels`.
    """
    if min(channels, groups) < 1 or channels % groups:
        raise ChannelError(f"{channels} channels do not make {groups} groups to shuffle")
    size = channels // groups
    return ChannelGraph(channels, tuple(frozenset({i * size + j}) for j in range(size) for i in range(groups)))


def interlaced_grouped(c_in: int, c_out: int, groups: int) -> ChannelGraph:
    """An interlaced grouped convolution, IGC: a grouped one with its outputs interlaced (section 3.2, figure 5b).

    The outputs make `c_out / groups` fields of `groups` consecutive channels, one of each group in every field.
    (Section 3.2 counts as many fields as the receptive field has channels, which is the same where c_out = c_in.)
    """
    return grouped(c_in, c_out, groups) >> shuffle(c_out, groups)


def block(kernels: Sequence[ChannelGraph]) -> ChannelGraph:
    """The graph of a stack of kernels, the first one at the input. Raises ChannelError where they do not fit."""
    return reduce(ChannelGraph.then, kernels)
