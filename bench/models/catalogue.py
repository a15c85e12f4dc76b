"""The list of networks: how each is built, the input it takes, and a small version for tests that must take seconds.

A small version has the same operators as the full one with few channels and a small picture whose sides differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .efficientnet import EfficientNetLite0, published_efficientnet_lite0
from .keyword_spotting import KeywordSpotting
from .mlp import Mlp
from .mobilenet import MobileNetV1, MobileNetV2, MobileNetV3
from .resnet import ResNet
from .settle import settle, structured_pictures
from .unet import UNet
from .vit import VisionTransformer
from .yolo import YoloV5, YoloV8, score_layers


@dataclass(frozen=True)
class Network:
    """One network of the catalogue; `build` makes it with settled weights, in evaluation mode."""

    name: str
    module: Callable[[], nn.Module]
    shape: tuple[int, int, int]  # channels, height, width of one input
    centred: bool  # the input is a picture around 0 rather than 0..1
    published: bool = False  # `module` brings trained weights

    def pictures(self, count: int, seed: int) -> NDArray[np.float32]:
        """Structured random inputs as this network expects them."""
        pictures = structured_pictures(count, self.shape[0], self.shape[1:], seed)
        return (pictures - 0.5) * 4 if self.centred else pictures

    def build(self, seed: int = 1) -> nn.Module:
        """The network with weights that follow from `seed`."""
        torch.manual_seed(seed)
        net = self.module().eval()
        if not self.published:
            count = 16 if self.shape[1] <= 256 else 4
            batches = [torch.from_numpy(self.pictures(count, 1000 * seed + index)) for index in range(2)]
            detector = isinstance(net, YoloV5 | YoloV8)
            settle(net, _last_layers(net), batches, seed, centre=-1.0 if detector else 0.0)
        return net


def _last_layers(net: nn.Module) -> list[nn.Module]:
    if isinstance(net, YoloV5 | YoloV8):
        return list(score_layers(net))
    if isinstance(net, VisionTransformer):
        return [net.head]
    layers = [module for name, module in net.named_modules() if name.rsplit(".", 1)[-1] == "logits"]
    assert len(layers) == 1
    return layers


def _entries() -> Iterable[Network]:
    def entry(name: str, module: Callable[[], nn.Module], side: int, centred: bool = True) -> Network:
        return Network(name, module, (3, side, side), centred)

    yield entry("mobilenet_v1", MobileNetV1, 224)
    yield entry("mobilenet_v2", MobileNetV2, 224)
    yield entry("mobilenet_v3_small", partial(MobileNetV3, large=False), 224)
    yield entry("mobilenet_v3_large", partial(MobileNetV3, large=True), 224)
    yield entry("resnet18", partial(ResNet, (2, 2, 2, 2), bottleneck=False), 224)
    yield entry("resnet50", partial(ResNet, (3, 4, 6, 3), bottleneck=True), 224)
    yield entry("efficientnet_lite0", EfficientNetLite0, 224)
    yield entry("yolov5n", partial(YoloV5, 0.33, 0.25), 640, centred=False)
    yield entry("yolov5s", partial(YoloV5, 0.33, 0.5), 640, centred=False)
    yield entry("yolov8n", partial(YoloV8, 0.33, 0.25), 640, centred=False)
    yield entry("unet", UNet, 256, centred=False)
    yield Network("unet_grey", partial(UNet, channels=1), (1, 256, 256), False)
    yield entry("vit_tiny", VisionTransformer, 224)
    yield Network("keyword_spotting", KeywordSpotting, (1, 49, 10), True)
    yield Network("mlp", Mlp, (1, 28, 28), False)
    yield Network("efficientnet_lite0_imagenet", published_efficientnet_lite0, (3, 224, 224), True, published=True)


def _small_entries() -> Iterable[Network]:
    def entry(name: str, module: Callable[[], nn.Module], size: tuple[int, int], centred: bool = True) -> Network:
        return Network(name + "_tiny", module, (3, *size), centred)

    detector_size = (64, 96)
    yield entry("mobilenet_v1", partial(MobileNetV1, 0.25, 13, 6), (37, 51))
    yield entry("mobilenet_v2", partial(MobileNetV2, 0.25, 13, 4), (37, 51))
    yield entry("mobilenet_v3_small", partial(MobileNetV3, False, 0.25, 13, 6), (37, 51))
    yield entry("mobilenet_v3_large", partial(MobileNetV3, True, 0.25, 13, 8), (37, 51))
    yield entry("resnet18", partial(ResNet, (1, 1, 1), False, 8, 13), (37, 51))
    yield entry("resnet50", partial(ResNet, (1, 2), True, 8, 13), (37, 51))
    yield entry("efficientnet_lite0", partial(EfficientNetLite0, (38, 51), 0.25, 13, 4), (38, 51))
    yield entry("yolov5n", partial(YoloV5, 0.1, 0.125, detector_size, 5), detector_size, centred=False)
    yield entry("yolov8n", partial(YoloV8, 0.1, 0.125, detector_size, 5), detector_size, centred=False)
    yield entry("unet", partial(UNet, (4, 8, 13), 2), (36, 52), centred=False)
    yield entry("vit_tiny", partial(VisionTransformer, (32, 48), 8, 39, 3, 2, 100, 13), (32, 48))
    yield Network("mlp_tiny", partial(Mlp, 35, (19, 13), 7), (1, 5, 7), False)


NETWORKS = {network.name: network for network in _entries()}
SMALL_NETWORKS = {network.name: network for network in _small_entries()}
