"""Makes `bench` importable: the networks of the benchmarks are tested here in small versions."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
