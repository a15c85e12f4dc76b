"""The loss of YOLOv5 beside a PyTorch implementation that is written from the published rules (bench/training/yolov5_published.py).

In f64 through HAI's references the losses agree to 1e-12 of the loss and the gradients to 1e-8 of their norm (1e-10 in
practice). In f32 the error against f64 is bounded by twice that of PyTorch's own f32.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit import checkpoints

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to hold the loss against")
functional = torch.nn.functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.training.yolov5_published import (  # noqa: E402
    ANCHORS,
    STRIDES,
    published_loss,
    yolov5n_gradients,
)

CLASSES, BOXES, HEIGHT, WIDTH = 6, 24, 64, 96
FIELDS = 5 + CLASSES


def weights(dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """A head of one convolution for each level: [outputs, stride, stride, 3] and biases."""
    random = np.random.default_rng(3)
    out = []
    for stride in STRIDES:
        w = random.normal(0, 2.0 / stride, (3 * FIELDS, stride, stride, 3)).astype(dtype)
        out.append((w, random.normal(0, 0.3, 3 * FIELDS).astype(dtype)))
    return out


def model(dtype: type) -> hai.Model:
    """Pictures to decoded boxes, as the published head decodes them."""
    name = "f64" if dtype is np.float64 else "f32"
    graph = hai.GraphBuilder("heads", batch=(1, 8))
    image = graph.input("image", ("N", HEIGHT, WIDTH, 3), dtype=name)
    levels = []
    for level, (stride, (w, b)) in enumerate(zip(STRIDES, weights(dtype))):
        h, v = HEIGHT // stride, WIDTH // stride
        x = graph.conv2d(image, w, b, stride=stride, name=f"head{level}")
        x = graph.transpose(graph.reshape(x, (0, h, v, 3, FIELDS)), (0, 3, 1, 2, 4))
        x = graph.unary("sigmoid", x)
        xy, wh, rest = graph.append("split", [x], {"axis": 4, "sizes": [2, 2, FIELDS - 4]}, "", 3)
        rows, columns = np.meshgrid(np.arange(h), np.arange(v), indexing="ij")
        cells = ((np.stack([columns, rows], -1) - 0.5) * stride).astype(dtype)[None, None]
        xy = graph.add(graph.mul(xy, graph.constant(dtype(2 * stride))), graph.constant(cells))
        anchors = (4 * ANCHORS[level][None, :, None, None]).astype(dtype)
        wh = graph.mul(graph.unary("square", wh), graph.constant(anchors))
        levels.append(graph.reshape(graph.concat([xy, wh, rest], 4), (0, 3 * h * v, FIELDS)))
    graph.output(graph.concat(levels, 1), "boxes")
    return hai.Model(graph.native)


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels: crowded cells, centres on the lines between cells and near edges, empty rows between."""
    random = np.random.default_rng(7)
    labels = np.full((samples, BOXES, 5), -1.0)
    for sample in range(samples):
        for box in range(0, 4 * sample):
            centre = random.uniform(0, 1, 2) * (WIDTH, HEIGHT)
            if box % 5 == 0:
                centre = np.round(centre / 8) * 8
            if box % 7 == 3:
                centre = np.array([0.5, HEIGHT - 0.5])
            size = np.exp(random.uniform(1.5, 4.5, 2))
            labels[sample, 2 * box % BOXES] = [random.integers(CLASSES), *np.minimum(centre, (95.9, 63.9)), *size]
    return random.normal(0, 1, (samples, HEIGHT, WIDTH, 3)), labels


