"""The parts of the accuracy benchmark that decide what a figure means: a detector's head, sound features, kept answers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.accuracy import package_data
from bench.accuracy.onnx_graph import head_nodes


def test_the_head_is_what_follows_the_last_convolutions(tmp_path: Path) -> None:
    def node(op: str, name: str, inputs: list[str], outputs: list[str], **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, inputs, outputs, name=name, **attributes)

    nodes = [
        node("Slice", "focus", ["x", "a", "b"], ["x0"]),  # before any convolution: no head, though none follows a Conv
        node("Conv", "stem", ["x0", "w"], ["s"]),
        node("Sigmoid", "act", ["s"], ["s1"]),
        node("Mul", "silu", ["s", "s1"], ["s2"]),
        node("Conv", "boxes", ["s2", "w"], ["p"]),
        node("Conv", "scores", ["s2", "w"], ["q"]),
        node("Sigmoid", "share", ["q"], ["q1"]),
        node("Concat", "join", ["p", "q1"], ["r"], axis=1),
        node("Transpose", "turn", ["r"], ["y"], perm=[0, 2, 3, 1]),
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], [0.0] * 9)
    bounds = [helper.make_tensor(n, TensorProto.INT64, [4], [0] * 4) for n in "ab"]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "detector",
        [value("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [value("y", TensorProto.FLOAT, None)],
        [weights, *bounds],
    )
    onnx.save(helper.make_model(graph), tmp_path / "d.onnx")
    assert head_nodes(tmp_path / "d.onnx") == {"share", "join", "turn"}


def tone(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)


def test_sound_features_have_the_models_shapes_and_know_a_tone() -> None:
    assert package_data.keyword_features(tone(440)).shape == (1, 49, 10, 1)
    low, high = (package_data.machine_features(tone(hertz)).reshape(-1, 5, 128) for hertz in (200.0, 4000.0))
    assert low.shape == (28, 5, 128)
    assert low[10, 2].argmax() < high[10, 2].argmax()
    # A hundredth of the amplitude is 40 decibels less wherever the tone, not the floor, is heard.
    quiet = package_data.machine_features(0.01 * tone(4000.0)).reshape(-1, 5, 128)
    band = high[10, 2].argmax()
    assert high[10, 2, band] - quiet[10, 2, band] == pytest.approx(40, abs=0.01)


def test_the_parts_of_package_data_share_nothing() -> None:
    pictures, voices = package_data._PICTURES, package_data._VOICES
    assert not set(pictures["calibration"]) & set(pictures["evaluation"])
    assert not set(voices["calibration"]) & set(voices["evaluation"])
    pytest.importorskip("skimage", reason="scikit-image is not installed: its pictures are missing")
    crops = package_data.picture_crops("evaluation", 32, 13)
    assert len(crops) == 13 and all(crop.shape == (32, 32, 3) for crop in crops)
    assert all(
        np.array_equal(a, b) for a, b in zip(crops, package_data.picture_crops("evaluation", 32, 13), strict=True)
    )
