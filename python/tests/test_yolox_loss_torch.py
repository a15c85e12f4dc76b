"""The loss of YOLOX beside a PyTorch implementation of SimOTA and the published loss that is written here.

In f64 through HAI's references the losses agree to 1e-12 of the loss and the gradients to 1e-8 of their norm (1e-10 in
practice). In f32 the error against f64 is bounded by twice that of PyTorch's own f32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to hold the loss against")
functional = torch.nn.functional

STRIDES, CLASSES, BOXES, HEIGHT, WIDTH = (8, 16, 32), 5, 16, 64, 96
FIELDS = 5 + CLASSES
TRAIN = {"loss": "yolox", "optimizer": "sgd", "max_boxes": BOXES}


def weights(dtype: type) -> list[tuple[np.ndarray, np.ndarray]]:
    """A head of one convolution for each level: [outputs, stride, stride, 3] and biases."""
    random = np.random.default_rng(3)
    return [
        (random.normal(0, 1.0 / s, (FIELDS, s, s, 3)).astype(dtype), random.normal(0, 0.5, FIELDS).astype(dtype))
        for s in STRIDES
    ]


def model(dtype: type) -> hai.Model:
    """Pictures to boxes as published graphs answer: not decoded, sigmoids for objectness and classes."""
    graph = hai.GraphBuilder("heads", batch=(1, 8))
    image = graph.input("image", ("N", HEIGHT, WIDTH, 3), dtype="f64" if dtype is np.float64 else "f32")
    levels = []
    for level, (stride, (w, b)) in enumerate(zip(STRIDES, weights(dtype))):
        x = graph.conv2d(image, w, b, stride=stride, name=f"head{level}")
        box, rest = graph.append("split", [x], {"axis": 3, "sizes": [4, FIELDS - 4]}, "", 2)
        x = graph.concat([box, graph.unary("sigmoid", rest)], 3)
        levels.append(graph.reshape(x, (0, HEIGHT // stride * (WIDTH // stride), FIELDS)))
    graph.output(graph.concat(levels, 1), "boxes")
    return hai.Model(graph.native)


def data(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels: none in the first, then more; some on top of each other, so that they compete for cells."""
    random = np.random.default_rng(7)
    labels = np.full((samples, BOXES, 5), -1.0)
    for sample in range(samples):
        for box in range(4 * sample):
            centre = random.uniform(0, 1, 2) * (WIDTH, HEIGHT)
            if box % 3 == 2:
                centre = labels[sample, box - 1, 1:3] + random.uniform(-3, 3, 2)
            labels[sample, box] = [random.integers(CLASSES), *centre, *np.exp(random.uniform(2, 4, 2))]
    return random.normal(0, 1, (samples, HEIGHT, WIDTH, 3)), labels


