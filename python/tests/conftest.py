"""Small networks and the packages' files that several tests share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest


def package_folder(name: str) -> Path | None:
    """Folder of an installed package, which is not imported; None when it is missing."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@pytest.fixture
def tiny_model() -> hai.Model:
    """Two convolutions, a residual addition, a classifier: [N, 3, 19, 19] to [N, 7]."""
    random = np.random.default_rng(3)

    def weights(*shape: int) -> np.ndarray:
        return random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    graph = hai.GraphBuilder("tiny", batch=(1, 16))
    image = graph.input("image", ("N", 3, 19, 19))
    x = graph.transpose(image, (0, 2, 3, 1))
    x = graph.unary("relu6", graph.conv2d(x, weights(16, 3, 3, 3), stride=2, padding=(0, 0, 1, 1), name="stem"))
    y = graph.unary(
        "silu", graph.conv2d(x, weights(16, 3, 3, 1), weights(16, 1)[:, 0], padding=1, groups=16, name="depthwise")
    )
    x = graph.add(x, y)
    x = graph.global_average_pool(x)
    graph.output(graph.matmul(x, weights(7, 16), weights(7, 1)[:, 0], name="head"), "logits")
    return hai.Model(graph.native)


@pytest.fixture
def pictures() -> Path:
    """The folder of scikit-image's pictures."""
    folder = package_folder("skimage")
    if folder is None:
        pytest.skip("scikit-image is not installed: its pictures are missing")
    return folder / "data"
