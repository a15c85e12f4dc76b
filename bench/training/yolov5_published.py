"""The published loss of YOLOv5 in PyTorch, written here from its rules: what HAI's is held against.

Complete IoU (Zheng et al. 2020) with objectness towards it, anchors that answer for boxes up to four times larger or
smaller in the cell of the centre and its two nearest neighbours, and the published balance of the three levels. Published
code multiplies the sum by the size of the batch, which is left out here as in HAI.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

STRIDES = (8, 16, 32)
ANCHORS = np.array(
    [[[10, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]], [[116, 90], [156, 198], [373, 326]]], np.float64
)
GAINS = {"box": 0.05, "objectness": 1.0, "class": 0.5}


def complete_iou(p: Any, t: Any) -> Any:
    """Zheng et al. 2020, centre form, with the published 1e-7."""
    eps = 1e-7
    low = torch.maximum(p[:, :2] - p[:, 2:] / 2, t[:, :2] - t[:, 2:] / 2)
    high = torch.minimum(p[:, :2] + p[:, 2:] / 2, t[:, :2] + t[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(1)
    iou = shared / (p[:, 2:].prod(1) + t[:, 2:].prod(1) - shared + eps)
    hull = torch.maximum(p[:, :2] + p[:, 2:] / 2, t[:, :2] + t[:, 2:] / 2) - torch.minimum(
        p[:, :2] - p[:, 2:] / 2, t[:, :2] - t[:, 2:] / 2
    )
    far = ((p[:, :2] - t[:, :2]) ** 2).sum(1) / ((hull**2).sum(1) + eps)
    v = 4 / np.pi**2 * (torch.atan(t[:, 2] / t[:, 3]) - torch.atan(p[:, 2] / p[:, 3])) ** 2
    alpha = (v / (v - iou + 1 + eps)).detach()
    return iou - far - alpha * v


def assignments(
    labels: np.ndarray, level: int, anchors: np.ndarray, size: tuple[int, int]
) -> list[tuple[int, int, int, int, list[float]]]:
    """Sample, anchor, row, column, label (class, box in cells) of all that answer, in the published order."""
    stride = STRIDES[level]
    rows, columns = size[0] // stride, size[1] // stride
    out = []
    for part, (dx, dy) in enumerate([(0, 0), (0.5, 0), (0, 0.5), (-0.5, 0), (0, -0.5)]):
        for anchor in range(3):
            for sample, boxes in enumerate(labels):
                for kind, *box in boxes:
                    if kind < 0:
                        continue
                    x, y, w, h = (side / stride for side in box)
                    ratio = np.array([w, h]) / (anchors[level][anchor] / stride)
                    if max(np.maximum(ratio, 1 / ratio)) >= 4:
                        continue
                    place = [x, y, columns - x, rows - y]
                    if part and not (place[part - 1] % 1 < 0.5 and place[part - 1] > 1):
                        continue
                    column = min(max(int(x - dx), 0), columns - 1)
                    row = min(max(int(y - dy), 0), rows - 1)
                    out.append((sample, anchor, row, column, [kind, x - column, y - row, w, h]))
    return out


def published_loss(maps: list[Any], labels: np.ndarray, classes: int, sides: np.ndarray = ANCHORS) -> Any:
    """`maps`: [N, 3, rows, columns, fields] logits of each level."""
    dtype = maps[0].dtype
    height, width = (STRIDES[0] * side for side in maps[0].shape[2:4])
    bce = functional.binary_cross_entropy_with_logits
    total = torch.zeros((), dtype=dtype)
    for level, (x, balance) in enumerate(zip(maps, (4.0, 1.0, 0.4))):
        objectness = torch.zeros(x.shape[:4], dtype=dtype)
        found = assignments(labels, level, sides, (height, width))
        if found:
            b, a, j, i, label = (list(column) for column in zip(*found))
            target = torch.tensor(label, dtype=dtype)
            said = x[b, a, j, i]
            anchors = torch.tensor(sides[level] / STRIDES[level], dtype=dtype)[a]
            box = torch.cat((said[:, :2].sigmoid() * 2 - 0.5, (said[:, 2:4].sigmoid() * 2) ** 2 * anchors), 1)
            overlap = complete_iou(box, target[:, 1:])
            total = total + GAINS["box"] * (1 - overlap).mean()
            for at, score in zip(zip(b, a, j, i), overlap.detach().clamp(min=0)):
                objectness[at] = score
            kinds = functional.one_hot(target[:, 0].long(), classes).to(dtype)
            total = total + GAINS["class"] * classes / 80 * bce(said[:, 5:], kinds)
        total = total + GAINS["objectness"] * (width / 640) ** 2 * balance * bce(x[..., 4], objectness)
    return total


def yolov5n_gradients(
    path: Path, dtype: Any, mode: str, image: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Of all parameters of the published network, by PyTorch."""
    network = torch.load(path)["model"].to(dtype).eval()
    network.requires_grad_(True)
    for module in network.modules():
        if mode == "train" and isinstance(module, torch.nn.BatchNorm2d):
            module.train()
    detect = network.model[-1]
    sides = (detect.anchors * detect.stride[:, None, None]).double().numpy()
    _, maps = network(torch.from_numpy(image).to(dtype))
    published_loss(maps, labels, detect.nc, sides).backward()
    return {name: p.grad.double().numpy() for name, p in network.named_parameters()}
