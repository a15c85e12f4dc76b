"""``hai train --labels``: a network that learns to find coloured squares, and what is refused or dropped by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import evaluation
from PIL import Image
from test_command_line import PROGRAM, run

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")

SIZE, STRIDE, FIELDS = 64, 8, 7
COLORS = ((220, 60, 50), (60, 210, 70))


def pictures(root: Path, count: int, seed: int) -> dict[str, Any]:
    """Dark noise with one to three red or green squares; COCO's labels of it."""
    random = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    images, boxes = [], []
    for i in range(count):
        pixels = random.normal(50, 25, (SIZE, SIZE, 3)).clip(0, 255)
        for _ in range(random.integers(1, 4)):
            side, kind = int(random.integers(12, 20)), int(random.integers(2))
            x, y = (int(v) for v in random.integers(0, SIZE - side, 2))
            pixels[y : y + side, x : x + side] = COLORS[kind]
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": i,
                    "category_id": kind + 1,
                    "bbox": [x, y, side, side],
                    "area": side**2,
                }
            )
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{seed}_{i}.png")
        images.append({"id": i, "file_name": f"{seed}_{i}.png", "width": SIZE, "height": SIZE})
    return {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
    }


def network(folder: Path, train: str = "loss=yolov5,optimizer=adamw,max_boxes=16") -> Path:
    """Three convolutions and a head of one anchor, decoded as YOLOv5's is."""
    random = np.random.default_rng(5)
    graph = hai.GraphBuilder("squares", batch=(1, 16))
    x = graph.transpose(graph.input("image", ("N", 3, SIZE, SIZE)), (0, 2, 3, 1))
    inputs = 3
    for i, outputs in enumerate((12, 24, 24)):
        w = random.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, 3, 3, inputs)).astype(np.float32)
        x = graph.conv2d(x, w, stride=2, padding=1, name=f"conv{i}")
        ones = np.ones(outputs, np.float32)
        x = graph.unary("relu", graph.batch_norm(x, ones, 0 * ones, 0 * ones, ones, epsilon=1e-5, name=f"norm{i}"))
        inputs = outputs
    bias = np.array([0, 0, 0, 0, -3, 0, 0], np.float32)
    x = graph.conv2d(x, random.normal(0, 0.05, (FIELDS, 1, 1, inputs)).astype(np.float32), bias, name="head")
    cells = SIZE // STRIDE
    x = graph.transpose(graph.reshape(x, (0, cells, cells, 1, FIELDS)), (0, 3, 1, 2, 4))
    xy, wh, rest = graph.append("split", [graph.unary("sigmoid", x)], {"axis": 4, "sizes": [2, 2, 3]}, "", 3)
    rows, columns = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
    corner = ((np.stack([columns, rows], -1) - 0.5) * STRIDE).astype(np.float32)[None, None]
    xy = graph.add(graph.mul(xy, graph.constant(np.float32(2 * STRIDE))), graph.constant(corner))
    wh = graph.mul(graph.unary("square", wh), graph.constant(np.full((1, 1, 1, 1, 2), 4 * 16, np.float32)))
    graph.output(graph.reshape(graph.concat([xy, wh, rest], 4), (0, cells * cells, FIELDS)), "boxes")
    rule = hai.Preprocessing(width=SIZE, height=SIZE, resize_rule="letterbox", scale=(1 / 255,) * 3, pad_value=114.0)
    hai.Model(graph.native, rule).compile(train=train).save(folder / "net.hai")
    return folder / "net.hai"


def labelled(folder: Path, document: dict[str, Any]) -> Path:
    (folder / "labels.json").write_text(json.dumps(document))
    return folder / "labels.json"


FLAGS = ("--learning-rate", 0.01, "--batch", 8, "--augment", "flip,flip_vertical,mosaic", "--plain-epochs", 4, "--json")


