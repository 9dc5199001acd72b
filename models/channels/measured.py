"""The channel dependency graph of a PyTorch module, found by gradients: what actually depends on what."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from models.channels.graph import ChannelGraph
from models.clcnet import Interlace
from models.probe import one_thread

#: Outputs that are looked at in one pass: each takes an image of its own.
AT_ONCE = 64


def measured(module: nn.Module, c_in: int, *, size: int = 3) -> ChannelGraph:
    """The graph of `module`, which takes (N, c_in, size, size) and gives (N, channels, ...).

    An output depends on an input where the gradient of the one by the other is not zero. All weights are made
    positive on a copy first, so that nothing cancels and no ReLU is shut: what is found is what the structure
    lets depend on what. `module` is left as it is.
    """
    positive = _with_positive_weights(module)
    with one_thread():
        with torch.no_grad():
            outputs = positive(torch.ones(1, c_in, size, size, dtype=torch.float64)).shape[1]
        chunks = [range(outputs)[start : start + AT_ONCE] for start in range(0, outputs, AT_ONCE)]
        fields = [field for chunk in chunks for field in _fields(positive, chunk, (c_in, size, size))]
    return ChannelGraph(c_in, tuple(fields))


def clc_block(c_in: int, c_mid: int, c_out: int, g1: int, g2: int, *, interlaced: bool = True) -> nn.Module:
    """The convolutions of a CLC block with any channels and groups (figure 6), where `models.clcnet` has g2 = 2."""
    igc = nn.Conv2d(c_in, c_mid, 3, padding=1, groups=g1, bias=False)
    gc = nn.Conv2d(c_mid, c_out, 1, groups=g2, bias=False)
    return nn.Sequential(igc, *([Interlace(g1)] if interlaced else []), gc)


def _with_positive_weights(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights average what arrives, and whose BatchNorm passes it on.

    In double precision, where even the product of a deep network's weights is not rounded to zero.
    """
    positive = deepcopy(module).double().eval().requires_grad_(False)
    for weight in positive.parameters():
        weight.fill_(1 / weight[0].numel())  # (out, in / groups, kH, kW), (out, in), or (out) of biases and scales
    for name, buffer in positive.named_buffers():
        if name.endswith("running_mean"):
            buffer.zero_()
        elif name.endswith("running_var"):
            buffer.fill_(1)
    return positive


def _fields(module: nn.Module, outputs: range, shape: tuple[int, int, int]) -> list[frozenset[int]]:
    """The receptive fields of `outputs`, each by the gradient of one image."""
    images = torch.ones(len(outputs), *shape, dtype=torch.float64, requires_grad=True)
    y: Tensor = module(images.clone())  # a clone, for a first layer that works in place
    own = torch.stack([y[image, output].sum() for image, output in enumerate(outputs)])
    (gradients,) = torch.autograd.grad(own.sum(), images)  # of each image's one output: images do not mix
    return [frozenset(torch.nonzero(image).flatten().tolist()) for image in gradients.abs().sum((2, 3))]
