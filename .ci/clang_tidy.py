"""Runs clang-tidy-19 on C++ files that changed since the previous landing, on all cores, within a time budget.

The base is $HAI_BASE, else the merge base with origin's main when that is behind us, else HEAD~1. --all takes every file of
the compile database that lies in this tree.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED_PARTS = ("/generated/", "/kernels/")


def git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def base_commit() -> str:
    if base := os.environ.get("HAI_BASE", ""):
        return base
    head = git("rev-parse", "HEAD")
    merge_base = git("merge-base", "HEAD", "origin/main")
    if merge_base and merge_base != head:
        return merge_base
    return git("rev-parse", "HEAD~1")


def run_tidy(file: str, quick: bool) -> tuple[str, int, str]:
    """clang-tidy on one file of the build tree's compile database; `quick` leaves out the path-sensitive analyses."""
    command = ["clang-tidy-19", "-p", str(ROOT / "build"), "--quiet", file]
    if quick:
        command.append("--checks=-clang-analyzer-*")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line for line in (result.stdout + result.stderr).splitlines() if "warnings generated" not in line]
    return file, result.returncode, "\n".join(line for line in lines if not line.startswith("Suppressed "))


def main() -> int:
    parser = argparse.ArgumentParser(description="clang-tidy on changed files")
    parser.add_argument("--all", action="store_true", help="every file instead of the changed ones")
    parser.add_argument(
        "--budget-s", type=float, default=300.0, help="stop starting files after this time (not with --all)"
    )
    arguments = parser.parse_args()
    database = json.loads((ROOT / "build" / "compile_commands.json").read_text())
    known = {str(pathlib.Path(entry["file"]).resolve()) for entry in database}
    known = {f for f in known if f.startswith(str(ROOT) + "/") and f.endswith(".cpp")}
    known = {f for f in known if not any(part in f for part in SKIPPED_PARTS) and "/build" not in f[len(str(ROOT)) :]}
    if arguments.all:
        files = sorted(known)
    else:
        base = base_commit()
        changed = git("diff", "--name-only", "--diff-filter=d", base, "HEAD").splitlines() if base else []
        files = sorted(known & {str((ROOT / name).resolve()) for name in changed})
        print(f"base {base[:12] or 'none'}: {len(changed)} files changed, {len(files)} of them C++ sources")
    begin = time.monotonic()
    failed = done = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending: set[concurrent.futures.Future[tuple[str, int, str]]] = set()
        queue = list(files)
        while queue or pending:
            late = not arguments.all and time.monotonic() - begin > arguments.budget_s
            while queue and not late and len(pending) < (os.cpu_count() or 1):
                pending.add(pool.submit(run_tidy, queue.pop(0), not arguments.all))
            if late and queue:
                print(f"time budget used: {len(queue)} files not looked at (./dev check-all does them)")
                queue.clear()
            if not pending:
                break
            finished, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                file, status, text = future.result()
                done += 1
                if status:
                    failed += 1
                    print(f"{pathlib.Path(file).relative_to(ROOT)}:\n{text}", flush=True)
    print(f"clang-tidy: {done} files, {failed} with findings, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
