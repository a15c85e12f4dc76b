"""Pictures and sound that come with packages, for the small models of MLPerf Tiny: no data set is needed.

Pictures: crops of those in scikit-image. Sound: keywords spoken by espeak-ng (Debian) in several voices, with noise. Both in
two parts that share no picture and no voice: one to calibrate, one to judge. Features of sound as the models were trained on
them: mel cepstra of 30 ms windows (keywords), logarithmic mel spectra of 1024 samples (machines), in numpy.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import wave
from pathlib import Path

import hai_toolkit as hai
import numpy as np
from hai_toolkit import _core
from numpy.typing import NDArray

from bench.reasons import Skipped

Floats = NDArray[np.float64]
_PICTURES = {
    "calibration": ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coins.png", "horse.png", "moon.png"),
    "evaluation": ("coffee.png", "rocket.jpg", "retina.jpg", "hubble_deep_field.jpg", "gravel.png", "page.png", "grass.png",
                   "motorcycle_right.png", "clock_motion.png", "ihc.png", "logo.png", "color.png"),
}  # fmt: skip
_WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "house", "seven", "happy", "tree")
_VOICES = {
    "calibration": ("en-us", "en-gb-scotland", "en-us+f3"),
    "evaluation": ("en-gb", "en-gb-x-rp", "en-us+m3", "en-gb+f2"),
}
_RATE = 16000


def picture_crops(part: str, side: int, count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    """Random square crops of many sizes, `side` pixels each."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise Skipped("scikit-image is not installed: its pictures are missing")
    folder = Path(spec.origin).parent / "data"
    pictures = [hai.read_image(folder / name) for name in _PICTURES[part] if (folder / name).exists()]
    if len(pictures) < 2:
        raise Skipped(f"scikit-image has {len(pictures)} of the pictures of the {part} part")
    random = np.random.default_rng([seed, side, part == "evaluation"])
    crops = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        shorter = min(picture.shape[:2])
        size = int(random.integers(min(side, shorter), shorter + 1))
        top, left = (int(random.integers(0, length - size + 1)) for length in picture.shape[:2])
        crop = np.ascontiguousarray(picture[top : top + size, left : left + size])
        crops.append(np.asarray(_core.resize(crop, side, side, 1)))
    return crops


def _spoken(word: str, voice: str, speed: int, pitch: int) -> Floats:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(data)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(data[44:], "<i2").astype(np.float64)
    positions = np.arange(int(len(samples) * _RATE / rate)) * rate / _RATE
    return np.interp(positions, np.arange(len(samples)), samples)


def spoken_seconds(part: str) -> list[Floats]:
    """One second each, at 16 kHz, largest value 1: a word at a random place in noise; the last twelfth is noise alone."""
    if shutil.which("espeak-ng") is None:
        raise Skipped("espeak-ng is not installed (apt-get install espeak-ng): no spoken words")
    random = np.random.default_rng([7, part == "evaluation"])
    seconds = []
    for voice in _VOICES[part]:
        for word in _WORDS:
            for speed, pitch in ((120, 30), (150, 50), (175, 45), (200, 70)):
                sound = _spoken(word, voice, speed, pitch)[:_RATE]
                sound = sound / max(float(np.abs(sound).max()), 1.0)
                padded = random.normal(0, random.choice([0.0003, 0.003, 0.02]), _RATE)
                start = int(random.integers(0, _RATE - len(sound) + 1))
                padded[start : start + len(sound)] += sound
                seconds.append(padded)
    for level in np.geomspace(0.0001, 0.1, max(1, len(seconds) // 12)):
        seconds.append(random.normal(0, level, _RATE))
    return seconds


def _frames(sound: Floats, length: int, step: int, transform: int) -> Floats:
    """Magnitudes of the windowed spectrum, one row a frame."""
    count = 1 + (len(sound) - length) // step
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    rows = np.stack([sound[i * step : i * step + length] * window for i in range(count)])
    return np.abs(np.fft.rfft(rows, transform))


def _triangles(bins: Floats, edges: Floats) -> Floats:
    """One column per triangle between neighbouring edges but one."""
    rise = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def keyword_features(sound: Floats) -> NDArray[np.float32]:
    """[1, 49, 10, 1]: ten mel cepstra of 30 ms windows every 20 ms, 40 bands from 20 to 4000 Hz, as tf.signal makes them."""
    spectrum = _frames(sound, 480, 320, 512)

    def mel(hertz: Floats) -> Floats:
        return 1127.0 * np.log1p(hertz / 700.0)

    edges = np.linspace(mel(np.asarray(20.0)), mel(np.asarray(4000.0)), 42)
    weights = _triangles(mel(np.linspace(0, _RATE / 2, 257)), edges)
    weights[0] = 0
    bands = np.log(spectrum @ weights + 1e-6)
    angles = np.pi / 40 * np.outer(np.arange(40) + 0.5, np.arange(10))
    return (bands @ (2 * np.cos(angles)) / np.sqrt(80)).astype(np.float32)[None, :, :, None]


def machine_features(sound: Floats) -> NDArray[np.float32]:
    """[windows, 640]: five neighbouring frames of 128 mel bands in decibel, as librosa makes them (Slaney's scale)."""
    power = _frames(np.pad(sound, 512, mode="reflect"), 1024, 512, 1024) ** 2

    def hertz(mel: Floats) -> Floats:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))

    edges = hertz(np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), 130))
    weights = _triangles(np.linspace(0, _RATE / 2, 513), edges) * (2 / (edges[2:] - edges[:-2]))
    bands = 10 * np.log10(power @ weights + np.finfo(np.float64).eps)
    count = len(bands) - 4
    return np.concatenate([bands[i : i + count] for i in range(5)], 1).astype(np.float32)
