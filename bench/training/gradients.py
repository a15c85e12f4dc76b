"""A step of training beside PyTorch's, digit by digit: `./dev bench training_gradients [--rows FILE] [--again]`.

Networks of bench/models with seeded weights and the published YOLOv5n with its loss, BatchNorm in train and frozen mode.
Gradients after one step: our references in f64 beside PyTorch in f64 (norm of the difference over norm of the gradients, all
parameters together), then both in f32 beside PyTorch's f64, on 8 batches: root mean squares of the errors, and the ratio of
each batch. One batch says little where BatchNorm takes statistics of few samples: an activation within rounding of a kink of
ReLU6 falls to its other side in one of the two and not in the other, and is all of the error there is. Optimizers alone: fed
the same gradients for 100 steps. Weights after 20 f32 steps. Loss curves of 200 steps, 5 seeds of weights and batches: the mean
loss of a run, ours less PyTorch's for the same seed, over PyTorch's deviation between seeds; beside it PyTorch's own, from weights
that are one rounding apart, since such runs part after some 50 steps. Biases in front of a BatchNorm in train mode have the
gradient zero and hold rounding; they are left out by name, which the rows say. A row a finished case is kept in FILE.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from hai_toolkit import _core

from bench.reasons import Skipped, exit_status
from bench.training.interval import half_width

GOALS = {"f64": 1e-8, "f32": 2.0, "optimizer": 1e-6, "weights": 1e-4, "curve": 1.0}
CLASSES, RATE, BATCHES, STEPS = 10, 0.01, 8, 200


def network(name: str) -> tuple[Any, tuple[int, ...], str]:
    """Module, shape of a batch, loss."""
    import torch

    from bench.models.mlp import Mlp
    from bench.models.mobilenet import MobileNetV2
    from bench.models.resnet import ResNet
    from bench.models.unet import UNet

    torch.manual_seed(11)
    made: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
        "MLP": (lambda: Mlp(classes=CLASSES), (16, 784), "cross_entropy"),
        "MobileNetV2": (lambda: MobileNetV2(classes=CLASSES), (4, 3, 64, 64), "cross_entropy"),
        "ResNet-18": (lambda: ResNet([2, 2, 2, 2], False, classes=CLASSES), (4, 3, 64, 64), "cross_entropy"),
        "U-Net": (lambda: UNet((16, 32, 64, 128), 1), (4, 3, 32, 32), "bce"),
        "MobileNetV2 0.35": (lambda: MobileNetV2(0.35, CLASSES), (16, 3, 32, 32), "cross_entropy"),
        "ResNet-18 thin": (lambda: ResNet([2, 2, 2, 2], False, 16, CLASSES), (16, 3, 32, 32), "cross_entropy"),
    }
    build, shape, loss = made[name]
    module = build()
    random = np.random.default_rng(3)
    for part in module.modules():  # statistics that are not those of a fresh network
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.eps = float(np.float32(part.eps))  # ONNX keeps it in f32
            part.running_mean.copy_(torch.from_numpy(random.normal(0, 0.2, part.num_features)))
            part.running_var.copy_(torch.from_numpy(random.uniform(0.5, 2, part.num_features)))
            with torch.no_grad():
                part.bias.copy_(torch.from_numpy(random.normal(0, 0.1, part.num_features)))
    return module.eval(), shape, loss


def batch_of(shape: tuple[int, ...], loss: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples that differ by class, and their targets."""
    random = np.random.default_rng(seed)
    label = random.integers(0, CLASSES, shape[0])
    kinds = np.random.default_rng(17).normal(0, 1, (CLASSES, *shape[1:]))
    x = (0.7 * kinds[label] + random.normal(0, 1, shape)).astype(np.float32)
    return x, (
        label if loss == "cross_entropy" else (random.random((shape[0], 1, *shape[2:])) < 0.3).astype(np.float32)
    )


