"""Holds every #include of the tree against cmake/layers.txt: the order of the rooms, who may use which library, what a
header and a kernel may not include. Prints one line per violation; exit status 1 when there is one.

A quoted include is looked for beside the file, then below src/ and include/; one that is found in none of them is taken as
generated code, whose room follows from its path.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
import subprocess
import sys

SOURCE_SUFFIXES = {".c", ".cpp", ".h", ".hpp"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+)[">]', re.MULTILINE)


@dataclasses.dataclass
class Rules:
    """What cmake/layers.txt says."""

    layers: list[tuple[re.Pattern[str], str]] = dataclasses.field(default_factory=list)
    allowed: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    libraries: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    heavy: set[str] = dataclasses.field(default_factory=set)
    kernel_headers: set[str] = dataclasses.field(default_factory=set)

    def layer_of(self, path: str) -> str | None:
        """The layer of a path relative to the root."""
        return next((layer for pattern, layer in self.layers if pattern.fullmatch(path)), None)


def pattern_to_regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))


def read_rules(file: pathlib.Path) -> Rules:
    rules = Rules()
    section = ""
    for number, raw in enumerate(file.read_text().splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            section = line.strip("[]")
        elif section == "layers":
            pattern, layer = (part.strip() for part in line.split("->"))
            rules.layers.append((pattern_to_regex(pattern), layer))
        elif section in ("allowed", "libraries"):
            name, _, rest = line.partition(":")
            (rules.allowed if section == "allowed" else rules.libraries)[name.strip()] = set(rest.split())
        elif section == "heavy":
            rules.heavy.add(line)
        elif section == "kernel headers":
            rules.kernel_headers.add(line)
        else:
            raise ValueError(f"{file}:{number}: no section called [{section}]")
    for layer in {layer for _, layer in rules.layers}:
        if layer not in rules.allowed:
            raise ValueError(f"{file}: layer '{layer}' has no line in [allowed]")
    return rules


def resolve(root: pathlib.Path, source: pathlib.Path, name: str) -> str:
    """The path, relative to the root, of what a quoted include names."""
    for base in (source.parent, root / "src", root / "include"):
        candidate = base / name
        if candidate.exists():
            return candidate.resolve().relative_to(root.resolve()).as_posix()
    return "src/" + name


def check_file(root: pathlib.Path, path: str, rules: Rules) -> list[str]:
    """Every violation in one file."""
    source = root / path
    layer = rules.layer_of(path)
    if layer is None:
        return [f"{path}: no line of cmake/layers.txt says which layer this is"]
    problems = []
    text = source.read_text(errors="replace")
    is_header = source.suffix in (".h", ".hpp")
    is_kernel = source.suffix == ".c" and layer in ("cpu_exec", "cpu_train_exec")
    for match in INCLUDE.finditer(text):
        place = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        quoted, name = match.group(1) == '"', match.group(2)
        prefix = next((p for p in rules.libraries if name.startswith(p)), None)
        if prefix is not None:
            if layer not in rules.libraries[prefix]:
                who = ", ".join(sorted(rules.libraries[prefix]))
                problems.append(f"{place}: {name} may be included by {who}, not by {layer}")
            elif is_header and path.startswith("src/"):
                problems.append(f"{place}: {name} in a header costs every includer; include it in a .cpp")
            continue
        if is_header and path.startswith("src/") and (name in rules.heavy or name.endswith("_generated.h")):
            problems.append(f"{place}: {name} in a header costs every includer; include it in a .cpp")
        if not quoted and not name.startswith("hai/"):
            if is_kernel and name not in rules.kernel_headers:
                problems.append(f"{place}: a kernel may not include <{name}> (cmake/layers.txt, [kernel headers])")
            continue
        target = resolve(root, source, name) if quoted else "include/" + name
        target_layer = rules.layer_of(target)
        if target_layer is None:
            problems.append(f'{place}: "{name}" is in no room')
        elif target_layer != layer and target_layer not in rules.allowed[layer]:
            problems.append(f'{place}: {layer} may not include {target_layer} ("{name}")')
        elif is_kernel and target_layer not in ("types", "cpu_exec", layer):
            problems.append(f'{place}: a kernel may include types/ and its own device only, not "{name}"')
    return problems


def tracked_sources(root: pathlib.Path) -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
    ).stdout
    return [p for p in listing.splitlines() if pathlib.Path(p).suffix in SOURCE_SUFFIXES and (root / p).exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description="check the include order of the rooms")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root.resolve()
    rules = read_rules(root / "cmake" / "layers.txt")
    sources = tracked_sources(root)
    problems = [problem for path in sources for problem in check_file(root, path, rules)]
    for problem in problems:
        print(problem)
    print(f"layers: {len(sources)} files, {len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
