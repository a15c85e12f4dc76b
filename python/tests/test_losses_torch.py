"""Every loss beside PyTorch: its value, and its gradient with respect to each element of the prediction.

The network is one product with the identity, so that the prediction is the parameter, and its gradient that of the loss
without another rounding. In f64, through HAI's references, values agree to 1e-14 of the loss and gradients to 1e-14 of
their norm: some ninety roundings of 1.1e-16. In f32, through the compiled step, the error against f64 is at most twice
that of PyTorch's own f32, or 2.4e-7 (2^-22, four roundings) of the norm where theirs happens to be smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to hold the losses against")
functional = torch.nn.functional

SAMPLES, CLASSES, PIXELS = 11, 7, (4, 5, 2)
F64, F32 = 1e-14, 2.0**-22
NO_ANSWER = -1e9


def focal(gamma: float, alpha: float) -> Callable[[Any, Any], Any]:
    """Lin et al. 2017, as torchvision writes it."""

    def loss(y: Any, t: Any) -> Any:
        p = torch.sigmoid(y)
        right = p * t + (1 - p) * (1 - t)
        each = functional.binary_cross_entropy_with_logits(y, t, reduction="none") * (1 - right) ** gamma
        return (each * (alpha * t + (1 - alpha) * (1 - t)) if alpha >= 0 else each).mean()

    return loss


def dice(y: Any, t: Any) -> Any:
    """Milletari et al. 2016 with plain sums, a smoothing of 1 in both, the mean over samples."""
    p = torch.sigmoid(y).flatten(1)
    t = t.flatten(1)
    return (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()


def map_of_classes(axis: int) -> Callable[[Any, Any], Any]:
    """Cross-entropy of the pixels, and dice of the classes' probabilities, its mean over samples and classes."""

    def loss(y: Any, t: Any) -> Any:
        y, t = y.movedim(axis, 1), t.movedim(axis, 1)
        p, truth = torch.softmax(y, 1).flatten(2), t.flatten(2)
        overlap = (1 - (2 * (p * truth).sum(2) + 1) / (p.sum(2) + truth.sum(2) + 1)).mean()
        return functional.cross_entropy(y, t) + overlap

    return loss


def distillation(kind: str, temperature: float) -> Callable[[Any, Any], Any]:
    """Soft labels, then old answers of which those at NO_ANSWER are none, their weights last."""

    def loss(y: Any, t: Any) -> Any:
        shares, old, weight = t[:, :CLASSES], t[:, CLASSES : 2 * CLASSES], t[:, 2 * CLASSES]
        known = old > -1e8
        if kind == "mse":
            rows = torch.where(known, (y - old) ** 2, torch.zeros_like(y)).sum(1) / CLASSES
        else:
            soft = torch.softmax(old / temperature, 1)
            said = torch.log_softmax((y / temperature).masked_fill(~known, -math.inf), 1)
            rows = -(temperature**2) * torch.where(known, soft * said, torch.zeros_like(y)).sum(1)
        return functional.cross_entropy(y, shares) + (rows * weight).mean()

    return loss


BCE = functional.binary_cross_entropy_with_logits
# Options, PyTorch's loss, kind of target.
LOSSES: dict[str, tuple[dict[str, Any], Callable[[Any, Any], Any], str]] = {
    "cross_entropy": ({"loss": "cross_entropy"}, functional.cross_entropy, "shares"),
    "cross_entropy, smoothed": (
        {"loss": "cross_entropy", "label_smoothing": 0.15},
        lambda y, t: functional.cross_entropy(y, t, label_smoothing=0.15),
        "shares",
    ),
    "bce": ({"loss": "bce"}, BCE, "probabilities"),
    "mse": ({"loss": "mse"}, functional.mse_loss, "numbers"),
    "huber": ({"loss": "huber"}, functional.huber_loss, "numbers"),
    "huber 0.3": ({"loss": "huber", "delta": 0.3}, lambda y, t: functional.huber_loss(y, t, delta=0.3), "numbers"),
    "focal": ({"loss": "focal"}, focal(2, 0.25), "probabilities"),
    "focal 1": ({"loss": "focal", "gamma": 1, "alpha": -1}, focal(1, -1), "probabilities"),
    "focal 1.5": ({"loss": "focal", "gamma": 1.5, "alpha": 0.75}, focal(1.5, 0.75), "probabilities"),
    "focal 3": ({"loss": "focal", "gamma": 3, "alpha": -1}, focal(3, -1), "probabilities"),
    "dice": ({"loss": "dice"}, dice, "masks"),
    "dice and cross-entropy": (
        {"loss": "dice_cross_entropy"},
        map_of_classes(3),
        "maps",
    ),
    "dice and cross-entropy, classes first": (
        {"loss": "dice_cross_entropy", "class_axis": 1},
        map_of_classes(1),
        "maps, classes first",
    ),
    "dice and cross-entropy, one class": (
        {"loss": "dice_cross_entropy"},
        lambda y, t: BCE(y, t) + dice(y, t),
        "one mask",
    ),
    "distilled, mse": ({"loss": "cross_entropy", "distill": "mse"}, distillation("mse", 2), "old answers"),
    "distilled, kd": ({"loss": "cross_entropy", "distill": "kd"}, distillation("kd", 2), "old answers"),
    "distilled, kd 5": (
        {"loss": "cross_entropy", "distill": "kd", "temperature": 5},
        distillation("kd", 5),
        "old answers",
    ),
}


