"""Keyword spotting by a depthwise separable network (Zhang et al., "Hello Edge", 2017), as in MLPerf Tiny: 49 x 10 coefficients."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import Classifier, ConvNorm


class KeywordSpotting(nn.Module):
    """Ten time steps by four coefficients at first, then pairs of depthwise and 1x1 convolutions."""

    def __init__(self, channels: int = 64, pairs: int = 4, classes: int = 12) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((1, 1, 4, 5))
        self.first = nn.Conv2d(1, channels, (10, 4), 2, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        layers: list[nn.Module] = []
        for _ in range(pairs):
            layers += [ConvNorm(channels, channels, 3, groups=channels), ConvNorm(channels, channels)]
        self.layers = nn.Sequential(*layers)
        self.head = Classifier(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.act(self.norm(self.first(self.pad(x))))))
