"""A step of training beside PyTorch: time and resident memory, alternating.

`./dev bench training_speed [--cases full,tail,unet] [--rounds 12] [--steps 2] [--threads 2] [--rows FILE] [--no-compile]
[--even-if-busy]`.
Cases: the full step of MobileNetV2 (224 x 224, batch 16), its last two blocks with what follows them (the front frozen, its
batch norms too), and a U-Net of 0.48 M parameters (128 x 128, batch 16); SGD with momentum. Each side (ours; PyTorch NCHW,
channels_last, channels_last under torch.compile) is a process of its own that holds the model and waits; a round lets each
make some steps while the others sleep. Reported are medians over all rounds. That all sides do the same work is checked by
their losses of the first steps, from the same weights and on the same batch.

Memory is the peak of resident memory (VmHWM, reset first) over the resident memory of the same process when everything is
imported and the batch exists, but no model: after the rounds. One JSON row a side goes to FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.reasons import Skipped
from bench.speed.quiet import Quiet

RATE, MOMENTUM, CHECKED = 1e-3, 0.9, 3
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))  # of each side; workers get it so
MOST_LOSS_ERROR = 2e-3  # of the loss, over the first steps: f32 sums in another order, through batch statistics
OURS = ("ours", "ours, memory=")
PEERS = ("PyTorch NCHW", "PyTorch channels_last", "PyTorch compiled")


@dataclass(frozen=True)
class Case:
    """One training, and what is to be reached."""

    title: str
    side: int
    batch: int
    frozen: int  # children of `features` that stay as they are
    train: dict[str, Any]
    memory: str  # for the second of our rows; "": none
    faster: float
    smaller: float  # PyTorch's memory over ours; 0: no goal


CASES = {
    "full": Case("MobileNetV2, full step", 224, 16, 0, {}, "600MB", 2.5, 3.0),
    "tail": Case("MobileNetV2, last 2 blocks + head", 224, 16, 16, {"trainable": "last:8"}, "65MB", 3.0, 5.0),
    "unet": Case("U-Net, 0.48 M parameters", 128, 16, 0, {"loss": "bce"}, "", 1.7, 0.0),
}


def network(case: str) -> Any:
    """The module of a case, with the same weights at each call."""
    import torch

    from bench.models.mobilenet import MobileNetV2
    from bench.models.unet import UNet

    torch.manual_seed(1)
    return UNet((16, 32, 64, 128), 1) if case == "unet" else MobileNetV2()


def batch_of(case: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, and class numbers or masks."""
    what = CASES[case]
    random = np.random.default_rng(1)
    x = random.standard_normal((what.batch, 3, what.side, what.side), np.float32)
    if case == "unet":
        return x, (random.random((what.batch, 1, what.side, what.side)) < 0.3).astype(np.float32)
    return x, random.integers(0, 1000, what.batch)


def write_model(case: str, memory: str, path: Path) -> None:
    """Compiles the training program of a case."""
    import hai_toolkit as hai
    import torch

    what = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        model = hai.from_torch(
            network(case), torch.zeros(1, 3, what.side, what.side), batch=(1, what.batch), optimize=False
        )
    train = {"optimizer": "sgd", "momentum": MOMENTUM, **what.train, **({"memory": memory} if memory else {})}
    model.compile(train=train).save(path)


