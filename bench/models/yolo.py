"""YOLOv5 (release 6) and YOLOv8 detectors, their boxes decoded inside the graph.

The architectures follow the published configurations: C3 or C2f stages, spatial pyramid pooling (SPPF), a top-down and
bottom-up neck, three strides. YOLOv5 answers (N, boxes, 5 + classes) with x, y, width, height in pixels, objectness and
class scores; YOLOv8 answers (N, 4 + classes, boxes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .layers import ConvNorm, rounded_channels

_STRIDES = (8, 16, 32)
_V5_ANCHORS = ((10, 13, 16, 30, 33, 23), (30, 61, 62, 45, 59, 119), (116, 90, 156, 198, 373, 326))
_DFL_BINS = 16


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> ConvNorm:
    return ConvNorm(inputs, outputs, kernel, stride, activation=nn.SiLU, epsilon=1e-3, padding=padding)


class Bottleneck(nn.Module):
    """Two convolutions and, if asked, a sum with the input."""

    def __init__(self, channels: int, residual: bool, first_kernel: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, first_kernel)
        self.second = _conv(channels, channels, 3)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.residual else y


class C3(nn.Module):
    """Cross-stage partial block with three convolutions (YOLOv5)."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int, residual: bool = True) -> None:
        super().__init__()
        half = out_channels // 2
        self.main = _conv(in_channels, half)
        self.side = _conv(in_channels, half)
        self.chain = nn.Sequential(*[Bottleneck(half, residual, 1) for _ in range(repeats)])
        self.join = _conv(2 * half, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(torch.cat((self.chain(self.main(x)), self.side(x)), 1))


class C2f(nn.Module):
    """Cross-stage partial block that keeps every bottleneck's output (YOLOv8)."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int, residual: bool = True) -> None:
        super().__init__()
        self.hidden = out_channels // 2
        self.split = _conv(in_channels, 2 * self.hidden)
        self.chain = nn.ModuleList(Bottleneck(self.hidden, residual, 3) for _ in range(repeats))
        self.join = _conv((2 + repeats) * self.hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).split((self.hidden, self.hidden), 1))
        for block in self.chain:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, 1))


class PyramidPool(nn.Module):
    """SPPF: three 5x5 maximum pools in a row, all kept."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = in_channels // 2
        self.reduce = _conv(in_channels, half)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.join = _conv(4 * half, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.join(torch.cat(parts, 1))


class _Neck(nn.Module):
    """Backbone and neck that both generations share; `version` picks stem, stage and the reducing convolutions."""

    def __init__(self, version: int, depth: float, width: float, widest: int = 1024, divisor: int = 8) -> None:
        super().__init__()
        c = [rounded_channels(min(w, widest) * width, divisor) for w in (64, 128, 256, 512, 1024)]
        stage: type[C3] | type[C2f] = C3 if version == 5 else C2f
        repeats = [max(round(n * depth), 1) for n in ((3, 6, 9, 3) if version == 5 else (3, 6, 6, 3))]
        bottom = repeats[0]
        self.version = version
        self.stem = _conv(3, c[0], 6, 2, 2) if version == 5 else _conv(3, c[0], 3, 2)
        self.stage2 = nn.Sequential(_conv(c[0], c[1], 3, 2), stage(c[1], c[1], repeats[0]))
        self.stage3 = nn.Sequential(_conv(c[1], c[2], 3, 2), stage(c[2], c[2], repeats[1]))
        self.stage4 = nn.Sequential(_conv(c[2], c[3], 3, 2), stage(c[3], c[3], repeats[2]))
        self.stage5 = nn.Sequential(_conv(c[3], c[4], 3, 2), stage(c[4], c[4], repeats[3]), PyramidPool(c[4], c[4]))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        # YOLOv5 narrows before it upsamples; YOLOv8 does without.
        self.narrow5 = _conv(c[4], c[3]) if version == 5 else nn.Identity()
        self.top4 = stage(2 * c[3] if version == 5 else c[4] + c[3], c[3], bottom, False)
        self.narrow4 = _conv(c[3], c[2]) if version == 5 else nn.Identity()
        self.top3 = stage(2 * c[2] if version == 5 else c[3] + c[2], c[2], bottom, False)
        self.down3 = _conv(c[2], c[2], 3, 2)
        self.out4 = stage(2 * c[2] if version == 5 else c[2] + c[3], c[3], bottom, False)
        self.down4 = _conv(c[3], c[3], 3, 2)
        self.out5 = stage(2 * c[3] if version == 5 else c[3] + c[4], c[4], bottom, False)
        self.channels = (c[2], c[3], c[4])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p3 = self.stage3(self.stage2(self.stem(x)))
        p4 = self.stage4(p3)
        n5 = self.narrow5(self.stage5(p4))
        n4 = self.narrow4(self.top4(torch.cat((self.up(n5), p4), 1)))
        o3 = self.top3(torch.cat((self.up(n4), p3), 1))
        o4 = self.out4(torch.cat((self.down3(o3), n4), 1))
        o5 = self.out5(torch.cat((self.down4(o4), n5), 1))
        return o3, o4, o5


def _cell_grid(size: tuple[int, int], stride: int, offset: float) -> Tensor:
    """(1, 2, height, width): x and y of the cells of a map, plus `offset`."""
    rows, columns = size[0] // stride, size[1] // stride
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack((x, y))[None].float() + offset


class YoloV5(nn.Module):
    """Three anchors per cell; `size` is the height and width of the input and fixes the grids."""

    def __init__(
        self, depth: float, width: float, size: tuple[int, int] = (640, 640), classes: int = 80, divisor: int = 8
    ) -> None:
        super().__init__()
        self.neck = _Neck(5, depth, width, divisor=divisor)
        self.fields = 5 + classes
        self.head = nn.ModuleList(nn.Conv2d(channels, 3 * self.fields, 1) for channels in self.neck.channels)
        for index, (stride, anchors) in enumerate(zip(_STRIDES, _V5_ANCHORS, strict=True)):
            grid = _cell_grid(size, stride, -0.5)  # 1, 2, rows, columns
            shape = (1, 1, *grid.shape[2:], 2)
            self.register_buffer(f"grid{index}", grid.permute(0, 2, 3, 1).reshape(shape), persistent=False)
            sides = torch.tensor(anchors, dtype=torch.float32).reshape(1, 3, 1, 1, 2)
            self.register_buffer(f"anchors{index}", sides, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        boxes = []
        for index, (features, head) in enumerate(zip(self.neck(x), self.head, strict=True)):
            grid, anchors = self.get_buffer(f"grid{index}"), self.get_buffer(f"anchors{index}")
            rows, columns = grid.shape[2], grid.shape[3]
            y = head(features).reshape(-1, 3, self.fields, rows, columns).permute(0, 1, 3, 4, 2).sigmoid()
            xy, wh, scores = y.split((2, 2, self.fields - 4), 4)
            y = torch.cat(((xy * 2 + grid) * float(_STRIDES[index]), (wh * 2) ** 2 * anchors, scores), 4)
            boxes.append(y.reshape(-1, 3 * rows * columns, self.fields))
        return torch.cat(boxes, 1)


class YoloV8(nn.Module):
    """No anchors: box sides as the mean of a distribution over 16 bins (distribution focal loss, Li et al., 2020)."""

    def __init__(
        self, depth: float, width: float, size: tuple[int, int] = (640, 640), classes: int = 80, divisor: int = 8
    ) -> None:
        super().__init__()
        self.neck = _Neck(8, depth, width, divisor=divisor)
        channels = self.neck.channels
        box, score = max(16, channels[0] // 4, 4 * _DFL_BINS), max(channels[0], min(classes, 100))
        self.classes = classes
        self.box_head = nn.ModuleList(
            nn.Sequential(_conv(c, box, 3), _conv(box, box, 3), nn.Conv2d(box, 4 * _DFL_BINS, 1)) for c in channels
        )
        self.score_head = nn.ModuleList(
            nn.Sequential(_conv(c, score, 3), _conv(score, score, 3), nn.Conv2d(score, classes, 1)) for c in channels
        )
        self.project = nn.Conv2d(_DFL_BINS, 1, 1, bias=False)
        self.project.weight.data.copy_(torch.arange(_DFL_BINS, dtype=torch.float32).reshape(1, _DFL_BINS, 1, 1))
        grids = [_cell_grid(size, stride, 0.5).flatten(2) for stride in _STRIDES]
        strides = [torch.full((1, 1, grid.shape[2]), float(s)) for s, grid in zip(_STRIDES, grids, strict=True)]
        self.register_buffer("grid", torch.cat(grids, 2), persistent=False)
        self.register_buffer("strides", torch.cat(strides, 2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        grid, strides = self.get_buffer("grid"), self.get_buffer("strides")
        maps = []
        for features, box, score in zip(self.neck(x), self.box_head, self.score_head, strict=True):
            maps.append(torch.cat((box(features), score(features)), 1).flatten(2))
        sides, scores = torch.cat(maps, 2).split((4 * _DFL_BINS, self.classes), 1)
        bins = sides.reshape(-1, 4, _DFL_BINS, grid.shape[2]).transpose(1, 2).softmax(1)
        left_top, right_bottom = self.project(bins).reshape(-1, 4, grid.shape[2]).chunk(2, 1)
        first, last = grid - left_top, grid + right_bottom
        boxes = torch.cat(((first + last) / 2, last - first), 1) * strides
        return torch.cat((boxes, scores.sigmoid()), 1)


def score_layers(net: YoloV5 | YoloV8) -> Sequence[nn.Conv2d]:
    """The last convolutions, whose outputs the decoding reads."""
    if isinstance(net, YoloV5):
        return [layer for layer in net.head if isinstance(layer, nn.Conv2d)]
    heads = [*net.box_head, *net.score_head]
    return [head[-1] for head in heads if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Conv2d)]
