"""Rows to tables and a picture. A row is one engine on one model; rows of one race stand together.

No ratio is made of a race that was not quiet, unless it is asked for: then it is marked.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers.engines import ENGINES
from bench.peers.models import RACERS
from bench.peers.statistics import Ratio, geometric_mean, ratio

LEAST_CORRELATION = {"f32": 0.9999, "int8": 0.90}
"""Of an answer that counts."""
NEAR_THE_BEST, NEVER_BELOW = 0.10, 0.50
"""In INT8 an answer counts too if it is as near as this to the best engine's: random weights of some networks are hard to quantize
for everyone, and then no engine is to be told apart by it. Never below the second."""
Row = Mapping[str, Any]
Key = tuple[str, int, int]  # precision, threads, batch
_GOALS = {"int8": 1.5, "f32": 1.25}


def right(row: Row, rows: Sequence[Row]) -> bool:
    """Whether the engine ran, and answered as ONNX Runtime does in f32; `rows` are those of its race."""
    if "turns" not in row:
        return False
    found: float = row["correlation"]
    if row["precision"] != "int8":
        return found >= LEAST_CORRELATION[row["precision"]]
    best = max(other["correlation"] for other in rows if "turns" in other)
    return found >= min(LEAST_CORRELATION["int8"], max(best - NEAR_THE_BEST, NEVER_BELOW))


def best_peer(rows: Sequence[Row]) -> Row | None:
    """The fastest whose answers are right."""
    peers = [row for row in rows if row["engine"] != "hai" and right(row, rows)]
    return min(peers, key=lambda row: row["median_ms"], default=None)


def our_ratio(rows: Sequence[Row], even_if_busy: bool) -> Ratio | None:
    """HAI's speed over the fastest peer's; None where there is none, or where it would be unfair."""
    peer = best_peer(rows)
    ours = next((row for row in rows if row["engine"] == "hai" and right(row, rows)), None)
    if peer is None or ours is None or not (even_if_busy or (ours["quiet"] and peer["quiet"])):
        return None
    return ratio(ours["turns"], peer["turns"])


def _loaded(rows: Sequence[Row]) -> bool:
    return any(not row.get("quiet", True) for row in rows)


def _cell(row: Row | None, rows: Sequence[Row]) -> str:
    if row is None:
        return ""
    if "skipped" in row:
        return "none"
    shown = f"{row['median_ms']:.2f} ({row['p10_ms']:.2f}..{row['p90_ms']:.2f})"
    return shown if right(row, rows) else f"~~{shown}~~ wrong: r = {row['correlation']:.3f}"


def shown_ratio(rows: Sequence[Row], even_if_busy: bool) -> str:
    """With its interval, or why there is none."""
    found = our_ratio(rows, even_if_busy)
    if found is None:
        return "no ratio: busy machine" if _loaded(rows) else "no ratio"
    mark = " (loaded)" if _loaded(rows) else ""
    return f"{found.value:.2f} ({found.low:.2f}..{found.high:.2f}){mark}"


def races(rows: Sequence[Row]) -> dict[Key, dict[str, list[Row]]]:
    """Rows by kind of race, then by model, in the order of the catalogue; the last row of an engine counts."""
    latest = {(r["precision"], r["threads"], r["batch"], r["model"], r["engine"]): r for r in rows}
    out: dict[Key, dict[str, list[Row]]] = {}
    for model in RACERS:
        for key, row in latest.items():
            if key[3] == model:
                out.setdefault(key[:3], {}).setdefault(model, []).append(row)
    return dict(sorted(out.items(), key=lambda item: (item[0][2], item[0][0] != "int8", item[0][1])))


def speed_table(key: Key, models: Mapping[str, Sequence[Row]], even_if_busy: bool) -> str:
    """One kind of race: medians, and the ratio to the fastest peer."""
    precision, threads, batch = key
    pictures = "" if batch == 1 else f", {batch} pictures a run"
    lines = [
        f"### {precision.upper() if precision == 'int8' else precision}, {threads} thread{'s' * (threads > 1)}{pictures}",
        "",
        "Milliseconds a run: median (p10..p90). Last column: the fastest peer's median over HAI's, 95 % interval.",
        "",
        "| model | " + " | ".join(engine.title for engine in ENGINES.values()) + " | ratio |",
        "|---|" + "---|" * (len(ENGINES) + 1),
    ]
    counted = []
    for model, rows in models.items():
        cells = [_cell(next((row for row in rows if row["engine"] == name), None), rows) for name in ENGINES]
        lines.append(f"| {RACERS[model].title} | {' | '.join(cells)} | {shown_ratio(rows, even_if_busy)} |")
        found = our_ratio(rows, even_if_busy)
        if found is not None and RACERS[model].counted:
            counted.append(found)
    of = sum(racer.counted for racer in RACERS.values())
    if counted:
        mean = geometric_mean(counted)
        goal = f"; the goal is {_GOALS[precision]:g}" if batch == 1 else ""
        lines += ["", f"Geometric mean over {len(counted)} of the {of} models with a goal: "
                      f"{mean.value:.2f} ({mean.low:.2f}..{mean.high:.2f}){goal}."]  # fmt: skip
    else:
        lines += ["", "No geometric mean: no race of these was fair."]
    return "\n".join(lines)


def start_table(models: Mapping[str, Sequence[Row]], key: Key) -> str:
    """What loading takes: time to the first answer, and memory that stays."""
    lines = [
        f"### Loading, {key[0]}, {key[1]} thread{'s' * (key[1] > 1)}",
        "",
        "Load to first answer in ms / resident memory that the model adds in MB, beyond interpreter, numpy and the engine.",
        "",
        "| model | " + " | ".join(engine.title for engine in ENGINES.values()) + " |",
        "|---|" + "---|" * len(ENGINES),
    ]
    for model, rows in models.items():
        cells = []
        for name in ENGINES:
            row = next((row for row in rows if row["engine"] == name and "turns" in row), None)
            cells.append(
                "" if row is None else f"{1e3 * row['first_answer_s']:.0f} / {row['resident_bytes'] / 1e6:.1f}"
            )
        lines.append(f"| {RACERS[model].title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reasons(rows: Sequence[Row]) -> list[str]:
    """What did not run, and why, a line for each engine and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if "skipped" in row:
            where = f"{row['model']} {row['precision']}" + (f" batch {row['batch']}" if row["batch"] > 1 else "")
            places = found.setdefault((row["engine"], row["skipped"]), [])
            if where not in places:
                places.append(where)
    return [f"- {ENGINES[engine].title}, {', '.join(places)}: {why}" for (engine, why), places in found.items()]


