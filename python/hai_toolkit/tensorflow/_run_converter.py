"""Runs under an interpreter with TensorFlow: python _run_converter.py request.json. Imports nothing of hai_toolkit.

request: {"model": path, "out": path, "quantize": word, "calibration": [npz, ...]}. Errors go to stderr as lines that
start with "hai: ".
"""

import json
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn


def fail(message: str) -> NoReturn:
    print("hai: " + message, file=sys.stderr)
    sys.exit(1)


def find_code(node: Any, found: list[str]) -> None:
    """Layers whose configuration carries code: Lambda, and serialized Python functions."""
    if isinstance(node, dict):
        name = str(node.get("class_name", ""))
        if name == "Lambda" or name == "__lambda__":
            found.append(
                str(node.get("config", {}).get("name", name)) if isinstance(node.get("config"), dict) else name
            )
        for value in node.values():
            find_code(value, found)
    elif isinstance(node, list):
        for value in node:
            find_code(value, found)


def configuration(path: str) -> Any:
    """The architecture of a Keras file as JSON, read without Keras."""
    if path.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    import h5py

    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config")
        if text is None:
            fail("the .h5 file holds weights only; save the whole model")
        return json.loads(text if isinstance(text, str) else text.decode("utf-8"))


def load_keras(path: str) -> Any:
    found: list[str] = []
    try:
        find_code(configuration(path), found)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        fail(f"it cannot be read: {error}")
    if found:
        fail(f"layers {found} carry Python code (Lambda), which is not run; export a SavedModel or .tflite instead")
    import tensorflow as tf

    try:
        return tf.keras.models.load_model(path, compile=False)
    except Exception as error:
        newer = f"Keras {tf.keras.__version__}: {str(error)[:500]}"
    try:
        import tf_keras
    except ImportError:
        fail(f"{newer}; a file of Keras 2 may need: pip install tf_keras")
    try:
        return tf_keras.models.load_model(path, compile=False)
    except Exception as error:
        fail(f"{newer}; tf_keras: {str(error)[:500]}")


def representative(paths: Sequence[str], names: Sequence[str]) -> Iterator[list[Any]]:
    import numpy as np

    for path in paths:
        with np.load(path) as arrays:
            given = {key: arrays[key] for key in arrays.files}
        yield [given[name] if name in given else given[str(i)] for i, name in enumerate(names)]


def main() -> None:
    with open(sys.argv[1]) as file:
        request = json.load(file)
    import tensorflow as tf

    path = request["model"]
    if os.path.isdir(path):
        try:
            converter = tf.lite.TFLiteConverter.from_saved_model(path)
        except Exception as error:
            fail(f"the SavedModel cannot be read: {str(error)[:600]}")
        names = [str(i) for i in range(16)]
    else:
        model = load_keras(path)
        names = [tensor.name for tensor in model.inputs]
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    word = request["quantize"]
    if word != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if word == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if word in ("int8", "int16x8"):
        if not request.get("calibration"):
            fail(f"quantize={word} needs calibration samples")
        paths = request["calibration"]
        import numpy as np

        with np.load(paths[0]) as first:
            count = len(first.files)
        converter.representative_dataset = lambda: representative(paths, names[:count])
        ops = tf.lite.OpsSet
        int16 = ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [ops.TFLITE_BUILTINS_INT8 if word == "int8" else int16]
        kind = tf.int8 if word == "int8" else tf.int16
        converter.inference_input_type = converter.inference_output_type = kind
    try:
        data = converter.convert()
    except Exception as error:
        fail(str(error)[:1500])
    with open(request["out"], "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()