def model_of(module: Any, shape: tuple[int, ...]) -> hai.Model:
    """As ONNX brings it."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        return hai.from_torch(module, torch.zeros(2, *shape[1:]), batch=(1, 64), optimize=False)


def compiled(model: hai.Model, path: Path, **train: Any) -> str:
    """Writes the model with its step of training; returns what it was trained with."""
    model.compile(train=train).save(path)
    return ",".join(f"{key}={value}" for key, value in train.items())


def theirs_loss(module: Any, x: Any, t: Any, loss: str) -> Any:
    """The same in PyTorch."""
    import torch
    from torch.nn import functional

    if loss == "bce":
        return functional.binary_cross_entropy_with_logits(module(x), torch.from_numpy(t).to(x.dtype))
    return functional.cross_entropy(module(x), torch.from_numpy(t))


def their_gradients(
    module: Any, x: np.ndarray, t: np.ndarray, loss: str, mode: str, double: bool
) -> dict[str, np.ndarray]:
    """Of one step, in our layout and f64."""
    import torch

    net = copy.deepcopy(module)
    net = (net.double() if double else net).train(mode == "train")
    xs = torch.from_numpy(x)
    theirs_loss(net, xs.double() if double else xs, t, loss).backward()
    transposed = {n for n, m in net.named_modules() if isinstance(m, torch.nn.ConvTranspose2d)}
    out = {}
    for name, p in net.named_parameters():
        array = p.grad.numpy().astype(np.float64)
        if array.ndim == 4:
            array = (
                array.transpose(1, 2, 3, 0) if name.rpartition(".")[0] in transposed else array.transpose(0, 2, 3, 1)
            )
        out[name] = array
    return out


def without_gradient(module: Any, mode: str) -> list[str]:
    """Biases in front of a BatchNorm that subtracts the mean of the batch."""
    import torch

    names = []
    parts = list(module.named_modules())
    for (name, part), (_, following) in itertools.pairwise(parts):
        normed = isinstance(following, torch.nn.modules.batchnorm._BatchNorm) and mode == "train"
        if normed and getattr(part, "bias", None) is not None and not isinstance(part, torch.nn.Sequential):
            names.append(f"{name}.bias")
    return names


def distance(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], left_out: list[str]) -> float:
    """Norm of the difference over the norm, of all parameters together."""
    names = [name for name in theirs if name not in left_out]
    assert set(names) <= set(ours), sorted(set(names) - set(ours))
    missed = sum(float(((ours[name] - theirs[name]) ** 2).sum()) for name in names)
    return float(np.sqrt(missed / sum(float((theirs[name] ** 2).sum()) for name in names)))


def reference_gradients(path: Path, text: str, batch: int, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Of one step by our references in f64."""
    flat = [np.ascontiguousarray(a, np.float64).reshape(-1) for a in inputs]
    _, _, states = _core.reference_step(str(path), text, True, batch, flat, 0.0)
    return {n.removesuffix("/momentum"): np.frombuffer(b).reshape(s) for n, s, b in states if n.endswith("/momentum")}


