"""The theory of the clcNet paper as a tool: channel dependency graphs, the rule for FCRF, the least cost.

`graph` holds the definitions (section 3.1), `clc` the rule and the minimisation (section 3.3, Eqs. 1 and 2),
`measured` finds a PyTorch module's graph by gradients, `drawings` draws graphs as in figures 2 to 6, and
`python -m models.channels` shows it all. Only `measured` imports torch.
"""

from models.channels.graph import (
    ChannelError,
    ChannelGraph,
    block,
    depthwise,
    grouped,
    interlaced_grouped,
    pointwise,
    regular,
    shuffle,
)

__all__ = [
    "ChannelError",
    "ChannelGraph",
    "block",
    "depthwise",
    "grouped",
    "interlaced_grouped",
    "pointwise",
    "regular",
    "shuffle",
]
