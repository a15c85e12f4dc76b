"""YOLOv5 checkpoints as HAI graphs, built layer by layer through the graph builder.

Method: the network's list of layers is walked as the published forward walks it (each layer names the earlier results it
reads), and each known kind of layer writes its operators. BatchNorm stays a node of its own: folding it is a pass, and
calibration without pictures needs its statistics. The batch is free. Boxes are decoded in f32 after the last convolutions, as
the published evaluation mode does: [N, boxes, x y w h objectness classes...] in pixels of the input. A layer of another kind is
refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import HaiError
from ..graph import GraphBuilder, Tensor
from ..model import Model
from ..preprocessing import Preprocessing
from ..state_dict.tensors import shown
from .layer import Layer, is_torch_module
from .records import is_module
from .transformer import write_block

_MOST_LAYERS = 20_000
_MOST_BYTES = 4 << 30  # of constants: a file can mention one tensor a million times
_DEEPEST = 16
_SIDE_LIMIT = 4096
_UNARY = {
    "SiLU": "silu",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "Hardswish": "hard_swish",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
NETWORKS = ("Model", "DetectionModel")


@dataclass(frozen=True)
class DetectorInfo:
    """What a checkpoint says of its detector."""

    family: str
    classes: int
    names: tuple[str, ...]
    strides: tuple[int, ...]
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.family} checkpoint, {self.classes} classes, {self.width}x{self.height}"


def find_network(checkpoint: Any) -> Any:
    """The module in what ``torch.load`` or ``read_checkpoint`` gave, or None.

    As the published loader does, the averaged weights (``ema``) are taken where a checkpoint still has both.
    """
    if isinstance(checkpoint, dict):
        for key in ("ema", "model"):
            if is_module(checkpoint.get(key)) or is_torch_module(checkpoint.get(key)):
                return checkpoint[key]
        return None
    return checkpoint if is_module(checkpoint) or is_torch_module(checkpoint) else None


def is_known(network: Any) -> bool:
    """Whether `network` is a whole detector that `build` takes."""
    return (is_module(network) or is_torch_module(network)) and Layer(network, "").kind in NETWORKS


def build(
    network: Any,
    size: tuple[int, int] | None = None,
    batch: tuple[int, int] = (1, 16),
    classes: Sequence[str] | None = None,
    seed: int = 1,
) -> tuple[Model, DetectorInfo]:
    """The graph of a detector for pictures of `size` (height, width), and what the checkpoint says of it.

    Without a size it is the published one: 640, or 1280 for networks with a stride of 64. ``classes``: other classes than the
    checkpoint's, for training. What the head knows of boxes and objectness stays; its classes start anew, small weights drawn
    by ``seed`` and a bias by which each of them has a share of 0.6, as published training starts.
    """
    root = Layer(network, "")
    if root.kind not in NETWORKS:
        raise root.error(
            "HAI-Y221", "it is not a detector that hai_toolkit knows; pass the module itself with example_inputs="
        )
    layers = root.child("model").children()
    if not layers or layers[-1].kind != "Detect":
        last = layers[-1].full_name if layers else "missing"
        raise root.error(
            "HAI-Y222",
            f"its last layer is {last}; Detect is expected: segmentation and classification "
            "networks are not taken from checkpoints: pass the module itself with example_inputs=",
        )
    info = _describe(root, layers[-1], size)
    network_ = _Network(GraphBuilder("yolov5", batch))
    if classes is not None:
        names = tuple(str(name) for name in classes)
        if not 1 <= len(names) <= 1000 or len(set(names)) != len(names):
            raise HaiError("HAI-Y254", f"{len(names)} classes are given; give 1 to 1000 different names")
        network_.fresh_classes = (info.classes, np.random.default_rng(seed))
        info = replace(info, classes=len(names), names=names)
    network_.run(layers, _channels(root), info)
    graph = network_.graph.native
    graph.set_metadata("family", info.family)
    graph.set_metadata("labels", json.dumps(info.names))
    preprocessing = Preprocessing(
        width=info.width,
        height=info.height,
        resize_rule="letterbox",
        scale=(1 / 255, 1 / 255, 1 / 255),
        pad_value=114.0,
        input="images",
    )
    return Model(graph, preprocessing), info


def _channels(root: Layer) -> int:
    table = root.value("yaml")
    channels = table.get("ch", 3) if isinstance(table, dict) else 3
    if not isinstance(channels, int) or isinstance(channels, bool) or not 1 <= channels <= 64:
        raise root.error("HAI-Y223", f"its input has {shown(channels)} channels; 1..64 are expected")
    return channels


def _describe(root: Layer, detect: Layer, size: tuple[int, int] | None) -> DetectorInfo:
    strides = detect.tensor("stride", (detect.integer("nl", 1, 16),))
    if any(s not in (4, 8, 16, 32, 64, 128) for s in strides):
        raise detect.error("HAI-Y224", f"its strides are {strides.tolist()}; powers of two from 4 to 128 are expected")
    largest = int(strides.max())
    height, width = size or ((1280, 1280) if largest >= 64 else (640, 640))
    for side in (height, width):
        if side < largest or side > _SIDE_LIMIT or side % largest:
            raise HaiError(
                "HAI-Y225",
                f"pictures of {width}x{height}: both sides must be multiples of the network's stride {largest}, up to "
                f"{_SIDE_LIMIT}",
            )
    classes = detect.integer("nc", 1, 100_000)
    names = root.value("names")
    if isinstance(names, dict):
        names = [names.get(i) for i in range(classes)]
    known = isinstance(names, list | tuple) and len(names) == classes and all(isinstance(n, str) for n in names)
    labels = tuple(n[:200] for n in names) if known else tuple(f"class{i}" for i in range(classes))
    return DetectorInfo("YOLOv5", classes, labels, tuple(int(s) for s in strides), width, height)


class _Network:
    """Writes layers into a graph."""

    def __init__(self, graph: GraphBuilder) -> None:
        self.graph = graph
        # How many classes the checkpoint has, and what draws weights for others instead.
        self.fresh_classes: tuple[int, np.random.Generator] | None = None
        self._count = 0
        self._bytes = 0
        self._depth = 0

    def run(self, layers: list[Layer], channels: int, info: DetectorInfo) -> None:
        image = self.graph.input("images", ("N", channels, info.height, info.width))
        x = self.graph.transpose(image, (0, 2, 3, 1))
        results: list[Tensor] = []
        for index, layer in enumerate(layers):
            sources = self._sources(layer, index)
            inputs = [x if s == -1 else results[s] for s in sources]
            if layer.kind == "Concat":
                x = self._concat(layer, inputs)
            elif layer.kind == "Detect":
                if index != len(layers) - 1:
                    raise layer.error("HAI-Y226", "it is not the last layer")
                self.graph.output(self._detect(layer, inputs, info), "output")
                return
            elif len(inputs) != 1:
                raise layer.error("HAI-Y227", f"it reads {len(inputs)} results; one is expected")
            else:
                x = self.layer(layer, inputs[0])
            results.append(x)

    @staticmethod
    def _sources(layer: Layer, index: int) -> list[int]:
        value = layer.value("f")
        items = list(value) if isinstance(value, list | tuple) else [value]
        for item in items:
            if not isinstance(item, int) or isinstance(item, bool) or not -max(index, 1) <= item < max(index, 0):
                raise layer.error("HAI-Y228", f"it reads result {shown(item)}, which does not come before it")
        if not 1 <= len(items) <= 64:
            raise layer.error("HAI-Y229", f"it reads {len(items)} results; 1..64 are expected")
        return [item if item >= -1 else index + item for item in items]

    def layer(self, layer: Layer, x: Tensor) -> Tensor:
        """The operators of one layer and of the layers inside it."""
        self._count += 1
        if self._count > _MOST_LAYERS or self._depth >= _DEEPEST:
            raise layer.error("HAI-Y230", f"more than {_MOST_LAYERS} layers, or nested deeper than {_DEEPEST}")
        write = _LAYERS.get(layer.kind)
        if write is None:
            raise layer.error(
                "HAI-Y231",
                f"this layer is not known; known are {', '.join(sorted(_LAYERS))}. Load the network where its code is "
                "installed and pass the module with example_inputs=, or export it to ONNX and pass the file",
            )
        self._depth += 1
        try:
            return write(self, layer, x)
        except HaiError as cause:
            if layer.path and layer.path not in cause.message:
                raise layer.error(cause.code, cause.message) from None
            raise
        finally:
            self._depth -= 1

    # --- layers of PyTorch ---------------------------------------------------------------------------------------------------
    def conv2d(self, layer: Layer, x: Tensor) -> Tensor:
        groups = layer.integer("groups", 1, 1 << 20)
        inputs, outputs = layer.integer("in_channels", 1, 1 << 20), layer.integer("out_channels", 1, 1 << 20)
        kernel, dilation = layer.pair("kernel_size", 1), layer.pair("dilation", 1)
        if layer.value("padding_mode", "zeros") != "zeros":
            raise layer.error("HAI-Y232", f"padding_mode is {shown(layer.value('padding_mode'))}; zeros is known")
        if layer.value("padding") == "same":
            total = [d * (k - 1) for d, k in zip(dilation, kernel)]
            pads = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
        else:
            rows, columns = layer.pair("padding", 0)
            pads = (rows, columns, rows, columns)
        weight = layer.tensor("weight", (outputs, inputs // groups, *kernel))
        bias = layer.optional_tensor("bias", (outputs,))
        self._account(layer, weight.nbytes)
        return self.graph.conv2d(
            x,
            weight.transpose(0, 2, 3, 1),
            bias,
            stride=layer.pair("stride", 1),
            padding=pads,
            dilation=dilation,
            groups=groups,
            name=layer.path,
        )

    def batch_norm(self, layer: Layer, x: Tensor) -> Tensor:
        channels = layer.integer("num_features", 1, 1 << 20)
        mean, variance = layer.tensor("running_mean", (channels,)), layer.tensor("running_var", (channels,))
        if (variance < 0).any():
            raise layer.error("HAI-Y233", "running_var has negative values; is the checkpoint damaged?")
        scale, bias = (layer.optional_tensor(name, (channels,)) for name in ("weight", "bias"))
        return self.graph.batch_norm(
            x,
            np.ones(channels, np.float32) if scale is None else scale,
            np.zeros(channels, np.float32) if bias is None else bias,
            mean,
            variance,
            epsilon=layer.number("eps"),
            name=layer.path,
        )

    def activation(self, layer: Layer, x: Tensor) -> Tensor:
        if layer.kind == "LeakyReLU":
            return self.graph.append("leaky_relu", [x], {"alpha": layer.number("negative_slope")}, layer.path)[0]
        if layer.kind == "Hardsigmoid":
            return self.graph.append("hard_sigmoid", [x], {"alpha": 1 / 6, "beta": 0.5}, layer.path)[0]
        if layer.kind == "GELU":
            if layer.value("approximate", "none") != "none":
                raise layer.error("HAI-Y234", f"approximate is {shown(layer.value('approximate'))}; none is known")
            return self.graph.unary("gelu", x, name=layer.path)
        return self.graph.unary(_UNARY[layer.kind], x, name=layer.path)

    def identity(self, layer: Layer, x: Tensor) -> Tensor:
        return x

    def sequential(self, layer: Layer, x: Tensor) -> Tensor:
        for child in layer.children():
            x = self.layer(child, x)
        return x

    def max_pool(self, layer: Layer, x: Tensor) -> Tensor:
        if layer.pair("dilation", 1) != (1, 1) or layer.value("return_indices", False) is not False:
            raise layer.error("HAI-Y235", "dilation and return_indices are not known here")
        rows, columns = layer.pair("padding", 0)
        attributes: dict[str, Any] = {
            "kernel": layer.pair("kernel_size", 1),
            "strides": layer.pair("stride", 1),
            "pads": (rows, columns, rows, columns),
            "ceil_mode": int(layer.value("ceil_mode", False) is True),
        }
        return self.graph.append("max_pool", [x], attributes, layer.path)[0]

    def upsample(self, layer: Layer, x: Tensor) -> Tensor:
        factor, mode = layer.value("scale_factor"), layer.value("mode", "nearest")
        items = tuple(factor) if isinstance(factor, tuple | list) else (factor, factor)
        whole = len(items) == 2 and all(isinstance(i, int | float) and i in range(1, 17) for i in items)
        if not whole or layer.value("size") is not None or mode not in ("nearest", "bilinear"):
            raise layer.error(
                "HAI-Y236",
                f"scale_factor {shown(factor)}, mode {shown(mode)}: nearest or bilinear by a whole "
                "factor in 1..16 is known",
            )
        attributes: dict[str, Any] = {"scales": [float(i) for i in items]}
        if mode == "nearest":
            attributes |= {"mode": "nearest", "coordinates": "asymmetric", "nearest": "floor"}
        else:
            aligned = layer.value("align_corners") is True
            attributes |= {"mode": "linear", "coordinates": "align_corners" if aligned else "half_pixel"}
        return self.graph.append("resize", [x], attributes, layer.path)[0]

    # --- modules of the detector ---------------------------------------------------------------------------------------------
    def conv(self, layer: Layer, x: Tensor) -> Tensor:
        x = self.layer(layer.child("conv"), x)
        norm = layer.optional_child("bn")
        if norm is not None:
            x = self.layer(norm, x)
        return self.layer(layer.child("act"), x)

    def bottleneck(self, layer: Layer, x: Tensor) -> Tensor:
        y = self.layer(layer.child("cv2"), self.layer(layer.child("cv1"), x))
        return self.graph.add(x, y, name=f"{layer.path}.add") if layer.value("add") is True else y

    def c3(self, layer: Layer, x: Tensor) -> Tensor:
        deep = self.layer(layer.child("m"), self.layer(layer.child("cv1"), x))
        joined = [deep, self.layer(layer.child("cv2"), x)]
        return self.layer(layer.child("cv3"), self.graph.concat(joined, 3, name=f"{layer.path}.concat"))

    def bottleneck_csp(self, layer: Layer, x: Tensor) -> Tensor:
        deep = self.layer(layer.child("m"), self.layer(layer.child("cv1"), x))
        joined = [self.layer(layer.child("cv3"), deep), self.layer(layer.child("cv2"), x)]
        y = self.layer(layer.child("bn"), self.graph.concat(joined, 3, name=f"{layer.path}.concat"))
        return self.layer(layer.child("cv4"), self.layer(layer.child("act"), y))

    def ghost_conv(self, layer: Layer, x: Tensor) -> Tensor:
        half = self.layer(layer.child("cv1"), x)
        return self.graph.concat([half, self.layer(layer.child("cv2"), half)], 3, name=f"{layer.path}.concat")

    def ghost_bottleneck(self, layer: Layer, x: Tensor) -> Tensor:
        y = self.layer(layer.child("conv"), x)
        return self.graph.add(y, self.layer(layer.child("shortcut"), x), name=f"{layer.path}.add")

    def spp(self, layer: Layer, x: Tensor) -> Tensor:
        x = self.layer(layer.child("cv1"), x)
        parts = [x, *(self.layer(pool, x) for pool in layer.child("m").children())]
        return self.layer(layer.child("cv2"), self.graph.concat(parts, 3, name=f"{layer.path}.concat"))

    def sppf(self, layer: Layer, x: Tensor) -> Tensor:
        parts = [self.layer(layer.child("cv1"), x)]
        pool = layer.child("m")
        for index in range(3):
            parts.append(self.layer(_renamed(pool, f"{layer.path}.m{index}"), parts[-1]))
        return self.layer(layer.child("cv2"), self.graph.concat(parts, 3, name=f"{layer.path}.concat"))

    def transformer(self, layer: Layer, x: Tensor) -> Tensor:
        return write_block(self.graph, layer, x, self.layer)

    def focus(self, layer: Layer, x: Tensor) -> Tensor:
        height, width = self._even(layer, x, 2)
        parts = []
        for column in (0, 1):
            for row in (0, 1):
                attributes = {"starts": [row, column], "ends": [height, width], "axes": [1, 2], "steps": [2, 2]}
                parts.append(self.graph.append("slice", [x], attributes, f"{layer.path}.slice{row}{column}")[0])
        return self.layer(layer.child("conv"), self.graph.concat(parts, 3, name=f"{layer.path}.concat"))

    def contract(self, layer: Layer, x: Tensor) -> Tensor:
        g = layer.integer("gain", 1, 16)
        height, width = self._even(layer, x, g)
        channels = self._channels(layer, x, 1)
        x = self.graph.reshape(x, (0, height // g, g, width // g, g, channels))
        x = self.graph.transpose(x, (0, 1, 3, 2, 4, 5))
        return self.graph.reshape(x, (0, height // g, width // g, g * g * channels), name=layer.path)

    def expand(self, layer: Layer, x: Tensor) -> Tensor:
        g = layer.integer("gain", 1, 16)
        height, width = self._even(layer, x, 1)
        channels = self._channels(layer, x, g * g)
        x = self.graph.reshape(x, (0, height, width, g, g, channels))
        x = self.graph.transpose(x, (0, 1, 3, 2, 4, 5))
        return self.graph.reshape(x, (0, height * g, width * g, channels), name=layer.path)

    def _concat(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        if layer.value("d", 1) != 1:
            raise layer.error("HAI-Y237", f"it joins along axis {shown(layer.value('d'))}; 1 (channels) is known")
        return self.graph.concat(inputs, 3, name=layer.path)

    def _detect(self, layer: Layer, maps: list[Tensor], info: DetectorInfo) -> Tensor:
        levels, anchors = len(info.strides), layer.integer("na", 1, 64)
        stored = layer.integer("no", 6, 200_000)
        outputs = info.classes + 5
        published = info.classes if self.fresh_classes is None else self.fresh_classes[0]
        heads = layer.child("m").children()
        if len(maps) != levels or len(heads) != levels or stored != published + 5:
            raise layer.error(
                "HAI-Y238",
                f"{len(maps)} maps, {len(heads)} heads and {stored} outputs do not fit {levels} "
                f"strides and {published} classes",
            )
        sizes = layer.tensor("anchors", (levels, anchors, 2))
        boxes = []
        for level, (head, x) in enumerate(zip(heads, maps)):
            x = self.layer(head, x) if self.fresh_classes is None else self._fresh_head(head, x, anchors, outputs)
            pixels = sizes[level] * np.float32(info.strides[level])
            boxes.append(self._boxes(head.path, x, pixels, info.strides[level], outputs))
        return self.graph.concat(boxes, 1, name=f"{layer.path}.boxes")

    def _fresh_head(self, head: Layer, x: Tensor, anchors: int, outputs: int) -> Tensor:
        """The convolution of a head with other classes: rows of boxes and objectness are the checkpoint's."""
        assert self.fresh_classes is not None
        classes, random = self.fresh_classes
        inputs = head.integer("in_channels", 1, 1 << 20)
        old_weight = head.tensor("weight", (anchors * (classes + 5), inputs, 1, 1)).reshape(
            anchors, classes + 5, inputs
        )
        old_bias = head.tensor("bias", (anchors * (classes + 5),)).reshape(anchors, classes + 5)
        weight = random.normal(0, 0.01, (anchors, outputs, inputs)).astype(np.float32)
        bias = np.full((anchors, outputs), np.log(0.6 / (max(outputs - 5, 2) - 0.99999)), np.float32)
        weight[:, :5], bias[:, :5] = old_weight[:, :5], old_bias[:, :5]
        self._account(head, weight.nbytes)
        return self.graph.conv2d(x, weight.reshape(anchors * outputs, 1, 1, inputs), bias.reshape(-1), name=head.path)

    def _boxes(self, name: str, x: Tensor, anchors: np.ndarray[Any, Any], stride: int, outputs: int) -> Tensor:
        """Maps [N, H, W, anchors * outputs] to boxes [N, anchors * H * W, outputs], anchor first."""
        graph, count = self.graph, len(anchors)
        _, height, width, _ = x.shape
        assert isinstance(height, int) and isinstance(width, int)
        x = graph.transpose(graph.reshape(x, (0, height, width, count, outputs)), (0, 3, 1, 2, 4))
        x = graph.unary("sigmoid", x, name=f"{name}.sigmoid")
        parts = graph.append("split", [x], {"axis": 4, "sizes": [2, 2, outputs - 4]}, f"{name}.split", 3)
        rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        grid = ((np.stack([columns, rows], -1) - 0.5) * stride).astype(np.float32)[None, None]
        centre = graph.mul(parts[0], graph.constant(np.float32(2 * stride)))
        centre = graph.add(centre, graph.constant(grid), name=f"{name}.centre")
        size = graph.unary("square", parts[1])
        size = graph.mul(size, graph.constant(4 * anchors[None, :, None, None]), name=f"{name}.size")
        joined = graph.concat([centre, size, parts[2]], 4)
        return graph.reshape(joined, (0, count * height * width, outputs), name=f"{name}.flat")

    def _even(self, layer: Layer, x: Tensor, factor: int) -> tuple[int, int]:
        _, height, width, _ = x.shape
        if not isinstance(height, int) or not isinstance(width, int) or height % factor or width % factor:
            raise layer.error("HAI-Y239", f"a map of {height}x{width} is not a multiple of {factor}")
        return height, width

    @staticmethod
    def _channels(layer: Layer, x: Tensor, factor: int) -> int:
        channels = x.shape[3]
        if not isinstance(channels, int) or channels % factor:
            raise layer.error("HAI-Y240", f"{channels} channels are not a multiple of {factor}")
        return channels // factor

    def _account(self, layer: Layer, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._bytes > _MOST_BYTES:
            raise layer.error("HAI-Y241", f"the layers up to here have more than {_MOST_BYTES} bytes of weights")


def _renamed(layer: Layer, path: str) -> Layer:
    copy = Layer.__new__(Layer)
    copy.__dict__.update(layer.__dict__ | {"path": path})
    return copy


_LAYERS: dict[str, Callable[[_Network, Layer, Tensor], Tensor]] = {
    **dict.fromkeys((*_UNARY, "LeakyReLU", "Hardsigmoid", "GELU"), _Network.activation),
    "BatchNorm2d": _Network.batch_norm,
    "Bottleneck": _Network.bottleneck,
    "BottleneckCSP": _Network.bottleneck_csp,
    "C3": _Network.c3,
    "C3Ghost": _Network.c3,
    "C3SPP": _Network.c3,
    "C3TR": _Network.c3,
    "Contract": _Network.contract,
    "Conv": _Network.conv,
    "Conv2d": _Network.conv2d,
    "DWConv": _Network.conv,
    "Dropout": _Network.identity,
    "Expand": _Network.expand,
    "Focus": _Network.focus,
    "GhostBottleneck": _Network.ghost_bottleneck,
    "GhostConv": _Network.ghost_conv,
    "Identity": _Network.identity,
    "MaxPool2d": _Network.max_pool,
    "SPP": _Network.spp,
    "SPPF": _Network.sppf,
    "Sequential": _Network.sequential,
    "TransformerBlock": _Network.transformer,
    "Upsample": _Network.upsample,
}