def test_squares_are_learnt_and_threads_change_no_bit(tmp_path: Path) -> None:
    labels = labelled(tmp_path, pictures(tmp_path / "pictures", 48, 1))
    model = network(tmp_path)
    answers = []
    for threads in (1, 2):
        text = run(
            "train", model, "--data", tmp_path / "pictures", "--labels", labels, "--out", tmp_path / f"{threads}.hai",
            "--epochs", 16, "--held-out", 0.25, "--threads", threads, *FLAGS,
        )  # fmt: skip
        answers.append(json.loads(text))
    assert (tmp_path / "1.hai").read_bytes() == (tmp_path / "2.hai").read_bytes()
    assert answers[0]["best_map50"] == answers[1]["best_map50"] > 0.5
    assert answers[0]["classes"] == ["red", "green"] and answers[0]["pictures"]["training"] == 36
    fresh = pictures(tmp_path / "fresh", 16, 2)
    # The same figure by the toolkit's own evaluation, on pictures that nobody has seen.
    found = evaluation.evaluate(
        str(tmp_path / "1.hai"), labelled(tmp_path, fresh), "map50", decode="yolov5", images=tmp_path / "fresh"
    )
    assert found.value > 0.5


def test_bad_labels_and_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    document = pictures(tmp_path / "pictures", 8, 1)
    document["annotations"] += [
        {"image_id": 0, "category_id": 1, "bbox": [100, 2, 5, 5], "area": 25},
        {"image_id": 1, "category_id": 1, "bbox": [60, 60, 10, 10], "area": 100},
        {"image_id": 2, "category_id": 1, "bbox": [5, 5, 0, 5], "area": 0},
        {"image_id": 2, "category_id": 1, "bbox": [5, 5, 9, 5], "area": 45, "iscrowd": 1},
    ]
    (tmp_path / "pictures" / "1_3.png").write_bytes(b"no picture")
    labels = labelled(tmp_path, document)
    flags = ("--epochs", 1, "--held-out", 0, *FLAGS)
    text = run(
        "train",
        network(tmp_path),
        "--data",
        tmp_path / "pictures",
        "--labels",
        labels,
        "--out",
        tmp_path / "o.hai",
        *flags,
    )
    answer = json.loads(text)
    assert answer["pictures"]["training"] == 7
    assert [Path(one["path"]).name for one in answer["pictures"]["skipped"]] == ["1_3.png"]


@pytest.mark.parametrize(
    ("train", "change", "code"),
    [
        ("loss=mse", None, "L109"),
        ("loss=yolov5,max_boxes=1", None, "D094"),
        ("loss=yolov5", {"categories": [{"id": 1, "name": "red"}]}, "D092"),
        ("loss=yolov5", {"annotations": [{"image_id": 77, "category_id": 1, "bbox": [1, 1, 2, 2]}]}, "D091"),
        ("loss=yolov5", {"images": 5}, "D090"),
        ("loss=yolov5", {"annotations": []}, "L111"),
    ],
)
def test_what_does_not_fit_is_refused(train: str, change: dict[str, Any] | None, code: str, tmp_path: Path) -> None:
    document = pictures(tmp_path / "pictures", 4, 1) | (change or {})
    text = run(
        "train", network(tmp_path, train), "--data", tmp_path / "pictures", "--labels", labelled(tmp_path, document),
        "--out", tmp_path / "o.hai", code=1,
    )  # fmt: skip
    assert code in text
    assert not (tmp_path / "o.hai").exists()


def test_labels_and_pictures_are_not_written_over(tmp_path: Path) -> None:
    labels = labelled(tmp_path, pictures(tmp_path / "pictures", 4, 1))
    before = labels.read_bytes()
    command = ["train", network(tmp_path), "--data", tmp_path / "pictures", "--labels", labels]
    for flags in (["--out", labels], ["--out", tmp_path / "o.hai", "--report", labels]):
        assert "HAI-L064" in run(*command, *flags, code=1)
    assert labels.read_bytes() == before
