"""The same nets, data and calibration through other quantizers: `make peers`.

Makes every peer's file of the four bundled nets, runs all of them on all test images of Fashion-MNIST, times those of
one runtime in one interleaved run, and writes docs/peers.md. Exits 1 where a bar is missed: slimedge's files at most
0.2 points below float and 0.1 below the best peer, and on the geometric mean of the nets at most 1.02 of the time of
the fastest peer's.

The files stay in build/peers/files: `--only time` times them again, and `--models` measures some nets and
keeps the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slimedge.benchmarks.bundled import RESULTS, full_set, write_result
from slimedge.benchmarks.latency import SETTINGS
from slimedge.benchmarks.models import FASHION_MNIST
from slimedge.benchmarks.peers.judging import Bar, bars
from slimedge.benchmarks.peers.making import CALIBRATION, make_own, make_peer
from slimedge.benchmarks.peers.measuring import keys, scored, timed
from slimedge.benchmarks.peers.page import as_json, page
from slimedge.benchmarks.peers.registry import FORMATS, PEERS
from slimedge.benchmarks.peers.rows import Row, from_json, merged
from slimedge.errors import InputError
from slimedge.runtime.jobs import environment_here

PAGE = Path("docs/peers.md")
STEPS = ("make", "score", "time")
NETS = tuple(FASHION_MNIST)


def kept_rows() -> list[Row]:
    """Give the rows that were written before.

    Raises:
        InputError: they were measured on another CPU.
    """
    path = RESULTS / "peers.json"
    if not path.exists():
        return []
    told = json.loads(path.read_text())
    there, here = told["environment"], environment_here(1, ())
    if (there["cpu"], tuple(there["isa"])) != (here.cpu, here.isa):
        raise InputError(
            f"{path} was measured on another CPU, {there['cpu']} ({', '.join(there['isa'])}); measure all of it "
            "here, without --models and --only."
        )
    return [from_json(row) for row in told["rows"]]


def write(rows: Sequence[Row], effort: str, examples: int) -> list[Bar]:
    """Write the numbers and the page, and give the bars."""
    peers = {
        peer.name: {
            "title": peer.title,
            "package": peer.package,
            "version": peer.version,
            "settings": dict(peer.settings),
        }
        for peer in PEERS
    }
    path = write_result(
        "peers",
        {
            "calibration_examples": CALIBRATION,
            "test_examples": examples,
            "effort": effort,
            "nets": list(NETS),
            "peers": peers,
            **as_json(rows, NETS),
        },
    )
    PAGE.write_text(page(json.loads(path.read_text())))
    return bars(rows, NETS)


def main() -> int:
    """Make, score and time, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=NETS, choices=NETS)
    parser.add_argument(
        "--only",
        nargs="*",
        default=STEPS,
        choices=(*STEPS, "page"),
        help="these steps; `page` writes the page again from what was measured",
    )
    parser.add_argument("--remake", action="store_true", help="the peers' files, even where they lie there")
    parser.add_argument("--effort", choices=list(SETTINGS), default="default")
    given = parser.parse_args()
    if given.only == ["page"]:
        PAGE.write_text(page(json.loads((RESULTS / "peers.json").read_text())))
        return 0
    data = full_set()
    examples = len(data.split().evaluation)
    everything = set(given.models) == set(NETS) and set(STEPS) <= set(given.only)
    rows = [] if everything else kept_rows()
    found = bars(rows, NETS)
    for net in given.models:
        if "make" in given.only:
            make_own(net, data)
            for peer in PEERS:
                started = time.monotonic()
                reason = make_peer(net, peer, remake=given.remake)
                _say(f"{net} {peer.name}: {reason or 'made'} ({time.monotonic() - started:.0f} s)")
        if "score" in given.only:
            rows = merged(rows, scored(net, data), keys(NETS))
            found = write(rows, given.effort, examples)
        for format_ in FORMATS if "time" in given.only else ():
            chosen = [row for row in rows if (row.net, row.format) == (net, format_)]
            rows = merged(rows, timed(chosen, data, SETTINGS[given.effort]), keys(NETS))
            found = write(rows, given.effort, examples)
            _say(f"{net} {format_}: timed")
    for bar in found:
        _say(f"{'met' if bar.met else 'missed':>6}: {bar.asked}: {bar.found}")
    return 0 if all(bar.met for bar in found) else 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
