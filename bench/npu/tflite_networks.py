"""INT8 .tflite files of known architectures with random weights: `python -m bench.npu.tflite_networks OUT [name ...]`.

Runs in an interpreter that has TensorFlow, and imports nothing else. Time on an NPU follows from shapes, so weights need not be
trained; they are normally distributed, since a compiler that compresses weights would gain nothing on uniform ones. Activations
are calibrated on two random inputs. A file that exists is kept.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_V5_REPEATS = (3, 6, 9, 3)


def _keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow

    return tensorflow.keras


def _published(name: str, side: int, **options: Any) -> Callable[[], Any]:
    def build() -> Any:
        return getattr(_keras().applications, name)(weights=None, input_shape=(side, side, 3), **options)

    return build


def _unet() -> Any:
    """The U-Net of bench/models, 3.8 M parameters, 256 x 256."""
    keras = _keras()
    layers = keras.layers

    def pair(x: Any, channels: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    widths = (32, 64, 128, 192, 256)
    image = keras.Input((256, 256, 3))
    x, kept = image, []
    for level, width in enumerate(widths):
        x = pair(layers.MaxPooling2D(2)(x) if level else x, width)
        kept.append(x)
    for width, skip in zip(widths[-2::-1], kept[-2::-1], strict=True):
        x = pair(layers.Concatenate()([skip, layers.Conv2DTranspose(width, 2, 2)(x)]), width)
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def _yolov5(depth: float, width: float) -> Callable[[], Any]:
    """YOLOv5 (release 6) at 640 up to its three maps; boxes are decoded on the CPU."""

    def build() -> Any:
        keras = _keras()
        layers = keras.layers
        c = [int(w * width) for w in (64, 128, 256, 512, 1024)]
        repeats = [max(round(n * depth), 1) for n in _V5_REPEATS]

        def conv(x: Any, channels: int, kernel: int = 1, stride: int = 1) -> Any:
            if stride > 1:
                x = layers.ZeroPadding2D((kernel - 1) // 2)(x)
            y = layers.Conv2D(channels, kernel, stride, "valid" if stride > 1 else "same", use_bias=False)(x)
            return layers.Activation("silu")(layers.BatchNormalization()(y))

        def stage(x: Any, channels: int, count: int, residual: bool) -> Any:
            half = channels // 2
            y = conv(x, half)
            for _ in range(count):
                z = conv(conv(y, half), half, 3)
                y = layers.Add()([y, z]) if residual else z
            return conv(layers.Concatenate()([y, conv(x, half)]), channels)

        def join(x: Any, skip: Any, channels: int, up: bool) -> Any:
            # UpSampling2D would become hundreds of copies.
            larger = layers.Resizing(2 * x.shape[1], 2 * x.shape[2], interpolation="nearest")
            x = larger(x) if up else conv(x, x.shape[-1], 3, 2)
            return stage(layers.Concatenate()([x, skip]), channels, repeats[0], False)

        image = keras.Input((640, 640, 3))
        x, maps = conv(image, c[0], 6, 2), []
        for channels, count in zip(c[1:], repeats, strict=True):
            x = stage(conv(x, channels, 3, 2), channels, count, True)
            maps.append(x)
        parts = [conv(x, c[4] // 2)]
        for _ in range(3):
            parts.append(layers.MaxPooling2D(5, 1, "same")(parts[-1]))
        n5 = conv(conv(layers.Concatenate()(parts), c[4]), c[3])
        n4 = conv(join(n5, maps[2], c[3], up=True), c[2])
        o3 = join(n4, maps[1], c[2], up=True)
        o4 = join(o3, n4, c[3], up=False)
        o5 = join(o4, n5, c[4], up=False)
        return keras.Model(image, [layers.Conv2D(255, 1)(x) for x in (o3, o4, o5)])

    return build


NETWORKS: dict[str, Callable[[], Any]] = {
    "mobilenet_v2": _published("MobileNetV2", 224),
    "resnet50": _published("ResNet50", 224),
    "mobilenet_v1": _published("MobileNet", 224),
    "mobilenet_v3_large": _published("MobileNetV3Large", 224, include_preprocessing=False),
    "efficientnet_b0": _published("EfficientNetB0", 224),
    "yolov5n": _yolov5(0.33, 0.25),
    "unet": _unet,
    "inception_v3": _published("InceptionV3", 299),
    "densenet121": _published("DenseNet121", 224),
    "yolov5s": _yolov5(0.33, 0.5),
}
# For a last prediction: nothing of the model or its constants may be chosen after looking at what Vela says of these.
FRESH: dict[str, Callable[[], Any]] = {
    "mobilenet_v2_140_160": _published("MobileNetV2", 160, alpha=1.4),
    "efficientnet_v2_b1": _published("EfficientNetV2B1", 240, include_preprocessing=False),
    "vgg16_160": _published("VGG16", 160, include_top=False),
}


def _spread(model: Any) -> None:
    """Normally distributed weights that keep the activations' scale, the same in every run."""
    random = np.random.default_rng(1)
    weights = []
    for weight in model.get_weights():
        if weight.ndim > 1:
            depthwise = weight.ndim == 4 and weight.shape[-1] == 1
            fan = int(np.prod(weight.shape[:2] if depthwise else weight.shape[:-1]))
            weight = random.normal(0, np.sqrt(2 / fan), weight.shape).astype(np.float32)
        weights.append(weight)
    model.set_weights(weights)


def convert(name: str) -> bytes:
    """The network as an INT8 .tflite, integers at its entry and exit too."""
    keras = _keras()
    import tensorflow as tf

    keras.backend.clear_session()
    model = (NETWORKS | FRESH)[name]()
    _spread(model)
    shape = [1, *model.inputs[0].shape[1:]]

    def samples() -> Iterator[list[Any]]:
        random = np.random.default_rng(5)
        for _ in range(2):
            yield [random.uniform(-1, 1, shape).astype(np.float32)]

    # The entry is declared anew, for one picture: an open batch would be left to the reader of the file.
    entry = keras.Input(batch_shape=shape)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(entry, model(entry)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> int:
    """Command line."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(NETWORKS)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path, begin = folder / f"{name}.tflite", time.perf_counter()
        if not path.exists():
            part = path.with_suffix(".part")  # an interrupted run leaves no file that looks whole
            part.write_bytes(convert(name))
            part.rename(path)
            print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, {time.perf_counter() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
