"""ResNet-18 and ResNet-50 (He et al., 2015), the stride of the bottleneck on its 3x3 convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .layers import Classifier, ConvNorm


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or the 1x1, 3x3, 1x1 bottleneck with four times as many output channels."""

    def __init__(self, in_channels: int, channels: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * channels if bottleneck else channels
        if bottleneck:
            self.layers = nn.Sequential(
                ConvNorm(in_channels, channels),
                ConvNorm(channels, channels, 3, stride),
                ConvNorm(channels, out, activation=None),
            )
        else:
            self.layers = nn.Sequential(
                ConvNorm(in_channels, channels, 3, stride), ConvNorm(channels, out, 3, activation=None)
            )
        project = stride != 1 or in_channels != out
        self.shortcut = ConvNorm(in_channels, out, 1, stride, activation=None) if project else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layers(x) + self.shortcut(x))


class ResNet(nn.Module):
    """`blocks` per stage; `channels` of the first stage, doubled at each of the next."""

    def __init__(self, blocks: Sequence[int], bottleneck: bool, channels: int = 64, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(3, channels, 7, 2), nn.MaxPool2d(3, 2, 1)]
        current = channels
        for stage, count in enumerate(blocks):
            for index in range(count):
                stride = 2 if stage and not index else 1
                layers.append(ResidualBlock(current, channels << stage, stride, bottleneck))
                current = (channels << stage) * (4 if bottleneck else 1)
        self.features = nn.Sequential(*layers)
        self.head = Classifier(current, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
