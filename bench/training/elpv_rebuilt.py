"""INT8 rebuilt on the device after the training of ELPV: its macro F1 beside f32's, and the bytes of its update.

`./dev bench elpv_rebuilt [--splits 5] [--classes 2,4] [--rows FILE]`. The training is that of `bench/training/elpv.py`. What
ships is the untrained model in INT8 alone (`save_int8(inference_only=True)`); after the training INT8 is rebuilt from the best
epoch's parameters, with ranges seen on at most 512 of the pictures that were trained on, and `hai-device update make` makes the
update from the one to the other. Cloud is what a training elsewhere sends: the 1,000 files as shipped (or as JPEG of quality 90)
and the f32 model back (measured on the untrained one), stored as small as `.hai` files are. A row a finished run is kept in FILE.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
from numpy.typing import NDArray

from bench.reasons import Skipped, exit_status
from bench.training import elpv

MOST_OBSERVED = 512
MOST_LOST = 0.01
LEAST_SAVED = 0.83


def save_rebuilt(model: Path, pictures: NDArray[np.uint8], out: Path) -> None:
    """The INT8 model alone, of the parameters in `model`."""
    trainer = hai.Trainer(model, threads=2, max_batch=elpv.BATCH)
    seen = pictures[:: max(1, -(-len(pictures) // MOST_OBSERVED))]
    batches = (elpv.view(seen[i : i + elpv.BATCH], 0) for i in range(0, len(seen), elpv.BATCH))
    trainer.save_int8(out, batches, inference_only=True)


def update_bytes(program: Path, old: Path, new: Path) -> int:
    """Of the update file that makes `new` of `old`."""
    out = new.with_suffix(".haiu")
    subprocess.run([program, "update", "make", old, new, "-o", out], check=True, stdout=subprocess.DEVNULL)
    return out.stat().st_size


def float_model_bytes(net: Any, folder: Path) -> int:
    """Of the model in f32, as a file of its own."""
    from bench.models.export import export_network

    example = np.zeros((1, 3, 224, 224), np.float32)
    export_network(net, example, folder / "float.onnx", "_batch")
    hai.from_onnx(folder / "float.onnx").compile(dims={"batch": (1, elpv.BATCH)}, compress=True).save(
        folder / "float.hai"
    )
    return (folder / "float.hai").stat().st_size


def picture_bytes(folder: Path, numbers: NDArray[np.int64]) -> tuple[int, int]:
    """Of these pictures as they are shipped, and as JPEG of quality 90."""
    from PIL import Image

    names = [line.split()[0] for line in (folder / "labels.csv").read_text().splitlines()]
    shipped = jpeg = 0
    for number in numbers:
        path = folder / names[number]
        shipped += path.stat().st_size
        with Image.open(path) as image:
            stored = io.BytesIO()
            image.convert("L").save(stored, "JPEG", quality=90)
        jpeg += len(stored.getvalue())
    return shipped, jpeg


def run(
    pictures: NDArray[np.uint8],
    thirds: NDArray[np.int64],
    classes: int,
    seed: int,
    shipped: Path,
    program: Path,
    recipe: elpv.Recipe,
) -> dict[str, Any]:
    """One split."""
    labels = thirds if classes == 4 else (thirds >= 2).astype(np.int64)
    training, held_out, test = elpv.split(thirds, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        net = elpv.network(classes, seed)
        calibration = [elpv.view(pictures[i : i + 1], 0) for i in training[:: len(training) // 64]]
        elpv.compile_network(net, calibration, folder, recipe)
        save_rebuilt(folder / "net.hai", pictures[training], folder / "old.hai")
        kept = (pictures[held_out], labels[held_out])
        result = elpv.train(folder, pictures[training], labels[training], kept, classes, seed, recipe)
        save_rebuilt(folder / "best.hai", pictures[training], folder / "new.hai")
        scores = {}
        for key, path in (("f32", "best.hai"), ("int8", "new.hai"), ("old", "old.hai")):
            for part, chosen in (("held_out", held_out), ("test", test)):
                if key == "old" and part == "test":
                    continue  # untrained
                answers = elpv.answers_of(folder / path, pictures[chosen])
                scores[f"{part}_{key}_f1"] = elpv.macro_f1(answers, labels[chosen], classes)
        as_shipped, as_jpeg = picture_bytes(shipped, np.concatenate([training, held_out]))
        back = float_model_bytes(net, folder)
        update = update_bytes(program, folder / "old.hai", folder / "new.hai")
        int8_bytes = (folder / "new.hai").stat().st_size
    return {
        "classes": classes,
        "split": seed,
        **recipe.named(),
        **scores,
        "best_epoch": result["best_epoch"],
        "update_bytes": update,
        "int8_model_bytes": int8_bytes,
        "f32_model_bytes": back,
        "pictures_bytes": as_shipped,
        "pictures_jpeg90_bytes": as_jpeg,
        "saved": 1 - update / (as_shipped + back),
        "saved_jpeg90": 1 - update / (as_jpeg + back),
    }


def print_rows(rows: list[dict[str, Any]]) -> bool:
    """The table; whether the goals were reached."""
    print("\n| classes | splits | f32 | rebuilt INT8 | most lost | update, MB | saved | saved against JPEG 90 | goal |")
    print("|---|---|---|---|---|---|---|---|---|")
    reached = True
    for classes in sorted({row["classes"] for row in rows}):
        of = [row for row in rows if row["classes"] == classes]
        f32 = np.array([row["test_f32_f1"] for row in of])
        int8 = np.array([row["test_int8_f1"] for row in of])
        saved = min(row["saved"] for row in of)
        good = (f32 - int8).mean() <= MOST_LOST and saved >= LEAST_SAVED
        reached &= bool(good)
        print(
            f"| {classes} | {len(of)} | {f32.mean():.4f} | {int8.mean():.4f} | {(f32 - int8).max():+.4f} | "
            f"{np.mean([row['update_bytes'] for row in of]) / 1e6:.2f} | {saved:.1%} | "
            f"{min(row['saved_jpeg90'] for row in of):.1%} | "
            f"within {MOST_LOST}, {LEAST_SAVED:.0%}: {'reached' if good else 'missed'} |"
        )
    return reached


def measure(options: argparse.Namespace) -> bool:
    """Runs what is not in the file of rows yet."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise Skipped("PyTorch is not installed") from error
    rows: list[dict[str, Any]] = []
    if options.rows and options.rows.exists():
        rows = [json.loads(line) for line in options.rows.read_text().splitlines()]
    pictures, thirds = elpv.cells(options.pictures)
    folder = options.pictures
    if folder is None:
        import elpv_dataset

        folder = Path(str(elpv_dataset.__file__)).parent / "data"
    recipe = elpv.Recipe(options.trainable, options.epochs)
    rows = [row for row in rows if recipe.fits(row)]
    for seed in range(1, options.splits + 1):
        for classes in [int(number) for number in options.classes.split(",")]:
            if any(row["classes"] == classes and row["split"] == seed for row in rows):
                continue
            row = run(pictures, thirds, classes, seed, folder, options.program, recipe)
            rows.append(elpv.keep(row, options.rows))
    return print_rows(rows)


def main(arguments: list[str]) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="elpv_rebuilt", description=__doc__)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--classes", default="2,4")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--trainable", default=elpv.Recipe().trainable)
    parser.add_argument("--epochs", type=int, default=elpv.Recipe().epochs)
    parser.add_argument("--program", type=Path, default=Path("build/bin/hai-device"))
    parser.add_argument("--pictures", type=Path, help="the folder of labels.csv and images/")
    options = parser.parse_args(arguments)
    return exit_status(lambda: measure(options))


if __name__ == "__main__":
    raise SystemExit(main([]))
