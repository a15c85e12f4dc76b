"""Runs the steps of .ci/steps in order, prints each one's time, and sums their results.

A step is a script that runs alone. Lines `# timeout_s: 600` and `# quick: no` in its head say how long it may take and whether
--quick leaves it out. Exit status 77 means skipped: its line `SKIPPED: <reason>` says why. A step that writes result
files (JUnit XML, as GoogleTest and pytest do) into $HAI_RESULTS counts each test case; any other step counts as one test.
The last line printed is `N passed, N failed, N skipped`; the exit status is 0 only when nothing failed.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".cache" / "results"
SKIP_STATUS = 77


@dataclasses.dataclass
class Outcome:
    """What one step gave."""

    passed: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


def step_setting(step: pathlib.Path, key: str, default: str) -> str:
    """The value of a `# key: value` line in the head of a step."""
    match = re.search(rf"^# {key}: *(\S+)", step.read_text(), re.MULTILINE)
    return match.group(1) if match else default


def skip_reason(skip: ElementTree.Element) -> str:
    """The reason that a <skipped> element gives: GoogleTest's after file and line, pytest's in either place."""
    message, text = (skip.get("message") or "").strip(), (skip.text or "").strip()
    if message in ("", "collection skipped") and text:
        message = text.strip("()'\"").rpartition("Skipped: ")[2]
    return message.splitlines()[-1] if message else "no reason given"


def read_results(folder: pathlib.Path, outcome: Outcome) -> None:
    """Adds every test case of the XML files below `folder`."""
    for file in sorted(folder.rglob("*.xml")):
        try:
            tree = ElementTree.parse(file)
        except ElementTree.ParseError as error:
            outcome.failed.append(f"{file.stem}: unreadable results ({error}): did the program die?")
            continue
        for case in tree.iter("testcase"):
            name = f"{file.stem}: {case.get('classname', '')}.{case.get('name', '')}"
            if case.find("failure") is not None or case.find("error") is not None:
                outcome.failed.append(name)
            elif (skip := case.find("skipped")) is not None:
                outcome.skipped[skip_reason(skip)] += 1
            elif case.get("status") == "notrun":
                outcome.skipped["disabled"] += 1
            else:
                outcome.passed += 1


def run_step(step: pathlib.Path, budget_s: float = math.inf) -> tuple[Outcome, float]:
    """Runs one step within what is left of the time of all, its output passing through, and reads its results."""
    folder = RESULTS / step.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own_limit_s = float(step_setting(step, "timeout_s", "600"))
    limit_s = max(1.0, min(own_limit_s, budget_s))
    environment = dict(os.environ, HAI_RESULTS=str(folder), HAI_STEP_TIMED="1")
    begin = time.monotonic()
    process = subprocess.Popen(
        ["bash", str(step)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    reason = "no reason given"
    timed_out = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal timed_out
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    assert process.stdout is not None
    for line in process.stdout:
        print("  " + line.rstrip("\n"), flush=True)
        if line.startswith("SKIPPED:"):
            reason = line.removeprefix("SKIPPED:").strip()
    status = process.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
    outcome = Outcome()
    read_results(folder, outcome)
    if timed_out and limit_s < own_limit_s:
        outcome.skipped[
            f"{step.stem}: stopped after {limit_s:.0f} s, when the time of all steps was spent (HAI_BUDGET_S)"
        ] += 1
    elif timed_out:
        outcome.failed.append(f"{step.stem}: stopped after its limit of {limit_s:.0f} s")
    elif status == SKIP_STATUS:
        outcome.skipped[reason] += 1
    elif status != 0 and not outcome.failed:
        outcome.failed.append(f"{step.stem}: exit status {status}")
    elif status == 0 and not outcome.failed and not outcome.passed and not outcome.skipped:
        outcome.passed = 1
    return outcome, time.monotonic() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description="run the steps of .ci/steps")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="comma separated parts of step names")
    arguments = parser.parse_args()
    steps = sorted((ROOT / ".ci" / "steps").glob("*.sh"))
    if arguments.only:
        steps = [step for step in steps if any(part in step.stem for part in arguments.only.split(","))]
    elif arguments.quick:
        steps = [step for step in steps if step_setting(step, "quick", "yes") != "no"]
    total = Outcome()
    times: list[tuple[str, float, str]] = []
    # A machine without a compiler cache may need longer than a run may take: better a step skipped by name than no result.
    budget_s = float(os.environ.get("HAI_BUDGET_S", "4700" if os.environ.get("CI") else "inf"))
    begin = time.monotonic()
    for step in steps:
        print(f"== {step.stem}", flush=True)
        outcome, seconds = run_step(step, budget_s - (time.monotonic() - begin))
        skipped = sum(outcome.skipped.values())
        summary = f"{outcome.passed} passed, {len(outcome.failed)} failed, {skipped} skipped"
        print(f"== {step.stem}: {summary} in {seconds:.1f} s", flush=True)
        times.append((step.stem, seconds, summary))
        total.passed += outcome.passed
        total.failed += [f"{step.stem}: {name}" for name in outcome.failed]
        total.skipped += outcome.skipped
    print("\nstep times:")
    for name, seconds, summary in times:
        print(f"  {seconds:8.1f} s  {name:<28} {summary}")
    print(f"  {time.monotonic() - begin:8.1f} s  all steps")
    for reason, count in sorted(total.skipped.items()):
        print(f"skipped {count}: {reason}")
    for name in total.failed:
        print(f"FAILED {name}")
    if not times:
        print("no step was chosen")
        return 1
    print(f"{total.passed} passed, {len(total.failed)} failed, {sum(total.skipped.values())} skipped", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
