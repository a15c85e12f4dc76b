"""What ``Quantizer.convert`` was given, turned into a graph: files, checkpoints, modules, graphs.

Each kind of model has one function here; frameworks are imported only by the one that needs them. Nothing is executed that came
out of a file.
"""

from __future__ import annotations

import copy
import inspect
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checkpoints
from .errors import HaiError
from .graph import GraphBuilder
from .model import Model, from_onnx, from_torch
from .paths import path_text
from .preprocessing import Preprocessing
from .state_dict.tensors import shown
from .tensorflow import from_tensorflow

_SUFFIXES = (".onnx", ".pt", ".pth", ".tflite", ".h5", ".hdf5", ".keras", ".hai")


@dataclass
class Source:
    """A model as it came."""

    model: Model
    description: str
    """For people: what was recognised."""

    @property
    def quantized(self) -> bool:
        """It has integers already."""
        return self.model.is_quantized


@dataclass(frozen=True)
class Hints:
    """What the user said beside the model."""

    example_inputs: Any = None
    preprocessing: Preprocessing | None = None
    module: Any = None
    first_sample: Callable[[], Any] = lambda: None
    """The first calibration sample, from which an input's shape can be learnt."""


def resolve(model: Any, hints: Hints) -> Source:
    """The graph of anything that ``convert`` takes."""
    if isinstance(model, Model):
        source = Source(model.copy(), "")
    elif isinstance(model, GraphBuilder):
        source = Source(Model(model.native.copy()), "")
    elif isinstance(model, str | os.PathLike):
        source = _from_path(Path(path_text(model)), hints)
    elif isinstance(model, Mapping) or checkpoints.find_network(model) is not None:
        source = _from_checkpoint(model, hints, "the checkpoint")
    elif type(model).__module__.split(".")[0] in ("keras", "tensorflow", "tf_keras"):
        source = Source(_from_keras_object(model), "Keras model")
    else:
        raise HaiError(
            "HAI-Y281",
            f"a {type(model).__name__} cannot be quantized; give an nn.Module, a checkpoint, a path to a file "
            f"({', '.join(_SUFFIXES)}) or a SavedModel folder, or a hai_toolkit model",
        )
    if hints.preprocessing is not None:
        source.model.preprocessing = hints.preprocessing
    return source


def _from_path(path: Path, hints: Hints) -> Source:
    name = path.name
    if not path.exists():
        raise HaiError("HAI-Y282", f"{path}: there is no such file")
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise HaiError("HAI-Y283", f"{path} is a folder without saved_model.pb; only SavedModel folders are models")
        return Source(from_tensorflow(path), f"{name}: SavedModel")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return Source(_from_onnx(path), f"{name}: ONNX")
    if suffix == ".tflite":
        return Source(from_tensorflow(path), f"{name}: TensorFlow Lite")
    if suffix in (".h5", ".hdf5", ".keras"):
        return Source(from_tensorflow(path), f"{name}: Keras")
    if suffix == ".hai":
        return Source(Model.from_file(path), f"{name}: HAI")
    if suffix in (".pt", ".pth", ".ckpt"):
        return _from_checkpoint(checkpoints.read_checkpoint(path), hints, name, path)
    raise HaiError("HAI-Y284", f"{name}: the suffix {suffix!r} is not known; known are {', '.join(_SUFFIXES)}")


def _from_onnx(path: Path) -> Model:
    try:
        return from_onnx(path, free_batch=True)
    except HaiError:
        return from_onnx(path)


def _from_keras_object(model: Any) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            model.save(path)
        except Exception as cause:
            raise HaiError(
                "HAI-Y285", f"the {type(model).__name__} cannot be saved: {cause}; save it yourself and pass the path"
            ) from None
        return from_tensorflow(path)


def _size_of(hints: Hints) -> tuple[int, int] | None:
    """Height and width that the user asked for."""
    if hints.preprocessing is not None:
        return hints.preprocessing.height, hints.preprocessing.width
    example = hints.example_inputs
    example = example[0] if isinstance(example, tuple | list) and len(example) == 1 else example
    shape = getattr(example, "shape", None)
    if shape is None:
        return None
    if len(shape) != 4:
        raise HaiError("HAI-Y286", f"example_inputs has shape {list(shape)}; [1, channels, height, width] is expected")
    return int(shape[2]), int(shape[3])


