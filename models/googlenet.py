"""GoogLeNet (Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842), as it is at inference: without
the auxiliary classifiers, which "are discarded" then (section 5), and without dropout.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Channels(NamedTuple):
    """Output channels of an inception module's convolutions, in the order of the columns of Table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int

    @property
    def joined(self) -> int:
        return self.one + self.three + self.five + self.pool


#: The inception modules by stage (Table 1); a max pool stands before each stage.
STAGES = (
    (
        Channels(64, 96, 128, 16, 32, 32),  # 3a
        Channels(128, 128, 192, 32, 96, 64),  # 3b
    ),
    (
        Channels(192, 96, 208, 16, 48, 64),  # 4a
        Channels(160, 112, 224, 24, 64, 64),  # 4b
        Channels(128, 128, 256, 24, 64, 64),  # 4c
        Channels(112, 144, 288, 32, 64, 64),  # 4d
        Channels(256, 160, 320, 32, 128, 128),  # 4e
    ),
    (
        Channels(256, 160, 320, 32, 128, 128),  # 5a
        Channels(384, 192, 384, 48, 128, 128),  # 5b
    ),
)


def _convolution(c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution with its bias and the ReLU that follows each (section 5), H and W kept but for the stride."""
    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2), nn.ReLU(inplace=True))


def _halving_pool() -> nn.MaxPool2d:
    """The max pool "3x3+2(S)" of figure 3: an even size is halved exactly. (N, C, H, W) to (N, C, H/2, W/2).

    Rounding up adds the row and the column that are missing at the far end, not half of them at either.
    """
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _response_norm() -> nn.LocalResponseNorm:
    """The "LocalRespNorm" of figure 3, which gives no constants: those of Krizhevsky et al. 2012, section 3.3.

    There k = 2, n = 5, alpha = 1e-4, beta = 0.75, and alpha times the sum of n squares; PyTorch takes their mean.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)


class Inception(nn.Module):
    """Four branches side by side, joined along the channels (figure 2b).

    Takes (N, C, H, W), gives (N, channels.joined, H, W).
    """

    def __init__(self, c_in: int, channels: Channels) -> None:
        super().__init__()
        self.one = _convolution(c_in, channels.one, 1)
        self.three = nn.Sequential(
            _convolution(c_in, channels.three_reduce, 1),
            _convolution(channels.three_reduce, channels.three, 3),
        )
        self.five = nn.Sequential(
            _convolution(c_in, channels.five_reduce, 1),
            _convolution(channels.five_reduce, channels.five, 5),
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            _convolution(c_in, channels.pool, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)


class GoogLeNet(nn.Module):
    """Takes (N, 3, 224, 224), gives (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        # Table 1 down to the second max pool, which is the first stage's here; the norms are in figure 3 alone
        self.stem = nn.Sequential(
            _convolution(3, 64, 7, stride=2),
            _halving_pool(),
            _response_norm(),
            _convolution(64, 64, 1),
            _convolution(64, 192, 3),
            _response_norm(),
        )
        self.stages = nn.Sequential()
        c_in = 192
        for modules in STAGES:
            stage = nn.Sequential(_halving_pool())
            for channels in modules:
                stage.append(Inception(c_in, channels))
                c_in = channels.joined
            self.stages.append(stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_in, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 192, 56, 56)
        x = self.stages(x)  # (N, 480, 28, 28), (N, 832, 14, 14), (N, 1024, 7, 7)
        x = torch.flatten(self.pool(x), 1)  # (N, 1024)
        logits: Tensor = self.classifier(x)
        return logits


def googlenet() -> GoogLeNet:
    """GoogLeNet, the network of Table 1."""
    return GoogLeNet()
