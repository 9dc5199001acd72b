"""ShuffleNet v1, 2x, three groups (Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural
Network for Mobile Devices", arXiv:1707.01083).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 3

#: Channels of the first convolution: 24 in Table 1 of the ShuffleNet paper, doubled like all others here.
STEM_CHANNELS = 48

#: Output channels and units of stages 2, 3 and 4 (Table 1 of the ShuffleNet paper, g = 3, channels doubled).
STAGES = ((480, 4), (960, 8), (1920, 4))


class Shuffle(nn.Module):
    """Deals the channels of `groups` groups out in turn, so that each next group sees all of them.

    Takes and gives (N, C, H, W).
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(n, self.groups, c // self.groups, h * w)
        return x.transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """A bottleneck of 1x1 grouped, 3x3 depthwise, 1x1 grouped convolution (figure 2 of the ShuffleNet paper).

    A unit with more channels out than in has stride 2, and its shortcut is a 3x3 average pool, joined along the
    channels (figure 2c); else the shortcut is the input itself, added (figure 2b). The bottleneck has a quarter
    of the output's channels.
    """

    def __init__(self, c_in: int, c_out: int, first_groups: int = GROUPS) -> None:
        super().__init__()
        middle = c_out // 4
        stride, c_branch = (2, c_out - c_in) if c_out > c_in else (1, c_out)
        self.branch = nn.Sequential(
            nn.Conv2d(c_in, middle, 1, groups=first_groups, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            Shuffle(GROUPS),
            nn.Conv2d(middle, middle, 3, stride, padding=1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.Conv2d(middle, c_branch, 1, groups=GROUPS, bias=False),
            nn.BatchNorm2d(c_branch),
        )
        self.pooled = nn.AvgPool2d(3, stride=2, padding=1) if c_out > c_in else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pooled is None:
            return functional.relu(x + self.branch(x))
        return functional.relu(torch.cat([self.pooled(x), self.branch(x)], dim=1))


class ShuffleNet(nn.Module):
    """Takes (N, 3, 224, 224), gives (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM_CHANNELS, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.units = nn.Sequential()
        c_in = STEM_CHANNELS
        for c_out, count in STAGES:
            # the very first 1x1 convolution has too few input channels for groups (section 3.2)
            first_groups = 1 if c_in == STEM_CHANNELS else GROUPS
            self.units.append(ShuffleUnit(c_in, c_out, first_groups))
            for _ in range(count - 1):
                self.units.append(ShuffleUnit(c_out, c_out))
            c_in = c_out
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_in, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 48, 56, 56)
        x = self.units(x)  # (N, 1920, 7, 7)
        x = torch.flatten(self.pool(x), 1)  # (N, 1920)
        logits: Tensor = self.classifier(x)
        return logits


def shufflenet() -> ShuffleNet:
    """ShuffleNet v1 2x, g = 3."""
    return ShuffleNet()
