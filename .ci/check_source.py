"""Rules of the house that need no compiler: file length, the opening comment of a .cpp, names of files, words and places
that a public tree may not contain. Prints one line per violation; exit status 1 when there is one.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys

MAX_LINES = 800
OPENING_MIN_LINES = 3
# Written in pieces so that this file passes its own check.
FORBIDDEN = [
    (re.compile(r"(?<![\w./$}~-])/(?:work|root|home)/[\w.]"), "an absolute path of somebody's machine"),
    (
        re.compile(
            r"\b(?:deb|snapshot|security)\.de" + r"bian\.org|\bpython" + r"hosted\.org|\bpy" + r"pi\.org|\bnpm" + r"js\.org"
        ),
        "a registry's host name",
    ),
    (re.compile(r"\bNOT" + r"REACHED_STUB\b|\bX" + r"XX\b|\bFIX" + r"ME\b"), "a mark of unfinished work"),
]  # fmt: skip
VAGUE_NAME = re.compile(r"(?:^|_)(?:utils?|helpers?|managers?|misc)(?:_|\.|$)")
SNAKE_CASE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
TEXT_SUFFIXES = {
    ".c", ".cpp", ".h", ".hpp", ".py", ".pyi", ".md", ".txt", ".cmake", ".toml", ".json", ".sh", ".fbs", ".tsv", ".ts", "",
}  # fmt: skip


def opening_comment_lines(text: str) -> int:
    """Lines of the comment that opens a C++ file."""
    count = 0
    for line in text.splitlines():
        if line.startswith("//"):
            count += 1
        else:
            break
    if text.startswith("/*"):
        return text[: text.find("*/")].count("\n") + 1
    return count


def check_file(root: pathlib.Path, path: str) -> list[str]:
    """Every violation in one file."""
    file = root / path
    problems = []
    name = file.name
    if file.suffix in (".c", ".cpp", ".h", ".hpp", ".py"):
        if VAGUE_NAME.search(name):
            problems.append(f"{path}: a name that says nothing (util, helper, manager, misc)")
        if not SNAKE_CASE.fullmatch(name):
            problems.append(f"{path}: file names are snake_case")
    if file.suffix not in TEXT_SUFFIXES:
        return problems
    try:
        text = file.read_text()
    except UnicodeDecodeError:
        return problems
    if file.suffix in (".c", ".cpp", ".h", ".hpp", ".py"):
        lines = text.count("\n")
        if lines > MAX_LINES:
            problems.append(f"{path}: {lines} lines, the limit is {MAX_LINES}: split it")
    if file.suffix == ".cpp" and path.startswith("src/") and not re.search(r"_(test|fuzz)\.cpp$", name):
        lines = opening_comment_lines(text)
        if lines < OPENING_MIN_LINES:
            problems.append(f"{path}: opens with {lines} comment lines; 3 to 12 say what, the method, the invariants")
    for pattern, what in FORBIDDEN:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{path}:{line}: {what}: {match.group(0)!r}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="check rules that need no compiler")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    paths = [path for path in listing.splitlines() if (root / path).is_file()]
    problems = [problem for path in paths for problem in check_file(root, path)]
    for problem in problems:
        print(problem)
    print(f"source rules: {len(paths)} files, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
