"""The names that a checkpoint of a whole module may mention: nothing outside these lists is ever made from a file.

Three kinds. Layers of PyTorch itself, which hold tensors and numbers. Modules of published detectors, for which
``modules`` has own definitions under the same names. Names beside the network (a numpy number, a path) that training
scripts leave in their checkpoints: those are accepted by ``records`` only, as inert records, and never by ``torch.load``.
"""

from __future__ import annotations

TORCH_LAYERS: tuple[str, ...] = (
    "torch.nn.modules.activation.GELU",
    "torch.nn.modules.activation.Hardsigmoid",
    "torch.nn.modules.activation.Hardswish",
    "torch.nn.modules.activation.LeakyReLU",
    "torch.nn.modules.activation.Mish",
    "torch.nn.modules.activation.MultiheadAttention",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.activation.ReLU6",
    "torch.nn.modules.activation.SiLU",
    "torch.nn.modules.activation.Sigmoid",
    "torch.nn.modules.activation.Tanh",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.conv.ConvTranspose2d",
    "torch.nn.modules.dropout.Dropout",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.linear.NonDynamicallyQuantizableLinear",
    "torch.nn.modules.padding.ZeroPad2d",
    "torch.nn.modules.pooling.AdaptiveAvgPool2d",
    "torch.nn.modules.pooling.AvgPool2d",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
)
"""Layers of PyTorch, under the names that pickles use."""

FORMER_LAYERS: dict[str, str] = {
    "torch.nn.modules.linear._LinearWithBias": "torch.nn.modules.linear.NonDynamicallyQuantizableLinear",
}
"""Names that PyTorch has given up, and the layer that each is now."""

DETECTOR_MODULES: dict[str, str] = {
    "models.common.Bottleneck": "Bottleneck",
    "models.common.BottleneckCSP": "BottleneckCSP",
    "models.common.C3": "C3",
    "models.common.C3Ghost": "C3Ghost",
    "models.common.C3SPP": "C3SPP",
    "models.common.C3TR": "C3TR",
    "models.common.Concat": "Concat",
    "models.common.Contract": "Contract",
    "models.common.Conv": "Conv",
    "models.common.DWConv": "DWConv",
    "models.common.Expand": "Expand",
    "models.common.Focus": "Focus",
    "models.common.GhostBottleneck": "GhostBottleneck",
    "models.common.GhostConv": "GhostConv",
    "models.common.SPP": "SPP",
    "models.common.SPPF": "SPPF",
    "models.common.TransformerBlock": "TransformerBlock",
    "models.common.TransformerLayer": "TransformerLayer",
    "models.experimental.GhostBottleneck": "GhostBottleneck",
    "models.experimental.GhostConv": "GhostConv",
    "models.yolo.Detect": "Detect",
    "models.yolo.DetectionModel": "DetectionModel",
    "models.yolo.Model": "Model",
    "utils.activations.Hardswish": "Hardswish",
    "utils.activations.SiLU": "SiLU",
}
"""Names of published modules and the class of ``modules`` that stands for each."""

INERT: tuple[str, ...] = (
    "_codecs.encode",
    "argparse.Namespace",
    "datetime.datetime",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
)
"""What training leaves beside the network; read as a record that does nothing."""
