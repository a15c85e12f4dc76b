"""TensorFlow models: `.tflite` files by a reader of the format, Keras and SavedModel through TensorFlow's own
converter.
"""

from .compare import OutputDifference, ReferenceInterpreter, compare_with_interpreter
from .convert import from_tflite
from .keras import convert_to_tflite, from_tensorflow

__all__ = [
    "OutputDifference",
    "ReferenceInterpreter",
    "compare_with_interpreter",
    "convert_to_tflite",
    "from_tensorflow",
    "from_tflite",
]
