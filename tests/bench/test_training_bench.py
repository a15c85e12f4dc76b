"""The protocols of bench/training: what is drawn, what is kept apart from what, and the intervals of the tables."""

from __future__ import annotations

import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.training import deeppcb, elpv, gradients, mixing
from bench.training.interval import half_width, mean_with_interval


def test_intervals_are_students() -> None:
    assert half_width([1, 2, 3]) == pytest.approx(4.303 / np.sqrt(3))
    assert half_width([0.9, 0.9, 0.9, 0.9, 0.9]) == pytest.approx(0, abs=1e-12)
    assert np.isnan(half_width([1.0]))
    assert mean_with_interval([1.0]) == "1.000"
    assert mean_with_interval([0.25, 0.75], signed=True) == "+0.500 ± 3.176"


def test_deeppcb_keeps_the_reserve_out_of_every_draw() -> None:
    names = [f"{number:08d}.jpg" for number in range(400)]
    document = {"images": [{"id": i, "file_name": name} for i, name in enumerate(names)]}
    reserve, pool = deeppcb.split(document)
    digests = [sha256(image["file_name"].encode()).hexdigest() for image in reserve + pool]
    assert len(reserve) == 100 and len(pool) == 300 and digests == sorted(digests)
    kept = {image["id"] for image in reserve}
    for seed in (1, 2):
        few, many = (deeppcb.draw(pool, count, seed) for count in (25, 100))
        assert many[:25] == few and len({image["id"] for image in many}) == 100
        assert not kept & {image["id"] for image in many}
    assert deeppcb.draw(pool, 100, 1) != deeppcb.draw(pool, 100, 2)


def test_cells_are_drawn_by_their_shares_and_apart() -> None:
    thirds = np.repeat([0, 1, 2, 3], [1508, 295, 106, 715])  # as many as the data set has
    for seed in (1, 5):
        training, held_out, test = elpv.split(thirds, seed)
        everything = np.concatenate([training, held_out, test])
        assert len(training) + len(held_out) == 1000 and len(test) == 1624
        assert sorted(everything.tolist()) == list(range(2624))
        chosen, judged = mixing.draw(thirds, seed)
        assert np.array_equal(judged, test)
        assert len(set(chosen.tolist())) == 100 and set(chosen.tolist()) <= set(training.tolist())
        share = np.bincount(thirds[training]) * 100 / len(training)
        assert np.abs(np.bincount(thirds[chosen]) - share).max() < 1


def test_macro_f1_is_the_mean_over_classes() -> None:
    answers, labels = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    assert elpv.macro_f1(answers, labels, 2) == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert elpv.macro_f1(answers, labels, 3) == pytest.approx((2 / 4 + 4 / 6) / 3)  # a class that nobody names


def test_f32_errors_are_compared_by_root_mean_squares() -> None:
    found = gradients.f32_figures([(3e-6, 1e-6), (4e-6, 7e-6)])
    assert found["f32"] == pytest.approx(5 / np.sqrt(50))
    assert found["f32_ratios"] == [3.0, 0.571]
