"""Is a model without some channels the model with those channels at zero? `make channel-exactness`.

Of every row of the zoo in which channels can go, 30 % of them are removed; the smaller model is compared with the whole
one that has zeros there, then loaded, exported to both formats and quantized as every other model of the zoo. All
classes of keras.applications are compared, too, for pictures of 96 × 96. Exits 1 where one differs by more than 1e-4 of
the output's range, or a file is not made.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slimedge.benchmarks.bundled import RESULTS, conclude, write_result
from slimedge.benchmarks.zoo.measuring import measure
from slimedge.benchmarks.zoo.rows import ROWS, Row, row
from slimedge.benchmarks.zoo.table import failures
from slimedge.errors import SlimedgeError
from slimedge.isolation import run_isolated

RATIO = 0.3
LARGEST_ERROR = 1e-4
# Of pictures for the classes: what channels a layer has does not hang on it.
SIZE = 96
# What removing changed at least, or the comparison says nothing.
LEAST_CHANGE = 1e-3


def classes() -> tuple[str, ...]:
    """Give the names of all nets in keras.applications."""
    import keras

    found = vars(keras.applications).items()
    return tuple(sorted(name for name, entry in found if inspect.isfunction(entry) and name[0].isupper()))


def compare_class(name: str) -> dict[str, Any]:
    """Remove channels of one class of keras.applications; runs in a process of its own."""
    import keras

    from slimedge.benchmarks.zoo.scaling import well_scaled
    from slimedge.benchmarks.zoo.thinning import thinned
    from slimedge.compress.fresh_weights import seeded

    with seeded(0):
        model = getattr(keras.applications, name)(
            weights=None, input_shape=(SIZE, SIZE, 3), classifier_activation=None
        )
    _, found = thinned(well_scaled(model, 0), RATIO)
    return asdict(found) if found is not None else {}


def measured_row(one: Row, *, small: bool) -> dict[str, Any] | None:
    """Take a row through every column without some channels; None where none can go."""
    with tempfile.TemporaryDirectory(prefix="slimedge-channels-") as folder:
        outcome = measure(one, Path(folder), small=small, ratio=RATIO)
    if not outcome.thinned:
        return None
    files = [*outcome.float_files.values(), *outcome.quantized_files.values()]
    return {
        **outcome.thinned,
        "scheme": outcome.scheme,
        "files": sum(file.made for file in files),
        "failures": failures(outcome),
    }


def bars(rows: dict[str, dict[str, Any]], nets: dict[str, dict[str, Any]]) -> list[str]:
    """Give the bars that were missed, a sentence each."""
    missed = []
    for name, found in (*rows.items(), *nets.items()):
        if "failed" in found:
            missed.append(f"{name}: {found['failed']}")
            continue
        if found["error"] > LARGEST_ERROR:
            missed.append(f"{name} differs by {found['error']:.1e} of the output's range")
        if found["change"] < LEAST_CHANGE:
            missed.append(f"removing channels of {name} changed only {found['change']:.1e}")
        missed += found.get("failures", [])
    return missed


def main() -> int:
    """Measure, write, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="ROW", help="only these rows or classes; written with --update"
    )
    parser.add_argument("--small", action="store_true", help="rows at the size for tests, and write nothing")
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    parser.add_argument("--jobs", type=int, default=2, help="models at a time")
    given = parser.parse_args()
    known = classes()
    wanted = given.names or [*(one.name for one in ROWS), *known]
    path = RESULTS / "channel_exactness.json"
    before = json.loads(path.read_text()) if given.update and path.exists() else {}
    kept = {kind: before.get(kind, {}) for kind in ("rows", "nets")}

    def run(name: str) -> tuple[str, str, dict[str, Any] | None]:
        started = time.monotonic()
        kind = "nets" if name in known else "rows"
        found: dict[str, Any] | None
        try:
            if kind == "nets":
                target = "slimedge.benchmarks.channel_exactness:compare_class"
                found = run_isolated(target, {"name": name}, label=f"removing channels of {name}").result
            else:
                found = measured_row(row(name), small=given.small)
        except SlimedgeError as error:
            found = {"failed": str(error)}
        told = "no channel can go" if not found else json.dumps(found)
        sys.stdout.write(f"{name:<26} {time.monotonic() - started:6.0f} s  {told}\n")
        sys.stdout.flush()
        return kind, name, found

    for_itself = given.small or (given.names and not given.update)
    with ThreadPoolExecutor(given.jobs) as pool:
        for kind, name, found in pool.map(run, wanted):
            if found:
                kept[kind][name] = found
            if not for_itself:  # an hour's work is not lost where it ends early
                write_result("channel_exactness", {"ratio": RATIO, **kept})
    missed = bars(kept["rows"], kept["nets"])
    if for_itself:
        sys.stdout.write("".join(f"missed: {bar}\n" for bar in missed))
        return 1 if missed else 0
    return conclude("channel_exactness", {"ratio": RATIO, **kept}, missed)


if __name__ == "__main__":
    sys.exit(main())
