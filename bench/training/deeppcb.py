"""DeepPCB from few pictures: YOLOv5n from its COCO weights (BatchNorm kept), trained by `hai train`, mAP50 on the evaluation part.

`./dev bench deeppcb [--pictures 100] [--seeds 5] [--augment NAMES] [--rows FILE] [--recipe-trial] [--set neu_det]`. The 100
pictures of `train.json` whose file names have the smallest SHA-256 are the reserve on which recipes are made (`--recipe-trial`:
70 train, 30 judge). Draws come from the others, by seed; nothing is held out of a draw, there is no early stopping, and the last
checkpoint is what counts. Figures: mAP50 on `evaluation.json`, and the same on the boards (first five digits of a file's name)
that the draw has and has not. A row a finished run is kept in FILE, so that an interrupted series goes on where it was. NEU-DET
(steel, pictures of 200 x 200, seen at 256) is trained with the same recipe, for which nothing was chosen there; it has no goal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hai_toolkit import checkpoints, evaluation

from bench.reasons import Skipped, exit_status
from bench.training.interval import mean_with_interval

BATCH, RESERVE, GOAL = 4, 100, 0.92
SIZES = {"deeppcb": 640, "neu_det": 256}
RECIPE = {"epochs": 40, "rate": 2e-3, "warmup": 50, "plain": 8, "augment": "flip,flip_vertical,mosaic"}
TRAIN = "loss=yolov5,optimizer=adamw,weight_decay=0.01,clip_norm=10,max_boxes=128"
ROOT = Path(__file__).resolve().parents[2]


def data_folder(name: str) -> Path:
    """The folder of test data."""
    folder = Path(os.environ.get("HAI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / name / "train.json").exists() or not (folder / "models" / "yolov5n.pt").exists():
        raise Skipped(f"no {name} and models/yolov5n.pt in {folder}; set HAI_TEST_DATA")
    return folder


def board(image: dict[str, Any]) -> str:
    """The board that a picture was cut from."""
    return str(image["file_name"])[:5]


def part(document: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
    """The same with these pictures only."""
    ids = {image["id"] for image in images}
    boxes = [one for one in document["annotations"] if one["image_id"] in ids]
    return {"images": images, "annotations": boxes, "categories": document["categories"]}


def split(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The reserve, and what draws come from; both in the order of their digests."""
    ordered = sorted(document["images"], key=lambda image: hashlib.sha256(image["file_name"].encode()).hexdigest())
    return ordered[:RESERVE], ordered[RESERVE:]


def draw(pool: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """`count` pictures; with another count and the same seed one is a part of the other."""
    return [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))[:count]]


def judge(model: Path, document: dict[str, Any], images: Path, folder: Path) -> float:
    """mAP50 on a part of COCO's JSON."""
    if not document["images"]:
        return float("nan")
    labels = folder / "judge.json"
    labels.write_text(json.dumps(document))
    return float(evaluation.evaluate(str(model), labels, "map50", decode="yolov5", images=images, threads=2))


