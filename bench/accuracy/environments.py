"""Python environments of peers whose packages do not go together with ours: made on first use, from `.ci/requirements/peer_*.txt`.

An environment sees the packages of the one that makes it, after its own, so that PyTorch is not installed twice. They lie in
HAI_BENCH_PEERS, or `.cache/peers`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from bench.accuracy.photos import CHECKOUT
from bench.reasons import Skipped


def interpreter(name: str) -> Path:
    """The Python of peer `name`; its own environment is made when missing. Skipped, with pip's words, where it cannot be."""
    if not name:
        return Path(sys.executable)
    folder = Path(os.environ.get("HAI_BENCH_PEERS", CHECKOUT / ".cache" / "peers")) / name
    python, stamp = folder / "bin" / "python", folder / "ready"
    requirements = CHECKOUT / ".ci" / "requirements" / f"peer_{name}.txt"
    if python.exists() and stamp.exists() and stamp.read_text() == requirements.read_text():
        return python
    print(f"-- making the environment of {name} in {folder}", flush=True)
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "zz_base.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    command = [str(python), "-m", "pip", "install", "--no-input", "--prefer-binary", "-r", str(requirements)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        words = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr[-300:]]
        raise Skipped(f"{name} does not install here: {words[-1]}")
    stamp.write_text(requirements.read_text())
    return python
