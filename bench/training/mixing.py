"""What MixUp and CutMix give: solar cells (ELPV, defective or not) from 100 labels, `hai train` with and without them.

`./dev bench mixing [--seeds 5] [--rows FILE] [--pictures FOLDER]`. Of each split of `elpv` (its seed) 100 pictures of the
training part, stratified, are trained on: EfficientNet-Lite0 from ImageNet, frozen part INT8, the last 8 layers f32, 40 epochs
of batches of 20, AdamW at 1e-3 with a cosine, flips; the last checkpoint counts, nothing is held out, and the recipe is that of
`elpv` where it can be: nothing was tuned. Judged on the split's 1,624 test pictures by macro F1 and accuracy. Gains are
differences for the same seed, with their interval (interval.py). A row a finished run is kept in FILE.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from numpy.typing import NDArray

from bench.reasons import Skipped, exit_status
from bench.training import elpv
from bench.training.interval import mean_with_interval

LABELS, EPOCHS, BATCH, RATE, WARMUP = 100, 40, 20, 1e-3, 10
VARIANTS = {"flips": "flip", "MixUp": "flip,mixup", "CutMix": "flip,cutmix", "both": "flip,mixup,cutmix"}
ROOT = Path(__file__).resolve().parents[2]


def draw(thirds: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on, with the shares of all four labels, and to test on."""
    training, _, test = elpv.split(thirds, seed)
    random = np.random.default_rng(100 + seed)
    shares = np.array([(thirds[training] == label).mean() * LABELS for label in range(4)])
    counts = np.floor(shares).astype(int)
    for label in np.argsort(counts - shares)[: LABELS - counts.sum()]:  # the largest remainders
        counts[label] += 1
    chosen = [
        random.permutation(training[thirds[training] == label])[:count] for label, count in enumerate(counts.tolist())
    ]
    return np.concatenate(chosen), test


def write_pictures(pictures: NDArray[np.uint8], defective: NDArray[np.bool_], folder: Path) -> None:
    """A folder a class; the pictures already have the network's size."""
    from PIL import Image

    for number, picture in enumerate(pictures):
        into = folder / ("1_defective" if defective[number] else "0_sound")
        into.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(into / f"{number}.png")


def compile_network(calibration: list[elpv.Floats], seed: int, path: Path) -> None:
    """The file that is trained."""
    from bench.models.export import export_network

    export_network(elpv.network(2, seed), calibration[0], path.with_suffix(".onnx"), "_batch")
    model = hai.from_onnx(path.with_suffix(".onnx"))
    model.preprocessing = hai.Preprocessing(width=224, height=224, mean=(127.0,) * 3, scale=(1 / 128,) * 3)
    model.quantize(calibration=calibration, trainable=elpv.Recipe().trainable, self_check=False)
    options = f"loss=cross_entropy,optimizer=adamw,weight_decay=0.02,trainable={elpv.Recipe().trainable},statistics_momentum=0.05"
    model.compile(dims={"batch": (1, BATCH)}, train=options).save(path)


def run(pictures: NDArray[np.uint8], thirds: NDArray[np.int64], seed: int, augment: str) -> dict[str, Any]:
    """One training and its figures."""
    chosen, test = draw(thirds, seed)
    defective = thirds >= 2
    begin, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(pictures[chosen], defective[chosen], folder / "pictures")
        compile_network([elpv.view(pictures[i : i + 1], 0) for i in chosen[::2]], seed, folder / "start.hai")
        command = [
            str(ROOT / "build" / "bin" / "hai"), "train", str(folder / "start.hai"), "--data", str(folder / "pictures"),
            "--out", str(folder / "end.hai"), "--held-out", "0", "--epochs", str(EPOCHS), "--batch", str(BATCH),
            "--learning-rate", str(RATE), "--warmup", str(WARMUP), "--augment", augment, "--seed", str(seed),
            "--threads", "2", "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"hai train failed: {done.stderr}")
        answers = elpv.answers_of(folder / "end.hai", pictures[test], BATCH)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    labels = defective[test].astype(np.int64)
    return {
        "f1": round(elpv.macro_f1(answers, labels, 2), 4),
        "accuracy": round(float((answers == labels).mean()), 4),
        "minutes": round((time.time() - begin) / 60, 2),
        "cpu_minutes": round((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60, 2),
    }


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The table; gains over flips alone where a seed has both."""
    plain = {row["seed"]: row for row in rows if row["variant"] == "flips"}
    print("\n| augmentation | seeds | macro F1 | gain | accuracy | gain | CPU minutes |\n|---|---|---|---|---|---|---|")
    for variant in VARIANTS:
        of = [row for row in rows if row["variant"] == variant]
        if not of:
            continue
        cells = [variant, str(len(of))]
        for key in ("f1", "accuracy"):
            gains = [row[key] - plain[row["seed"]][key] for row in of if row["seed"] in plain]
            cells += [
                mean_with_interval([row[key] for row in of]),
                "" if variant == "flips" or not gains else mean_with_interval(gains, signed=True),
            ]
        print(f"| {' | '.join(cells)} | {np.mean([row['cpu_minutes'] for row in of]):.1f} |")


def measure(options: argparse.Namespace) -> bool:
    """Runs what is not in the file of rows yet. There is no goal: a gain is reported, even if there is none."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise Skipped("PyTorch is not installed") from error
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    known = {(row["variant"], row["seed"]) for row in rows}
    wanted = [(variant, seed) for seed in range(1, options.seeds + 1) for variant in options.variants.split(",")]
    missing = [one for one in wanted if one not in known]
    if missing:
        pictures, thirds = elpv.cells(options.pictures)
        for variant, seed in missing:
            row = {"variant": variant, "seed": seed, **run(pictures, thirds, seed, VARIANTS[variant])}
            rows.append(row)
            print(json.dumps(row), flush=True)
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
    print_rows(rows)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--variants", default="flips,MixUp,CutMix", help=f"some of {', '.join(VARIANTS)}")
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent / "mixing.jsonl")
    parser.add_argument("--pictures", type=Path, help="the folder of labels.csv and images/")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: measure(chosen))
