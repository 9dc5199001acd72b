"""clcNet: channel local convolutions (Dong-Qing Zhang, "clcNet: Improving the Efficiency of Convolutional
Neural Network using Channel Local Convolutions").

A CLC block is a 3x3 interlaced grouped convolution (IGC) and a 1x1 grouped convolution (GC), section 3.2. The
interlacing lets every output channel of the block see every input channel, as long as g1 * g2 is not above
the number of channels between the two (section 3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Groups of every 1x1 convolution, g2 (section 4.1).
GROUPS_1X1 = 2


class Interlace(nn.Module):
    """Deals the channels of `groups` groups out in turn: the first of each group, the second of each, and so on.

    Channel `j` of group `i` becomes channel `j * groups + i` (figure 5b). Takes and gives (N, C, H, W).
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.view(n, self.groups, c // self.groups, h * w)  # four dimensions: mobile runtimes stop there
        return x.transpose(1, 2).reshape(n, c, h, w)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class CLCBlock(nn.Sequential):
    """IGC 3x3, then GC 1x1 (figure 6). No activation follows the IGC, as in Xception (section 3.2).

    The 3x3 has two input channels per group, g1 = C_in / 2 (section 4.1), carries the stride, and keeps the
    number of channels, L = M (section 4.1). Without `interlaced` the IGC is a plain grouped convolution, and the
    full channel receptive field is lost (section 5.2).
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1, *, interlaced: bool = True) -> None:
        g1 = c_in // 2
        igc = [
            nn.Conv2d(c_in, c_in, 3, stride, padding=1, groups=g1, bias=False),
            nn.BatchNorm2d(c_in),  # before the interlacing, so that it folds into the convolution
        ]
        gc = [
            nn.Conv2d(c_in, c_out, 1, groups=GROUPS_1X1, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(inplace=True),
        ]
        super().__init__(*igc, *([Interlace(g1)] if interlaced else []), *gc)


class CLCNet(nn.Module):
    """The network of Table 2; `repeats` is its (a, b, c, d), `width` the channels of its first convolution.

    Takes (N, 3, H, W) with H and W divisible by 32, gives (N, classes).
    """

    def __init__(
        self,
        repeats: tuple[int, int, int, int],
        *,
        interlaced: bool = True,
        width: int = 32,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        a, b, c, d = repeats
        # Table 2: output channels as a multiple of the width, stride
        blocks = [(2, 1), (4, 2), *[(4, 1)] * a, (8, 2), *[(8, 1)] * b]
        blocks += [(16, 2), *[(16, 1)] * c, (32, 2), *[(32, 1)] * d]

        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential()
        c_in = width
        for multiple, stride in blocks:
            self.blocks.append(CLCBlock(c_in, multiple * width, stride, interlaced=interlaced))
            c_in = multiple * width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # (N, 32, H/2, W/2)
        x = self.blocks(x)  # (N, 1024, H/32, W/32)
        x = torch.flatten(self.pool(x), 1)  # (N, 1024)
        logits: Tensor = self.classifier(x)
        return logits


def clcnet_a() -> CLCNet:
    """clcNet-A (Table 3)."""
    return CLCNet((1, 1, 5, 2))


def clcnet_b() -> CLCNet:
    """clcNet-B (Table 3)."""
    return CLCNet((1, 1, 7, 3))


def clcnet_ap() -> CLCNet:
    """clcNet-Ap: clcNet-A with every IGC replaced by a plain grouped convolution (section 5.2)."""
    return CLCNet((1, 1, 5, 2), interlaced=False)


def clcnet_tiny() -> CLCNet:
    """The same blocks at a quarter of the width, for 64x64 images of 100 classes. Not in the paper."""
    return CLCNet((1, 1, 1, 1), width=8, classes=100)
