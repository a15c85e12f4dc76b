"""Writes the node tests that the `onnx` package carries as files, for onnx_node_slow_test.

    python make_node_cases.py FOLDER

One folder per case: model.onnx, input_<i>.tensor and output_<i>.tensor of its first data set (a line "f32 2 3" with type
and dimensions, then the elements, little-endian), `operator` (of its first node) and `tolerance` (relative, absolute).
Inputs and outputs that are no tensors of HAI's types are left out: such cases are refused at import. Operands that HAI
needs at import (shapes, axes, scales ...) are inputs in these tests; here they become initializers. A folder that is
complete for the installed version of `onnx` is left alone.
"""

import shutil
import sys
from pathlib import Path

import numpy
import onnx
from onnx.backend.test.case.node import collect_testcases

# Operator -> the operands that must be known at import, or (weights) be constant for the CPU.
CONSTANT_OPERANDS = {
    "BatchNormalization": (1, 2, 3, 4),
    "CenterCropPad": (1,),
    "ConstantOfShape": (0,),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "DequantizeLinear": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "If": (0,),
    "OneHot": (1, 2),
    "Pad": (1, 2, 3),
    "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
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
FORMAT = "5"

# TensorProto.DataType -> HAI's name.
TYPES = {
    1: "f32",
    2: "u8",
    3: "i8",
    4: "u16",
    5: "i16",
    6: "i32",
    7: "i64",
    9: "bool",
    10: "f16",
    11: "f64",
    12: "u32",
    13: "u64",
    16: "bf16",
    21: "u4",
    22: "i4",
}


def as_tensor(value: object) -> onnx.TensorProto | None:
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(value))
    if isinstance(value, (numpy.ndarray, numpy.generic, int, float, bool)):
        return onnx.numpy_helper.from_array(numpy.asarray(value))
    return None


def write_tensor(path: Path, tensor: onnx.TensorProto) -> None:
    if tensor.data_type in TYPES:
        header = " ".join([TYPES[tensor.data_type], *map(str, tensor.dims)])
        path.write_bytes(header.encode() + b"\n" + tensor.raw_data)


def operator_of(model: onnx.ModelProto) -> str:
    if not model.graph.node:
        return "none"
    node = model.graph.node[0]
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


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
        write_tensor(folder / f"input_{kept}.tensor", tensor)
        kept += 1
    for i, value in enumerate(outputs):
        tensor = as_tensor(value)
        if tensor is not None:
            write_tensor(folder / f"output_{i}.tensor", tensor)
    (folder / "operator").write_text(operator_of(model) + "\n")
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
