"""The C interface of training: its example, compiled as C99 against libhai_training.so, and what it refuses."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "build" / "lib" / "libhai_training.so"
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY} is not built")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    graph = hai.GraphBuilder("net", batch=(1, 64))
    x = graph.input("x", ("N", 3))
    w = random.normal(0, 1, (32, 3)).astype(np.float32)
    x = graph.matmul(x, w, np.zeros(32, np.float32), name="first")
    ones = np.ones(32, np.float32)
    x = graph.unary("relu", graph.batch_norm(x, ones, 0 * ones, 0 * ones, ones, epsilon=1e-5))
    head = random.normal(0, 0.1, (2, 32)).astype(np.float32)
    graph.output(graph.matmul(x, head, np.zeros(2, np.float32), name="head"), "y")
    hai.Model(graph.native).compile(train={"optimizer": "adamw"}).save(tmp_path / "net.hai")
    return tmp_path / "net.hai"


def test_the_example_trains_and_goes_on_in_the_same_bits(tmp_path: Path, net: Path) -> None:
    program = tmp_path / "train_model"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]
    link = [f"-L{LIBRARY.parent}", "-lhai_training", f"-Wl,-rpath,{LIBRARY.parent}"]
    command = ["gcc", *flags, str(ROOT / "examples" / "train_model.c"), *link, "-o", str(program)]
    subprocess.run(command, check=True)

    def train(steps: int, checkpoints: str, out: str) -> str:
        arguments = [program, net, str(steps), tmp_path / checkpoints, tmp_path / out]
        return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout

    said = train(300, "whole", "whole.hai")
    losses = [float(x) for x in re.findall(r"loss ([0-9.]+)", said)]
    assert len(losses) == 6 and max(losses[2:]) < 0.4, said  # guessing: 0.69
    right = re.findall(r", (\d+) of 32 right", said)
    assert int(right[-1]) >= 29, said
    train(120, "parts", "part.hai")  # its newest checkpoint is that of step 100
    assert "goes on after step 100" in train(300, "parts", "parts.hai")
    assert (tmp_path / "parts.hai").read_bytes() == (tmp_path / "whole.hai").read_bytes()
    assert hai.load(tmp_path / "whole.hai").metadata["trained_steps"] == "300"


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int32), ("rank", ctypes.c_int32), ("dims", ctypes.c_int64 * 8),
                ("data", ctypes.c_void_p), ("size_bytes", ctypes.c_size_t)]  # fmt: skip


class Answer(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("loss", ctypes.c_double), ("gradient_norm", ctypes.c_double),
                ("applied", ctypes.c_int32), ("samples", ctypes.c_int64), ("correct", ctypes.c_int64)]  # fmt: skip


def tensor(values: np.ndarray) -> Tensor:
    dims = (ctypes.c_int64 * 8)(*values.shape)
    return Tensor(1, values.ndim, dims, values.ctypes.data, values.nbytes)


def test_errors_and_results(tmp_path: Path, net: Path) -> None:
    library = ctypes.CDLL(str(LIBRARY))
    library.hai_last_error.restype = ctypes.c_char_p
    library.hai_train_steps.restype = ctypes.c_int64
    library.hai_train_steps.argtypes = library.hai_train_release.argtypes = [ctypes.c_void_p]

    def error(status: int) -> str:
        assert status != 0
        return str(library.hai_last_error().decode())

    model, trainer, now = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    assert library.hai_model_load(str(net).encode(), ctypes.byref(model)) == 0
    assert library.hai_train_create(model, None, ctypes.byref(trainer)) == 0
    library.hai_train_step.argtypes = [ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p]
    answer = Answer(ctypes.sizeof(Answer))
    assert "HAI-E091" in error(library.hai_train_step(trainer, 0.1, ctypes.byref(answer)))
    x = np.random.default_rng(1).normal(0, 1, (8, 3)).astype(np.float32)
    target = np.eye(2, dtype=np.float32)[(x[:, 0] * x[:, 1] > 0).astype(int)]
    batch = (Tensor * 2)(tensor(x), tensor(target))
    assert "HAI-E092" in error(library.hai_train_bind(trainer, batch, 1))
    assert "HAI-E090" in error(library.hai_train_bind(trainer, (Tensor * 2)(tensor(x), tensor(target[:5])), 2))
    assert "HAI-E090" in error(
        library.hai_train_bind(trainer, (Tensor * 2)(tensor(x[:, :2].copy()), tensor(target)), 2)
    )
    small = tensor(x)
    small.size_bytes -= 1
    assert "HAI-E090" in error(library.hai_train_bind(trainer, (Tensor * 2)(small, tensor(target)), 2))
    assert "HAI-A002" in error(library.hai_train_bind(None, batch, 2))
    assert library.hai_train_bind(trainer, batch, 2) == 0
    assert "HAI-A003" in error(library.hai_train_step(trainer, 0.1, ctypes.byref(Answer(0))))
    assert "HAI-E013" in error(library.hai_train_step(trainer, -1.0, ctypes.byref(answer)))
    assert library.hai_train_steps(trainer) == 0
    twin = hai.Trainer(net)
    for _ in range(3):  # the same steps in Python, without validation in between
        expected = twin.step(x, target, 0.1)
        assert library.hai_train_step(trainer, 0.1, ctypes.byref(answer)) == 0
        assert (answer.loss, answer.applied, answer.samples) == (expected.loss, 1, 8)
        assert library.hai_train_validate(trainer, ctypes.byref(answer)) == 0
        assert library.hai_train_save(trainer, str(tmp_path / "now.hai").encode()) == 0
        logits = hai.load(tmp_path / "now.hai").session(threads=1).run(x)["y"]
        assert answer.correct == int((logits.argmax(1) == target.argmax(1)).sum())
    twin.save(tmp_path / "twin.hai")
    assert (tmp_path / "now.hai").read_bytes() == (tmp_path / "twin.hai").read_bytes()
    x[0, 0] = np.nan  # bound memory is read at each step
    assert library.hai_train_step(trainer, 0.1, ctypes.byref(answer)) == 0
    assert (answer.applied, library.hai_train_steps(trainer)) == (0, 3)
    assert "HAI-E020" in error(library.hai_train_load_checkpoint(trainer, str(tmp_path / "none").encode()))
    assert library.hai_train_model(trainer, ctypes.byref(now)) == 0
    library.hai_train_release(trainer)
    again = ctypes.c_void_p()
    assert library.hai_train_create(now, None, ctypes.byref(again)) == 0  # it can be trained on
    library.hai_train_release(again)
    for handle in (now, model):
        library.hai_model_release(handle)
