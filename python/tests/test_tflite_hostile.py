"""Damaged, truncated and lying TensorFlow Lite files end in a HaiError that says what is wrong, and soon."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.tensorflow import from_tensorflow
from tflite_writer import TfliteWriter

LIMIT_S = 2.0  # for one file of a few kB; whatever it says of itself


def small_network() -> TfliteWriter:
    """An integer convolution, a pool, a reshape computed from SHAPE, a matrix product, a softmax."""
    random = np.random.default_rng(1)
    w = TfliteWriter()
    x = w.input("x", (1, 8, 8, 3), "i8", scale=0.02, zero=3, signature=(-1, 8, 8, 3))
    kernel = w.constant(
        "kernel", random.integers(-127, 128, (4, 3, 3, 3)), "i8", scale=random.uniform(0.01, 0.02, 4), zero=0
    )
    bias = w.constant("bias", random.integers(-500, 500, 4), "i32", scale=0.0003, zero=0)
    a = w.tensor("a", (1, 4, 4, 4), "i8", scale=0.05, zero=-5)
    b = w.tensor("b", (1, 2, 2, 4), "i8", scale=0.05, zero=-5)
    c = w.tensor("c", (1, 16), "i8", scale=0.05, zero=-5)
    d = w.tensor("d", (1, 5), "i8", scale=0.1, zero=4)
    y = w.tensor("y", (1, 5), "i8", scale=1 / 256, zero=-128)
    w.outputs = [y]
    fields = {
        "padding": 0,
        "strideW": 2,
        "strideH": 2,
        "dilationWFactor": 1,
        "dilationHFactor": 1,
        "fusedActivationFunction": 1,
    }
    w.operator("CONV_2D", [x, kernel, bias], [a], "Conv2DOptions", **fields)
    pool = {"padding": 1, "strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2, "fusedActivationFunction": 0}
    w.operator("AVERAGE_POOL_2D", [a], [b], "Pool2DOptions", **pool)
    w.operator("RESHAPE", [b, w.constant("shape", [-1, 16], "i32")], [c], "ReshapeOptions", newShape=[-1, 16])
    weights = w.constant("weights", random.integers(-127, 128, (5, 16)), "i8", scale=0.01, zero=0)
    w.operator("FULLY_CONNECTED", [c, weights, -1], [d], "FullyConnectedOptions", fusedActivationFunction=0)
    w.operator("SOFTMAX", [d], [y], "SoftmaxOptions", beta=1.0)
    return w


@pytest.fixture(scope="module")
def good() -> bytes:
    data = small_network().bytes()
    hai.from_tflite(data)
    return data


def survives(data: bytes) -> bool:
    """Whether it is still a model; anything but a HaiError is a failure, and so is a long time."""
    begin = time.process_time()
    try:
        hai.from_tflite(data)
        good = True
    except hai.HaiError as error:
        assert error.code.startswith("HAI-")
        good = False
    assert time.process_time() - begin < LIMIT_S
    return good


def test_names_that_are_not_utf8(good: bytes) -> None:
    # Two inputs whose names differ in such a byte alone stay two.
    w = TfliteWriter()
    x = [w.input(f"in_{letter}_", (1, 4), "f32") for letter in "ab"]
    y = w.tensor("sum_c_", (1, 4), "f32")
    w.outputs = [y]
    w.operator("ADD", x, [y], "AddOptions", fusedActivationFunction=0)
    data = w.bytes()
    for letter, byte in ((b"_a_", b"_\xe4_"), (b"_b_", b"_\xff_"), (b"_c_", b"_\x80_")):
        assert letter in data
        data = data.replace(letter, byte)
    model = hai.from_tflite(data)
    assert [t.name for t in model.inputs] == ["in_\\xe4_", "in_\\xff_"]
    assert [t.name for t in model.outputs] == ["sum_\\x80_"]
    ones = np.ones((1, 4), np.float32)
    (result,) = model.interpret({"in_\\xe4_": ones, "in_\\xff_": 2 * ones}).values()
    np.testing.assert_array_equal(result, 3 * ones)


def test_every_length(good: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    for length in range(0, len(good), 7):
        survives(good[:length])
    assert not survives(b"")
    assert not survives(good[:64])


def test_flipped_bits(good: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(7)
    for _ in range(600):
        data = bytearray(good)
        for _ in range(int(random.integers(1, 4))):
            data[int(random.integers(0, len(data)))] ^= 1 << int(random.integers(0, 8))
        survives(bytes(data))


def test_words_that_are_offsets_counts_or_indices(good: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Each word of the file in turn becomes a number that leads somewhere bad."""
    random = np.random.default_rng(8)
    for position in range(8, len(good) - 4, 4):
        for value in random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, len(good), 0x00010000], 1):
            data = bytearray(good)
            struct.pack_into("<I", data, position, int(value))
            survives(bytes(data))


