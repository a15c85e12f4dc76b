"""CPU seconds, of the whole process, to quantize MobileNetV2 with 16 pictures and compile it.

`python -m bench.accuracy.conversion_time`. The process is a fresh Python that reads an ONNX file, decodes 16 pictures,
calibrates, quantizes, compiles and writes the file; user and system time of all its threads.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.accuracy.figures import Row, print_table
from bench.accuracy.photos import photos
from bench.models.__main__ import export_all_forms
from bench.models.catalogue import NETWORKS
from bench.reasons import exit_status

_LIMIT_S = 5.0
_PICTURES = 16
_PROGRAM = """
import sys
import hai_toolkit as hai
rule = hai.Preprocessing(width=224, height=224, resize_rule="short_side", resize_size=256,
                         mean=(123.675, 116.28, 103.53), scale=(1 / 58.395, 1 / 57.12, 1 / 57.375))
quantizer = hai.Quantizer(bit_width=8, method="symmetrical")
quantizer.convert(sys.argv[1], calibration=sys.argv[3:], preprocessing=rule).save(sys.argv[2])
"""


def measure() -> bool:
    """Print the table."""
    models = Path("build/models")
    export_all_forms(NETWORKS["mobilenet_v2"], models, [""], again=False)
    pictures = [str(photo.path) for photo in photos("calibration")[:_PICTURES]]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "mobilenet_v2.hai"
        command = [sys.executable, "-c", _PROGRAM, str(models / "mobilenet_v2.onnx"), str(out), *pictures]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = out.stat().st_size
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    row = Row(
        f"MobileNetV2, {_PICTURES} pictures: quantize and compile, whole process",
        f"{seconds:.1f} CPU s, file of {size / 1e6:.1f} MB",
        f"<= {_LIMIT_S:g} CPU s",
        seconds <= _LIMIT_S,
    )
    return print_table("Time to quantize and compile", [row])


if __name__ == "__main__":
    sys.exit(exit_status(measure))
