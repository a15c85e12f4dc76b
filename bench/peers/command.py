"""The race against peers: `./dev bench peers [model ...] [--engines ...] [--precisions ...] [--threads ...] [--batch 8]`.

One command installs the peers (environments of their own, HAI_BENCH_PEERS), exports the networks from PyTorch, makes each
engine's own best model, and lets all of them run in turns. Every engine is a row in ROWS.jsonl as soon as it has run; what is there
is not raced again, unless `--again`. The tables and pictures are made of all rows. A peer that cannot take part is named with its
reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.accuracy.environments import interpreter
from bench.peers import machine, table
from bench.peers.busy import Others
from bench.peers.engines import ENGINES
from bench.peers.models import RACERS, export
from bench.peers.race import Worker, alternate, make
from bench.peers.statistics import correlation, percentiles_ms
from bench.reasons import Skipped, exit_status

OUT = Path("build/peers")


def job_of(engine: str, model: str, precision: str, batch: int, out: Path) -> dict[str, Any]:
    """What a worker is told; the network is exported when it has not been."""
    onnx, inputs = export(RACERS[model], out / "onnx", batch)
    folder = (
        out / "models" / f"{engine}_{model}_{precision}"
        if batch == 1
        else (out / "models" / f"{engine}_{model}_{precision}_batch{batch}")
    )
    return {"model": model, "precision": precision, "batch": batch, "folder": str(folder.resolve()),
            "onnx": str(onnx.resolve()), "inputs": str(inputs.resolve())}  # fmt: skip


def _reference(model: str, batch: int, out: Path) -> list[np.ndarray]:
    """What ONNX Runtime answers in f32."""
    from bench.accuracy.peers import onnxruntime_session

    onnx, inputs = export(RACERS[model], out / "onnx", batch)
    session = onnxruntime_session(onnx)
    probes = [np.concatenate([probe[None]] * batch) for probe in np.load(inputs)["probe"]]
    return [session.run(None, {"input": probe})[0] for probe in probes]


def _agreement(worker: Worker, expected: Sequence[np.ndarray], model: str) -> float:
    with np.load(worker.answers) as file:
        answers = [file[name] for name in file.files]
    axis = RACERS[model].fields_axis
    return min(correlation(a, b, axis) for a, b in zip(answers, expected, strict=True))


def make_all(model: str, precision: str, batch: int, engines: Sequence[str], out: Path) -> None:
    """Every engine's model."""
    for engine in engines:
        try:
            make(engine, job_of(engine, model, precision, batch, out))
        except Skipped as reason:
            print(f"{engine} {model} {precision}: {reason}", flush=True)


def race(
    model: str, precision: str, threads: int, batch: int, engines: Sequence[str], out: Path, loaded: bool
) -> list[dict[str, Any]]:
    """Rows of one race."""
    common = {"model": model, "precision": precision, "threads": threads, "batch": batch}
    rows: dict[str, dict[str, Any]] = {}
    workers: dict[str, Worker] = {}
    here = machine.describe()
    try:
        expected = _reference(model, batch, out)
        for engine in engines:
            rows[engine] = {**common, "engine": engine, "machine": here}
            try:
                job = job_of(engine, model, precision, batch, out)
                make(engine, job)
                workers[engine] = Worker(engine, job, threads)
                rows[engine] |= workers[engine].facts
                rows[engine]["correlation"] = _agreement(workers[engine], expected, model)
            except Skipped as reason:
                rows[engine]["skipped"] = str(reason)
        if workers:
            watch = Others([worker.pid for worker in workers.values()])
            outcome = alternate(
                workers, {n: w.facts["run_s"] for n, w in workers.items()}, watch.used, even_if_busy=loaded
            )
            for engine, turns in outcome.turns.items():
                low, middle, high = percentiles_ms(turns)
                rows[engine] |= {
                    "median_ms": middle, "p10_ms": low, "p90_ms": high, "runs": sum(map(len, turns)), "quiet": outcome.quiet,
                    "others": round(float(np.median(outcome.others)), 3), "thrown_away": outcome.thrown_away,
                    "turns": [[round(second, 7) for second in turn] for turn in turns],
                }  # fmt: skip
    finally:
        for worker in workers.values():
            worker.close()
    return list(rows.values())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Of earlier runs; a line that an interrupted run left half written is not one."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def report(rows: Sequence[dict[str, Any]], even_if_busy: bool, out: Path) -> str:
    """Markdown, and the pictures beside it."""
    if not rows:
        return "Nothing was raced."
    parts = [
        "# HAI and its peers",
        machine.sentence(rows[-1]["machine"]),
        "Versions: " + "; ".join(table.versions(rows)) + ".",
    ]
    for key, models in table.races(rows).items():
        parts.append(table.speed_table(key, models, even_if_busy))
        if key[2] == 1:
            parts.append(table.start_table(models, key))
        (out / f"{key[0]}_{key[1]}_threads_batch{key[2]}.svg").write_text(table.picture(key, models, even_if_busy))
    missing = table.reasons(rows)
    if missing:
        parts += ["### What did not run", "\n".join(missing)]
    return "\n\n".join(parts) + "\n"


def measure(arguments: argparse.Namespace) -> bool:
    """All races; prints and writes the tables."""
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    path = out / "rows.jsonl"
    engines = []
    for engine in arguments.engines:
        try:
            interpreter(ENGINES[engine].environment)
            engines.append(engine)
        except Skipped as reason:
            print(f"{ENGINES[engine].title} takes no part: {reason}", flush=True)
    for model in arguments.models or RACERS:
        for precision in arguments.precisions:
            for threads in arguments.threads:
                case = (model, precision, threads, arguments.batch)
                done = {
                    r["engine"]
                    for r in read_rows(path)
                    if (r["model"], r["precision"], r["threads"], r["batch"]) == case
                }
                if arguments.make_only:
                    make_all(model, precision, arguments.batch, engines, out)
                    continue
                if not arguments.again and done.issuperset(engines):
                    continue
                try:
                    rows = race(*case, engines, out, arguments.even_if_busy)
                except Skipped as reason:
                    print(f"{model}: {reason}", flush=True)
                    continue
                with path.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
                print(
                    f"{model} {precision}, {threads} threads: {table.shown_ratio(rows, arguments.even_if_busy)}",
                    flush=True,
                )
    text = report(read_rows(path), arguments.even_if_busy, out)
    (out / "table.md").write_text(text)
    print(text, flush=True)
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="./dev bench peers", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(RACERS)}; all by default")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--precisions", nargs="+", default=["int8", "f32"], choices=["int8", "f32"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument(
        "--batch", type=int, default=1, help="pictures a run; throughput is usually measured with 8 and --threads 2"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder of models, rows, tables (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="race again what is in the rows")
    parser.add_argument("--make-only", action="store_true", help="make the models, race nobody")
    parser.add_argument(
        "--even-if-busy", action="store_true", help="print ratios of a busy machine too, marked as loaded"
    )
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.models if name not in RACERS]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; known: {', '.join(RACERS)}")
    return exit_status(lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
