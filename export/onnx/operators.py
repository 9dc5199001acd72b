"""Layers that PyTorch's exporter takes apart although ONNX has an operator for them: written as that operator."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator


class _LRN(torch.autograd.Function):
    """Local response normalisation, that the exporter writes as LRN; its own way is an average pool in 3 D."""

    @staticmethod
    def forward(_context: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Converting a tensor")  # what is done in here is not what is traced
            return functional.local_response_norm(x, size, alpha, beta, k)

    @staticmethod
    def symbolic(graph: Any, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
        return graph.op("LRN", x, size_i=size, alpha_f=alpha, beta_f=beta, bias_f=k).setType(x.type())


@contextmanager
def whole_operators(network: nn.Module) -> Iterator[None]:
    """Meanwhile, the exporter writes each such layer of `network` as one operator; it computes what it did.

    A LocalResponseNorm over an even number of channels is left alone: PyTorch's window has its odd channel in front,
    ONNX's behind.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.LocalResponseNorm) and layer.size % 2 == 1]
    for layer in layers:
        layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: nn.LocalResponseNorm, x: Tensor) -> Tensor:
    normalised: Tensor = _LRN.apply(x, layer.size, layer.alpha, layer.beta, layer.k)  # type: ignore[no-untyped-call]
    return normalised
