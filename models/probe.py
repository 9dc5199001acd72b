"""Sending something through a network to learn about it, and leaving no trace."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn
    from torch.utils.hooks import RemovableHandle


@contextmanager
def observed(module: nn.Module, hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """`module` in evaluation mode, without gradients; afterwards `hooks` are removed and its mode is back."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()
