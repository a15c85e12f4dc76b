"""Quantization-aware training (`qat=`) beside PyTorch's fake_quantize, and what it is for.

Networks are in f64, but PyTorch's fake_quantize multiplies by scale and inverse in f32 where HAI computes in f64. That moves
results by a rounding of 6e-8 each and decides no integer, unless a value lies within 1e-5 of the middle between two, which none
here does; so loss and gradients agree to 3e-7.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to hold fake quantization against")
functional = torch.nn.functional

SIZES = (6, 13, 11, 5)
LIMITS = {"w8a8": 127, "w4a8": 7}


def weights(sizes: tuple[int, ...] = SIZES) -> list[tuple[np.ndarray, np.ndarray]]:
    """[outputs, inputs] and biases."""
    random = np.random.default_rng(2)
    return [
        (random.normal(0, 1 / np.sqrt(a), (b, a)).astype(np.float32), random.normal(0, 0.2, b).astype(np.float32))
        for a, b in itertools.pairwise(sizes)
    ]


def network(layers: list[tuple[np.ndarray, np.ndarray]], dtype: type = np.float32) -> hai.Model:
    """Products with relu between them."""
    graph = hai.GraphBuilder("layers", batch=(1, 64))
    x = graph.input("x", ("N", layers[0][0].shape[1]), dtype="f64" if dtype is np.float64 else "f32")
    for i, (w, b) in enumerate(layers):
        x = graph.matmul(x, w.astype(dtype), b.astype(dtype), name=f"layer{i}")
        x = x if i == len(layers) - 1 else graph.unary("relu", x)
    graph.output(x, "y")
    return hai.Model(graph.native)


def fake_weights(w: Any, limit: int) -> Any:
    """A scale an output channel."""
    scale = (w.detach().abs().amax(1) / limit).float()
    return torch.fake_quantize_per_channel_affine(w, scale, torch.zeros(len(w), dtype=torch.int32), 0, -limit, limit)


def fake_activations(x: Any) -> Any:
    """One scale and zero point, of the batch; zero is always kept."""
    low, high = min(float(x.detach().min()), 0.0), max(float(x.detach().max()), 0.0)
    scale = np.float32((high - low) / 255)
    zero = int(np.rint(-128 - low / float(scale)))
    return torch.fake_quantize_per_tensor_affine(x, float(scale), zero, -128, 127)


@pytest.mark.parametrize("precision", LIMITS)
def test_gradients_are_those_of_fake_quantize(precision: str) -> None:
    layers = weights()
    random = np.random.default_rng(4)
    x, t = random.normal(0, 1, (19, SIZES[0])), random.integers(0, SIZES[-1], 19)
    y = torch.from_numpy(x)
    leaves = [torch.from_numpy(part.astype(np.float64)).requires_grad_(True) for layer in layers for part in layer]
    for i in range(len(layers)):
        y = fake_activations(y) if i > 0 else y  # the model's input stays as it is
        y = functional.linear(y, fake_weights(leaves[2 * i], LIMITS[precision]), leaves[2 * i + 1])
        y = y if i == len(layers) - 1 else torch.relu(y)
    loss = functional.cross_entropy(y, torch.from_numpy(t))
    loss.backward()
    exact = [leaf.grad.numpy() for leaf in leaves]

    step = network(layers, np.float64).training_step({"optimizer": "sgd", "momentum": 0.5, "qat": precision})
    values = {"x": x, "target": np.eye(SIZES[-1])[t], "learning_rate": np.array(0.0)}
    names = [f"layer{i}.{part}" for i in range(len(layers)) for part in ("weight", "bias")]
    for name, part in zip(names, [part for layer in layers for part in layer]):
        shape = next(info.shape for info in step.inputs if info.name == name)
        values[name] = (part if part.shape == shape else part.T).astype(np.float64)
        values[f"{name}/momentum"] = np.zeros(shape)
    out = step.interpret(values)
    assert float(out["loss"]) == pytest.approx(float(loss.detach()), rel=3e-7)
    ours = [out[f"{name}/momentum/next"] for name in names]
    ours = [a if a.shape == b.shape else a.T for a, b in zip(ours, exact)]
    missed = sum(float(((a - b) ** 2).sum()) for a, b in zip(ours, exact))
    assert np.sqrt(missed / sum(float((b**2).sum()) for b in exact)) < 3e-7
    plain = network(layers, np.float64).training_step({"optimizer": "sgd", "momentum": 0.5}).interpret(values)
    assert abs(float(plain["loss"]) - float(out["loss"])) > 1e-5  # it does something


def arms(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four classes that wind around each other."""
    random = np.random.default_rng(seed)
    label, turn = random.integers(0, 4, count), random.uniform(0.3, 1.6, count)
    angle = 4.5 * turn + label * np.pi / 2 + random.normal(0, 0.12, count)
    return (turn * np.stack([np.cos(angle), np.sin(angle)])).T.astype(np.float32), label


