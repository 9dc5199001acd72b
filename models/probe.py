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
def observed(module: nn.Module, hooks: Iterable[RemovableHandle] = ()) -> Iterator[None]:
    """`module` in evaluation mode, without gradients; afterwards `hooks` are removed and its mode is back."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), one_thread():
            yield
    finally:
        module.train(was_training)
        for hook in hooks:
            hook.remove()


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: the same sums in the same order on any number of cores.

    It is faster, too, where other processes keep the cores busy: hundreds of small grouped convolutions would each
    wait for the slower thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
