"""The checkers themselves: each must find a violation that was put there on purpose, and accept the tree without it."""

from __future__ import annotations

import collections
import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_docs
import check_error_ids
import check_layers
import check_source
import run_steps

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small tree with the real rules."""
    (tmp_path / "cmake").mkdir()
    shutil.copy(ROOT / "cmake" / "layers.txt", tmp_path / "cmake")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for path, text in {
        "src/base/result.h": "#pragma once\n",
        "src/ir/graph.h": '#include "base/result.h"\n',
        "src/format/program.h": '#include "base/result.h"\n',
        "src/ops/conv2d/conv2d.cpp": '#include "ir/graph.h"\n',
        "src/ops/conv2d/conv2d_cpu_exec.cpp": '#include "format/program.h"\n',
        "src/ops/conv2d/conv2d_cpu_lower.cpp": '#include "ir/graph.h"\n#include "format/program.h"\n',
        "src/ops/conv2d/conv2d_test.cpp": '#include "ir/graph.h"\n#include "format/program.h"\n',
        "src/runtime/session.cpp": '#include "format/program.h"\n',
    }.items():
        write(tmp_path, path, text)
    return tmp_path


def write(root: pathlib.Path, path: str, text: str) -> str:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return path


def layer_problems(root: pathlib.Path) -> list[str]:
    rules = check_layers.read_rules(root / "cmake" / "layers.txt")
    return [p for path in check_layers.tracked_sources(root) for p in check_layers.check_file(root, path, rules)]


def test_layers_accept_the_small_tree(tree: pathlib.Path) -> None:
    assert layer_problems(tree) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("src/base/a.cpp", '#include "ir/graph.h"\n', "base may not include ir"),
        ("src/runtime/a.cpp", '\n#include "ir/graph.h"\n', "src/runtime/a.cpp:2: runtime may not include ir"),
        ("src/ops/conv2d/conv2d_cpu_exec.cpp", '#include "ir/graph.h"\n', "cpu_exec may not include ir"),
        ("src/ops/conv2d/conv2d.cpp", '#include "format/program.h"\n', "ops may not include format"),
        ("src/ir/a.cpp", '#include "../runtime/session.cpp"\n', "ir may not include runtime"),
        ("src/runtime/a.cpp", "#include <google/protobuf/message.h>\n", "may be included by importers"),
        ("src/importers/a.h", "#include <google/protobuf/message.h>\n", "costs every includer"),
        ("src/base/a.h", "#include <iostream>\n", "costs every includer"),
        ("src/devices/cpu/exec/kernels/k__avx2.c", "#include <math.h>\n", "a kernel may not include <math.h>"),
        ("src/devices/cpu/exec/kernels/k__avx2.c", '#include "format/program.h"\n', "types/ and its own device"),
        ("src/garage/a.cpp", '#include "base/result.h"\n', "which layer this is"),
    ],
)
def test_layers_find_a_violation(tree: pathlib.Path, path: str, text: str, expected: str) -> None:
    write(tree, path, text)
    problems = layer_problems(tree)
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("src/base/a.cpp", "// One.\n// Two.\n// Three.\n", ""),
        ("src/base/a.cpp", "int x;\n", "opens with 0 comment lines"),
        ("src/base/string_util.h", "", "a name that says nothing"),
        ("src/base/Mixed.h", "", "snake_case"),
        ("docs/a.md", "see /ho" + "me/anna/x\n", "absolute path"),
        ("docs/a.md", "from files.python" + "hosted.org\n", "registry"),
        ("src/base/a.h", "\n" * 801, "the limit is 800"),
    ],
)
def test_source_rules(tmp_path: pathlib.Path, path: str, text: str, expected: str) -> None:
    write(tmp_path, path, text)
    problems = check_source.check_file(tmp_path, path)
    assert len(problems) == (1 if expected else 0)
    assert not expected or expected in problems[0]


def test_error_ids(tree: pathlib.Path) -> None:
    call = 'return make_error(StatusCode::kCorrupt, "F001",\n  "length {} exceeds "\n  "{}", a, b);\n'
    write(tree, "src/format/reader.cpp", call)
    uses = check_error_ids.collect(tree)
    assert check_error_ids.problems_of(tree, uses) == []
    assert "| F001 | corrupt | length {} exceeds {} | `src/format/reader.cpp` |" in check_error_ids.render(uses)
    write(tree, "src/format/writer.cpp", call)
    write(tree, "src/ir/text.cpp", call.replace("F001", "F002"))
    problems = check_error_ids.problems_of(tree, check_error_ids.collect(tree))
    assert len(problems) == 2
    assert "one meaning in one file" in problems[0]
    assert "whose letter is I" in problems[1]


def test_docs_blocks(tmp_path: pathlib.Path) -> None:
    text = "```python\nx = = 1\n```\n```bash run\necho hi > f\n```\n```python run\nassert open('f').read() == 'hi\\n'\n```\n"
    write(tmp_path, "a.md", text)
    blocks = check_docs.blocks_of(tmp_path / "a.md")
    assert [block.run for block in blocks] == [False, True, True]
    assert "does not parse" in check_docs.static_problem(tmp_path, blocks[0])
    session: list[str] = ["value = 3"]
    assert check_docs.run_problem(tmp_path, blocks[1], str(tmp_path), session) == ""
    assert check_docs.run_problem(tmp_path, blocks[2], str(tmp_path), session) == ""
    assert len(session) == 2


def test_results_are_summed(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        "a.xml",
        '<testsuites><testsuite><testcase name="a" status="run"/>'
        '<testcase name="b" status="run"><failure message="x"/></testcase>'
        '<testcase name="c"><skipped message="file.cpp:3&#10;no AVX-VNNI here"/></testcase>'
        '<testcase name="d" status="notrun"/>'
        "<testcase name=\"e\"><skipped message=\"collection skipped\">('a/b.py', 15, 'Skipped: no PyTorch')</skipped></testcase>"
        "</testsuite></testsuites>",
    )
    write(tmp_path, "b.xml", "<testsuites><testsuite>")
    outcome = run_steps.Outcome()
    run_steps.read_results(tmp_path, outcome)
    assert outcome.passed == 1
    assert len(outcome.failed) == 2
    assert outcome.skipped == collections.Counter({"no AVX-VNNI here": 1, "disabled": 1, "no PyTorch": 1})


@pytest.mark.parametrize(
    ("body", "passed", "failed", "skipped"),
    [
        ("exit 0", 1, 0, 0),
        ("exit 3", 0, 1, 0),
        ("echo 'SKIPPED: no GPU'; exit 77", 0, 0, 1),
        ("# timeout_s: 0.3\nsleep 60", 0, 1, 0),
        ('echo \'<t><testcase name="a"/><testcase name="b"/></t>\' > $HAI_RESULTS/x.xml', 2, 0, 0),
        ("echo '<t><testcase name=\"a\"/></t>' > $HAI_RESULTS/x.xml; exit 1", 1, 1, 0),
    ],
)
def test_a_step_is_counted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, body: str, passed: int, failed: int, skipped: int
) -> None:
    monkeypatch.setattr(run_steps, "RESULTS", tmp_path / "results")
    step = tmp_path / "10_x.sh"
    step.write_text(f"#!/usr/bin/env bash\n{body}\n")
    outcome, seconds = run_steps.run_step(step)
    assert (outcome.passed, len(outcome.failed), sum(outcome.skipped.values())) == (passed, failed, skipped)
    assert seconds < 10
