"""What the project knows about a network before it is built: `ModelSpec`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from models.paper import PaperFigures

if TYPE_CHECKING:  # `--help` and `--list-models` must answer without importing torch
    from torch import nn


#: The seed of the weights of every network that is not given a checkpoint.
SEED = 0


class ModelError(Exception):
    """A network cannot be found, built or loaded; the message says what to do."""


@dataclass(frozen=True)
class ModelSpec:
    """A network by name: how to build it, what it takes, and what the paper says of it.

    `factory` is "module:function"; it is imported only when the network is built.
    `input_shape` is (N, C, H, W). `note` says where our figures differ from the paper's, and why.
    """

    name: str
    title: str
    family: str
    factory: str
    input_shape: tuple[int, int, int, int]
    source: str
    paper: PaperFigures | None = None
    note: str = ""

    @property
    def has_clc_blocks(self) -> bool:
        """Whether it is made of channel local convolution blocks, which can be computed in several ways."""
        return self.family == "clcnet"

    @property
    def has_separable_blocks(self) -> bool:
        """Whether it is made of depthwise separable blocks, which the kernel for CLC blocks can run too."""
        return self.family == "mobilenet"

    def build(self) -> nn.Module:
        """The network with PyTorch's own initialisation; see `models.weights` for informative ones."""
        module, function = self.factory.split(":")
        return cast("nn.Module", getattr(importlib.import_module(module), function)())
