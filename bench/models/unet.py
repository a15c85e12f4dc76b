"""U-Net (Ronneberger et al., 2015) with BatchNorm: two 3x3 convolutions a level, transposed convolutions upwards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import ConvNorm


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(in_channels, out_channels, 3), ConvNorm(out_channels, out_channels, 3))


class UNet(nn.Module):
    """3.8 M parameters at the default widths; height and width must be multiples of 2 ** (levels - 1)."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 192, 256), classes: int = 2, channels: int = 3) -> None:
        super().__init__()
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip((channels, *widths[:-1]), widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        steps = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in steps)
        self.merge = nn.ModuleList(_pair(2 * b, b) for _, b in steps)
        self.logits = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            kept.append(x)
        for up, merge, skip in zip(self.up, self.merge, kept[-2::-1], strict=True):
            x = merge(torch.cat((skip, up(x)), 1))
        return self.logits(x)