def refused(match: str, build: Any) -> None:
    w = small_network()
    build(w)
    with pytest.raises(hai.HaiError, match=match) as caught:
        hai.from_tflite(w.bytes())
    assert caught.value.code.startswith("HAI-Y3")


def test_lies_are_named() -> None:
    def cycle(w: TfliteWriter) -> None:
        w.operators[0].inputs = np.array([w.outputs[0], 1, 2], np.int32)

    def twice(w: TfliteWriter) -> None:
        w.operator("RELU", [w.inputs[0]], [int(w.operators[0].outputs[0])])
        w.operators.insert(1, w.operators.pop())

    def index(w: TfliteWriter) -> None:
        w.operators[0].inputs = np.array([0, 999, 2], np.int32)

    def huge(w: TfliteWriter) -> None:
        w.tensors[0].shape = np.array([1, 1 << 20, 1 << 20, 1 << 20], np.int32)

    def bytes_missing(w: TfliteWriter) -> None:
        w.buffers[w.tensors[1].buffer].data = w.buffers[w.tensors[1].buffer].data[:-1]

    def scale(w: TfliteWriter) -> None:
        w.tensors[0].quantization.scale = np.array([np.nan], np.float32)

    def stride(w: TfliteWriter) -> None:
        w.operators[0].builtinOptions.strideW = 0

    def scales(w: TfliteWriter) -> None:
        w.tensors[1].quantization.scale = np.array([0.1, 0.2, 0.3], np.float32)

    def buffer(w: TfliteWriter) -> None:
        w.tensors[1].buffer = 77

    refused("nothing before it makes", cycle)
    refused("there already", twice)
    refused("tensor 999 of", index)
    refused("at most 2\\^40", huge)
    refused("has 107 bytes", bytes_missing)
    refused("no such numbers", scale)
    refused("StrideW is 0", stride)
    refused("3 scales", scales)
    refused("buffer 77", buffer)


def test_what_hai_does_not_have_is_refused_at_once_and_by_name() -> None:
    w = TfliteWriter()
    x = w.input("x", (1, 8))
    a, y = w.tensor("picked", (1,), "i64"), w.tensor("y", (1, 8))
    w.outputs = [a, y]
    w.operator("ARG_MAX", [x, w.constant("axis", [1], "i32")], [a], "ArgMaxOptions", outputType=4)
    w.operator("CUSTOM:Mystery", [x], [y])
    with pytest.raises(hai.HaiError) as caught:
        hai.from_tflite(w.bytes())
    for part in ("ARG_MAX", "picked", 'outputs=["x"]', "CUSTOM:Mystery"):
        assert part in caught.value.message
    with pytest.raises(hai.HaiError, match="no tensor is called"):
        hai.from_tflite(w.bytes(), outputs=["gone"])
    loop = TfliteWriter()
    z = loop.tensor("z", (1, 8))
    loop.outputs = [z]
    loop.operator("WHILE", [loop.input("x", (1, 8))], [z], "WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    with pytest.raises(hai.HaiError, match="unrolled"):
        hai.from_tflite(loop.bytes())


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(hai.HaiError, match="No such file"):
        hai.from_tflite(tmp_path / "gone.tflite")
    (tmp_path / "text.tflite").write_text("hello, this is no model")
    with pytest.raises(hai.HaiError, match="TFL3"):
        hai.from_tflite(tmp_path / "text.tflite")
    with pytest.raises(hai.HaiError):
        hai.from_tflite(tmp_path)


def test_a_small_file_cannot_ask_for_much_memory() -> None:
    """One shared kilobyte named by thousands of operators."""
    w = TfliteWriter()
    value = w.input("x", (1, 16))
    kernel = w.constant("w", np.zeros((1 << 20,), np.float32))
    for i in range(100):
        shape = w.constant(f"s{i}", [1 << 20], "i32")
        copy = w.tensor(f"c{i}", (1 << 20,))
        w.operator("RESHAPE", [kernel, shape], [copy])
    out = w.tensor("y", (1, 16))
    w.outputs = [out]
    w.operator("RELU", [value], [out])
    model = hai.from_tflite(w.bytes())
    assert model._graph.node_count() == 1


def test_keras_files_need_tensorflow_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HAI_TENSORFLOW_PYTHON", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(hai.HaiError, match="HAI_TENSORFLOW_PYTHON"):
        from_tensorflow(tmp_path / "model.keras")
    with pytest.raises(hai.HaiError, match="no such file"):
        from_tensorflow(tmp_path / "gone.h5")
    (tmp_path / "folder").mkdir()
    with pytest.raises(hai.HaiError, match=r"saved_model\.pb"):
        from_tensorflow(tmp_path / "folder")
    monkeypatch.setenv("HAI_TENSORFLOW_PYTHON", str(tmp_path / "no_python"))
    with pytest.raises(hai.HaiError, match="no file"):
        from_tensorflow(tmp_path / "model.keras")
