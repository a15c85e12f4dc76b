"""Random weights that behave like trained ones.

A network with freshly drawn weights is a poor test of a compiler: its BatchNorm statistics are (0, 1), so folding them
changes nothing, and its outputs are almost the same for every picture. `settle` draws the weights (He et al., 2015),
gives every BatchNorm and LayerNorm a random scale and shift, measures BatchNorms' statistics on structured pictures,
and scales the last layers so that their outputs differ between pictures and places with a stated spread. Everything
follows from the seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def structured_pictures(count: int, channels: int, size: tuple[int, int], seed: int) -> NDArray[np.float32]:
    """(count, channels, height, width) in 0..1: smooth colour fields, discs, rectangles with edges, noise."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pictures = np.empty((count, channels, height, width), np.float32)
    for picture in pictures:
        picture[:] = random.uniform(0.2, 0.8, (channels, 1, 1))
        for _ in range(4):
            fy, fx, phase = random.uniform(-6, 6), random.uniform(-6, 6), random.uniform(0, 6.3)
            wave = np.sin(6.2832 * (fy * y / height + fx * x / width) + phase)
            picture += random.uniform(-0.2, 0.2, (channels, 1, 1)) * wave
        for index in range(12):
            cy, cx = random.uniform(0, height), random.uniform(0, width)
            ry, rx = random.uniform(0.05, 0.3) * height, random.uniform(0.05, 0.3) * width
            dy, dx = np.abs(y - cy) / ry, np.abs(x - cx) / rx
            inside = (dy * dy + dx * dx < 1) if index % 2 else (np.maximum(dy, dx) < 1)
            picture[:, inside] = 0.5 * picture[:, inside] + random.uniform(0, 0.5, (channels, 1))
        picture += random.normal(0, 0.03, picture.shape)
    return np.clip(pictures, 0, 1)


def _draw_weights(net: nn.Module, generator: torch.Generator) -> None:
    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.weight.requires_grad:
            fan_in = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):
                # Kernel and stride are equal: one tap of every input channel per output.
                fan_in = module.weight.shape[0]
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * (2.0 / fan_in) ** 0.5)
            if module.bias is not None:
                uniform(module.bias, -0.1, 0.1)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm):
            uniform(module.weight, 0.5, 1.5)
            uniform(module.bias, -0.5, 0.5)


def _measure_statistics(net: nn.Module, batches: Sequence[Tensor]) -> None:
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    net.train()
    for batch in batches:
        net(batch)
    net.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _spread_outputs(
    net: nn.Module,
    last: Sequence[nn.Module],
    batches: Sequence[Tensor],
    spread: float,
    centre: float,
    generator: torch.Generator,
) -> None:
    seen: dict[nn.Module, list[Tensor]] = {layer: [] for layer in last}

    def keep(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        seen[layer].append(output.transpose(0, 1).flatten(1))

    handles = [layer.register_forward_hook(keep) for layer in last]
    for batch in batches:
        net(batch)
    for handle in handles:
        handle.remove()
    for layer in last:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert layer.bias is not None
        values = torch.cat(seen[layer], 1)
        mean, deviation = values.mean(1), values.std(1)
        assert float(deviation.min()) > 0, "an output is the same for every picture"
        factor = spread / deviation.mean()
        layer.weight.mul_(factor)
        wanted = centre + torch.randn(mean.shape, generator=generator)
        layer.bias.copy_((layer.bias - mean) * factor + wanted)


@torch.no_grad()
def settle(
    net: nn.Module,
    last: Sequence[nn.Module],
    batches: Sequence[Tensor],
    seed: int,
    spread: float = 1.5,
    centre: float = 0.0,
) -> None:
    """Give `net` weights, BatchNorm statistics and an output spread; leaves it in evaluation mode.

    `last` are the layers whose outputs get standard deviation `spread` around random means near `centre`.
    """
    generator = torch.Generator().manual_seed(seed)
    _draw_weights(net, generator)
    _measure_statistics(net, batches)
    _spread_outputs(net, last, batches, spread, centre, generator)