def our_gradients(path: Path, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """Of one step in f32: after a first step at a rate of 0 the momentum is the gradient."""
    trainer = hai.Trainer(path, threads=2)
    trainer.step(x, t, 0.0)
    names = [name.removesuffix("/momentum") for name in trainer.state_names if name.endswith("/momentum")]
    return {name: trainer.get(f"{name}/momentum").astype(np.float64) for name in names}


def f32_figures(errors: list[tuple[float, float]]) -> dict[str, Any]:
    """Of errors of ours and of PyTorch's f32, a pair a batch: the root mean squares, and each batch's ratio."""
    ours, theirs = (float(np.sqrt(np.mean(np.square(part)))) for part in zip(*errors, strict=True))
    return {
        "f32": ours / theirs,
        "f32_ours": ours,
        "f32_pytorch": theirs,
        "f32_ratios": [round(a / b, 3) for a, b in errors],
    }


def gradients_row(name: str, mode: str, folder: Path) -> dict[str, Any]:
    """One step in f64; one of each batch in f32."""
    module, shape, loss = network(name)
    path = folder / "g.hai"
    text = compiled(model_of(module, shape), path, loss=loss, optimizer="sgd", momentum=0.5, batch_norm=mode)
    left_out = without_gradient(module, mode)
    double, errors = 0.0, []
    for seed in range(5, 5 + BATCHES):
        x, t = batch_of(shape, loss, seed)
        exact = their_gradients(module, x, t, loss, mode, True)
        if seed == 5:
            rows = np.eye(CLASSES)[t] if loss == "cross_entropy" else t
            double = distance(reference_gradients(path, text, shape[0], [x, rows]), exact, left_out)
        theirs = their_gradients(module, x, t, loss, mode, False)
        errors.append((distance(our_gradients(path, x, t), exact, left_out), distance(theirs, exact, left_out)))
    return {"f64": double, **f32_figures(errors), "left_out": left_out}


def yolov5n_row(mode: str, folder: Path) -> dict[str, Any]:
    """The same of the published YOLOv5n with its loss, on random pictures of 64 x 96 with up to 12 boxes."""
    import torch
    from hai_toolkit import checkpoints

    from bench.training.yolov5_published import yolov5n_gradients

    checkpoint = Path(os.environ.get("HAI_TEST_DATA", "../shared/data")) / "models" / "yolov5n.pt"
    if not checkpoint.exists():
        raise Skipped(f"{checkpoint} is missing; set HAI_TEST_DATA")
    path, text = folder / "y.hai", f"loss=yolov5,optimizer=sgd,momentum=0.5,max_boxes=12,batch_norm={mode}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old pickle
        model, _ = checkpoints.build(checkpoints.find_network(torch.load(checkpoint)), (64, 96), (1, 2))
        model.compile(train=text).save(path)
        double, errors = 0.0, []
        for seed in range(5, 5 + BATCHES):
            random = np.random.default_rng(seed)
            image = random.uniform(0, 1, (2, 3, 64, 96)).astype(np.float32)
            labels = np.full((2, 12, 5), -1.0, np.float32)
            for row in labels[0, :4], labels[1, :12]:
                row[:, 0] = random.integers(0, 80, len(row))
                row[:, 1:3] = random.uniform(0, 1, (len(row), 2)) * (95.9, 63.9)
                row[:, 3:] = np.exp(random.uniform(1.5, 4.5, (len(row), 2)))
            exact = yolov5n_gradients(checkpoint, torch.float64, mode, image, labels)
            if seed == 5:
                double = distance(in_their_layout(reference_gradients(path, text, 2, [image, labels])), exact, [])
            theirs = yolov5n_gradients(checkpoint, torch.float32, mode, image, labels)
            ours = in_their_layout(our_gradients(path, image, labels))
            errors.append((distance(ours, exact, []), distance(theirs, exact, [])))
    return {"f64": double, **f32_figures(errors), "left_out": []}


def in_their_layout(gradients: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Filters as PyTorch has them."""
    return {name: g.transpose(0, 3, 1, 2) if g.ndim == 4 else g for name, g in gradients.items()}


def weights_row(name: str, folder: Path) -> dict[str, Any]:
    """Largest difference of a weight after 20 steps in f32, BatchNorm frozen."""
    import torch

    module, shape, loss = network(name)
    model = model_of(module, shape)
    compiled(model, folder / "w.hai", loss=loss, optimizer="sgd", momentum=0.9, batch_norm="frozen")
    trainer = hai.Trainer(folder / "w.hai", threads=2)
    optimizer = torch.optim.SGD(module.parameters(), RATE, momentum=0.9)
    for step in range(20):
        x, t = batch_of(shape, loss, 100 + step)
        trainer.step(x, t, RATE)
        optimizer.zero_grad()
        theirs_loss(module, torch.from_numpy(x), t, loss).backward()
        optimizer.step()
    worst = 0.0
    for parameter, p in module.named_parameters():
        a, b = trainer.get(parameter).astype(np.float64), p.detach().numpy()
        if b.ndim == 4:
            b = b.transpose(0, 2, 3, 1) if a.shape == b.transpose(0, 2, 3, 1).shape else b.transpose(1, 2, 3, 0)
        if b.ndim == 4 and name == "U-Net" and ".up." in f".{parameter}":
            b = p.detach().numpy().transpose(1, 2, 3, 0)
        worst = max(worst, float(np.abs(a - b).max()))
    return {"weights": worst}


OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[[Any, Any], Any]]] = {
    "SGD": ({"optimizer": "sgd"}, lambda torch, p: torch.optim.SGD(p, RATE)),
    "SGD, momentum": ({"optimizer": "sgd", "momentum": 0.9}, lambda torch, p: torch.optim.SGD(p, RATE, momentum=0.9)),
    "SGD, Nesterov, decay": (
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": 1, "weight_decay": 0.01},
        lambda torch, p: torch.optim.SGD(p, RATE, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "Adam": ({"optimizer": "adam"}, lambda torch, p: torch.optim.Adam(p, RATE)),
    "AdamW": (
        {"optimizer": "adamw", "weight_decay": 0.05},
        lambda torch, p: torch.optim.AdamW(p, RATE, weight_decay=0.05),
    ),
}


def optimizer_row(name: str, folder: Path) -> dict[str, Any]:
    """100 steps of identical gradients: of y = W 1, whose gradient by mean squares over 64 is (y - t) / 32 without rounding."""
    import torch

    options, make = OPTIMIZERS[name]
    random = np.random.default_rng(9)
    start = random.normal(0, 0.5, (64, 1)).astype(np.float32)
    graph = hai.GraphBuilder("alone", batch=(1, 1))
    graph.output(graph.matmul(graph.input("x", ("N", 1)), start, name="layer"), "y")
    hai.Model(graph.native).compile(train={"loss": "mse", **options}).save(folder / "o.hai")
    trainer = hai.Trainer(folder / "o.hai", threads=1)
    weight = trainer.parameter_names[0]
    p = torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs = make(torch, [p])
    for _ in range(100):
        y = trainer.get(weight).reshape(1, 64)
        t = (y - random.normal(0, 3, (1, 64))).astype(np.float32)
        trainer.step(np.ones((1, 1), np.float32), t, RATE)
        p.grad = torch.from_numpy(((y - t) / np.float32(32)).reshape(64, 1))
        theirs.step()
    return {"optimizer": float(np.abs(trainer.get(weight).reshape(-1) - p.detach().numpy().reshape(-1)).max())}


def torch_curve(module: Any, shape: tuple[int, ...], loss: str, seed: int) -> list[float]:
    """Losses of 200 steps of PyTorch."""
    import torch

    module.train()
    optimizer = torch.optim.SGD(module.parameters(), RATE, momentum=0.9)
    losses = []
    for step in range(STEPS):
        x, t = batch_of(shape, loss, 1000 * seed + step)
        optimizer.zero_grad()
        value = theirs_loss(module, torch.from_numpy(x), t, loss)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


def share_within(curves: np.ndarray, others: np.ndarray) -> float:
    """Of the steps, at which the mean of one set of smoothed curves lies between the least and the largest of another."""
    smooth = [np.array([np.convolve(c, np.ones(20) / 20, "valid") for c in one]) for one in (curves, others)]
    mean = smooth[0].mean(0)
    return float(((mean >= smooth[1].min(0)) & (mean <= smooth[1].max(0))).mean())


def curve_row(name: str, folder: Path) -> dict[str, Any]:
    """Ours, PyTorch's, and PyTorch's from weights that are a rounding apart: what two runs of one seed differ by anyway."""
    import torch

    curves: dict[str, list[list[float]]] = {"ours": [], "theirs": [], "again": []}
    for seed in range(5):
        module, shape, loss = network(name)
        torch.manual_seed(seed)
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        compiled(model_of(module, shape), folder / "c.hai", loss=loss, optimizer="sgd", momentum=0.9)
        trainer = hai.Trainer(folder / "c.hai", threads=2)
        curves["ours"].append([trainer.step(*batch_of(shape, loss, 1000 * seed + s), RATE).loss for s in range(STEPS)])
        other = copy.deepcopy(module)
        with torch.no_grad():
            for p in other.parameters():
                p.mul_(1 + 2.0**-23)
        curves["theirs"].append(torch_curve(module, shape, loss, seed))
        curves["again"].append(torch_curve(other, shape, loss, seed))
    ours, theirs, again = (np.array(curves[key]) for key in ("ours", "theirs", "again"))
    differences = [(one - theirs).mean(1).tolist() for one in (ours, again)]
    return {
        "curve": abs(float(np.mean(differences[0]))) / float(theirs.mean(1).std(ddof=1)),
        "share_within": [share_within(ours, theirs), share_within(again, theirs)],
        "difference": [[round(float(np.mean(d)), 5), round(half_width(d), 5)] for d in differences],
        "last_ours": [round(float(c[-20:].mean()), 4) for c in ours],
        "last_pytorch": [round(float(c[-20:].mean()), 4) for c in theirs],
        "last_again": [round(float(c[-20:].mean()), 4) for c in again],
    }


def cases() -> dict[str, Callable[[Path], dict[str, Any]]]:
    """Every row by its name."""
    out: dict[str, Callable[[Path], dict[str, Any]]] = {}
    for name in OPTIMIZERS:
        out[f"{name}, 100 steps alone"] = lambda folder, name=name: optimizer_row(name, folder)
    for name in ("MLP", "U-Net", "MobileNetV2", "ResNet-18"):
        for mode in ("train", "frozen"):
            out[f"{name}, BatchNorm {mode}"] = lambda folder, name=name, mode=mode: gradients_row(name, mode, folder)
        out[f"{name}, 20 steps, BatchNorm frozen"] = lambda folder, name=name: weights_row(name, folder)
    for mode in ("train", "frozen"):
        out[f"YOLOv5n with its loss, BatchNorm {mode}"] = lambda folder, mode=mode: yolov5n_row(mode, folder)
    for name in ("MobileNetV2 0.35", "ResNet-18 thin"):
        out[f"{name}, 200 steps, 5 seeds"] = lambda folder, name=name: curve_row(name, folder)
    return out


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent / "gradients.jsonl")
    parser.add_argument("--again", action="store_true", help="measure what has a row too")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: measure(chosen))


def measure(chosen: argparse.Namespace) -> bool:
    """Prints the table; whether the goals are met."""
    import torch

    torch.set_num_threads(1)  # nothing is timed, and two that wait for each other on a busy machine burn both
    rows = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []
    known = {} if chosen.again else {row["case"]: row for row in rows}
    good = True
    print("| case | f64, ours beside PyTorch | f32 error over PyTorch's | other | held |\n|---|---|---|---|---|")
    for case, work in cases().items():
        if case not in known:
            with tempfile.TemporaryDirectory() as folder:
                known[case] = {"case": case, **work(Path(folder))}
            with chosen.rows.open("a") as file:
                file.write(json.dumps(known[case]) + "\n")
        row = known[case]
        held = all(row[key] <= goal for key, goal in GOALS.items() if key in row)
        good = good and held
        numbers = [f"{row[key]:.2g}" if key in row else "" for key in ("f64", "f32")]
        other = next((f"{key} {row[key]:.2g}" for key in ("optimizer", "weights", "curve") if key in row), "")
        print(f"| {case} | {numbers[0]} | {numbers[1]} | {other} | {'yes' if held else 'no'} |", flush=True)
    return good
