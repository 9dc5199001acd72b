"""What the project knows about a network before it is built: `ModelSpec`, and the paper's figures for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:  # `--help` and `--list-models` must answer without importing torch
    from torch import nn


class ModelError(Exception):
    """A network cannot be found, built or loaded; the message says what to do."""


@dataclass(frozen=True)
class PaperFigures:
    """What the clcNet paper prints for one network; None where it prints nothing.

    `mult_adds` and `params` are from Table 5, `onnx_size_megabytes` and `speed_ms` from Table 6,
    the accuracies (fractions of 1) from Tables 3 to 5.
    """

    mult_adds: int
    params: int
    top1: float | None = None
    top5: float | None = None
    onnx_size_megabytes: float | None = None
    speed_ms: float | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A network by name: how to build it, what it takes, and what the paper says of it.

    `factory` is "module:function"; it is imported only when the network is built.
    `input_shape` is (N, C, H, W).
    """

    name: str
    title: str
    family: str
    factory: str
    input_shape: tuple[int, int, int, int]
    source: str
    paper: PaperFigures | None = None

    def build(self) -> nn.Module:
        """The network with PyTorch's own initialisation; see `models.weights` for informative ones."""
        module, function = self.factory.split(":")
        return cast("nn.Module", getattr(importlib.import_module(module), function)())
