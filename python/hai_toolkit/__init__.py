"""HAI: quantize, compile and run neural networks on edge devices.

import hai_toolkit as hai
model = hai.from_onnx("net.onnx")
model.quantize(bit_width=8, calibration=arrays)
model.compile(device="cpu").save("net.hai")
outputs = hai.load("net.hai").session(threads=1).run({"input": x})
"""

from . import checkpoints, evaluation, zoo
from ._core import pass_names, version
from .board import ModelledTraining, modelled_training
from .continual import ElasticWeights
from .datasets import Dataset, read_dataset
from .errors import HaiError
from .evaluation import Figure, evaluate
from .graph import GraphBuilder, Quantization, Tensor
from .learner import Learner
from .model import CompiledModel, Model, TensorInfo, WrittenFile, from_onnx, from_torch
from .preprocessing import PictureFolder, Preprocessing, list_images, read_image
from .quantizer import QuantizedModel, Quantizer
from .replay import ReplayBuffer
from .report import Report, compare
from .runtime import LoadedModel, Session, load
from .state_dict import read_state_dict
from .tensorflow import from_tflite
from .trainer import Schedule, StepResult, Trainer

__version__: str = version()

checkpoints.register_with_torch()

__all__ = [
    "CompiledModel",
    "Dataset",
    "ElasticWeights",
    "Figure",
    "GraphBuilder",
    "HaiError",
    "Learner",
    "LoadedModel",
    "Model",
    "ModelledTraining",
    "PictureFolder",
    "Preprocessing",
    "Quantization",
    "QuantizedModel",
    "Quantizer",
    "ReplayBuffer",
    "Report",
    "Schedule",
    "Session",
    "StepResult",
    "Tensor",
    "TensorInfo",
    "Trainer",
    "WrittenFile",
    "checkpoints",
    "compare",
    "evaluate",
    "evaluation",
    "from_onnx",
    "from_tflite",
    "from_torch",
    "list_images",
    "load",
    "modelled_training",
    "pass_names",
    "read_dataset",
    "read_image",
    "read_state_dict",
    "version",
    "zoo",
]
