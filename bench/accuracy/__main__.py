"""All accuracy tables, one after the other: `python -m bench.accuracy`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.accuracy import detectors, efficientnet_lite0, networks
from bench.accuracy.photos import Skipped


def main() -> int:
    """Command line."""
    good = True
    for measure in (efficientnet_lite0.measure, detectors.measure):
        try:
            good = measure() and good
        except Skipped as reason:
            print(f"skipped: {reason}")
    good = networks.measure(list(networks.DEFAULT_NAMES), [""], Path("build/models")) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