def versions(rows: Sequence[Row]) -> list[str]:
    """Of each engine, with the size of what a user installs."""
    lines = {}
    for row in rows:
        if "version" in row:
            lines[row["engine"]] = (
                f"{ENGINES[row['engine']].title} {row['version']} ({row['install_bytes'] / 1e6:.0f} MB)"
            )
    return [lines[name] for name in ENGINES if name in lines]


_COLOURS = {
    "hai": "#d1495b", "onnxruntime": "#30638e", "openvino": "#5b8e7d", "ncnn": "#8d6a9f", "mnn": "#b08d57",
    "litert": "#777777",
}  # fmt: skip
_BAR, _GAP, _LEFT, _WIDTH = 9, 12, 170, 520


def picture(key: Key, models: Mapping[str, Sequence[Row]], even_if_busy: bool) -> str:
    """SVG: speed of each engine over that of the fastest peer, a group of bars a model."""
    parts: list[str] = []
    y = 62
    bars: list[tuple[str, str, float, str]] = []
    for model, rows in models.items():
        peer = best_peer(rows)
        if peer is None or (_loaded(rows) and not even_if_busy):
            continue
        top = y
        for name in ENGINES:
            row = next((row for row in rows if row["engine"] == name and right(row, rows)), None)
            if row is not None:
                bars.append((name, model, peer["median_ms"] / row["median_ms"], str(y)))
                y += _BAR + 1
        parts.append(
            f'<text x="{_LEFT - 8}" y="{(top + y) / 2 + 3:.0f}" text-anchor="end">{html.escape(RACERS[model].title)}</text>'
        )
        y += _GAP
    most = max([1.2, *(value for _, _, value, _ in bars)])
    for name, _, value, at in bars:
        wide = _WIDTH * value / most
        parts.append(f'<rect x="{_LEFT}" y="{at}" width="{wide:.1f}" height="{_BAR}" fill="{_COLOURS[name]}"/>')
        parts.append(f'<text x="{_LEFT + wide + 4:.1f}" y="{int(at) + _BAR - 1}" font-size="9">{value:.2f}</text>')
    one = _LEFT + _WIDTH / most
    parts.append(f'<line x1="{one:.1f}" y1="54" x2="{one:.1f}" y2="{y}" stroke="#000" stroke-dasharray="3 3"/>')
    legend = "".join(
        f'<rect x="{_LEFT + 90 * i}" y="32" width="9" height="9" fill="{_COLOURS[n]}"/>'
        f'<text x="{_LEFT + 90 * i + 13}" y="40">{e.title}</text>'
        for i, (n, e) in enumerate(ENGINES.items())
    )
    loaded = ", loaded machine" if any(_loaded(rows) for rows in models.values()) else ""
    title = f"Speed over the fastest peer's: {key[0]}, {key[1]} thread{'s' * (key[1] > 1)}, batch {key[2]}{loaded}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 60}" height="{y + 10}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="#fff"/><text x="{_LEFT}" y="20" font-size="13">{title}</text>'
        f"{legend}{''.join(parts)}</svg>\n"
    )