def kept_bytes(field: str) -> int:
    """A size from /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise Skipped(f"/proc/self/status has no {field}")


def our_step(case: str, path: str) -> Callable[[], Callable[[], float]]:
    """What makes our trainer; that gives a step, which returns the loss."""
    import hai_toolkit as hai

    x, y = batch_of(case)
    if case == "unet":  # the prediction's layout
        y = np.ascontiguousarray(y)

    def make() -> Callable[[], float]:
        trainer = hai.Trainer(path, threads=THREADS, max_batch=CASES[case].batch)
        return lambda: trainer.step(x, y, RATE).loss

    return make


def their_step(case: str, how: str) -> Callable[[], Callable[[], float]]:
    """The same in PyTorch."""
    import torch

    torch.set_num_threads(THREADS)
    x, y = (torch.from_numpy(array) for array in batch_of(case))

    def make() -> Callable[[], float]:
        net = network(case).train()
        for child in list(net.features)[: CASES[case].frozen] if CASES[case].frozen else []:
            child.eval().requires_grad_(False)
        inputs = x
        if how != "PyTorch NCHW":
            net = net.to(memory_format=torch.channels_last)
            inputs = x.contiguous(memory_format=torch.channels_last)
        criterion = torch.nn.BCEWithLogitsLoss() if case == "unet" else torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], RATE, momentum=MOMENTUM)
        forward = torch.compile(net) if how == "PyTorch compiled" else net

        def step() -> float:
            optimizer.zero_grad()
            loss = criterion(forward(inputs), y)
            loss.backward()
            optimizer.step()
            return float(loss)

        return step

    return make


def work(case: str, how: str, path: str) -> None:
    """A worker: says the losses of its first steps and its memory before, then obeys lines: a number of steps, or `memory`."""
    if how.startswith("ours"):
        make = our_step(case, path)
    else:
        make = their_step(case, how)
        warnings.simplefilter("ignore")
    Path("/proc/self/clear_refs").write_text("5")
    before = kept_bytes("VmRSS")
    begin = time.perf_counter()
    step = make()
    losses = [step() for _ in range(CHECKED)]
    print(json.dumps({"losses": losses, "before": before, "start_s": time.perf_counter() - begin}), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps(kept_bytes("VmHWM")), flush=True)
            continue
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        print(json.dumps(times), flush=True)


class Worker:
    """A side: its process, and what it said."""

    def __init__(self, case: str, how: str, path: Path, threads: int) -> None:
        self.how = how
        command = [sys.executable, "-m", "bench.training.step_speed", "--worker", case, how, str(path)]
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.times: list[float] = []
        self.peak = 0
        self.first = self.read()

    def read(self) -> Any:
        """Its next word; Skipped if it died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Skipped(f"{self.how}: the process ended ({self.process.wait()})")
        return json.loads(line)

    def ask(self, what: str) -> Any:
        """An answer to a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self.read()

    def steps(self, count: int) -> None:
        """Measured steps, after one that brings the caches back."""
        self.times += self.ask(str(count + 1))[1:]

    def close(self) -> None:
        """Asks for its peak of memory and ends the process."""
        self.peak = self.ask("memory")
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def agree(losses: list[float], theirs: list[float]) -> bool:
    """Losses of the first steps are the same but for rounding."""
    return all(abs(a - b) <= MOST_LOSS_ERROR * max(1.0, abs(b)) for a, b in zip(losses, theirs, strict=True))


def start(case: str, compiled: bool, threads: int, folder: Path) -> list[Worker]:
    """All sides of a case that run here."""
    workers = []
    for how in (*OURS[: 2 if CASES[case].memory else 1], *PEERS[: 3 if compiled else 2]):
        path = folder / f"{case}{OURS.index(how) if how in OURS else ''}.hai"
        if how in OURS:
            memory = CASES[case].memory if how == OURS[1] else ""
            # In a process of its own: nothing of the compiler is in this one.
            code = f"from bench.training.step_speed import *; write_model({case!r}, {memory!r}, Path({str(path)!r}))"
            subprocess.run(
                [sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            workers.append(Worker(case, how, path, threads))
        except Skipped as reason:
            print(f"left out: {reason}", flush=True)
    return workers


def report(case: str, workers: list[Worker], threads: int, others: float, rows: Path) -> bool:
    """Prints the table, keeps the rows; whether the goals were reached."""
    peers = [w for w in workers if w.how in PEERS]
    if not peers:
        raise Skipped("no peer runs here")
    fastest = min(statistics.median(w.times) for w in peers)
    reference = peers[0].first["losses"]
    memory = {w.how: w.peak - w.first["before"] for w in workers}
    theirs = min(memory[w.how] for w in peers)
    print(f"\n{CASES[case].title}, batch {CASES[case].batch}, {threads} thread(s); others used {others:.2f} processors")
    print(
        "| side | ms a step | of the fastest peer | MB over the process before the model | losses |\n|---|---|---|---|---|"
    )
    good = True
    for w in workers:
        ms = statistics.median(w.times) * 1e3
        same = agree(w.first["losses"], reference)
        row = {
            "case": case, "side": w.how + (CASES[case].memory if w.how == OURS[1] else ""), "ms": round(ms, 1),
            "least_ms": round(min(w.times) * 1e3, 1), "steps": len(w.times), "threads": threads, "mb": round(memory[w.how] / 1e6),
            "losses": [round(x, 5) for x in w.first["losses"]], "others": round(others, 2),
            "day": time.strftime("%Y-%m-%d"),
        }  # fmt: skip
        with rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"| {row['side']} | {ms:.0f} | {fastest * 1e3 / ms:.2f}x | {row['mb']} | {'same' if same else 'OTHERS'} |",
            flush=True,
        )
        good &= same
    ours = [w for w in workers if w.how in OURS]
    faster = max(fastest / statistics.median(w.times) for w in ours)
    smaller = max(theirs / memory[w.how] for w in ours)
    print(f"{faster:.2f}x faster (wanted {CASES[case].faster:g}x), memory 1/{smaller:.2f}", end="")
    print(f" (wanted 1/{CASES[case].smaller:g})" if CASES[case].smaller else "", flush=True)
    return good and faster >= CASES[case].faster and smaller >= CASES[case].smaller


def measure(chosen: argparse.Namespace) -> bool:
    """All cases; whether all goals were reached."""
    good = True
    for case in chosen.cases.split(","):
        with tempfile.TemporaryDirectory() as folder, Quiet(even_if_busy=chosen.even_if_busy) as quiet:
            workers = start(case, not chosen.no_compile, chosen.threads, Path(folder))
            for _ in range(chosen.rounds):
                for worker in workers:
                    worker.steps(chosen.steps)
                    time.sleep(0.05)  # their threads go to sleep
            for worker in workers:
                worker.close()
        good &= report(case, workers, chosen.threads, quiet.others, chosen.rows)
    return good


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="bench training_speed", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}, separated by commas")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="a side and round")
    parser.add_argument("--threads", type=int, default=2, help="of each side; with 1 a busy machine disturbs least")
    parser.add_argument("--rows", type=Path, default=Path(__file__).with_name("step_speed.jsonl"))
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes a minute to start")
    parser.add_argument("--even-if-busy", action="store_true", help="measure beside other work")
    chosen = parser.parse_args(arguments)
    unknown = [case for case in chosen.cases.split(",") if case not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]}; known: {', '.join(CASES)}")
    from bench.reasons import exit_status

    return exit_status(lambda: measure(chosen))


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--worker":
        work(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
