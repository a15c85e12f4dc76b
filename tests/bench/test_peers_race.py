"""The parts of the race that decide what a figure means: statistics, alternation, refusing when busy, tables, kept rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.peers import command, race, statistics, table
from bench.peers.busy import MOST_OTHERS, Others
from bench.peers.engines import ENGINES
from bench.reasons import Skipped
from bench.speed import instructions, roofline


def turns(median_s: float, rounds: int = 12, runs: int = 5, seed: int = 3, noise: float = 0.05) -> list[list[float]]:
    random = np.random.default_rng(seed)
    return (median_s * (1 + noise * random.standard_normal((rounds, runs)))).tolist()


def test_a_ratio_is_of_medians_and_its_interval_holds_the_truth() -> None:
    found = statistics.ratio(turns(0.010, seed=1), turns(0.015, seed=2))
    assert found.value == np.median(turns(0.015, seed=2)) / np.median(turns(0.010, seed=1))
    assert 1.35 < found.low < found.value < found.high < 1.65
    assert found.low < 1.5 < found.high
    # The same engine twice: no claim to be faster.
    same = statistics.ratio(turns(0.010, seed=1), turns(0.010, seed=4))
    assert same.low < 1 < same.high


def test_rounds_are_drawn_as_pairs_so_a_common_clock_cancels() -> None:
    clock = np.linspace(1, 3, 12)[:, None]  # the machine gets three times slower meanwhile
    ours, theirs = (np.array(turns(s, noise=0.001)) * clock for s in (0.010, 0.020))
    found = statistics.ratio(ours.tolist(), theirs.tolist())
    assert found.value == pytest.approx(2, rel=0.01) and found.high - found.low < 0.1
    with pytest.raises(ValueError, match="rounds are pairs"):
        statistics.ratio(ours.tolist(), theirs.tolist()[1:])


def test_turns_of_unequal_length_give_the_same_medians() -> None:
    ours, theirs = turns(0.010), turns(0.012)
    longer = [turn + [turn[0]] * (i % 2) for i, turn in enumerate(ours)]
    assert statistics.ratio(longer, theirs).value == pytest.approx(statistics.ratio(ours, theirs).value, rel=0.05)


def test_the_geometric_mean_of_ratios() -> None:
    two, eight = (statistics.ratio(turns(0.01, noise=0), turns(s, noise=0)) for s in (0.02, 0.08))
    mean = statistics.geometric_mean([two, eight])
    assert mean.value == pytest.approx(4) and mean.low == pytest.approx(4) == mean.high
    with pytest.raises(ValueError, match="no ratios"):
        statistics.geometric_mean([])


def test_correlation_sees_wrong_scores_beside_right_boxes() -> None:
    random = np.random.default_rng(1)
    right = random.random((1, 100, 85), np.float32)
    right[..., :4] *= 640
    wrong = right.copy()
    wrong[..., 4:] = random.random((1, 100, 81))
    assert statistics.correlation(wrong, right) > 0.99
    assert abs(statistics.correlation(wrong, right, fields_axis=2)) < 0.1
    assert statistics.correlation(right, right, fields_axis=2) == pytest.approx(1)
    assert statistics.correlation(np.full_like(right, np.nan), right) == 0
    assert statistics.correlation(np.zeros_like(right), right) == 0
    assert statistics.correlation(right[:, 1:], right) == 0


def test_nobody_always_follows_the_same_engine() -> None:
    names = ["a", "b", "c", "d"]
    orders = [race.order_of(names, i) for i in range(8)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == set(names) == {order[-1] for order in orders}
    followed = {(order[i], order[i + 1]) for order in orders for i in range(3)}
    assert len([pair for pair in followed if pair[1] == "a"]) >= 2


def test_runs_a_turn_reach_thirty_runs_and_a_turn_that_the_clock_sees() -> None:
    assert race.runs_a_turn(10.0, rounds=12) * 12 >= race.LEAST_RUNS
    assert race.runs_a_turn(0.001) * 0.001 >= 0.05
    assert race.runs_a_turn(0.0) == 200


class Pretender:
    """Takes turns and notes when."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def turn(self, runs: int) -> list[float]:
        self.log.append(self.name)
        return [0.01] * runs