def _from_checkpoint(value: Any, hints: Hints, name: str, path: Path | None = None) -> Source:
    network = checkpoints.find_network(value)
    if network is not None and checkpoints.is_known(network):
        model, info = checkpoints.build(network, _size_of(hints))
        return Source(model, f"{info}")
    if network is not None and checkpoints.is_torch_module(network):
        return _from_module(network, hints)
    if network is not None:
        raise HaiError(
            "HAI-Y287",
            f"{name} holds a whole {network.name}, which is no detector that hai_toolkit knows; load it with PyTorch and pass "
            "the module: convert(module, example_inputs=...)",
        )
    tensors = _state_dict(value)
    if tensors is None:
        names = ", ".join(shown(key) for key in list(value)[:12]) if isinstance(value, Mapping) else shown(value)
        raise HaiError("HAI-Y288", f"{name} holds no network: its entries are {names or 'none'}")
    if hints.module is None:
        raise HaiError(
            "HAI-Y289",
            f"{name} holds weights only ({len(tensors)} tensors, first {shown(next(iter(tensors)))}), not the network they "
            "belong to; pass it as module=",
        )
    return _with_weights(hints, tensors if path is None else None, path)


def _state_dict(value: Any) -> Mapping[str, Any] | None:
    if not isinstance(value, Mapping):
        return None
    for candidate in (value, *(value.get(k) for k in ("state_dict", "model_state_dict", "model", "params", "net"))):
        if isinstance(candidate, Mapping) and any(hasattr(v, "shape") for v in candidate.values()):
            return candidate
    return None


def _with_weights(hints: Hints, tensors: Mapping[str, Any] | None, path: Path | None) -> Source:
    import torch

    if not checkpoints.is_torch_module(hints.module):
        raise HaiError("HAI-Y290", f"module is a {type(hints.module).__name__}; an nn.Module is expected")
    module = copy.deepcopy(hints.module)
    if tensors is None:
        assert path is not None
        from .state_dict import read_state_dict

        tensors = read_state_dict(path)
    entries = {
        key: value if isinstance(value, torch.Tensor) else torch.from_numpy(value.copy())
        for key, value in tensors.items()
        if hasattr(value, "shape")
    }
    try:
        module.load_state_dict(entries)
    except RuntimeError as cause:
        raise HaiError("HAI-Y291", f"the weights do not fit the module: {cause}") from None
    return _from_module(module, hints)


def _from_module(module: Any, hints: Hints) -> Source:
    example = _example(module, hints)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise HaiError(
                "HAI-Y292",
                f'"{name}" of the module holds NaN or infinite values; take weights from an earlier checkpoint',
            )
    module = copy.deepcopy(module).float().cpu()
    try:
        model = from_torch(module, example, optimize=False)
    except HaiError:
        raise
    except Exception as cause:  # PyTorch's exporter fails in many ways; a batch that is not free is the common one
        try:
            model = from_torch(module, example, batch=None, optimize=False)
        except HaiError:
            raise
        except Exception:
            # The exporter wraps what went wrong in coloured advice; its cause says it.
            text = str(cause.__cause__ or cause).strip()
            first = text.splitlines()[0][:300] if text else type(cause).__name__
            raise HaiError(
                "HAI-Y293",
                f"PyTorch cannot export the {type(module).__name__}: {first}; export it to ONNX yourself and pass the file",
            ) from None
    return Source(model, f"PyTorch module {type(module).__name__}")


def _positional_count(module: Any) -> int:
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _example(module: Any, hints: Hints) -> Any:
    import torch

    example = hints.example_inputs
    if example is None:
        example = hints.first_sample()
        if isinstance(example, list | tuple):  # (pictures, labels) of a loader: as many as the module takes
            example = tuple(example)[: max(_positional_count(module), 1)]
        if hints.preprocessing is not None and isinstance(example, Mapping | str | bytes | os.PathLike):
            example = None  # the rule tells more
    if example is None and hints.preprocessing is not None:
        rule = hints.preprocessing
        channels = 1 if rule.color_order == "gray" else 3
        layout = (channels, rule.height, rule.width) if rule.layout == "nchw" else (rule.height, rule.width, channels)
        example = torch.zeros(1, *layout)
    if example is None:
        raise HaiError(
            "HAI-Y294",
            f"the shape of the input of {type(module).__name__} is not known; pass example_inputs=torch.zeros(1, 3, 224, 224) "
            "(or what it takes), or calibration samples",
        )
    items = example if isinstance(example, tuple | list) else (example,)
    tensors = []
    for item in items:
        try:
            tensor = item if isinstance(item, torch.Tensor) else torch.as_tensor(item)
        except (RuntimeError, TypeError, ValueError):
            what = "example_inputs holds" if hints.example_inputs is not None else "the first calibration sample is"
            raise HaiError(
                "HAI-Y295",
                f"{what} a {type(item).__name__}, which does not say the shapes and the order that "
                f"{type(module).__name__}.forward takes; pass example_inputs=torch.zeros(1, 3, 224, 224) (or what it takes; "
                "a tuple for several inputs)",
            ) from None
        tensors.append(tensor.float() if tensor.is_floating_point() else tensor)
    return tuple(tensors)
