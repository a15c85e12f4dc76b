"""Building blocks that several networks share: convolution with BatchNorm and activation, squeeze-and-excitation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Activation = Callable[[], nn.Module]


def rounded_channels(channels: float, divisor: int = 8) -> int:
    """Round a scaled width to a multiple of `divisor`, losing at most a tenth of it (MobileNetV2)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Sequential):
    """Convolution without bias, BatchNorm and, unless it is None, an activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Activation | None = nn.ReLU,
        epsilon: float = 1e-5,
        padding: int | None = None,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=epsilon)
        if activation is not None:
            self.act = activation()


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., 2018) with the hard sigmoid of MobileNetV3."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class Classifier(nn.Module):
    """Global average pool, optional hidden layer, and the linear layer that gives the logits."""

    def __init__(self, channels: int, classes: int, hidden: int = 0, activation: Activation = nn.Hardswish) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Sequential(nn.Linear(channels, hidden), activation()) if hidden else nn.Identity()
        self.logits = nn.Linear(hidden or channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.hidden(torch.flatten(self.pool(x), 1)))