def alternated(used: Callable[[int], float], **options: Any) -> tuple[race.Outcome, list[str]]:
    log: list[str] = []
    calls = {"count": 0}

    def others() -> float:  # asked before and after each round
        calls["count"] += 1
        return used((calls["count"] - 1) // 2)

    racers = {name: Pretender(name, log) for name in "abc"}
    return race.alternate(racers, dict.fromkeys("abc", 0.01), others, rounds=4, **options), log


def test_engines_take_turns_and_a_quiet_race_counts() -> None:
    outcome, log = alternated(lambda _: 0.0)
    assert outcome.quiet and outcome.thrown_away == 0
    assert [sorted(log[i : i + 3]) for i in range(0, 12, 3)] == [["a", "b", "c"]] * 4 and len(log) == 12
    assert all(len(found) == 4 for found in outcome.turns.values())


def test_busy_rounds_are_made_again() -> None:
    outcome, log = alternated(lambda round_: 2 * MOST_OTHERS if round_ in (0, 2) else 0.0)
    assert outcome.quiet and outcome.thrown_away == 2 and len(log) == 18
    assert max(outcome.others) <= MOST_OTHERS and all(len(found) == 4 for found in outcome.turns.values())


def test_a_machine_that_stays_busy_gives_no_quiet_race_and_ends() -> None:
    outcome, log = alternated(lambda _: 1.0)
    assert not outcome.quiet and len(log) == 3 * 4 * 3
    hasty, log = alternated(lambda _: 1.0, even_if_busy=True)
    assert not hasty.quiet and len(log) == 4 * 3


def test_others_are_all_work_less_our_own() -> None:
    clock, busy, own = [0.0], [0.0], [0.0]
    watch = Others([], busy=lambda: busy[0], own=lambda _: own[0], clock=lambda: clock[0])
    clock[0], busy[0], own[0] = 2.0, 3.0, 2.0
    assert watch.used() == pytest.approx(0.5)
    clock[0], busy[0], own[0] = 4.0, 5.0, 4.0
    assert watch.used() == 0


def row(engine: str, median_s: float, **more: Any) -> dict[str, Any]:
    found = turns(median_s)
    low, middle, high = statistics.percentiles_ms(found)
    base = {"model": "resnet50", "precision": "int8", "threads": 1, "batch": 1, "engine": engine, "turns": found}
    times = {"median_ms": middle, "p10_ms": low, "p90_ms": high, "runs": 60}
    facts = {"version": "1", "install_bytes": 10**7, "first_answer_s": 0.1, "resident_bytes": 10**6}
    here = {
        "processor": "P", "processors": 2, "clock_mhz": None, "sets": ["avx2"], "load": 0.0, "date": "d", "system": "s",
    }  # fmt: skip
    return {**base, **times, **facts, "correlation": 0.99, "quiet": True, "machine": here, **more}


def test_the_table_takes_the_fastest_peer_whose_answers_are_right() -> None:
    rows = [row("hai", 0.010), row("onnxruntime", 0.020), row("mnn", 0.005, correlation=0.2)]
    peer = table.best_peer(rows)
    assert peer is not None and peer["engine"] == "onnxruntime"
    text = table.speed_table(("int8", 1, 1), {"resnet50": rows}, False)
    assert "| 2.00 (" in text and "wrong: r = 0.200" in text and "Geometric mean over 1 of the 8" in text
    # Random weights that nobody quantizes well: near the best is right, far below it is not.
    hard = [
        row("hai", 0.01, correlation=0.70),
        row("onnxruntime", 0.02, correlation=0.72),
        row("mnn", 0.01, correlation=0.55),
    ]
    assert [table.right(each, hard) for each in hard] == [True, True, False]
    floating = [
        row("hai", 0.01, precision="f32", correlation=0.99),
        row("mnn", 0.02, precision="f32", correlation=0.999999),
    ]
    assert [table.right(each, floating) for each in floating] == [False, True]


def test_no_ratio_is_printed_of_a_busy_machine_unless_asked_for() -> None:
    rows = [row("hai", 0.010, quiet=False), row("onnxruntime", 0.020, quiet=False)]
    text = table.speed_table(("int8", 1, 1), {"resnet50": rows}, False)
    assert "no ratio: busy machine" in text and "2.00" not in text.split("ratio |")[1] and "No geometric mean" in text
    assert "(loaded)" in table.speed_table(("int8", 1, 1), {"resnet50": rows}, True)
    assert "<rect" in table.picture(("int8", 1, 1), {"resnet50": rows}, True)
    assert 'fill="#d1495b" ' not in table.picture(("int8", 1, 1), {"resnet50": rows}, False).split("54")[-1]


def test_the_report_names_what_did_not_run(tmp_path: Path) -> None:
    gone = {k: v for k, v in row("ncnn", 0.01).items() if k not in ("turns", "median_ms")} | {"skipped": "no quantizer"}
    rows = [row("hai", 0.010), row("onnxruntime", 0.020), gone]
    text = command.report(rows, False, tmp_path)
    assert "ncnn, resnet50 int8: no quantizer" in text and "2 x P, clock unknown, avx2" in text
    picture = ElementTree.parse(tmp_path / "int8_1_threads_batch1.svg").getroot()
    bars = [float(e.get("width", "0")) for e in picture.iter() if e.tag.endswith("rect") and e.get("height") == "9"]
    drawn = [width for width in bars if width != 9]  # the legend's are squares
    assert len(drawn) == 2 and drawn[0] == pytest.approx(2 * drawn[1], rel=0.01)


def test_rows_are_kept_and_a_half_written_line_is_not_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row("hai", 0.01)) + "\n" + json.dumps(row("mnn", 0.01))[:-20])
    assert [r["engine"] for r in command.read_rows(path)] == ["hai"]
    assert command.read_rows(tmp_path / "none.jsonl") == []


