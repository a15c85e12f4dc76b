"""Checks the code blocks of README.md and docs/**/*.md, so that what a reader copies works.

Every block: Python and shell must parse, C and C++ that starts with an #include must compile against include/. A block whose
info string has the word `run` (```python run, ```bash run) is executed: blocks of one document in order, in one fresh folder,
with build/bin and .venv/bin first on PATH. Python blocks of one document are one session: each sees the names of those before
it. Exit status 1 on the first kind of failure, all are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^```(\w+)([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN_LIMIT_S = 120


@dataclasses.dataclass
class Block:
    """One fenced block."""

    document: pathlib.Path
    line: int
    language: str
    run: bool
    text: str


def blocks_of(document: pathlib.Path) -> list[Block]:
    source = document.read_text()
    return [
        Block(
            document,
            source.count("\n", 0, match.start()) + 1,
            match.group(1).lower(),
            "run" in match.group(2).split(),
            match.group(3),
        )
        for match in FENCE.finditer(source)
    ]


def static_problem(root: pathlib.Path, block: Block) -> str:
    """What is wrong with a block that is not executed; empty when nothing is."""
    if block.language in ("python", "py"):
        try:
            compile(block.text, f"{block.document}:{block.line}", "exec")
        except SyntaxError as error:
            return f"Python does not parse: {error}"
    elif block.language in ("bash", "sh", "shell"):
        result = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        if result.returncode:
            return f"shell does not parse: {result.stderr.strip()}"
    elif block.language in ("cpp", "c") and block.text.lstrip().startswith("#include <hai/"):
        compiler = ["g++", "-std=c++20", "-x", "c++"] if block.language == "cpp" else ["gcc", "-std=c11", "-x", "c"]
        command = [*compiler, "-fsyntax-only", "-I", str(root / "include"), "-"]
        result = subprocess.run(command, input=block.text, capture_output=True, text=True, check=False)
        if result.returncode:
            return f"does not compile:\n{result.stderr}"
    return ""


def run_problem(root: pathlib.Path, block: Block, folder: str, session: list[str]) -> str:
    """Executes a block; what went wrong, or empty.

    `session` holds the document's Python blocks so far, which are executed again before it.
    """
    path = f"{root}/build/bin:{root}/.venv/bin:{os.environ.get('PATH', '')}"
    environment = dict(os.environ, PATH=path, HAI_SOURCE_DIR=str(root))
    python = block.language in ("python", "py")
    if python:
        session.append(block.text)
    command = [sys.executable, "-"] if python else ["bash", "-euo", "pipefail", "-s"]
    try:
        result = subprocess.run(
            command,
            input="\n".join(session) if python else block.text,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"still ran after {RUN_LIMIT_S} s"
    return f"failed with status {result.returncode}:\n{result.stdout}{result.stderr}" if result.returncode else ""


def main() -> int:
    parser = argparse.ArgumentParser(description="check the code blocks of the documents")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    documents = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    checked = executed = 0
    problems = []
    for document in filter(pathlib.Path.exists, documents):
        with tempfile.TemporaryDirectory() as folder:
            session: list[str] = []
            for block in blocks_of(document):
                checked += 1
                problem = static_problem(root, block)
                if not problem and block.run:
                    executed += 1
                    problem = run_problem(root, block, folder, session)
                if problem:
                    problems.append(f"{document.relative_to(root)}:{block.line}: {problem}")
    for problem in problems:
        print(problem)
    print(f"docs: {checked} code blocks, {executed} executed, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
