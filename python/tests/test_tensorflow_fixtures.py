"""What TensorFlow's converter makes of small networks (committed beside the script that made them), and the converter itself.

The converter's tests run where HAI_TENSORFLOW_PYTHON names an interpreter with TensorFlow.
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import hai_toolkit as hai
import numpy as np
import pytest
from hai_toolkit.__main__ import main
from hai_toolkit.tensorflow import (
    compare_with_interpreter,
    convert_to_tflite,
    from_tensorflow,
)
from hai_toolkit.tensorflow.compare import random_inputs
from hai_toolkit.tensorflow.reader import read_tflite

FIXTURES = Path(__file__).parent / "fixtures"
TOLERANCE = 1e-5


def first(model: hai.Model, x: np.ndarray) -> np.ndarray:
    """The first output of a model with one input, by the reference."""
    return model.interpret({model.inputs[0].name: x})[model.outputs[0].name]


def fixture(name: str) -> Path:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (the reference interpreter) is not installed")
    return FIXTURES / name


@pytest.mark.parametrize("name", ["mobile_float", "mobile_float16", "sequence_float"])
def test_float_networks(name: str) -> None:
    for difference in compare_with_interpreter(fixture(f"{name}.tflite"), samples=8):
        assert difference.largest <= TOLERANCE, str(difference)


def test_an_integer_network() -> None:
    for difference in compare_with_interpreter(fixture("mobile_int8.tflite"), samples=16):
        assert difference.largest <= 1, str(difference)


def test_a_network_with_16_bit_activations() -> None:
    # TensorFlow Lite cuts the multipliers of such layers to 16 bits, HAI does not: a step of 2^-15 here and there.
    for difference in compare_with_interpreter(fixture("mobile_int16x8.tflite"), samples=8):
        assert difference.largest <= 1, str(difference)


def test_a_dynamic_range_network_keeps_f32_activations() -> None:
    path = fixture("mobile_dynamic.tflite")
    model, float_model = hai.from_tflite(path), hai.from_tflite(fixture("mobile_float.tflite"))
    assert "tflite.hybrid" in model._graph.metadata()
    for sample in random_inputs(float_model, 3):
        ours, exact = (first(m, sample[m.inputs[0].name]) for m in (model, float_model))
        assert np.abs(ours - exact).max() < 0.05


def test_float_inputs_and_outputs_of_an_integer_model() -> None:
    path = fixture("mobile_int8.tflite")
    integer, real = hai.from_tflite(path), hai.from_tflite(path, float_io=True)
    assert [i.dtype for i in integer.inputs + integer.outputs] == ["i8", "i8"]
    assert [i.dtype for i in real.inputs + real.outputs] == ["f32", "f32"]
    x = np.random.default_rng(2).normal(0, 1, (2, 24, 20, 3)).astype(np.float32)
    stored = integer.interpret({integer.inputs[0].name: integer.inputs[0].quantize(x)})[integer.outputs[0].name]
    expected = integer.outputs[0].dequantize(stored)
    assert np.array_equal(real.interpret({real.inputs[0].name: x})[real.outputs[0].name], expected)


def test_a_compiled_file_knows_the_scales_of_its_integers(tmp_path: Path) -> None:
    model = hai.from_tflite(fixture("mobile_int8.tflite"))
    model.compile().save(tmp_path / "model.hai")
    loaded = hai.load(tmp_path / "model.hai")
    assert loaded.inputs[0].quantization == model.inputs[0].quantization
    assert loaded.outputs[0].quantization == model.outputs[0].quantization


def test_fused_operators_have_the_name_of_their_first_part() -> None:
    model = read_tflite(fixture("mobile_float.tflite"))
    names = [operator.name for operator in model.operators]
    assert len(set(names)) == len(names)
    assert any(";" in tensor.name for tensor in model.tensors)  # the converter has joined some
    assert not any(";" in name for name in names)


def test_a_float_model_can_be_quantized() -> None:
    model = hai.from_tflite(fixture("mobile_float.tflite"))
    samples = [s[model.inputs[0].name] for s in random_inputs(model, 8)]
    exact = [first(model, s) for s in samples]
    model.quantize(calibration=samples)
    ours = [first(model, s) for s in samples]
    assert np.abs(np.array(ours) - np.array(exact)).max() < 0.1


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(fixture("mobile_int8.tflite"))
    assert main(["compile", path, "-o", str(tmp_path / "a.hai"), "--float-io"]) == 0
    assert hai.load(tmp_path / "a.hai").inputs[0].dtype == "f32"
    assert main(["compare", path, "--samples", "2"]) == 0
    assert "values differ" in capsys.readouterr().out
    assert main(["compile", str(tmp_path / "gone.tflite"), "-o", str(tmp_path / "b.hai")]) == 1
    assert "HAI-Y304" in capsys.readouterr().err


# --- TensorFlow's converter -------------------------------------------------------------------------------------------------------
@pytest.fixture
def tensorflow() -> None:
    if not os.environ.get("HAI_TENSORFLOW_PYTHON"):
        pytest.skip("HAI_TENSORFLOW_PYTHON names no interpreter with TensorFlow: its converter is not tested")


@pytest.mark.parametrize("name", ["ad01.h5", "pretrainedResnet.h5", "vww_96.h5"])
def test_keras_2_files(tensorflow: None, tmp_path: Path, name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("HAI_TEST_DATA", root.parent / "shared" / "data")) / "models" / "mlperf_tiny"
    if not (folder / name).is_file():
        pytest.skip(f"HAI_TEST_DATA has no models/mlperf_tiny/{name} ({folder})")
    (tmp_path / "model.tflite").write_bytes(convert_to_tflite(folder / name))
    assert hai.from_tflite(tmp_path / "model.tflite").inputs[0].shape[0] == "N"
    for difference in compare_with_interpreter(tmp_path / "model.tflite", samples=2):
        assert difference.largest <= TOLERANCE, str(difference)


def test_keras_3_files_and_saved_models(tensorflow: None, tmp_path: Path) -> None:
    """Written by the same interpreter; the numbers are Keras' own."""
    script = """
import sys, numpy, tensorflow as tf
model = tf.keras.Sequential([tf.keras.Input((9, 7, 3)), tf.keras.layers.Conv2D(5, 3, activation="relu"), tf.keras.layers.Flatten(),
                             tf.keras.layers.Dense(4)])
x = numpy.random.default_rng(1).normal(0, 1, (2, 9, 7, 3)).astype("float32")
numpy.savez(sys.argv[1] + "/expected.npz", x=x, y=model(x).numpy())
model.save(sys.argv[1] + "/model.keras")
model.export(sys.argv[1] + "/saved")
"""
    subprocess.run([os.environ["HAI_TENSORFLOW_PYTHON"], "-c", script, str(tmp_path)], check=True, capture_output=True)
    with np.load(tmp_path / "expected.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    for name in ("model.keras", "saved"):
        assert np.abs(first(from_tensorflow(tmp_path / name), x) - y).max() <= TOLERANCE * np.abs(y).max()


def test_a_file_with_code_is_refused(tensorflow: None, tmp_path: Path) -> None:
    layer = {
        "class_name": "Lambda",
        "config": {"name": "evil", "function": {"class_name": "__lambda__", "config": {"code": "AA=="}}},
    }
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [layer]}}))
    with pytest.raises(hai.HaiError, match="evil"):
        from_tensorflow(tmp_path / "evil.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK no archive")
    with pytest.raises(hai.HaiError, match="cannot be read"):
        from_tensorflow(tmp_path / "broken.keras")
