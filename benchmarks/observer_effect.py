"""What each observer does to the bundled nets: `make observer-effect`.

Both nets, quantized to static int8 with each observer on the same 512 training images, are scored on all 10,000 test
images of Fashion-MNIST: accuracy, and SQNR of the outputs against the float net. Measures only; there is no bar.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from slimedge.benchmarks.bundled import NETS, full_set, show, write_result
from slimedge.benchmarks.demo import FOLDER
from slimedge.benchmarks.quantizing import quantize_file
from slimedge.compress.observers import OBSERVERS
from slimedge.data import Data

EXAMPLES = 512


def measure(name: str, data: Data, folder: Path) -> dict[str, Any]:
    """Quantize one bundled net with each observer, and score it on the test part of `data`."""
    found: dict[str, Any] = {"model": name, "observers": {}}
    for observer in OBSERVERS:
        done = quantize_file(
            FOLDER / f"{name}.keras",
            data,
            folder / f"{name}_{observer}.keras",
            scheme="static_wi8_ai8",
            observer=observer,
            split={"calibration": EXAMPLES},
        )
        before, after = done.before.accuracy, done.after.accuracy
        if before is None or after is None:
            raise ValueError(f"{name} was not scored: the data has no labels")
        found["float_accuracy"] = before.value
        found["observers"][observer] = {"accuracy": after.value, "sqnr_db": done.after.sqnr_db}
    return found


def main() -> int:
    """Measure both nets, print and write what was found."""
    data = full_set()
    nets = []
    for name in NETS:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            nets.append(measure(name, data, Path(folder)))
        show(nets[-1])
    path = write_result("observer_effect", {"calibration_examples": EXAMPLES, "nets": nets})
    sys.stdout.write(f"written to {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
