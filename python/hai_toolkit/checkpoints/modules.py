"""Own definitions of the modules that published YOLOv5 checkpoints consist of, for ``torch.load``.

Written from the published descriptions of the networks (CSP bottlenecks: Wang et al., 2019; spatial pyramid pooling: He et al.,
2014; ghost convolutions: Han et al., 2020) and the names of the attributes that the checkpoints hold. They compute what the
published modules compute. A module comes out of a file only by ``__setstate__``: constructors take no arguments, so a file
cannot ask for work or memory through them, and attributes that would hide a method or be called are left out.

Only imported when PyTorch is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional

_TABLES = ("_parameters", "_buffers", "_modules")


class _Stored(nn.Module):  # type: ignore[misc]
    """A module that is made from a checkpoint."""

    def __init__(self) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(state.get(name, {}), dict) for name in _TABLES):
            raise TypeError(f"the checkpoint gives a {type(self).__name__} no valid attributes")
        nn.Module.__init__(self)
        fresh = dict(self.__dict__)
        kept = {
            name: value
            for name, value in state.items()
            if isinstance(name, str)
            and "_hook" not in name
            # The published code keeps each layer's kind as a string under `type`, which is also a method.
            and (not hasattr(type(self), name) or (name == "type" and isinstance(value, str)))
        }
        super().__setstate__(fresh | kept)
        for name in _TABLES:
            self.__dict__[name] = OrderedDict(state.get(name, {}))


class Conv(_Stored):
    """Convolution, batch normalization (unless folded already), activation."""

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        if hasattr(self, "bn"):
            x = self.bn(x)
        return self.act(x)


class DWConv(Conv):
    """A ``Conv`` in groups."""


class Bottleneck(_Stored):
    """1x1 and 3x3 ``Conv``, added to the input where ``add`` says so."""

    def forward(self, x: Any) -> Any:
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class BottleneckCSP(_Stored):
    """Cross-stage partial bottlenecks of the first releases: one normalization over both branches."""

    def forward(self, x: Any) -> Any:
        deep = self.cv3(self.m(self.cv1(x)))
        shallow = self.cv2(x)
        return self.cv4(self.act(self.bn(torch.cat((deep, shallow), 1))))


class C3(_Stored):
    """Cross-stage partial bottlenecks with three convolutions."""

    def forward(self, x: Any) -> Any:
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class C3TR(C3):
    """``C3`` around a transformer."""


class C3SPP(C3):
    """``C3`` around spatial pyramid pooling."""


class C3Ghost(C3):
    """``C3`` around ghost bottlenecks."""


class GhostConv(_Stored):
    """Half of the channels by a convolution, the other half from these by a cheap one."""

    def forward(self, x: Any) -> Any:
        half = self.cv1(x)
        return torch.cat((half, self.cv2(half)), 1)


class GhostBottleneck(_Stored):
    """Ghost convolutions with a shortcut."""

    def forward(self, x: Any) -> Any:
        return self.conv(x) + self.shortcut(x)


class TransformerLayer(_Stored):
    """Self-attention and two linear layers, each with a shortcut and no normalization."""

    def forward(self, x: Any) -> Any:
        x = self.ma(self.q(x), self.k(x), self.v(x))[0] + x
        return self.fc2(self.fc1(x)) + x


class TransformerBlock(_Stored):
    """Transformer layers over the pixels, with a learnt linear position term."""

    def forward(self, x: Any) -> Any:
        if getattr(self, "conv", None) is not None:
            x = self.conv(x)
        batch, channels, height, width = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)
        tokens = self.tr(tokens + self.linear(tokens))
        return tokens.permute(1, 2, 0).reshape(batch, channels, height, width)


class SPP(_Stored):
    """Spatial pyramid pooling: the input beside its maxima over growing windows."""

    def forward(self, x: Any) -> Any:
        x = self.cv1(x)
        return self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1))


class SPPF(_Stored):
    """The same by one small window, applied three times."""

    def forward(self, x: Any) -> Any:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Focus(_Stored):
    """Every other pixel into channels (even rows first within each pair of columns), then a ``Conv``."""

    def forward(self, x: Any) -> Any:
        parts = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(parts, 1))


class Contract(_Stored):
    """Blocks of pixels into channels, the position in the block first."""

    def forward(self, x: Any) -> Any:
        n, c, h, w = x.shape
        g = int(self.gain)
        x = x.reshape(n, c, h // g, g, w // g, g).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, c * g * g, h // g, w // g)


class Expand(_Stored):
    """Channels into blocks of pixels, the reverse of ``Contract``."""

    def forward(self, x: Any) -> Any:
        n, c, h, w = x.shape
        g = int(self.gain)
        x = x.reshape(n, g, g, c // (g * g), h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, c // (g * g), h * g, w * g)


class Concat(_Stored):
    """Joins tensors along ``d``."""

    def forward(self, x: Any) -> Any:
        return torch.cat(list(x), self.d)


class Hardswish(_Stored):
    """The activation of releases before PyTorch had it."""

    def forward(self, x: Any) -> Any:
        return functional.hardswish(x)


class SiLU(_Stored):
    """The same of SiLU."""

    def forward(self, x: Any) -> Any:
        return functional.silu(x)


class Detect(_Stored):
    """Anchor boxes: raw maps in training, in evaluation also [N, boxes, 5 + classes] in pixels of the input."""

    def forward(self, maps: Any) -> Any:
        raw = []
        for conv, x in zip(self.m, maps):
            x = conv(x)
            n, _, h, w = x.shape
            raw.append(x.reshape(n, self.na, self.no, h, w).permute(0, 1, 3, 4, 2).contiguous())
        if self.training:
            return raw
        boxes = [self._boxes(level, x) for level, x in enumerate(raw)]
        return torch.cat(boxes, 1), raw

    def _boxes(self, level: int, x: Any) -> Any:
        n, _, h, w, _ = x.shape
        stride = float(self.stride[level])
        rows, columns = torch.meshgrid(
            torch.arange(h, dtype=x.dtype, device=x.device),
            torch.arange(w, dtype=x.dtype, device=x.device),
            indexing="ij",
        )
        grid = torch.stack((columns, rows), -1)
        anchors = (self.anchors[level].to(x) * stride).reshape(1, self.na, 1, 1, 2)
        y = x.sigmoid()
        centre = (y[..., 0:2] * 2 - 0.5 + grid) * stride
        size = (y[..., 2:4] * 2) ** 2 * anchors
        return torch.cat((centre, size, y[..., 4:]), -1).reshape(n, self.na * h * w, self.no)


class Model(_Stored):
    """Layers in order; each says by ``f`` whose results it reads."""

    def forward(self, x: Any) -> Any:
        kept: list[Any] = []
        for layer in self.model:
            source = layer.f
            if isinstance(source, int):
                x = x if source == -1 else kept[source]
            else:
                x = [x if j == -1 else kept[j] for j in source]
            x = layer(x)
            kept.append(x if layer.i in self.save else None)
        return x


class DetectionModel(Model):
    """The name of ``Model`` since release 6.2."""
