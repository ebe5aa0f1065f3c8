"""Every model family through every column, as docs/zoo.md: `make zoo`.

Exits 1 where one of the rows that have to pass does not, where more than three cells of the others do not, or where
the conversion of a model under 200 MB takes more than 4 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slimedge.benchmarks.bundled import PACKAGES, RESULTS, write_result
from slimedge.benchmarks.zoo.measuring import Outcome, measure
from slimedge.benchmarks.zoo.rows import ROWS, Row, row
from slimedge.benchmarks.zoo.table import as_json, failures, from_json, page
from slimedge.runtime.jobs import environment_here

PAGE = Path("docs/zoo.md")
MOST_FAILED_CELLS = 3
SMALL_MODEL_BYTES, LARGEST_PEAK_BYTES = 200_000_000, 4_000_000_000
JOBS = 2


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    """Give the bars that were missed, a sentence each."""
    found = [text for outcome in outcomes if outcome.basic for text in failures(outcome)]
    others = [text for outcome in outcomes if not outcome.basic for text in failures(outcome)]
    if len(others) > MOST_FAILED_CELLS:
        found += [f"{len(others)} cells fail, at most {MOST_FAILED_CELLS} may", *others]
    for outcome in outcomes:
        files = [*outcome.float_files.values(), *outcome.quantized_files.values()]
        peak = max([file.peak_bytes or 0 for file in files] + [outcome.quantize_peak_bytes or 0])
        if (outcome.file_bytes or 0) < SMALL_MODEL_BYTES and peak > LARGEST_PEAK_BYTES:
            found.append(f"{outcome.row} takes {peak / 1e9:.1f} GB")
    return found


def measured(rows: Sequence[Row], *, small: bool, jobs: int) -> Iterator[Outcome]:
    """Measure rows, several at a time, and give them in order."""

    def run(one: Row) -> Outcome:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="slimedge-zoo-") as folder:
            outcome = measure(one, Path(folder), small=small)
        bad = failures(outcome)
        sys.stdout.write(
            f"{one.name:<26} {time.monotonic() - started:6.0f} s  {'; '.join(bad) or 'passes'}\n"
        )
        sys.stdout.flush()
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(run, rows)


def updated(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], float]:
    """Put rows in the places of those that were measured before, and give all with the minutes of the whole run."""
    kept = json.loads((RESULTS / "zoo.json").read_text())
    fresh = {outcome.row: outcome for outcome in outcomes}
    every = {told["row"]: fresh.get(told["row"]) or from_json(told) for told in kept["rows"]}
    return [every.get(one.name) or fresh[one.name] for one in ROWS], kept["minutes"]


def main() -> int:
    """Measure the zoo, write the page and the numbers, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="ROW", help="only these rows, and write nothing")
    parser.add_argument("--small", action="store_true", help="at the size for tests, and write nothing")
    parser.add_argument("--update", action="store_true", help="put these rows into what was written before")
    parser.add_argument("--jobs", type=int, default=JOBS, help="rows at a time")
    given = parser.parse_args()
    started = time.monotonic()
    rows = [row(name) for name in given.names] or list(ROWS)
    outcomes = list(measured(rows, small=given.small, jobs=given.jobs))
    minutes = (time.monotonic() - started) / 60
    if given.update:
        outcomes, minutes = updated(outcomes)
    bars = missed(outcomes)
    if not given.update and (given.names or given.small):
        sys.stdout.write(page(outcomes, "", minutes))
    else:
        facts = environment_here(1, PACKAGES)
        versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
        PAGE.write_text(page(outcomes, f"{facts.cpu}, {facts.cores} cores; {versions}.", minutes))
        path = write_result("zoo", {"minutes": minutes, "rows": as_json(outcomes), "missed": bars})
        sys.stdout.write(f"written to {PAGE} and {path}\n")
    for text in bars:
        sys.stdout.write(f"missed: {text}\n")
    return 1 if bars else 0


if __name__ == "__main__":
    sys.exit(main())