def shape_of(kind: str) -> tuple[int, ...]:
    """Of the prediction of a sample."""
    if kind == "one mask":
        return (4, 5, 1)
    return PIXELS if kind == "masks" or kind.startswith("maps") else (CLASSES,)


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets, all exact in f32: hard and soft truths, empty and full masks, and logits far out."""
    random = np.random.default_rng(12)
    shape = (SAMPLES, *shape_of(kind))
    y = random.normal(0, 2, shape).astype(np.float32)
    if kind == "numbers":
        return y, (y + random.normal(0, 0.6, shape)).astype(np.float32)
    # Saturated on the right and on the wrong side: exp(90) is more than f32 holds.
    y.reshape(SAMPLES, -1)[0, :6] = [90, -90, 90, -90, 30, -30]
    t = random.random(shape).astype(np.float32)
    if kind == "probabilities":
        t[0, :6] = [1, 1, 0, 0, 1, 0]
        t[1:6] = (t[1:6] < 0.4).astype(np.float32)
        return y, t
    if kind.startswith("maps"):
        axis = 1 if "first" in kind else 3
        largest = t.argmax(axis)
        largest[1] = 0  # nothing of the others
        return y, np.moveaxis(np.eye(shape[axis], dtype=np.float32)[largest], -1, axis)
    if kind in ("masks", "one mask"):
        t = (t < 0.4).astype(np.float32)
        t[1], t[2] = 0, 1
        return y, t
    t /= t.sum(1, keepdims=True)
    t[3:6] = np.eye(CLASSES, dtype=np.float32)[[0, 4, 2]]
    if kind == "old answers":
        old = random.normal(0, 3, shape).astype(np.float32)
        old[4, 2:] = NO_ANSWER  # two classes were known then
        t = np.concatenate([t, old, random.random((SAMPLES, 1), np.float32)], 1)
    return y, t


def model(y: np.ndarray, dtype: type) -> hai.Model:
    """The identity to `y`, which is the parameter."""
    graph = hai.GraphBuilder("alone", batch=(1, SAMPLES))
    x = graph.input("x", ("N", SAMPLES), dtype="f64" if dtype is np.float64 else "f32")
    out = graph.matmul(x, np.ascontiguousarray(y.reshape(SAMPLES, -1).T).astype(dtype), name="layer")
    if y.ndim > 2:
        out = graph.reshape(out, (0, *y.shape[1:]))
    graph.output(out, "y")
    return hai.Model(graph.native)


def theirs(loss: Callable[[Any, Any], Any], y: np.ndarray, t: np.ndarray, dtype: Any) -> tuple[float, np.ndarray]:
    """Value and gradient."""
    leaf = torch.from_numpy(y).to(dtype).requires_grad_(True)
    value = loss(leaf, torch.from_numpy(t).to(dtype))
    value.backward()
    return float(value.detach()), leaf.grad.double().numpy().reshape(SAMPLES, -1).T


def error(a: np.ndarray, exact: np.ndarray) -> float:
    """Norm of the difference over that of the gradient."""
    assert np.isfinite(a).all()
    return float(np.linalg.norm(a - exact) / np.linalg.norm(exact))


TRAIN = {"optimizer": "sgd", "momentum": 0.5}  # after a first step at a rate of 0 the momentum is the gradient


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_in_f64(name: str) -> None:
    options, loss, kind = LOSSES[name]
    y, t = data(kind)
    value, exact = theirs(loss, y, t, torch.float64)
    weight = np.ascontiguousarray(y.reshape(SAMPLES, -1).T).astype(np.float64)
    out = (
        model(y, np.float64)
        .training_step(TRAIN | options)
        .interpret(
            {
                "x": np.eye(SAMPLES),
                "target": t.astype(np.float64),
                "learning_rate": np.array(0.0),
                "layer.weight": weight,
                "layer.weight/momentum": np.zeros_like(weight),
            }
        )
    )
    assert abs(float(out["loss"]) - value) <= F64 * value
    assert error(out["layer.weight/momentum/next"], exact) <= F64


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_in_f32(name: str, tmp_path: Path) -> None:
    options, loss, kind = LOSSES[name]
    y, t = data(kind)
    value, exact = theirs(loss, y, t, torch.float64)
    rounded_value, rounded = theirs(loss, y, t, torch.float32)
    model(y, np.float32).compile(train=TRAIN | options).save(tmp_path / "m.hai")
    trainer = hai.Trainer(tmp_path / "m.hai", threads=2)
    step = trainer.step(np.eye(SAMPLES, dtype=np.float32), t, 0.0)
    assert step.applied
    assert abs(step.loss - value) <= max(2 * abs(rounded_value - value), F32 * value)
    gradient = trainer.get("layer.weight/momentum").astype(np.float64)
    assert error(gradient, exact) <= max(2 * error(rounded, exact), F32)
