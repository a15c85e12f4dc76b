"""A frozen INT8 part on the NPU: ``hai train`` and ``Trainer`` give the bits of the same training on the CPU."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from test_command_line import PROGRAM, run
from test_train_command import pictures, step_lines

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")
DEVICE_PROGRAM = PROGRAM.with_name("hai-device")
TRAIN = "loss=cross_entropy,optimizer=adamw,trainable=head"


def quantized() -> hai.Model:
    """Two convolutions in INT8 before a head in f32."""
    random = np.random.default_rng(7)
    graph = hai.GraphBuilder("tiny", batch=(1, 16))
    x = graph.input("picture", ("N", 16, 16, 3))
    x = graph.conv2d(x, random.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32), padding=1, name="stem")
    x = graph.conv2d(
        graph.unary("relu", x), random.normal(0, 0.1, (16, 3, 3, 16)).astype(np.float32), padding=1, name="wide"
    )
    x = graph.global_average_pool(graph.unary("relu", x))
    head = random.normal(0, 0.1, (3, 16)).astype(np.float32)
    graph.output(graph.matmul(x, head, np.zeros(3, np.float32), name="head"), "logits")
    model = hai.Model(graph.native, hai.Preprocessing(width=16, height=16, layout="nhwc", scale=(1 / 255,) * 3))
    model.quantize(calibration=list(random.uniform(0, 1, (8, 1, 16, 16, 3)).astype(np.float32)), trainable="head")
    return model


def test_training_on_the_npus_features_is_that_on_the_cpus(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", 12)
    model = quantized()
    logs, answers = {}, {}
    for device in ("cpu", "sd3403"):
        model.compile(device, train=TRAIN).save(tmp_path / f"{device}.hai")
        flags = ("--epochs", 3, "--batch", 8, "--held-out", 0.25, "--learning-rate", 0.02, "--threads", 1)
        for name, more in (("plain", ()), ("kept", ("--augment", "flip", "--cache", "memory", "--views", 2))):
            log, out = tmp_path / f"{device}.{name}.jsonl", tmp_path / f"{device}.{name}.hai"
            report = tmp_path / "report.html"
            output = ("--out", out, "--log", log, "--report", report, "--json")
            text = run("train", tmp_path / f"{device}.hai", "--data", data, *output, *flags, *more)
            answer = json.loads(text)
            logs[device, name] = step_lines(log)
            board = answer.get("board")
            assert (board is not None) == (device == "sd3403")
            if board:
                assert board["profile"] == "sd3403"
                time = hai.modelled_training(
                    tmp_path / f"{device}.hai",
                    frozen_samples=12 * 8 if name == "plain" else 2 * 27,  # every step's, or each picture's two views
                    steps=12,
                    batch=8,
                    measured_samples=3 * 9,
                )
                assert board["modelled_seconds"] == pytest.approx(time.seconds, rel=1e-12)
                assert board["modelled_frozen_npu_seconds"] == pytest.approx(time.frozen_npu_seconds, rel=1e-12)
                assert "(modelled, profile sd3403)" in report.read_text()
            answers[device, name] = [epoch["top1"] for epoch in answer["epochs"]]
    for name in ("plain", "kept"):
        assert len(logs["cpu", name]) == 3 * 4
        assert logs["sd3403", name] == logs["cpu", name]
        assert answers["sd3403", name] == answers["cpu", name]
    assert logs["cpu", "plain"] != logs["cpu", "kept"]


def test_features_in_python_are_equal(tmp_path: Path) -> None:
    model = quantized()
    pixels = np.random.default_rng(3).uniform(0, 1, (5, 16, 16, 3)).astype(np.float32)
    features = []
    for device in ("cpu", "sd3403"):
        model.compile(device, train=TRAIN).save(tmp_path / f"{device}.hai")
        trainer = hai.Trainer(tmp_path / f"{device}.hai", threads=2)
        (feature,) = trainer.features(pixels)
        trainer.step_from_features([feature], np.arange(5) % 3, 0.1)
        features.append((feature, trainer.get("head.weight")))
    assert features[0][0].dtype == np.int8 and len(np.unique(features[0][0])) > 8
    assert np.array_equal(features[0][0], features[1][0])
    assert np.array_equal(features[0][1], features[1][1])


def test_a_program_without_the_simulator_says_so(tmp_path: Path) -> None:
    quantized().compile("sd3403", train=TRAIN).save(tmp_path / "net.hai")
    done = subprocess.run(
        [DEVICE_PROGRAM, "train", tmp_path / "net.hai", "--data", pictures(tmp_path / "data", 4), "--out", "new.hai"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "device 'sd3403' is not in this build, which has: cpu" in done.stderr and "HAI-R013" in done.stderr
    assert not (tmp_path / "new.hai").exists()


def test_a_model_of_which_nothing_is_frozen_in_integers_is_refused() -> None:
    graph = hai.GraphBuilder("floats", batch=(1, 4))
    x = graph.matmul(graph.input("x", ("N", 8)), np.ones((8, 8), np.float32), name="first")
    graph.output(graph.matmul(x, np.ones((2, 8), np.float32), name="head"), "y")
    model = hai.Model(graph.native)
    for trainable in ("all", "head"):
        with pytest.raises(hai.HaiError, match="HAI-K033"):
            model.compile("sd3403", train={"trainable": trainable})
