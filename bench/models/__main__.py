"""Export the networks of the catalogue: `python -m bench.models [names] [--out build/models] [--small] [--forms ...]`.

Beside each network's models lies NAME.npz with two inputs and PyTorch's outputs (`input`, `output`). A file that
exists is kept unless `--again`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from .catalogue import NETWORKS, SMALL_NETWORKS, Network
from .export import FORMS, check_export, export_network

_TOLERANCE = 1e-4  # ONNX Runtime and PyTorch sum in different orders


def export_all_forms(network: Network, folder: Path, forms: list[str], again: bool) -> bool:
    """Export one network; prints a line per file and says whether every file agrees with PyTorch."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [form for form in forms if again or not (folder / f"{network.name}{form}.onnx").exists()]
    if not missing:
        print(f"{network.name}: kept", flush=True)
        return True
    net = network.build()
    pictures = network.pictures(2, seed=77)
    with torch.no_grad():
        output = net(torch.from_numpy(pictures)).numpy()
    np.savez(folder / f"{network.name}.npz", input=pictures, output=output)
    parameters = sum(p.numel() for p in net.parameters())
    spread = float(np.abs(output[0] - output[1]).max())
    print(
        f"{network.name}: {parameters / 1e6:.2f} M parameters, the two outputs differ by up to {spread:.3g}", flush=True
    )
    good = True
    for form in missing:
        path, start = folder / f"{network.name}{form}.onnx", time.perf_counter()
        path.with_name(path.name + ".data").unlink(missing_ok=True)
        export_network(net, pictures, path, form)
        difference = check_export(net, pictures, path, form)
        good = good and difference <= _TOLERANCE
        seconds = time.perf_counter() - start
        print(
            f"  {path.name}: ONNX Runtime differs by {difference:.2g} of the largest output, {seconds:.0f} s",
            flush=True,
        )
    return good


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    everything = {**SMALL_NETWORKS, **NETWORKS}
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(everything)}; all by default")
    parser.add_argument(
        "--out", type=Path, default=Path("build/models"), help="folder of the files (default: %(default)s)"
    )
    parser.add_argument("--small", action="store_true", help="the small versions only")
    parser.add_argument(
        "--forms", nargs="+", default=list(FORMS), choices=FORMS, help="which exports (default: all four)"
    )
    parser.add_argument("--again", action="store_true", help="export anew what exists")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in everything]
    if unknown:
        parser.error(f"unknown network {unknown[0]}; known: {', '.join(everything)}")
    names = arguments.names or list(SMALL_NETWORKS if arguments.small else everything)
    results = [export_all_forms(everything[name], arguments.out, arguments.forms, arguments.again) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
