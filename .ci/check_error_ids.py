"""Collects the error ids of the tree (make_error(..., "F012", "text", ...)), refuses an id used in two files or under a
letter of another room, and keeps docs/reference/errors.md as their list. --write rewrites that file; without it a stale file
is an error.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from check_layers import read_rules

ROOM_OF_LETTER = {
    "A": "public interface", "B": "base", "C": "devices/cpu", "D": "data", "F": "format", "I": "ir", "K": "compiler",
    "L": "command line", "O": "ops", "P": "passes", "Q": "quantizer", "R": "runtime", "T": "types", "X": "importers",
    "N": "devices/sd3403", "Y": "python", "E": "training",
}  # fmt: skip
LETTERS_OF_LAYER = {
    "base": "B", "types": "T", "format": "F", "ir": "I", "ops": "O", "passes": "P", "importers": "X", "cpu_exec": "C",
    "cpu_lower": "C", "cpu_train_exec": "C", "sd3403_isa": "N", "sd3403_machine": "N", "sd3403_profile": "N", "sd3403_cost": "N",
    "sd3403_exec": "N", "sd3403_simulator": "N", "sd3403_lower": "N",
    "compiler": "K", "runtime": "RA", "training": "E", "rebuild": "E", "data": "D", "quantizer": "Q",
    "tools": "L", "tool_device": "L", "python": "Y", "public": "A",
}  # fmt: skip
STRING = r'"(?:[^"\\]|\\.)*"'
CALL = re.compile(
    rf'StatusCode::(k\w+)\s*,\s*"([A-Z]\d{{3}})"\s*(?:,\s*(?:FMT_STRING\(|R)?((?:{STRING}\s*)+))?', re.DOTALL
)
BARE = re.compile(r'"([A-Z]\d{3})"')
PYTHON_ID = re.compile(r'"(Y\d{3})"|HAI-(Y\d{3})')  # Python shows the ids of C++ errors too; its own start with Y


@dataclasses.dataclass
class Use:
    """One place where an id appears."""

    path: str
    code: str
    text: str


def collect(root: pathlib.Path) -> dict[str, list[Use]]:
    """Every use of every id in src/ and python/, tests left out."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "src", "python", "include"],
        cwd=root, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    uses: dict[str, list[Use]] = collections.defaultdict(list)
    for path in sorted(set(listing.splitlines())):
        file = root / path
        name = file.name
        if not file.is_file() or re.search(r"(_test|_fuzz)\.cpp$|^test_.*\.py$|conftest\.py$", name):
            continue
        if file.suffix not in (".cpp", ".h", ".hpp", ".py") or "/testing/" in path:
            continue
        source = file.read_text(errors="replace")
        if file.suffix != ".py":
            source = re.sub(r"//[^\n]*", "", source)
        seen = set()
        for match in CALL.finditer(source):
            text = "".join(part[1:-1] for part in re.findall(STRING, match.group(3) or ""))
            uses[match.group(2)].append(Use(path, match.group(1), text.replace('\\"', '"').replace("\\n", " ")))
            seen.add(match.group(2))
        bare = PYTHON_ID if file.suffix == ".py" else BARE
        for match in bare.finditer(source):
            identifier = next(filter(None, match.groups()))
            if identifier not in seen and not identifier.endswith("000"):  # 000: an error that arrived without an id
                uses[identifier].append(Use(path, "", ""))
                seen.add(identifier)
    return uses


def problems_of(root: pathlib.Path, uses: dict[str, list[Use]]) -> list[str]:
    rules = read_rules(root / "cmake" / "layers.txt")
    problems = []
    for identifier, places in sorted(uses.items()):
        files = sorted({use.path for use in places})
        if len(files) > 1:
            problems.append(f"{identifier}: used in {', '.join(files)}; an id has one meaning in one file")
        for path in files:
            layer = rules.layer_of(path)
            letters = LETTERS_OF_LAYER.get(layer or "", "")
            if identifier[0] not in letters:
                problems.append(f"{identifier}: {path} is in layer {layer}, whose letter is {letters or 'none'}")
    return problems


def status_name(code: str) -> str:
    """kInvalidArgument -> invalid argument"""
    return re.sub(r"(?<!^)([A-Z])", r" \1", code.removeprefix("k")).lower()


def render(uses: dict[str, list[Use]]) -> str:
    lines = [
        "# Error ids",
        "",
        "Every error of HAI ends with an id such as `[HAI-F012]`: a letter for the room it comes from and three digits.",
        "This list is generated from the sources by `.ci/check_error_ids.py --write`; `{}` stands for the value that the",
        "message shows.",
    ]
    for letter, room in sorted(ROOM_OF_LETTER.items()):
        chosen = {identifier: places for identifier, places in uses.items() if identifier[0] == letter}
        if not chosen:
            continue
        lines += ["", f"## {letter}: {room}", "", "| id | kind | message | source |", "|---|---|---|---|"]
        for identifier, places in sorted(chosen.items()):
            kinds = ", ".join(sorted({status_name(use.code) for use in places if use.code})) or "see source"
            texts = " / ".join(dict.fromkeys(use.text for use in places if use.text)).replace("|", "\\|")
            lines.append(f"| {identifier} | {kinds} | {texts} | `{places[0].path}` |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="check error ids and their reference page")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--write", action="store_true", help="rewrite docs/reference/errors.md")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    uses = collect(root)
    problems = problems_of(root, uses)
    page = root / "docs" / "reference" / "errors.md"
    text = render(uses)
    if arguments.write:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    elif not page.exists() or page.read_text() != text:
        problems.append("docs/reference/errors.md is out of date: run ./dev format (or .ci/check_error_ids.py --write)")
    for problem in problems:
        print(problem)
    print(f"error ids: {len(uses)} ids, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
