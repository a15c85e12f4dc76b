"""MobileNetV1 (Howard et al., 2017), V2 (Sandler et al., 2018) and V3 small and large (Howard et al., 2019).

`width` scales the channels; the block tables are those of the papers.
"""

from __future__ import annotations

from torch import Tensor, nn

from .layers import Activation, Classifier, ConvNorm, SqueezeExcite, rounded_channels


class MobileNetV1(nn.Module):
    """A plain chain of depthwise separable convolutions."""

    def __init__(self, width: float = 1.0, classes: int = 1000, depth: int | None = None) -> None:
        super().__init__()
        channels = rounded_channels(32 * width)
        layers: list[nn.Module] = [ConvNorm(3, channels, 3, 2)]
        table = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        for wide, stride in table[:depth]:
            out = rounded_channels(wide * width)
            layers += [ConvNorm(channels, channels, 3, stride, groups=channels), ConvNorm(channels, out)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.head = Classifier(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, optional channel attention, linear projection, a sum if shapes allow."""

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        out_channels: int,
        kernel: int,
        stride: int,
        activation: Activation,
        squeezed: int = 0,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expanded != in_channels:
            layers.append(ConvNorm(in_channels, expanded, activation=activation, epsilon=epsilon))
        layers.append(
            ConvNorm(expanded, expanded, kernel, stride, groups=expanded, activation=activation, epsilon=epsilon)
        )
        if squeezed:
            layers.append(SqueezeExcite(expanded, squeezed))
        layers.append(ConvNorm(expanded, out_channels, activation=None, epsilon=epsilon))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


# expansion, channels, repeats, stride
_V2 = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
]  # fmt: skip


class MobileNetV2(nn.Module):
    """Inverted residuals with ReLU6."""

    def __init__(self, width: float = 1.0, classes: int = 1000, depth: int | None = None) -> None:
        super().__init__()
        channels = rounded_channels(32 * width)
        layers: list[nn.Module] = [ConvNorm(3, channels, 3, 2, activation=nn.ReLU6)]
        for expansion, wide, repeats, stride in _V2[:depth]:
            out = rounded_channels(wide * width)
            for index in range(repeats):
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(channels, channels * expansion, out, 3, step, nn.ReLU6))
                channels = out
        last = rounded_channels(1280 * max(1.0, width)) if depth is None else 4 * channels
        layers.append(ConvNorm(channels, last, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.head = Classifier(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


# kernel, expanded, out, squeeze and excitation, hard swish, stride
_V3_LARGE = [
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
]  # fmt: skip
_V3_SMALL = [
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
]  # fmt: skip


class MobileNetV3(nn.Module):
    """Searched inverted residuals with hard swish and channel attention; `large` picks the table."""

    def __init__(self, large: bool, width: float = 1.0, classes: int = 1000, depth: int | None = None) -> None:
        super().__init__()
        channels = rounded_channels(16 * width)
        layers: list[nn.Module] = [ConvNorm(3, channels, 3, 2, activation=nn.Hardswish, epsilon=1e-3)]
        expanded = channels
        for kernel, wide, narrow, attention, hard, stride in (_V3_LARGE if large else _V3_SMALL)[:depth]:
            expanded, out = rounded_channels(wide * width), rounded_channels(narrow * width)
            squeezed = rounded_channels(expanded / 4) if attention else 0
            activation: Activation = nn.Hardswish if hard else nn.ReLU
            layers.append(InvertedResidual(channels, expanded, out, kernel, stride, activation, squeezed, 1e-3))
            channels = out
        last = 6 * channels
        layers.append(ConvNorm(channels, last, activation=nn.Hardswish, epsilon=1e-3))
        self.features = nn.Sequential(*layers)
        hidden = rounded_channels((1280 if large else 1024) * width)
        self.head = Classifier(last, classes, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))
