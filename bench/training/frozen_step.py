"""A step of training with a frozen part: the last two blocks and the head of MobileNetV2, 224 x 224, batch 16, beside PyTorch.

`./dev bench frozen_step [--repeats 15] [--even-if-busy]`. Two threads. PyTorch is the fastest of NCHW, channels_last and
torch.compile (with channels_last); its frozen part runs without gradients and in evaluation mode. Steps of all sides alternate;
medians. Ours: the frozen part in f32, in INT8, and with its features kept.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hai_toolkit as hai
import numpy as np

from bench.reasons import Skipped, exit_status
from bench.speed.quiet import Quiet

BATCH, CLASSES, TRAINED = 16, 10, "last:8"  # two blocks of three convolutions, the last convolution, the head
GOALS = {"f32": 3.0, "INT8": 5.0}


def torch_steps(pictures: np.ndarray, labels: np.ndarray) -> tuple[dict[str, Callable[[], object]], object]:
    """A step for each of PyTorch's forms, and the network."""
    import torch

    from bench.models.mobilenet import MobileNetV2

    torch.set_num_threads(2)
    torch.manual_seed(1)
    target = torch.from_numpy(labels)

    def form(name: str) -> tuple[Callable[[], None], MobileNetV2]:
        torch.manual_seed(1)
        net = MobileNetV2(classes=CLASSES)
        layers = list(net.features)
        frozen, tail = torch.nn.Sequential(*layers[:-3]), torch.nn.Sequential(*layers[-3:], net.head)
        frozen.eval()
        tail.train()
        data = torch.from_numpy(pictures)
        if name != "NCHW":
            net = net.to(memory_format=torch.channels_last)
            data = data.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(tail.parameters(), lr=0.01, momentum=0.9)
        if name == "compiled":
            frozen, tail = torch.compile(frozen), torch.compile(tail)

        def step() -> None:
            with torch.no_grad():
                features = frozen(data)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(tail(features), target).backward()
            optimizer.step()

        return step, net

    steps: dict[str, Callable[[], object]] = {}
    network = None
    for name in ("NCHW", "channels_last", "compiled"):
        try:
            step, network = form(name)
            step()
            steps[f"PyTorch {name}"] = step
        except Exception as error:  # torch.compile needs a compiler at hand
            print(f"PyTorch {name} does not run here: {str(error)[:200]}", flush=True)
    return steps, network


def our_steps(
    network: object, pictures: np.ndarray, labels: np.ndarray, folder: Path
) -> dict[str, Callable[[], object]]:
    """Ours, from the same network."""
    from bench.models.export import export_network

    export_network(network.eval(), pictures, folder / "net.onnx", "_batch")  # type: ignore[attr-defined]
    steps: dict[str, Callable[[], object]] = {}
    for name in ("f32", "INT8"):
        model = hai.from_onnx(folder / "net.onnx")
        if name == "INT8":
            model.quantize(calibration=[pictures[i : i + 1] for i in range(BATCH)], trainable=TRAINED, self_check=False)
        model.compile(
            dims={"batch": (1, BATCH)}, train=f"loss=cross_entropy,optimizer=sgd,momentum=0.9,trainable={TRAINED}"
        ).save(folder / f"{name}.hai")
        trainer = hai.Trainer(folder / f"{name}.hai", threads=2, max_batch=BATCH)
        steps[f"HAI {name}"] = lambda trainer=trainer: trainer.step(pictures, labels, 0.01)
    kept = trainer.features(pictures)
    steps["HAI INT8, features kept"] = lambda: trainer.step_from_features(kept, labels, 0.01)
    return steps


def measure(repeats: int, even_if_busy: bool) -> bool:
    """Prints the table; whether the goals were reached."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise Skipped("PyTorch is not installed") from error
    random = np.random.default_rng(1)
    pictures = random.normal(0, 1, (BATCH, 3, 224, 224)).astype(np.float32)
    labels = random.integers(0, CLASSES, BATCH)
    with tempfile.TemporaryDirectory() as folder:
        steps, network = torch_steps(pictures, labels)
        peers = list(steps)
        steps |= our_steps(network, pictures, labels, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in steps}
        with Quiet(30.0, even_if_busy) as quiet:
            for turn in range(repeats + 2):
                for name, step in steps.items():
                    begin = time.perf_counter()
                    step()
                    if turn >= 2:
                        times[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min(medians[name] for name in peers)
    print(
        f"\nothers used {quiet.others:.2f} processors\n\n| step of batch {BATCH} | ms | PyTorch's fastest over it |\n|---|---|---|"
    )
    for name, seconds in medians.items():
        print(f"| {name} | {seconds * 1e3:.1f} | {fastest / seconds:.2f} |")
    missed = [name for name, goal in GOALS.items() if fastest / medians[f"HAI {name}"] < goal]
    print(f"\nmissed: {', '.join(missed) or 'none'} (goals {GOALS})")
    return not missed


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="frozen_step", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--even-if-busy", action="store_true", help="times beside other work are orientation only")
    options = parser.parse_args(arguments)
    return exit_status(lambda: measure(options.repeats, options.even_if_busy))


if __name__ == "__main__":
    raise SystemExit(main([]))
