"""Writes the node tests that the `onnx` package carries as files, for onnx_node_slow_test.

    python make_node_cases.py FOLDER

One folder per case: model.onnx, input_<i>.pb and output_<i>.pb (TensorProto) of its first data set, and `tolerance`
(relative, absolute). Cases whose inputs or outputs are no tensors get only the model. Operands that HAI needs at import
(shapes, axes, scales ...) are inputs in these tests; here they become initializers. A folder that is complete for the
installed version of `onnx` is left alone.
"""

import shutil
import sys
from pathlib import Path

import numpy
import onnx
from onnx.backend.test.case.node import collect_testcases

# Operator -> the operands that must be known at import.
CONSTANT_OPERANDS = {
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "If": (0,),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "QuantizeLinear": (1, 2),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
} | {
    f"Reduce{kind}": (1,)
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
}
FORMAT = "2"


def as_tensor(value: object) -> onnx.TensorProto | None:
    if isinstance(value, onnx.TensorProto):
        return value
    if isinstance(value, (numpy.ndarray, numpy.generic, int, float, bool)):
        return onnx.numpy_helper.from_array(numpy.asarray(value))
    return None


def write_case(folder: Path, case: object) -> None:
    folder.mkdir(parents=True)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    constant = {
        name
        for node in graph.node
        for i, name in enumerate(node.input)
        if name and i in CONSTANT_OPERANDS.get(node.op_type, ())
    }
    inputs, outputs = case.data_sets[0] if case.data_sets else ([], [])
    kept = 0
    for value_info, value in zip(list(graph.input), inputs, strict=False):
        tensor = as_tensor(value)
        if tensor is None:
            continue
        if value_info.name in constant:
            initializer = graph.initializer.add()
            initializer.CopyFrom(tensor)
            initializer.name = value_info.name
            continue
        (folder / f"input_{kept}.pb").write_bytes(tensor.SerializeToString())
        kept += 1
    for i, value in enumerate(outputs):
        tensor = as_tensor(value)
        if tensor is not None:
            (folder / f"output_{i}.pb").write_bytes(tensor.SerializeToString())
    (folder / "tolerance").write_text(f"{case.rtol} {case.atol}\n")
    (folder / "model.onnx").write_bytes(model.SerializeToString())


def main() -> None:
    target = Path(sys.argv[1])
    version = f"{onnx.__version__} {FORMAT}"
    stamp = target / "version"
    if stamp.exists() and stamp.read_text() == version:
        return
    shutil.rmtree(target, ignore_errors=True)
    cases = [case for case in collect_testcases(None) if case.model is not None]
    for case in cases:
        write_case(target / case.name, case)
    stamp.write_text(version)
    print(f"{len(cases)} cases in {target}")


if __name__ == "__main__":
    main()