def pair_iou(a: Any, b: Any) -> Any:
    """IoU of boxes [n, 4] and [m, 4] in centre form."""
    low = torch.maximum(a[:, None, :2] - a[:, None, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.minimum(a[:, None, :2] + a[:, None, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(2)
    return shared / (a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared)


def simota(boxes: Any, logits: Any, truth: Any, cells: Any, strides: Any) -> tuple[Any, Any, Any]:
    """Rows that answer, the box of each, and its overlap. `boxes` in pixels; `truth`: class and box."""
    middle = (cells + 0.5) * strides[:, None]
    near = ((middle[None] - truth[:, None, 1:3]).abs() < 1.5 * strides[None, :, None]).all(2)
    rows = near.any(0).nonzero()[:, 0]
    overlap = pair_iou(truth[:, 1:], boxes[rows])
    share = (logits[rows, 1:].sigmoid() * logits[rows, :1].sigmoid()).sqrt()
    kinds = functional.one_hot(truth[:, 0].long(), CLASSES).to(boxes.dtype)
    entropy = functional.binary_cross_entropy(
        share[None].expand(len(truth), -1, -1), kinds[:, None].expand(-1, len(rows), -1), reduction="none"
    ).sum(2)
    cost = entropy - 3 * torch.log(overlap + 1e-8) + 1e6 * (~near[:, rows])
    matching = torch.zeros_like(cost)
    for i in range(len(truth)):
        k = max(int(overlap[i].topk(min(10, len(rows))).values.sum()), 1)
        matching[i, cost[i].topk(k, largest=False).indices] = 1
    twice = matching.sum(0) > 1
    if twice.any():
        cheapest = cost[:, twice].argmin(0)
        matching[:, twice] = 0
        matching[cheapest, twice.nonzero()[:, 0]] = 1
    taken = matching.sum(0) > 0
    of = matching[:, taken].argmax(0)
    return rows[taken], of, overlap[of, taken.nonzero()[:, 0]]


def published_loss(x: Any, labels: np.ndarray) -> Any:
    """`x`: [N, rows, fields] as the head gives it, logits of objectness and classes."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.meshgrid(np.arange(HEIGHT // stride), np.arange(WIDTH // stride), indexing="ij")
        cells.append(np.stack([columns, rows], -1).reshape(-1, 2))
        strides.append(np.full(rows.size, stride))
    cell = torch.from_numpy(np.concatenate(cells)).to(x.dtype)
    stride = torch.from_numpy(np.concatenate(strides)).to(x.dtype)
    boxes = torch.cat(((x[..., :2] + cell) * stride[:, None], x[..., 2:4].exp() * stride[:, None]), 2)
    objectness = torch.zeros_like(x[..., 4])
    total, count = torch.zeros((), dtype=x.dtype), 0
    for sample, rows in enumerate(labels):
        truth = torch.from_numpy(rows[rows[:, 0] >= 0]).to(x.dtype)
        if not len(truth):
            continue
        with torch.no_grad():
            taken, of, overlap = simota(boxes[sample], x[sample, :, 4:], truth, cell, stride)
        count += len(taken)
        objectness[sample, taken] = 1
        p, t = boxes[sample, taken], truth[of, 1:]
        low = torch.maximum(p[:, :2] - p[:, 2:] / 2, t[:, :2] - t[:, 2:] / 2)
        high = torch.minimum(p[:, :2] + p[:, 2:] / 2, t[:, :2] + t[:, 2:] / 2)
        shared = (high - low).clamp(min=0).prod(1)
        iou = shared / (p[:, 2:].prod(1) + t[:, 2:].prod(1) - shared + 1e-16)
        kinds = functional.one_hot(truth[of, 0].long(), CLASSES) * overlap[:, None]
        total = total + 5 * (1 - iou**2).sum()
        total = total + functional.binary_cross_entropy_with_logits(x[sample, taken, 5:], kinds, reduction="sum")
    total = total + functional.binary_cross_entropy_with_logits(x[..., 4], objectness, reduction="sum")
    return total / max(count, 1)


def theirs(dtype: Any, image: np.ndarray, labels: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of all weights, in our layout."""
    x = torch.from_numpy(image).to(dtype).permute(0, 3, 1, 2)
    leaves, levels = [], []
    for stride, (w, b) in zip(STRIDES, weights(np.float64)):
        leaf = torch.from_numpy(w).to(dtype).requires_grad_(True), torch.from_numpy(b).to(dtype).requires_grad_(True)
        leaves += leaf
        y = functional.conv2d(x, leaf[0].permute(0, 3, 1, 2), leaf[1], stride=stride)
        levels.append(y.permute(0, 2, 3, 1).reshape(len(x), -1, FIELDS))
    loss = published_loss(torch.cat(levels, 1), labels)
    loss.backward()
    return float(loss.detach()), [leaf.grad.numpy() for leaf in leaves]


def error(ours: list[np.ndarray], exact: list[np.ndarray]) -> float:
    """Norm of the difference over that of the gradient."""
    difference = sum(float(((a - b) ** 2).sum()) for a, b in zip(ours, exact))
    return float(np.sqrt(difference / sum(float((b**2).sum()) for b in exact)))


@pytest.mark.parametrize("samples", [1, 4])
def test_f64_loss_and_gradients_are_those_of_pytorch(samples: int) -> None:
    image, labels = data(samples)
    flat = {}
    for level, (w, b) in enumerate(weights(np.float64)):
        flat |= {f"head{level}.weight": w, f"head{level}.bias": b}
    step = model(np.float64).training_step(TRAIN)
    out = step.interpret({"image": image, "target": labels, "learning_rate": np.array(1.0)} | flat)
    loss, exact = theirs(torch.float64, image, labels)
    assert abs(float(out["loss"]) - loss) < 1e-12 * loss
    assert error([flat[name] - out[f"{name}/next"] for name in flat], exact) < 1e-8


def test_f32_error_is_at_most_twice_that_of_pytorch(tmp_path: Path) -> None:
    image, labels = data(4)
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


def test_an_output_that_is_no_yolox_is_refused() -> None:
    graph = hai.GraphBuilder("no_detector", batch=(1, 8))
    x = graph.input("x", ("N", 64, 96, 3))
    x = graph.conv2d(x, np.ones((10, 8, 8, 3), np.float32), stride=8)
    graph.output(graph.reshape(x, (0, 96, 10)), "y")
    with pytest.raises(hai.HaiError, match="P529"):
        hai.Model(graph.native).compile(train="loss=yolox")
