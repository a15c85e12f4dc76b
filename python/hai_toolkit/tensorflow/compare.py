"""HAI against TensorFlow Lite's reference interpreter on the same file and the same inputs, value by value.

TensorFlow Lite multiplies sums by a 31-bit fixed-point number with a shift, rounds twice, and rounds halves away from
zero or upwards; HAI multiplies once in f32 and rounds halves to even (docs/reference/arithmetic.md). So single integers
differ by one step where a sum lies close to a half. This file counts them. The interpreter is `ai_edge_litert` with the
resolver BUILTIN_REF (kernels as the format's specification has them, no delegate), or TensorFlow's own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..dtypes import numpy_dtype
from ..errors import HaiError
from ..model import Model
from ..paths import path_text
from ..runtime import load
from .convert import from_tflite

Inputs = Mapping[str, npt.NDArray[Any]]


@dataclass
class OutputDifference:
    """How one output differs over all inputs. Integers: in stored steps; floats: as a part of the largest value."""

    name: str
    dtype: str
    values: int = 0
    differing: int = 0
    largest: float = 0.0
    histogram: dict[int, int] | None = None

    def __str__(self) -> str:
        if self.histogram is None:
            return f"{self.name} ({self.dtype}): {self.values} values, largest difference {self.largest:.2e} of the largest value"
        steps = ", ".join(f"{count} by {step}" for step, count in sorted(self.histogram.items()) if step)
        share = 100 * self.differing / max(self.values, 1)
        return (
            f"{self.name} ({self.dtype}): {self.differing} of {self.values} values differ ({share:.3f} %), "
            f"at most by {int(self.largest)} steps" + (f" ({steps})" if steps else "")
        )


class ReferenceInterpreter:
    """TensorFlow Lite's interpreter on one file, state cleared before each run."""

    def __init__(self, path: str | os.PathLike[str], *, reference: bool = True) -> None:
        module = _interpreter_module()
        resolver = module.OpResolverType.BUILTIN_REF if reference else module.OpResolverType.AUTO
        self._native = module.Interpreter(
            path_text(path),
            experimental_op_resolver_type=resolver,
            num_threads=1,
            experimental_preserve_all_tensors=False,
        )
        self._native.allocate_tensors()
        self.inputs: list[dict[str, Any]] = self._native.get_input_details()
        self.outputs: list[dict[str, Any]] = self._native.get_output_details()

    def run(self, inputs: Inputs) -> dict[str, npt.NDArray[Any]]:
        """Results by tensor name; a batch is run sample by sample where the file has a batch of one."""
        sizes = {len(inputs[d["name"]]) for d in self.inputs if len(d["shape"])}
        batch = (
            sizes.pop() if len(sizes) == 1 and all(len(d["shape"]) and d["shape"][0] == 1 for d in self.inputs) else 1
        )
        rows = [
            self._run_once({name: a[i : i + 1] if batch > 1 else a for name, a in inputs.items()}) for i in range(batch)
        ]
        return rows[0] if batch == 1 else {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}

    def _run_once(self, inputs: Inputs) -> dict[str, npt.NDArray[Any]]:
        self._native.reset_all_variables()
        for detail in self.inputs:
            self._native.set_tensor(detail["index"], inputs[detail["name"]])
        self._native.invoke()
        return {d["name"]: np.array(self._native.get_tensor(d["index"])) for d in self.outputs}


def _interpreter_module() -> Any:
    try:
        import ai_edge_litert.interpreter as module
    except ImportError as error:
        raise HaiError(
            "HAI-Y400", "comparing with TensorFlow Lite needs its interpreter: pip install ai-edge-litert"
        ) from error
    return module


def random_inputs(model: Model, count: int, seed: int = 1) -> list[dict[str, npt.NDArray[Any]]]:
    """Inputs over the whole range of each type, smooth along height and width as pictures are: noise at three scales."""
    random = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        sample = {}
        for info in model.inputs:
            shape = tuple(d if isinstance(d, int) else 1 if isinstance(d, str) else d[0] for d in info.shape)
            noise = random.normal(0, 0.35, shape) + random.normal(0, 0.4)
            if len(shape) == 4:
                for factor in (4, 16):
                    coarse = random.normal(0, 0.5, (shape[0], -(-shape[1] // factor), -(-shape[2] // factor), shape[3]))
                    noise = noise * 0.6 + np.repeat(np.repeat(coarse, factor, 1), factor, 2)[:, : shape[1], : shape[2]]
            if info.dtype in ("i8", "u8", "i16"):
                limits = np.iinfo(numpy_dtype(info.dtype))
                middle, half = (int(limits.max) + int(limits.min)) / 2, (int(limits.max) - int(limits.min)) / 2
                sample[info.name] = np.clip(np.rint(middle + noise * half), limits.min, limits.max).astype(limits.dtype)
            elif info.dtype == "f32":
                sample[info.name] = noise.astype(np.float32)
            else:
                sample[info.name] = random.integers(0, 2, shape).astype(
                    {"i32": np.int32, "i64": np.int64, "bool": np.bool_}[info.dtype]
                )
        samples.append(sample)
    return samples


def compare_with_interpreter(
    path: str | os.PathLike[str],
    inputs: Iterable[Inputs] | None = None,
    *,
    samples: int = 16,
    seed: int = 1,
    reference: bool = True,
    rounding: Literal["tflite", "hai"] = "tflite",
    device: Literal["cpu", "reference"] = "cpu",
    outputs: Sequence[str] | None = None,
) -> list[OutputDifference]:
    """Runs HAI (compiled for the CPU) and TensorFlow Lite on the same inputs and counts the values that differ, by
    output.

    Without ``inputs`` (dictionaries by input name) they are ``samples`` random ones. ``str()`` of each entry is one
    line.
    """
    interpreter = ReferenceInterpreter(path, reference=reference)
    model = from_tflite(path, rounding=rounding, outputs=outputs)
    found = [OutputDifference(o.name, o.dtype, histogram={} if o.quantization else None) for o in model.outputs]
    with tempfile.TemporaryDirectory() as folder:
        run: Callable[[Inputs], dict[str, npt.NDArray[Any]]] = model.interpret
        if device == "cpu":
            file = Path(folder) / "model.hai"
            model.compile().save(file)
            run = load(file).session(threads=1).run
        for sample in random_inputs(model, samples, seed) if inputs is None else inputs:
            ours, theirs = run(sample), interpreter.run(sample)
            for difference in found:
                if difference.name in theirs:
                    _count(difference, ours[difference.name], theirs[difference.name])
    return found


def _count(difference: OutputDifference, ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> None:
    if ours.size != theirs.size:
        raise HaiError(
            "HAI-Y401",
            f'output "{difference.name}" has shape {ours.shape} in HAI and {theirs.shape} in TensorFlow Lite',
        )
    theirs = theirs.reshape(ours.shape)
    difference.values += ours.size
    if difference.histogram is None:
        gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        difference.differing += int(np.count_nonzero(gap))
        scale = max(float(np.abs(theirs).max(initial=0)), 1e-30)
        difference.largest = max(difference.largest, float(gap.max(initial=0)) / scale)
        return
    steps = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    for step, count in zip(*np.unique(steps, return_counts=True)):
        difference.histogram[int(step)] = difference.histogram.get(int(step), 0) + int(count)
    difference.differing += int(np.count_nonzero(steps))
    difference.largest = max(difference.largest, float(steps.max(initial=0)))
