"""Calibration without data: pictures distilled from the statistics that a network's batch normalizations keep.

Method: ZeroQ (Cai et al., "ZeroQ: a novel zero shot quantization framework", CVPR 2020): pictures are changed by gradient descent
until the mean and variance of every channel before every BatchNorm are those of training. Unlike there, they start from dead leaves
(``procedural``), which already have the edges and occlusions of natural pictures, so that some tens of steps do; and the two terms
of the loss are logarithmic, so that channels that are nearly dead do not outweigh all others. For large inputs the pictures are
half as wide and high and then joined by fours, as mosaics are in the training of detectors: a quarter of the cost.

Without PyTorch, or where the graph has no BatchNorm left, the dead leaves are used as they are, and it is said so. Input whose
scaling is not known gets the scaling that fits the statistics best. Nothing here has seen a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HaiError
from .model import Model, TensorInfo
from .preprocessing import Preprocessing
from .procedural import procedural_pictures

Floats = npt.NDArray[np.float32]
Say = Callable[[str], None]

_PICTURES = 16
_TILES = 16
_BATCH = 8
_TILED_FROM = 448  # height and width from which four pictures make one
_BUDGET = 1.2e12  # multiply-accumulates of all steps together, and what moving tensors costs: a minute of one core
# Chosen on calibration photos. More than 30 steps bring EfficientNet-Lite0 nothing, fewer cost YOLOv5n some points. Slower steps
# come closer to the statistics, yet YOLOv5n loses by them: what is left of the noise widens its ranges, as real objects do.
_LEAST_STEPS, _MOST_STEPS = 15, 30
_RATE = 0.05  # of the range of pixels, per step
_CALL = "16 to 500 like those the model will see: convert(model, calibration='folder')"
# Measured as docs/reference/accuracy.md says.
_ADVICE = (
    "real pictures are better (EfficientNet-Lite0 diverges from f32 by 0.0024 with 63 photos, 0.0077 without; YOLOv5n's "
    f"fidelity is 0.915 with 32, 0.912 without); pass {_CALL}"
)

# Scalings in use: x = (pixel - mean) * scale.
_SCALINGS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "0..1": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    "-1..1": ((127.5, 127.5, 127.5), (1 / 127.5, 1 / 127.5, 1 / 127.5)),
    "mean and deviation of ImageNet": (
        (123.675, 116.28, 103.53),
        (1 / 58.395, 1 / 57.12, 1 / 57.375),
    ),
    "0..255": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class _Input:
    """The one picture-like input: its layout and size."""

    name: str
    channels: int
    height: int
    width: int
    channels_first: bool

    def array(self, picture: npt.NDArray[np.uint8], rule: Preprocessing) -> Floats:
        """A picture of any size as [1, ...] in the model's layout, scaled by the rule, not resized."""
        pixels = picture.astype(np.float32)
        if self.channels == 1:
            values = (pixels.mean(2, keepdims=True) - rule.mean[0]) * rule.scale[0]
        else:
            pixels = pixels[..., ::-1] if rule.color_order == "bgr" else pixels
            values = (pixels - np.array(rule.mean, np.float32)) * np.array(rule.scale, np.float32)
        values = values.astype(np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1) if self.channels_first else values)[None]

    def bounds(self, rule: Preprocessing) -> tuple[Floats, Floats]:
        """Least and greatest value of each channel, shaped to broadcast."""
        ends = [self.array(np.full((1, 1, 3), value, np.uint8), rule) for value in (0, 255)]
        return np.minimum(*ends), np.maximum(*ends)

    @property
    def spatial(self) -> tuple[int, int]:
        """The axes of height and width."""
        return (2, 3) if self.channels_first else (1, 2)


def distilled_samples(model: Model, seed: int, say: Say, threads: int = 0) -> list[dict[str, Floats]]:
    """Samples for a model of pictures, made from nothing but the model."""
    target = _picture_input(model)
    network = _network(model, say)
    rule = model.preprocessing
    if rule is None:
        if network is None or not network.norms:
            raise HaiError(
                "HAI-Y276",
                f'without calibration data it must be known how pictures become the input "{target.name}"; pass '
                "preprocessing=hai_toolkit.Preprocessing(...), or better pictures, " + _CALL,
            )
        rule = _fitting_rule(network, target, seed, say)
    if network is None or not network.norms:
        if network is not None:
            say(
                "no calibration data, and the graph has no BatchNorm left to learn from: ranges come from made-up pictures"
            )
        pictures = procedural_pictures(_TILES, target.height, target.width, seed)
        say(_ADVICE)
        return [{target.name: target.array(picture, rule)} for picture in pictures]
    say(
        f"no calibration data: distilling pictures from the statistics of {len(network.norms)} batch normalizations; this takes "
        "a minute or more, calibration= needs none of it"
    )
    arrays, first, last = _distil(network, target, rule, seed, threads)
    say(
        f"{len(arrays)} pictures were distilled from the statistics of {len(network.norms)} batch "
        f"normalizations (ZeroQ, Cai et al. 2020; distance {first:.3f} before, {last:.3f} after)"
    )
    say(_ADVICE)
    return [{target.name: array} for array in arrays]


def _picture_input(model: Model) -> _Input:
    infos = model.inputs
    if len(infos) == 1 and infos[0].dtype == "f32" and len(infos[0].shape) == 4:
        found = _layout(infos[0])
        if found is not None:
            return found
    shapes = ", ".join(f"{i.name} {i.dtype} {list(i.shape)}" for i in infos)
    raise HaiError(
        "HAI-Y277",
        f"without calibration data only models of one f32 picture with 1 or 3 channels can be quantized; the inputs are "
        f"{shapes}. Pass calibration=: 16 to 500 samples like those the model will see",
    )


