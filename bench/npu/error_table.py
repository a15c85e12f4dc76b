"""Residuals of layers as tables: statistics by class and half, and a reason for every layer that is far off."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.npu.matching import Pair, half_of

FAR = 0.30
_SHORT_CYCLES = 2000
KINDS = ("conv", "depthwise", "dense", "pool", "table", "elementwise", "copy", "resize")
REASONS = {
    "short": "under 2000 cycles: start-up, which Vela adds to each layer by its first block and we to each command",
    "global": "average of the plane: Vela runs it as depthwise, each of whose passes waits 18 cycles for weights at one pixel",
    "copy": "Vela's copies of small blocks take the time of their transfers; ours runs them as fast as values move",
    "resize": "Vela moves 16 values a cycle here, ours as many as post-processing",
    "stream": "weights are not kept in SRAM: Vela's compute cycles wait for biases and scales, 19.53 cycles a channel and block",
    "part": "Vela takes a 1x1 window by part kernel, at a quarter of the rate",
    "chained": "a chained sum or product takes Vela's output side once more; ours adds behind the sums at no cost",
    "depthwise": "depthwise: Vela's blocks wait for their input, which ours reads beside",
    "input": "input from DRAM: the first block's transfer is in Vela's compute cycles, and in ours a stall",
    "behind": "Vela looks up and multiplies in one command; ours are two, one after the other",
    "commands": "ours is slower: many commands (stripes, pieces of weights), each with its start and its last post-processing",
    "blocks": "ours is quicker, and nothing above holds: rounding of Vela's blocks and micro-blocks, start-up by block",
}


def reason(pair: Pair) -> str:
    """The key in REASONS; a class by what Vela says of the layer, not a proof."""
    vela, detail = pair.vela, pair.vela.detail
    from_dram = next(iter(detail.get("memories", [])), "") == "Dram"
    sums = any(name in ("Add", "Mul", "Sub") for name in detail.get("chained", ()))
    weighted = pair.kind in ("conv", "dense")
    rules = (
        ("behind", pair.residual > 0 and pair.kind == "table" and sums),
        ("commands", pair.residual > 0),
        ("short", vela.compute_cycles < _SHORT_CYCLES),
        ("global", pair.kind == "pool" and vela.output[1:3] == (1, 1)),
        ("copy", pair.kind == "copy"),
        ("resize", pair.kind == "resize"),
        ("stream", weighted and detail.get("weight_buffering") == ""),
        ("part", pair.kind == "conv" and vela.kernel == (1, 1) and detail.get("traversal") == "PartKernel"),
        ("chained", sums and detail.get("output_cycles", 0) > 0.8 * detail.get("mac_cycles", 0)),
        ("depthwise", pair.kind == "depthwise"),
        ("input", from_dram),
    )
    return next((key for key, holds in rules if holds), "blocks")


def row(values: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(str(value) for value in values) + " |"


def head(titles: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row(titles), "|" + "---|" * len(titles)]


def spread(residuals: Sequence[float]) -> dict[str, float]:
    """Median and 90 % of the absolute residuals, median with its sign, shares within 15 % and 30 %."""
    sizes = sorted(abs(value) for value in residuals)
    return {
        "layers": len(sizes),
        "median": statistics.median(sizes),
        "signed": statistics.median(residuals),
        "ninety": sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))],
        "within_15": sum(size <= 0.15 for size in sizes) / len(sizes),
        "within_30": sum(size <= FAR for size in sizes) / len(sizes),
    }


def by_class(pairs: Sequence[Pair], half: int | None = None) -> dict[str, dict[str, float]]:
    """`spread` of every class and of "all"; of one half, or of both."""
    chosen = [pair for pair in pairs if half is None or half_of(pair.vela) == half]
    groups = {kind: [pair.residual for pair in chosen if pair.kind == kind] for kind in KINDS}
    groups["all"] = [pair.residual for pair in chosen]
    return {kind: spread(values) for kind, values in groups.items() if values}


def residual_table(forms: Mapping[str, Sequence[Pair]], halves: Mapping[str, int | None]) -> list[str]:
    """Classes by rows; for each form and half the median, with its sign, and the share within 30 %."""
    columns = [
        (f"{form}, {name}" if len(halves) > 1 else form, by_class(pairs, half))
        for form, pairs in forms.items()
        for name, half in halves.items()
    ]
    lines = head(["class", "layers", *[title for title, _ in columns]])
    counted = [classes for title, classes in columns[: len(halves)]]
    for kind in (*KINDS, "all"):
        if not any(kind in classes for _, classes in columns):
            continue
        cells = [
            f"{c[kind]['median']:.1%} ({c[kind]['signed']:+.1%}), {c[kind]['within_30']:.0%}" if kind in c else "-"
            for _, c in columns
        ]
        layers = " + ".join(str(int(classes[kind]["layers"])) if kind in classes else "0" for classes in counted)
        lines.append(row([kind, layers, *cells]))
    return lines


def far_table(pairs: Sequence[Pair]) -> list[str]:
    """Every layer off by more than FAR: classes with counts, then the layers; equal ones of a network share a row."""
    far = [pair for pair in pairs if abs(pair.residual) > FAR]
    counts = Counter(reason(pair) for pair in far)
    lines = [f"{len(far)} of {len(pairs)} layers are off by more than {FAR:.0%}.", ""]
    lines += head(["class", "layers", "what differs"])
    lines += [row([key, counts[key], text]) for key, text in REASONS.items() if counts[key]]
    lines += ["", *head(["network", "kind", "input", "output", "window", "Vela", "ours", "residual", "times", "class"])]
    cells = Counter(
        (
            pair.vela.model,
            pair.kind,
            _by(pair.vela.inputs[0][1:]),
            _by(pair.vela.output[1:]),
            _by(pair.vela.kernel),
            pair.vela.compute_cycles,
            round(pair.cycles),
            f"{pair.residual:+.0%}",
            reason(pair),
        )
        for pair in far
    )
    lines += [row([*key[:-1], times, key[-1]]) for key, times in sorted(cells.items())]
    return lines


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
