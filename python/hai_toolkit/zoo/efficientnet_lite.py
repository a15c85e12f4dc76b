"""EfficientNet-Lite: Tan and Le, "EfficientNet", ICML 2019, in its variants for edge devices.

No squeeze-and-excitation, ReLU6 everywhere. Parameters come from a published PyTorch state dict (``_conv_stem.weight``,
``_blocks.3._bn1.running_mean``, ...), read without PyTorch. Padding is TensorFlow's "same": with stride 2 the odd pixel
goes to the bottom and right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HaiError
from ..graph import GraphBuilder, Tensor
from ..model import Model
from ..preprocessing import Preprocessing

StateDict = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


# Table 1 of the paper (B0), as Lite0 uses it.
_LITE0 = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_EPSILON = 1e-3


class _Network:
    """Writes the layers of one state dict into a graph and keeps account of what was used."""

    def __init__(self, graph: GraphBuilder, parameters: StateDict) -> None:
        self.graph = graph
        self.parameters = parameters
        self.used: set[str] = set()

    def parameter(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        values = self.parameters.get(name)
        if values is None:
            raise HaiError("HAI-Y020", f'the state dict has no "{name}": it is not an EfficientNet-Lite0')
        if values.shape != shape:
            raise HaiError("HAI-Y021", f'"{name}" has shape {values.shape}, EfficientNet-Lite0 needs {shape}')
        self.used.add(name)
        return np.asarray(values, dtype=np.float32)

    def convolution(
        self,
        x: Tensor,
        conv: str,
        norm: str,
        channels: tuple[int, int],
        kernel: int,
        stride: int,
        *,
        size: int,
        groups: int = 1,
    ) -> Tensor:
        """Convolution without bias, then batch normalization; ``size`` is the height and width of ``x``."""
        inputs, outputs = channels
        weights = self.parameter(f"{conv}.weight", (outputs, inputs // groups, kernel, kernel)).transpose(0, 2, 3, 1)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        before, after = total // 2, total - total // 2
        x = self.graph.conv2d(
            x, weights, stride=stride, padding=(before, before, after, after), groups=groups, name=conv
        )
        statistics = [
            self.parameter(f"{norm}.{part}", (outputs,)) for part in ("weight", "bias", "running_mean", "running_var")
        ]
        return self.graph.batch_norm(x, *statistics, epsilon=_EPSILON, name=norm)


def efficientnet_lite0(parameters: StateDict, batch: tuple[int, int] | None = (1, 16), size: int = 224) -> Model:
    """EfficientNet-Lite0: RGB pictures [N, 3, size, size], (x - 127) / 128, to logits [N, classes]."""
    graph = GraphBuilder("efficientnet_lite0", batch)
    network = _Network(graph, parameters)
    pixels = size
    image = graph.input("image", ("N" if batch else 1, 3, size, size))
    x = graph.transpose(image, (0, 2, 3, 1))
    x = graph.unary("relu6", network.convolution(x, "_conv_stem", "_bn0", (3, 32), 3, 2, size=size))
    size = -(-size // 2)
    channels = 32
    index = 0
    for stage in _LITE0:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            prefix = f"_blocks.{index}"
            residual = x
            wide = channels * stage.expansion
            if stage.expansion != 1:
                x = network.convolution(
                    x, f"{prefix}._expand_conv", f"{prefix}._bn0", (channels, wide), 1, 1, size=size
                )
                x = graph.unary("relu6", x)
            x = network.convolution(
                x,
                f"{prefix}._depthwise_conv",
                f"{prefix}._bn1",
                (wide, wide),
                stage.kernel,
                stride,
                size=size,
                groups=wide,
            )
            x = graph.unary("relu6", x)
            size = -(-size // stride)
            x = network.convolution(
                x, f"{prefix}._project_conv", f"{prefix}._bn2", (wide, stage.channels), 1, 1, size=size
            )
            if stride == 1 and channels == stage.channels:
                x = graph.add(x, residual)
            channels = stage.channels
            index += 1
    x = graph.unary("relu6", network.convolution(x, "_conv_head", "_bn1", (channels, 1280), 1, 1, size=size))
    x = graph.global_average_pool(x)
    weight = parameters.get("_fc.weight")
    classes = weight.shape[0] if weight is not None and weight.ndim == 2 else 1000
    x = graph.matmul(
        x, network.parameter("_fc.weight", (classes, 1280)), network.parameter("_fc.bias", (classes,)), name="_fc"
    )
    graph.output(x, "logits")
    unused = sorted(
        name for name in parameters if name not in network.used and not name.endswith("num_batches_tracked")
    )
    if unused:
        raise HaiError(
            "HAI-Y022",
            f"the state dict has {len(unused)} parameters that EfficientNet-Lite0 does not know, first {unused[0]!r}",
        )
    preprocessing = Preprocessing(
        width=pixels,
        height=pixels,
        resize_rule="short_side",
        resize_size=pixels * 8 // 7,
        mean=(127.0, 127.0, 127.0),
        scale=(1 / 128, 1 / 128, 1 / 128),
        input="image",
    )
    return Model(graph.native, preprocessing=preprocessing)
