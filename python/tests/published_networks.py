"""Small checkpoints that look like published ones, for the tests of `hai_toolkit.checkpoints`.

A pickle names the class of every object. So classes called `models.common.Conv` and so on are made for the moment of saving; they
hold attributes as the published ones do and compute nothing. Nothing of them is left when a test loads the file.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_CLASSES = {
    "models.common": (
        "Conv DWConv Bottleneck BottleneckCSP C3 C3Ghost C3SPP C3TR GhostConv GhostBottleneck SPP SPPF Focus Concat Contract "
        "Expand TransformerLayer TransformerBlock Unheard"
    ),
    "models.yolo": "Detect Model DetectionModel",
}


class Builder:
    """Makes layers as attributes of empty modules; parameters are random and normalization statistics too."""

    def __init__(self, activation: Any = None, seed: int = 5) -> None:
        import torch

        self.torch = torch
        self.nn = torch.nn
        self.random = torch.Generator().manual_seed(seed)
        self.activation = activation or (lambda: torch.nn.SiLU())
        self.common, self.yolo = sys.modules["models.common"], sys.modules["models.yolo"]

    def make(self, name: str, **attributes: Any) -> Any:
        module = getattr(self.yolo if hasattr(self.yolo, name) else self.common, name)()
        for key, value in attributes.items():
            setattr(module, key, value)
        return module

    def norm(self, channels: int) -> Any:
        norm = self.nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
        for tensor, low, high in ((norm.weight, 0.5, 1.5), (norm.bias, -0.5, 0.5), (norm.running_mean, -0.5, 0.5),
                                  (norm.running_var, 0.3, 1.2)):  # fmt: skip
            tensor.data.uniform_(low, high, generator=self.random)
        return norm

    def conv2d(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = False,
               padding: int | None = None) -> Any:  # fmt: skip
        pad = kernel // 2 if padding is None else padding
        conv = self.nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=bias)
        conv.weight.data.normal_(0, (inputs // groups * kernel * kernel) ** -0.5, generator=self.random)
        return conv

    def conv(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True,
             name: str = "Conv", padding: int | None = None) -> Any:  # fmt: skip
        return self.make(
            name,
            conv=self.conv2d(inputs, outputs, kernel, stride, groups, padding=padding),
            bn=self.norm(outputs),
            act=self.activation() if act else self.nn.Identity(),
        )

    def bottleneck(self, channels: int, add: bool) -> Any:
        return self.make("Bottleneck", cv1=self.conv(channels, channels), cv2=self.conv(channels, channels, 3), add=add)

    def c3(
        self, inputs: int, outputs: int, count: int = 1, add: bool = True, inner: Any = None, name: str = "C3"
    ) -> Any:
        half = outputs // 2
        parts = [self.bottleneck(half, add) for _ in range(count)] if inner is None else [inner(half)]
        return self.make(
            name,
            cv1=self.conv(inputs, half),
            cv2=self.conv(inputs, half),
            cv3=self.conv(outputs, outputs),
            m=self.nn.Sequential(*parts) if len(parts) > 1 or inner is None else parts[0],
        )

    def csp(self, inputs: int, outputs: int) -> Any:
        half = outputs // 2
        return self.make(
            "BottleneckCSP",
            cv1=self.conv(inputs, half),
            cv2=self.conv2d(inputs, half),
            cv3=self.conv2d(half, half),
            cv4=self.conv(outputs, outputs),
            bn=self.norm(outputs),
            act=self.nn.LeakyReLU(0.1),
            m=self.nn.Sequential(self.bottleneck(half, True)),
        )

    def ghost_conv(self, inputs: int, outputs: int, act: bool = True) -> Any:
        half = outputs // 2
        cheap = self.conv(half, half, 5, groups=half, act=act)
        return self.make("GhostConv", cv1=self.conv(inputs, half, act=act), cv2=cheap)

    def ghost_bottleneck(self, channels: int) -> Any:
        body = self.nn.Sequential(
            self.ghost_conv(channels, channels // 2),
            self.nn.Identity(),
            self.ghost_conv(channels // 2, channels, False),
        )
        return self.make("GhostBottleneck", conv=body, shortcut=self.nn.Identity())

    def spp(self, channels: int) -> Any:
        pools = self.nn.ModuleList([self.nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13)])
        half = channels // 2
        return self.make("SPP", cv1=self.conv(channels, half), cv2=self.conv(half * 4, channels), m=pools)

    def sppf(self, channels: int) -> Any:
        half = channels // 2
        pool = self.nn.MaxPool2d(5, 1, 2)
        return self.make("SPPF", cv1=self.conv(channels, half), cv2=self.conv(half * 4, channels), m=pool)

    def transformer(self, channels: int) -> Any:
        def linear(bias: bool = False) -> Any:
            layer = self.nn.Linear(channels, channels, bias=bias)
            layer.weight.data.normal_(0, channels**-0.5, generator=self.random)
            return layer

        def block() -> Any:
            attention = self.nn.MultiheadAttention(channels, 2)
            for parameter in attention.parameters():
                parameter.data.normal_(0, channels**-0.5, generator=self.random)
            return self.make(
                "TransformerLayer", q=linear(), k=linear(), v=linear(), ma=attention, fc1=linear(), fc2=linear()
            )

        return self.make(
            "TransformerBlock", conv=None, linear=linear(True), tr=self.nn.Sequential(block(), block()), c2=channels
        )

    def detect(self, channels: list[int], strides: list[int], classes: int) -> Any:
        torch, levels = self.torch, len(channels)
        anchors = torch.rand(levels, 2, 2, generator=self.random) * 3 + 1
        detect = self.make("Detect", nc=classes, no=classes + 5, nl=levels, na=2, grid=[torch.zeros(1)] * levels,
                           stride=torch.tensor(strides, dtype=torch.float32), inplace=True)  # fmt: skip
        detect.register_buffer("anchors", anchors)
        detect.m = self.nn.ModuleList([self.conv2d(c, 2 * (classes + 5), bias=True) for c in channels])
        return detect

    def network(self, layers: list[tuple[Any, Any]], classes: int, name: str = "Model") -> Any:
        """A whole model of (layer, sources)."""
        kept = set()
        for index, (layer, source) in enumerate(layers):
            layer.i, layer.f, layer.type = index, source, f"{type(layer).__module__}.{type(layer).__name__}"
            kept |= {s % index for s in ([source] if isinstance(source, int) else source) if s != -1}
        model = self.make(
            name,
            model=self.nn.Sequential(*(layer for layer, _ in layers)),
            save=sorted(kept),
            names=[f"thing{i}" for i in range(classes)],
            yaml={"nc": classes, "ch": 3},
            stride=layers[-1][0].stride,
        )
        return model.eval()


def release_6(b: Builder, name: str = "Model") -> Any:
    """The shape of releases 6 and 7: two levels, every kind of edge between layers."""
    layers: list[tuple[Any, Any]] = [
        (b.conv(3, 8, 6, 2, padding=2), -1),
        (b.conv(8, 16, 3, 2), -1),
        (b.c3(16, 16, 2), -1),
        (b.conv(16, 16, 3, 2), -1),
        (b.c3(16, 16), -1),
        (b.conv(16, 32, 3, 2), -1),
        (b.sppf(32), -1),
        (b.conv(32, 16), -1),
        (b.nn.Upsample(None, 2, "nearest"), -1),
        (b.make("Concat", d=1), [-1, 4]),
        (b.c3(32, 16, add=False), -1),
        (b.conv(16, 16, 3, 2), -1),
        (b.make("Concat", d=1), [-1, 7]),
        (b.c3(32, 32, add=False), -1),
        (b.detect([16, 32], [8, 16], 3), [10, 13]),
    ]
    return b.network(layers, 3, name)


def first_releases(b: Builder) -> Any:
    """Focus, BottleneckCSP, SPP and leaky activations."""
    layers: list[tuple[Any, Any]] = [
        (b.make("Focus", conv=b.conv(12, 8, 3)), -1),
        (b.conv(8, 16, 3, 2), -1),
        (b.csp(16, 16), -1),
        (b.conv(16, 32, 3, 2), -1),
        (b.spp(32), -1),
        (b.csp(32, 32), -1),
        (b.detect([16, 32], [4, 8], 2), [2, 5]),
    ]
    return b.network(layers, 2)


def experimental(b: Builder, transformer: bool = False) -> Any:
    """Depthwise, ghost, contract, expand, pyramid inside a C3; with a transformer if asked."""
    layers: list[tuple[Any, Any]] = [
        (b.make("Contract", gain=2), -1),
        (b.conv(12, 16, 3, 2), -1),
        (b.c3(16, 16, inner=lambda c: b.nn.Sequential(b.ghost_bottleneck(c)), name="C3Ghost"), -1),
        (b.conv(16, 16, 3, 2, groups=16, name="DWConv"), -1),
        (b.c3(16, 32, inner=b.spp, name="C3SPP"), -1),
        (b.make("Expand", gain=2), -1),
        (b.conv(8, 16, 3, 2), -1),
        (b.c3(16, 16, inner=b.transformer, name="C3TR") if transformer else b.ghost_conv(16, 16), -1),
        (b.detect([16], [8], 2), [-1]),
    ]
    return b.network(layers, 2, "DetectionModel")


@contextlib.contextmanager
def published_names() -> Iterator[None]:
    """The classes of published pickles, for as long as the block lasts."""
    from torch import nn

    made: dict[str, ModuleType] = {"models": ModuleType("models")}
    for module_name, classes in _CLASSES.items():
        module = made[module_name] = ModuleType(module_name)
        for name in classes.split():
            made_class = type(name, (nn.Module,), {"__module__": module_name})
            setattr(module, name, made_class)
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def save(path: Path, make: Any, half: bool = True, **more: Any) -> Path:
    """Saves a checkpoint dict that holds the model `make(Builder)` gives; half precision, as published ones are."""
    import torch

    with published_names():
        model = make(Builder(**more.pop("builder", {})))
        torch.save({"epoch": -1, "model": model.half() if half else model, "ema": None, **more}, path)
    return path