def test_what_was_raced_is_not_raced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raced: list[tuple[Any, ...]] = []

    def pretended(model: str, precision: str, threads: int, batch: int, engines: Any, *_: Any) -> list[dict[str, Any]]:
        raced.append((model, precision, threads))
        case = {"model": model, "precision": precision, "threads": threads, "batch": batch}
        return [row(engine, 0.01, **case) for engine in engines]

    monkeypatch.setattr(command, "race", pretended)
    monkeypatch.setattr(command, "interpreter", lambda _: Path(sys.executable))
    given = {
        "models": ["resnet50"],
        "engines": ["hai", "onnxruntime"],
        "precisions": ["int8"],
        "threads": [1, 2],
        "batch": 1,
    }
    arguments = argparse.Namespace(**given, out=tmp_path, again=False, even_if_busy=False, make_only=False)
    assert command.measure(arguments) and len(raced) == 2
    assert command.measure(arguments) and len(raced) == 2
    arguments.again = True
    assert command.measure(arguments) and len(raced) == 4


def test_an_engine_that_does_not_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interpreter(name: str) -> Path:
        if name == "mnn":
            raise Skipped("mnn does not install here: no wheel")
        return Path(sys.executable)

    monkeypatch.setattr(command, "interpreter", interpreter)
    monkeypatch.setattr(command, "race", lambda *_: [])
    given = {"models": ["resnet50"], "engines": list(ENGINES), "precisions": ["f32"], "threads": [1], "batch": 1}
    assert command.measure(argparse.Namespace(**given, out=tmp_path, again=False, even_if_busy=False, make_only=False))
    assert "MNN takes no part: mnn does not install here: no wheel" in capsys.readouterr().out


def test_instructions_of_a_run_are_the_difference_of_two_programs() -> None:
    text = "==7== Events    : Ir\n==7== Collected : 123456789\n"
    assert instructions.counted(text) == 123456789
    with pytest.raises(Skipped, match="counted nothing"):
        instructions.counted("valgrind: illegal instruction")
    assert instructions.a_run(1000 + 5 * 70, 1000 + 7 * 70) == 70
    assert instructions.change(1019, 1000) == ("+1.90%", True)
    assert instructions.change(1021, 1000) == ("+2.10%", False)
    assert instructions.change(5, None) == ("not kept yet", None)


def test_the_roofline_table_sums_layers_and_shares_gaps() -> None:
    def layer(name: str, measured: float, limit: float, bound: str) -> dict[str, Any]:
        words = {"name": name, "kernel": "conv2d", "measured_ms": measured, "limit_ms": limit, "bound": bound}
        return {**words, "gap_ms": measured - limit}

    layers = [layer("a", 4.0, 1.0, "memory"), layer("b", 3.0, 2.0, "arithmetic")]
    assert roofline.summary(layers) == (7.0, 3.0, 3 / 7)
    assert roofline.largest(layers, 1) == ["| `a` | conv2d | 4.000 | 1.000 | memory | 3.000 | 75% |"]
    text = roofline.section("Net, int8", {"roofline": {"layers": layers}})
    assert "43% reached" in text and "one of arithmetic" in text and text.count("| `") == 2
    assert roofline.summary([]) == (0.0, 0.0, 0.0)