def run(
    train: dict[str, Any], test: dict[str, Any], data: Path, seed: int, chosen: argparse.Namespace
) -> dict[str, Any]:
    """One training and its figures."""
    size = SIZES[chosen.set]
    names = [one["name"] for one in sorted(train["categories"], key=lambda one: one["id"])]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        network = checkpoints.find_network(checkpoints.read_checkpoint(data / "models" / "yolov5n.pt"))
        model, _ = checkpoints.build(network, (size, size), (1, BATCH), classes=names, seed=seed)
        model.compile(train=TRAIN).save(folder / "start.hai")
        (folder / "train.json").write_text(json.dumps(train))
        images = data / chosen.set / "images"
        command = [
            str(ROOT / "build" / "bin" / "hai"), "train", str(folder / "start.hai"), "--data", str(images),
            "--labels", str(folder / "train.json"), "--out", str(folder / "end.hai"), "--held-out", "0",
            "--epochs", str(chosen.epochs), "--batch", str(BATCH), "--learning-rate", str(RECIPE["rate"]),
            "--warmup", str(RECIPE["warmup"]), "--augment", chosen.augment, "--plain-epochs", str(RECIPE["plain"]),
            "--seed", str(seed), "--threads", "2", "--json",
        ]  # fmt: skip
        begin, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"hai train failed: {done.stderr}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures = {"map50": round(judge(folder / "end.hai", test, images, folder), 4)}
        if chosen.set == "deeppcb":
            seen = {board(image) for image in train["images"]}
            for name, known in ("seen", True), ("unseen", False):
                of = part(test, [image for image in test["images"] if (board(image) in seen) == known])
                figures[name] = round(judge(folder / "end.hai", of, images, folder), 4)
        return {
            **figures,
            "minutes": round((time.time() - begin) / 60, 1),
            "cpu_minutes": round((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60, 1),
            "steps": json.loads(done.stdout)["steps"],
        }


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--augment", default=RECIPE["augment"])
    parser.add_argument("--recipe-trial", action="store_true")
    parser.add_argument("--set", choices=sorted(SIZES), default="deeppcb")
    parser.add_argument("--rows", type=Path, default=Path(__file__).parent / "deeppcb.jsonl")
    chosen = parser.parse_args(arguments)
    return exit_status(lambda: measure(chosen))


def measure(chosen: argparse.Namespace) -> bool:
    """Prints the table; whether the goal is met."""
    data = data_folder(chosen.set)
    document, test = (json.loads((data / chosen.set / f"{name}.json").read_text()) for name in ("train", "evaluation"))
    reserve, pool = split(document)
    if not 1 <= chosen.pictures <= len(pool):
        raise SystemExit(f"--pictures {chosen.pictures}: 1 to {len(pool)} can be drawn")
    rows = [json.loads(line) for line in chosen.rows.read_text().splitlines()] if chosen.rows.exists() else []

    def row(key: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        for old in rows:
            if old.get("set", "deeppcb") == chosen.set and all(old.get(name) == value for name, value in key.items()):
                return dict(old)
        new = ({} if chosen.set == "deeppcb" else {"set": chosen.set}) | key | work()
        rows.append(new)
        with chosen.rows.open("a") as file:
            file.write(json.dumps(new) + "\n")
        print(json.dumps(new), flush=True)
        return new

    recipe = RECIPE | {"epochs": chosen.epochs, "augment": chosen.augment}
    if chosen.recipe_trial:
        kept, judged = part(document, reserve[:70]), part(document, reserve[70:])
        key = {"what": "trial", "pictures": 70, "seed": 1, **recipe}
        row(key, lambda: run(kept, judged, data, 1, chosen))
        return True
    done = [
        row(
            {"what": "run", "pictures": chosen.pictures, "seed": seed, **recipe},
            lambda seed=seed: run(part(document, draw(pool, chosen.pictures, seed)), test, data, seed, chosen),
        )
        for seed in range(1, chosen.seeds + 1)
    ]
    figures = np.array([one["map50"] for one in done])
    print("| pictures | seeds | mAP50 (least to most) | boards seen | not seen | minutes | CPU minutes |")
    print("|---|---|---|---|---|---|---|")
    parts = " | ".join(
        mean_with_interval([one[name] for one in done]) if name in done[0] else "" for name in ("seen", "unseen")
    )
    minutes = " | ".join(f"{np.mean([one[name] for one in done]):.1f}" for name in ("minutes", "cpu_minutes"))
    print(
        f"| {chosen.pictures} | {len(done)} | {mean_with_interval(figures.tolist())} ({figures.min():.3f} to "
        f"{figures.max():.3f}) | {parts} | {minutes} |"
    )
    return chosen.set != "deeppcb" or bool(figures.mean() >= GOAL)
