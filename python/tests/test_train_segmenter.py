"""``hai train --recipe segment``: a small U-Net learns discs and squares from masks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from PIL import Image
from test_command_line import PROGRAM, run

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
SIDE = 32


def pictures(root: Path, count: int, classes: int) -> tuple[Path, Path]:
    """Discs, brighter than what is around them, and with three classes squares that are redder; under noise."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE]
    for i in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        middle = random.uniform(8, SIDE - 8, 2)
        mask[(y - middle[0]) ** 2 + (x - middle[1]) ** 2 < random.uniform(4, 8) ** 2] = 1
        if classes == 3:
            top, left = random.integers(0, SIDE - 8, 2)
            mask[top : top + 8, left : left + 8] = 2
        colors = np.array([[90, 90, 90], [170, 170, 170], [190, 70, 70]], float)[mask]
        pixels = np.clip(colors + random.normal(0, 25, colors.shape), 0, 255).astype(np.uint8)
        for folder in ("pictures", "masks"):
            (root / folder / "part").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "pictures" / "part" / f"{i}.jpg", quality=95)
        # Of two classes the white that painting programs write.
        Image.fromarray(mask * 255 if classes == 2 else mask).save(root / "masks" / "part" / f"{i}.png")
    return root / "pictures", root / "masks"


def unet(folder: Path, outputs: int, *, classes_first: bool) -> Path:
    """One level down and up, with its skip; of one output a sigmoid."""
    random = np.random.default_rng(5)

    def conv(graph: hai.GraphBuilder, x: hai.Tensor, into: int, of: int, name: str, kernel: int = 3) -> hai.Tensor:
        w = random.normal(0, np.sqrt(2 / (kernel * kernel * of)), (into, kernel, kernel, of)).astype(np.float32)
        return graph.conv2d(x, w, np.zeros(into, np.float32), padding=kernel // 2, name=name)

    graph = hai.GraphBuilder("unet", batch=(1, 16))
    x = graph.input("picture", ("N", SIDE, SIDE, 3))
    wide = graph.unary("relu", conv(graph, x, 8, 3, "in"))
    deep = graph.max_pool(wide, 2, stride=2)
    deep = graph.unary("relu", conv(graph, deep, 16, 8, "deep"))
    joined = graph.concat([wide, graph.resize_nearest(deep, 2)], 3)
    out = conv(graph, graph.unary("relu", conv(graph, joined, 8, 24, "up")), outputs, 8, "head", kernel=1)
    if outputs == 1:
        out = graph.unary("sigmoid", out)
    graph.output(graph.transpose(out, (0, 3, 1, 2)) if classes_first else out, "map")
    rule = hai.Preprocessing(width=SIDE, height=SIDE, layout="nhwc", mean=(127.0,) * 3, scale=(1 / 64,) * 3)
    axis = 1 if classes_first else -1
    options = {"loss": "dice_cross_entropy", "class_axis": axis, "optimizer": "adamw"}
    hai.Model(graph.native, rule).compile(train=options).save(folder / "net.hai")
    return folder / "net.hai"


@pytest.mark.parametrize(("classes", "classes_first"), [(2, False), (3, True)])
def test_it_learns_shapes(tmp_path: Path, classes: int, classes_first: bool) -> None:
    data, masks = pictures(tmp_path, 40, classes)
    model = unet(tmp_path, 1 if classes == 2 else classes, classes_first=classes_first)
    flags = ("--recipe", "segment", "--epochs", 25, "--learning-rate", 0.01, "--held-out", 0.25, "--json")
    text = run("train", model, "--data", data, "--masks", masks, "--out", tmp_path / "new.hai", *flags)
    answer = json.loads(text)
    assert answer["classes"] == [str(i) for i in range(classes)]
    assert answer["pictures"] == {"training": 30, "held_out": 10, "skipped": []}
    assert answer["best_miou"] > 0.85
    # The figure by the public interface: pictures and masks have the model's size, so nothing is scaled.
    session = hai.load(tmp_path / "new.hai").session(threads=1)
    rule = hai.Model.from_file(tmp_path / "new.hai").preprocessing
    assert rule is not None
    fresh, truths = pictures(tmp_path / "fresh", 12, classes)
    both, either = np.zeros(classes), np.zeros(classes)
    for path in sorted(fresh.glob("part/*.jpg")):
        (out,) = session.run(rule(hai.read_image(path))).values()
        axis = 1 if classes_first else 3
        found = (out > 0.5).astype(int).reshape(SIDE, SIDE) if classes == 2 else out.argmax(axis)[0]
        truth = np.asarray(Image.open(truths / "part" / f"{path.stem}.png")) // (255 if classes == 2 else 1)
        for k in range(classes):
            both[k] += ((found == k) & (truth == k)).sum()
            either[k] += ((found == k) | (truth == k)).sum()
    assert (both / either).mean() > 0.85


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    data, masks = pictures(tmp_path, 6, 2)
    model = unet(tmp_path, 1, classes_first=False)

    def refused(code: str, *flags: object) -> str:
        command = [PROGRAM, "train", model, "--data", data, "--out", tmp_path / "new.hai", "--epochs", "1", *flags]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert done.returncode != 0 and code in done.stderr, done.stderr
        return done.stderr

    refused("HAI-L116", "--recipe", "segment")
    refused("HAI-L115", "--masks", masks, "--augment", "mixup")
    refused("HAI-L115", "--masks", masks, "--cache", "memory")
    before = (masks / "part" / "3.png").read_bytes()
    refused("HAI-L064", "--masks", masks, "--report", masks / "part" / "3.png")
    assert (masks / "part" / "3.png").read_bytes() == before
    assert "--warmup 90" in refused("HAI-E002", "--masks", masks, "--warmup", 90)
    (masks / "part" / "3.png").unlink()
    assert "3.png" in refused("HAI-D100", "--masks", masks)
    Image.fromarray(np.full((SIDE, SIDE), 7, np.uint8)).save(masks / "part" / "3.png")
    answer = run(
        "train", model, "--data", data, "--masks", masks, "--out", tmp_path / "new.hai", "--epochs", 1, "--json"
    )
    assert [Path(one["path"]).name for one in json.loads(answer)["pictures"]["skipped"]] == ["3.jpg"]
    Image.fromarray(np.ones((SIDE, SIDE), np.uint16)).save(masks / "part" / "3.png")
    answer = run(
        "train", model, "--data", data, "--masks", masks, "--out", tmp_path / "new.hai", "--epochs", 1, "--json"
    )
    assert "HAI-D109" in json.loads(answer)["pictures"]["skipped"][0]["error"]
    with pytest.raises(hai.HaiError, match="HAI-P552"):
        graph = hai.GraphBuilder("rows", batch=(1, 4))
        x = graph.matmul(graph.input("x", ("N", 8)), np.ones((2, 8), np.float32), name="head")
        graph.output(x, "y")
        hai.Model(graph.native).compile(train={"loss": "dice_cross_entropy"})
    plain = tmp_path / "plain"
    plain.mkdir()
    graph = hai.GraphBuilder("plain", batch=(1, 4))
    x = graph.input("picture", ("N", 8, 8, 3))
    graph.output(graph.conv2d(x, np.ones((2, 1, 1, 3), np.float32), name="head"), "y")
    rule = hai.Preprocessing(width=8, height=8, layout="nhwc")
    hai.Model(graph.native, rule).compile(train={"loss": "cross_entropy"}).save(plain / "net.hai")
    model = plain / "net.hai"
    refused("HAI-L114", "--masks", masks)
