"""MobileNet 1.0-224 (Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", arXiv:1704.04861).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Output channels and stride of each depthwise separable block (Table 1 of the MobileNet paper).
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


class DepthwiseSeparable(nn.Sequential):
    """3x3 depthwise convolution, which carries the stride, then 1x1 (figure 3 of the MobileNet paper)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_in, 3, stride, padding=1, groups=c_in, bias=False),
            nn.BatchNorm2d(c_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_in, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
        )


class MobileNet(nn.Module):
    """Takes (N, 3, 224, 224), gives (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential()
        c_in = 32
        for c_out, stride in BLOCKS:
            self.blocks.append(DepthwiseSeparable(c_in, c_out, stride))
            c_in = c_out
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_in, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 32, 112, 112)
        x = self.blocks(x)  # (N, 1024, 7, 7)
        x = torch.flatten(self.pool(x), 1)  # (N, 1024)
        logits: Tensor = self.classifier(x)
        return logits


def mobilenet() -> MobileNet:
    """1.0 MobileNet-224."""
    return MobileNet()