def train(model: hai.Model, path: Path, rate: float, **options: Any) -> None:
    """Leaves the trained model in `path`."""
    model.compile(train={"optimizer": "adam", **options}).save(path)
    trainer = hai.Trainer(path, threads=1)
    trainer.fit(*arms(800, 1), epochs=50, batch=50, schedule=hai.Schedule(rate, kind="cosine"), seed=3)
    trainer.save(path)


def accuracy_in_4_bits(path: Path) -> float:
    """Of 1,000 others, with 4-bit weights on the grid of a channel's largest."""
    model = hai.Model.from_file(path)
    x, _ = arms(100, 1)
    model.quantize(calibration=[x[i : i + 1] for i in range(100)], precision="w4a8", largest_scales=True, bias_correction=False,
                   self_check=False)  # fmt: skip
    model.compile().save(path.with_suffix(".w4"))
    judged, truth = arms(1000, 2)
    session = hai.load(path.with_suffix(".w4")).session(threads=1, max_batch=50)
    answers = [session.run(judged[i : i + 50])["y"].argmax(1) for i in range(0, 1000, 50)]
    return float((np.concatenate(answers) == truth).mean())


def test_a_network_that_goes_on_training_for_4_bits_loses_less_in_them(tmp_path: Path) -> None:
    train(network(weights((2, 12, 12, 4))), tmp_path / "start.hai", 0.02)
    found = {}
    for qat in LIMITS | {"none": 0}:
        train(hai.Model.from_file(tmp_path / "start.hai"), tmp_path / f"{qat}.hai", 0.02, qat=qat)
        found[qat] = accuracy_in_4_bits(tmp_path / f"{qat}.hai")
    assert found["w4a8"] > max(found["none"], found["w8a8"]) + 0.01, found


def test_steps_are_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    network(weights()).compile(train={"optimizer": "adam", "qat": "w8a8"}).save(tmp_path / "m.hai")
    random = np.random.default_rng(4)
    x, t = random.normal(0, 1, (19, SIZES[0])).astype(np.float32), random.integers(0, SIZES[-1], 19)
    found = []
    for threads in (1, 2):
        trainer = hai.Trainer(tmp_path / "m.hai", threads=threads)
        losses = [trainer.step(x, t, 0.01).loss for _ in range(30)]
        found.append((losses, [trainer.get(name).tobytes() for name in trainer.parameter_names]))
    assert found[0] == found[1]
    assert found[0][0][-1] < 0.8 * found[0][0][0]


def test_a_step_that_meets_no_number_is_refused(tmp_path: Path) -> None:
    network(weights()).compile(train={"optimizer": "sgd", "qat": "w8a8"}).save(tmp_path / "m.hai")
    trainer = hai.Trainer(tmp_path / "m.hai", threads=1)
    before = [trainer.get(name).copy() for name in trainer.parameter_names]
    x = np.zeros((4, SIZES[0]), np.float32)
    x[2, 3] = np.nan
    assert not trainer.step(x, np.zeros(4, np.int64), 0.1).applied
    assert all(np.array_equal(a, trainer.get(name)) for a, name in zip(before, trainer.parameter_names))


def test_a_frozen_front_and_its_features_stay_as_they_are(tmp_path: Path) -> None:
    model = network(weights())
    model.compile(train={"trainable": "last:2", "qat": "w8a8"}).save(tmp_path / "aware.hai")
    model.compile(train={"trainable": "last:2"}).save(tmp_path / "plain.hai")
    x = np.random.default_rng(4).normal(0, 1, (9, SIZES[0])).astype(np.float32)
    aware, plain = (hai.Trainer(tmp_path / f"{name}.hai") for name in ("aware", "plain"))
    assert all(np.array_equal(a, b) for a, b in zip(aware.features(x), plain.features(x)))


def test_there_is_no_other_precision() -> None:
    with pytest.raises(hai.HaiError, match="P556"):
        network(weights()).compile(train={"qat": "w2a2"})
