"""Training beside PyTorch: the same network, batch and optimizer, step by step.

Both compute in f32; sums run in another order, so parameters agree to a few units in the last place after 20 steps. The
tolerance, 2e-6, is about 20 of them at 1. With batch norms in train mode small differences of statistics are magnified by
the normalisation, and running variances are of order 1: 2e-5.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to train beside")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: PyTorch cannot export modules")
nn = torch.nn
functional = torch.nn.functional

STEPS = 20


def mlp() -> Any:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 33), nn.Tanh(), nn.Linear(33, 5))


def cnn(norms: bool) -> Any:
    def block(inputs: int, outputs: int, stride: int, groups: int = 1) -> list[Any]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups, bias=not norms)
        return [convolution, *([nn.BatchNorm2d(outputs)] if norms else []), nn.ReLU6()]

    return nn.Sequential(
        *block(3, 16, 2), *block(16, 16, 1, 16), *block(16, 32, 2), nn.MaxPool2d(2), *block(32, 24, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5),
    )  # fmt: skip


def trainer_of(module: Any, example: Any, folder: Path, **train: Any) -> hai.Trainer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        model = hai.from_torch(module, example, batch=(1, 64), optimize=False)
    model.compile(train=train).save(folder / "m.hai")
    return hai.Trainer(folder / "m.hai", threads=2)


def differences(trainer: hai.Trainer, module: Any) -> dict[str, float]:
    """Largest difference of each parameter and running statistic."""
    theirs = module.state_dict()
    out = {}
    for name in trainer.parameter_names:
        array = theirs[name].numpy()
        out[name] = float(np.abs(trainer.get(name) - (array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)).max())
    trained = {name for name in theirs if not name.endswith("num_batches_tracked")}
    assert set(out) | {name for name in trained if "running" in name} == trained
    return out


OPTIMIZERS = {
    "sgd": ({"optimizer": "sgd", "momentum": 0.9}, 0.05, lambda p: torch.optim.SGD(p, 0.05, momentum=0.9)),
    "nesterov": (
        {"optimizer": "sgd", "momentum": 0.8, "nesterov": True},
        0.05,
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True),
    ),
    "adam": ({"optimizer": "adam"}, 1e-3, lambda p: torch.optim.Adam(p, 1e-3)),
    "adamw": (
        {"optimizer": "adamw", "weight_decay": 0.1},
        1e-3,
        lambda p: torch.optim.AdamW(
            [
                {"params": [w for w in p if w.ndim > 1], "weight_decay": 0.1},
                {"params": [w for w in p if w.ndim == 1], "weight_decay": 0.0},
            ],
            1e-3,
        ),
    ),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_step_as_theirs(optimizer: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, x, t = mlp(), torch.randn(32, 20), torch.randint(0, 5, (32,))
    options, rate, make = OPTIMIZERS[optimizer]
    trainer = trainer_of(module, x[:1], tmp_path, **options)
    theirs = make(list(module.parameters()))
    for _ in range(STEPS):
        ours = trainer.step(x.numpy(), t.numpy(), rate)
        theirs.zero_grad()
        loss = functional.cross_entropy(module(x), t)
        loss.backward()
        theirs.step()
        assert ours.loss == pytest.approx(float(loss.detach()), abs=2e-6)
    assert max(differences(trainer, module).values()) < 2e-6


def test_groups_accumulation_and_averages_are_theirs(tmp_path: Path) -> None:
    torch.manual_seed(6)
    module, x, t = mlp(), torch.randn(48, 20), torch.randint(0, 5, (48,))
    names = [name for name, _ in module.named_parameters()]
    first, last = names[0].rpartition(".")[0], names[-1].rpartition(".")[0]
    groups = f"{first}.*:rate=0.1:decay=0.3;{last}.bias:frozen;{last}.*:rate=2:decay=0"
    options = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.05, "clip_norm": 0.4}
    trainer = trainer_of(module, x[:1], tmp_path, groups=groups, accumulate=3, ema=0.8, **options)
    assert set(trainer.parameter_names) == set(names) - {f"{last}.bias"}
    rate = 0.2
    chosen = []
    for name, p in module.named_parameters():
        factor = 0.1 if name.startswith(first) else 2 if name.startswith(last) else 1
        decay = 0.0 if p.ndim == 1 or name.startswith(last) else 0.3 if name.startswith(first) else 0.05
        if name != f"{last}.bias":
            chosen.append({"params": [p], "lr": rate * factor, "weight_decay": decay})
    trained = [group["params"][0] for group in chosen]
    averages = {name: p.detach().clone() for name, p in module.named_parameters()}
    theirs = torch.optim.SGD(chosen, rate, momentum=0.9, nesterov=True)
    for step in range(3 * STEPS):
        part = slice(16 * (step % 3), 16 * (step % 3) + 16)
        if step == 7:  # a step that is refused leaves the accumulation where it was
            assert not trainer.step(np.full((16, 20), np.nan, np.float32), t[part].numpy(), rate).applied
        assert trainer.step(x[part].numpy(), t[part].numpy(), rate).applied
        (functional.cross_entropy(module(x[part]), t[part]) / 3).backward()
        if step % 3 == 2:
            torch.nn.utils.clip_grad_norm_(trained, 0.4)
            theirs.step()
            module.zero_grad()
            for name, p in module.named_parameters():
                averages[name].lerp_(p.detach(), 0.2)
    for name, p in module.named_parameters():
        if name in trainer.parameter_names:
            assert np.abs(trainer.get(name) - p.detach().numpy()).max() < 2e-6
            assert np.abs(trainer.get(f"{name}/ema") - averages[name].numpy()).max() < 2e-6
    trainer.save(tmp_path / "average.hai", average=True)
    saved = hai.Trainer(tmp_path / "average.hai")
    assert np.array_equal(saved.get(names[0]), trainer.get(f"{names[0]}/ema"))


def test_masks_weights_and_old_answers_in_the_loss_are_theirs(tmp_path: Path) -> None:
    torch.manual_seed(7)
    module, x, label = mlp(), torch.randn(12, 20), torch.randint(0, 5, (12,))
    mask, old = torch.rand(12, 5) < 0.6, torch.randn(12, 5)
    mask[torch.arange(12), label] = True
    weight, old_weight = torch.rand(12), torch.rand(12)
    for distill in ("mse", "kd"):
        module.zero_grad()
        trainer = trainer_of(
            module,
            x[:1],
            tmp_path,
            optimizer="sgd",
            class_mask=True,
            sample_weights=True,
            distill=distill,
            temperature=3,
        )
        known = old.clone()
        known[:, 4] = -1e9  # a class that the old model did not have
        y = module(x)
        parts = functional.cross_entropy(y.masked_fill(~mask, -1e9), label, reduction="none") * weight
        if distill == "mse":
            rows = ((y - old)[:, :4] ** 2).sum(1) / 5
        else:
            soft = torch.softmax(old[:, :4] / 3, 1)
            rows = -9 * (soft * torch.log_softmax(y[:, :4] / 3, 1)).sum(1)
        expected = (parts + rows * old_weight).mean()
        expected.backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1e9)
        target = trainer.target_layout.rows(
            np.eye(5, dtype=np.float32)[label.numpy()], mask=mask.numpy(), old=known.numpy(),
            old_weight=old_weight.numpy(), weight=weight.numpy(),
        )  # fmt: skip
        ours = trainer.step(x.numpy(), target, 0.0)
        assert ours.loss == pytest.approx(float(expected.detach()), rel=2e-6)
        assert ours.gradient_norm == pytest.approx(float(norm), rel=5e-6)
        # Plain class numbers leave all of it without effect.
        plain = trainer.step(x.numpy(), label.numpy(), 0.0)
        assert plain.loss == pytest.approx(float(functional.cross_entropy(y, label).detach()), rel=2e-6)


def test_clipping_by_norm_is_theirs(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, x, t = mlp(), 3 * torch.randn(16, 20), torch.randint(0, 5, (16,))
    trainer = trainer_of(module, x[:1], tmp_path, optimizer="sgd", clip_norm=0.2)
    theirs = torch.optim.SGD(module.parameters(), 0.5)
    for _ in range(STEPS):
        ours = trainer.step(x.numpy(), t.numpy(), 0.5)
        theirs.zero_grad()
        functional.cross_entropy(module(x), t).backward()
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 0.2)
        assert ours.gradient_norm == pytest.approx(float(norm), rel=2e-6)
        theirs.step()
    assert max(differences(trainer, module).values()) < 2e-6


@pytest.mark.parametrize(
    ("norms", "mode", "tolerance"), [(False, "train", 2e-6), (True, "frozen", 2e-6), (True, "train", 2e-5)]
)
def test_convolutions_and_batch_norms_train_as_theirs(norms: bool, mode: str, tolerance: float, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module, x, t = cnn(norms).eval(), torch.randn(8, 3, 33, 29), torch.randint(0, 5, (8,))
    trainer = trainer_of(module, x[:1], tmp_path, optimizer="sgd", momentum=0.9, batch_norm=mode)
    module.train(mode == "train")
    theirs = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    for _ in range(STEPS):
        ours = trainer.step(x.numpy(), t.numpy(), 0.05)
        theirs.zero_grad()
        loss = functional.cross_entropy(module(x), t)
        loss.backward()
        theirs.step()
    assert ours.loss == pytest.approx(float(loss.detach()), abs=tolerance)
    assert max(differences(trainer, module).values()) < tolerance
    trainer.save(tmp_path / "trained.hai")
    answer = hai.load(tmp_path / "trained.hai").session(threads=1).run(x.numpy())
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert np.abs(next(iter(answer.values())) - expected).max() < 10 * tolerance


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_gradients_of_a_network_in_f64_are_theirs(mode: str, tmp_path: Path) -> None:
    """Through the references; whole networks in `./dev bench training_gradients`."""
    torch.manual_seed(8)
    module, x, t = cnn(True).eval(), torch.randn(3, 3, 17, 15), torch.randint(0, 5, (3,))
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eps = float(np.float32(part.eps))  # ONNX keeps it in f32
    trainer_of(module, x[:1], tmp_path, optimizer="sgd", momentum=0.5, batch_norm=mode)
    train = f"optimizer=sgd,momentum=0.5,batch_norm={mode}"
    data = [x.double().numpy().reshape(-1), np.eye(5)[t.numpy()].reshape(-1)]
    loss, _, states = hai._core.reference_step(str(tmp_path / "m.hai"), train, True, 3, data, 0.0)
    module.double().train(mode == "train")
    expected = functional.cross_entropy(module(x.double()), t)
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    ours = {name: np.frombuffer(values).reshape(shape) for name, shape, values in states}
    missed = whole = 0.0
    for name, p in module.named_parameters():
        theirs = p.grad.numpy()
        theirs = theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 else theirs
        missed += float(((ours[f"{name}/momentum"] - theirs) ** 2).sum())
        whole += float((theirs**2).sum())
    assert np.sqrt(missed / whole) < 1e-8


def test_a_frozen_front_stays_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(5)
    module, x, t = cnn(True).eval(), torch.randn(4, 3, 32, 32), torch.randint(0, 5, (4,))
    before = copy.deepcopy(module.state_dict())
    trainer = trainer_of(module, x[:1], tmp_path, optimizer="adam", trainable="last:2")
    assert trainer.parameter_names[0] == "10.weight"
    for _ in range(5):
        trainer.step(x.numpy(), t.numpy(), 0.01)
    trainer.save(tmp_path / "trained.hai")
    again = hai.Trainer(tmp_path / "trained.hai")
    assert np.abs(again.get("10.weight") - before["10.weight"].numpy().transpose(0, 2, 3, 1)).max() > 1e-3
    assert np.array_equal(again.get("10.weight"), trainer.get("10.weight"))


def test_what_is_trained_is_what_the_module_has(tmp_path: Path) -> None:
    # The exporter gives convolutions without a bias zeros, which are none; slopes of PReLU are parameters.
    torch.manual_seed(9)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.PReLU(8), nn.Conv2d(8, 8, 3, 2, groups=4, bias=False), nn.PReLU(),
        nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    x, t = torch.randn(6, 3, 5, 5), torch.randint(0, 5, (6,))
    trainer = trainer_of(module, x[:1], tmp_path, optimizer="sgd", momentum=0.9)
    theirs = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    for _ in range(STEPS):
        assert trainer.step(x.numpy(), t.numpy(), 0.05).applied
        theirs.zero_grad()
        functional.cross_entropy(module(x), t).backward()
        theirs.step()
    assert set(trainer.parameter_names) == set(module.state_dict())
    for name, parameter in module.named_parameters():
        array = parameter.detach().numpy()
        mine = trainer.get(name)
        wanted = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array.reshape(mine.shape)
        assert np.abs(mine - wanted).max() < 2e-6
