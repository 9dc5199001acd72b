"""What a network costs, counted as the clcNet paper counts (Table 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from models.probe import observed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Cost:
    """`mult_adds` of convolutions and linear layers in one pass; `params` of all layers, BatchNorm included."""

    mult_adds: int
    params: int


def count(module: nn.Module, input_shape: Sequence[int]) -> Cost:
    """The cost of one pass of `input_shape`, (N, C, H, W). `module` is left as it is.

    One multiply-add is one weight applied once; biases, BatchNorm, activations and pooling are not counted.
    """
    # A real pass, not one on the meta device: that imports for over a second before it answers at once.
    mult_adds = 0

    def add(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal mult_adds
        weight = layer.get_parameter("weight")  # (C_out, C_in / groups, kH, kW) or (out, in)
        mult_adds += output.numel() * weight[0].numel()

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with observed(module, [layer.register_forward_hook(add) for layer in layers]):
        module(torch.zeros(tuple(input_shape)))
    return Cost(mult_adds, params=sum(parameter.numel() for parameter in module.parameters()))