def theirs(dtype: Any, image: np.ndarray, labels: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of all weights, in our layout."""
    x = torch.from_numpy(image).to(dtype).permute(0, 3, 1, 2)
    leaves, maps = [], []
    for stride, (w, b) in zip(STRIDES, weights(np.float64)):
        leaf = torch.from_numpy(w).to(dtype).requires_grad_(True), torch.from_numpy(b).to(dtype).requires_grad_(True)
        leaves += leaf
        y = functional.conv2d(x, leaf[0].permute(0, 3, 1, 2), leaf[1], stride=stride)
        maps.append(y.reshape(len(x), 3, FIELDS, *y.shape[2:]).permute(0, 1, 3, 4, 2))
    loss = published_loss(maps, labels, CLASSES)
    loss.backward()
    return float(loss.detach()), [leaf.grad.numpy() for leaf in leaves]


def error(ours: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """Norm of the difference over that of the gradient."""
    difference = sum(float(((a - b) ** 2).sum()) for a, b in zip(ours, exact))
    return float(np.sqrt(difference / sum(float((b**2).sum()) for b in exact)))


TRAIN = {"loss": "yolov5", "optimizer": "sgd", "max_boxes": BOXES}


@pytest.mark.parametrize("samples", [1, 4])
def test_f64_loss_and_gradients_are_those_of_pytorch(samples: int) -> None:
    image, labels = data(samples)
    network = model(np.float64)
    step = network.training_step(TRAIN)
    values = {"image": image, "target": labels, "learning_rate": np.array(1.0)}
    names = [info.name for info in step.inputs if info.name not in values]
    flat = {}
    for level, (w, b) in enumerate(weights(np.float64)):
        flat |= {f"head{level}.weight": w, f"head{level}.bias": b}
    assert set(names) == set(flat)
    out = step.interpret(values | flat)
    loss, exact = theirs(torch.float64, image, labels)
    assert abs(float(out["loss"]) - loss) < 1e-12 * loss
    assert error([flat[name] - out[f"{name}/next"] for name in flat], exact) < 1e-8


def test_f32_error_is_at_most_twice_that_of_pytorch(tmp_path: Path) -> None:
    image, labels = data(5)
    loss, exact = theirs(torch.float64, image, labels)
    _, rounded = theirs(torch.float32, image.astype(np.float32), labels.astype(np.float32))
    model(np.float32).compile(train=TRAIN).save(tmp_path / "m.hai")
    gradients = {}
    for threads in (1, 2):
        trainer = hai.Trainer(tmp_path / "m.hai", threads=threads)
        before = {name: trainer.get(name).astype(np.float64) for name in trainer.parameter_names}
        # A large rate keeps the rounding of the parameters small beside the gradients.
        result = trainer.step(image.astype(np.float32), labels.astype(np.float32), 2.0**10)
        assert result.loss == pytest.approx(loss, rel=3e-6)
        gradients[threads] = [(before[name] - trainer.get(name)) / 2.0**10 for name in before]
    assert all((a == b).all() for a, b in zip(gradients[1], gradients[2]))
    assert error(gradients[1], exact) <= 2 * error(rounded, exact)


def test_no_box_at_all_trains_objectness_alone(tmp_path: Path) -> None:
    image, labels = data(1)
    assert (labels[..., 0] < 0).all()
    loss, _ = theirs(torch.float64, image, labels)
    model(np.float32).compile(train=TRAIN).save(tmp_path / "m.hai")
    result = hai.Trainer(tmp_path / "m.hai").step(image.astype(np.float32), labels.astype(np.float32), 0.1)
    assert result.applied and result.loss == pytest.approx(loss, rel=3e-6)


@pytest.mark.parametrize(
    ("train", "code"),
    [({"max_boxes": 0}, "P524"), ({"anchor_threshold": 1}, "P524"), ({"box_gain": -1}, "P524")],
)
def test_options_out_of_range_are_refused(train: dict[str, float], code: str) -> None:
    with pytest.raises(hai.HaiError, match=code):
        model(np.float32).compile(train=TRAIN | train)


def test_an_output_that_is_no_detector_is_refused() -> None:
    graph = hai.GraphBuilder("no_detector", batch=(1, 8))
    x = graph.input("x", ("N", 12, 11))
    graph.output(graph.matmul(x, np.ones((11, 11), np.float32)), "y")
    with pytest.raises(hai.HaiError, match="P523"):
        hai.Model(graph.native).compile(train="loss=yolov5")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("mode", ["frozen", "train"])
def test_gradients_of_yolov5n_in_f32(mode: str, tmp_path: Path) -> None:
    path = Path(os.environ.get("HAI_TEST_DATA", "../shared/data")) / "models/yolov5n.pt"
    if not path.exists():
        pytest.skip(f"{path} is missing; set HAI_TEST_DATA to the folder of test data")
    _, labels = data(4)
    labels = labels[[1, 3]]
    image = np.random.default_rng(5).uniform(0, 1, (2, 3, HEIGHT, WIDTH)).astype(np.float32)
    exact = yolov5n_gradients(path, torch.float64, mode, image, labels)
    rounded = yolov5n_gradients(path, torch.float32, mode, image, labels)
    model, _ = checkpoints.build(checkpoints.find_network(torch.load(path)), (HEIGHT, WIDTH), (1, 2))
    model.compile(train=TRAIN | {"batch_norm": mode}).save(tmp_path / "m.hai")
    trainer = hai.Trainer(tmp_path / "m.hai", threads=2)
    names = [name for name in trainer.parameter_names if "running" not in name]
    assert set(names) == set(exact)
    before = {name: trainer.get(name).astype(np.float64) for name in names}
    rate = 2.0**14
    assert trainer.step(image, labels.astype(np.float32), rate).applied
    ours = [(before[name] - trainer.get(name)) / rate for name in names]
    ours = [g.transpose(0, 3, 1, 2) if g.ndim == 4 else g for g in ours]
    theirs_ = error([rounded[name] for name in names], [exact[name] for name in names])
    assert error(ours, [exact[name] for name in names]) <= 2 * theirs_, theirs_
