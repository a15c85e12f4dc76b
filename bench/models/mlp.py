"""A small multi-layer perceptron: flattened 28x28 pictures to ten classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear layers with BatchNorm and ReLU between them."""

    def __init__(self, inputs: int = 784, hidden: Sequence[int] = (128, 64), classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.logits = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.features(torch.flatten(x, 1)))