def _layout(info: TensorInfo) -> _Input | None:
    sizes = [d if isinstance(d, int) else 0 for d in info.shape]
    if sizes[1] in (1, 3) and min(sizes[2:]) >= 8:
        return _Input(info.name, sizes[1], sizes[2], sizes[3], True)
    if sizes[3] in (1, 3) and min(sizes[1:3]) >= 8:
        return _Input(info.name, sizes[3], sizes[1], sizes[2], False)
    return None


def _network(model: Model, say: Say) -> Any:
    """The graph for PyTorch, or None."""
    try:
        from .torch_graph import TorchGraph, UnknownOperatorError
    except ImportError:
        say("PyTorch is not installed: without it, and without calibration data, ranges come from made-up pictures")
        return None
    try:
        return TorchGraph(model._graph)
    except UnknownOperatorError as cause:
        say(f"distillation does not know {cause}: ranges come from made-up pictures")
        return None


def _fitting_rule(network: Any, target: _Input, seed: int, say: Say) -> Preprocessing:
    import torch

    pictures = procedural_pictures(4, target.height, target.width, seed)
    distances = {}
    for name, (mean, scale) in _SCALINGS.items():
        rule = Preprocessing(target.width, target.height, mean=mean, scale=scale)
        batch = torch.from_numpy(np.concatenate([target.array(picture, rule) for picture in pictures]))
        with torch.no_grad():
            distances[name] = float(_distance(network, batch))
    best = min(distances, key=lambda name: distances[name])
    say(
        f"how pictures become the input is not known; {best} fits the model's statistics best. Pass preprocessing= to say so "
        "yourself, and to have it in the file"
    )
    mean, scale = _SCALINGS[best]
    return Preprocessing(target.width, target.height, mean=mean, scale=scale)


def _distance(network: Any, batch: Any) -> Any:
    """How far the statistics of a batch are from those of training: a mean over all channels of all normalizations."""
    import torch

    terms = []

    def watch(norm: Any, mean: Any, variance: Any) -> None:
        floor = 1e-3 * norm.variance.median() + 1e-8
        shift = torch.log1p((mean - norm.mean) ** 2 / (norm.variance + floor))
        spread = torch.log(variance + floor) - torch.log(norm.variance + floor)
        terms.append((shift + 0.5 * spread**2).mean())

    network.run([batch], watch)
    return torch.stack(terms).mean()


def _distil(
    network: Any, target: _Input, rule: Preprocessing, seed: int, threads: int
) -> tuple[list[Floats], float, float]:
    """Distilled inputs, and the distance before and after."""
    import torch

    tiled = target.height >= _TILED_FROM and target.width >= _TILED_FROM and network.any_size
    tiled = tiled and target.height % 64 == 0 and target.width % 64 == 0
    height, width = (target.height // 2, target.width // 2) if tiled else (target.height, target.width)
    count = _TILES if tiled else _PICTURES
    starts = [target.array(picture, rule) for picture in procedural_pictures(count, height, width, seed)]
    low, high = (torch.from_numpy(bound) for bound in target.bounds(rule))
    with torch.no_grad():
        _distance(network, torch.from_numpy(starts[0]))
    steps = int(np.clip(_BUDGET / (2 * count * max(network.cost, 1)), _LEAST_STEPS, _MOST_STEPS))
    before = torch.get_num_threads()
    if threads > 0:
        torch.set_num_threads(threads)
    try:
        done, first, last = [], [], []
        for begin in range(0, count, _BATCH):
            batch = torch.from_numpy(np.concatenate(starts[begin : begin + _BATCH])).requires_grad_(True)
            distances = _descend(network, batch, low, high, steps)
            first.append(distances[0])
            last.append(distances[-1])
            done += [row[None] for row in batch.detach().numpy()]
    finally:
        torch.set_num_threads(before)
    if not np.isfinite(last).all():
        raise HaiError(
            "HAI-Y278", "distillation met NaN or infinite activations; check the weights, or pass calibration="
        )
    arrays = _mosaics(done, target.spatial) if tiled else done
    return arrays, float(np.mean(first)), float(np.mean(last))


def _descend(network: Any, batch: Any, low: Any, high: Any, steps: int) -> list[float]:
    import torch

    rate = _RATE * float((high - low).mean())
    optimizer = torch.optim.Adam([batch], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0.05 * rate)
    distances = []
    for _ in range(steps):
        with torch.enable_grad():
            optimizer.zero_grad()
            distance = _distance(network, batch)
            distance.backward()
        optimizer.step()
        schedule.step()
        distances.append(float(distance.detach()))
        with torch.no_grad():
            batch.copy_(torch.maximum(torch.minimum(batch, high), low))
    return distances


def _mosaics(tiles: list[Floats], axes: tuple[int, int]) -> list[Floats]:
    """Four tiles make a picture; every tile is in two of them, with other neighbours."""
    rows, columns = axes
    count = len(tiles)
    result = []
    for begin in range(0, count, 4):
        for stride in (1, 5):
            a, b, c, d = (tiles[(begin + stride * i + stride // 5) % count] for i in range(4))
            result.append(np.concatenate([np.concatenate([a, b], columns), np.concatenate([c, d], columns)], rows))
    return result
