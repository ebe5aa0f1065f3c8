"""What recipes reach: the committed one on ResNet-8, and a preset on the depthwise-separable net, all of Fashion-MNIST.

Each is run as its user does, by `slimedge run` in a fresh folder: `make recipes`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimedge.benchmarks.bundled import RESULTS, conclude, require_full_set, show, write_result
from slimedge.benchmarks.demo import DEBIAN_FOLDER

LONGEST_S = 25 * 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe, and what it must reach on LiteRT against the float TFLite file.

    Attributes:
        arguments: of `slimedge run`.
        speedup: least.
        shrinking: least ratio of the float file's bytes to those of the final one; None where nothing is asked.
        drop: most percentage points lost.
    """

    arguments: Sequence[str]
    speedup: float
    shrinking: float | None
    drop: float


CASES = {
    "resnet8": Case(["benchmarks/recipes/resnet8.yaml"], 5.0, 8.0, 1.0),
    "balanced": Case(
        [
            "balanced",
            "--model",
            "benchmarks/demo/depthwise_separable.keras",
            "--data",
            str(DEBIAN_FOLDER),
            "--scale",
            "1/255",
        ],
        2.5,
        None,
        0.5,
    ),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a recipe reached.

    Attributes:
        case: its name.
        command: that was run.
        seconds: from start to report.
        file: name of the final TFLite file.
        speedup: over the float TFLite file, with its 95 % interval.
        shrinking: the float file's bytes over the final one's.
        accuracy: of the float and of the final file.
        accuracy_delta: in points with its 95 % interval.
        stages: title, seconds, accuracy, bytes and median latency after each.
        scheme: how the last stage quantized.
    """

    case: str
    command: str
    seconds: float
    file: str
    speedup: Sequence[float]
    shrinking: float
    accuracy: Sequence[float]
    accuracy_delta: Sequence[float]
    stages: Sequence[Mapping[str, Any]]
    scheme: str


def run(name: str, folder: Path) -> Outcome:
    """Run a recipe in a fresh folder.

    Args:
        name: of the case.
        folder: for the run.

    Raises:
        RuntimeError: the command failed.
    """
    arguments = ["run", *CASES[name].arguments, "-o", str(folder / "run"), "--quiet"]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "slimedge.cli", *arguments], check=False, capture_output=True, text=True
    )
    seconds = time.monotonic() - started
    path = folder / "run" / "report.json"
    if not path.exists():
        raise RuntimeError(f"slimedge run ended with {done.returncode}: {done.stderr[-500:]}")
    document = json.loads(path.read_text())
    comparisons = document.get("comparisons", [document])
    comparison = next(one for one in comparisons if one["baseline"]["format"] == "tflite")
    before, after = comparison["baseline"], comparison["variants"][-1]
    lineage = document["lineage"][after["name"]]
    quantized = [step["settings"] for step in lineage if step["name"] in ("quantize", "quantize_for")]
    rows = {row["name"]: row for row in (before, *comparison["variants"])}
    stages = [
        {
            "title": chapter["title"],
            "seconds": chapter["seconds"],
            "accuracy": rows[kept]["accuracy"]["value"],
            "file_bytes": rows[kept]["file_bytes"],
            "latency_s": rows[kept]["latency_s"]["p50"],
        }
        for chapter in document["stages"]
        for kept in chapter["variants"]
        if kept in rows
    ]
    delta = after["accuracy_delta"]
    return Outcome(
        case=name,
        command=" ".join(["slimedge", *arguments[:-3]]),
        seconds=seconds,
        file=after["name"],
        speedup=[after["speedup"][key] for key in ("value", "low", "high")],
        shrinking=before["file_bytes"] / after["file_bytes"],
        accuracy=[before["accuracy"]["value"], after["accuracy"]["value"]],
        accuracy_delta=[100 * delta[key] for key in ("value", "low", "high")],
        stages=stages,
        scheme=str(quantized[-1]["scheme"]) if quantized else "float",
    )


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    """Give a sentence for each bar that is missed."""
    found = []
    for one in outcomes:
        case = CASES[one.case]
        if one.speedup[0] < case.speedup:
            found.append(
                f"{one.case}: {one.speedup[0]:.2f} times as fast, at least {case.speedup:g} are wanted"
            )
        if case.shrinking is not None and one.shrinking < case.shrinking:
            found.append(
                f"{one.case}: {one.shrinking:.2f} times smaller, at least {case.shrinking:g} are wanted"
            )
        if -one.accuracy_delta[0] > case.drop:
            found.append(
                f"{one.case}: {one.accuracy_delta[0]:+.2f} points, at most {case.drop:g} may be lost"
            )
        if one.seconds > LONGEST_S:
            found.append(
                f"{one.case}: {one.seconds / 60:.0f} minutes, at most {LONGEST_S / 60:.0f} are allowed"
            )
    return found


def main() -> int:
    """Measure, print and write what was found, and give the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--update", action="store_true", help="put these into what was written before")
    given = parser.parse_args()
    require_full_set()
    path = RESULTS / "recipes.json"
    outcomes: dict[str, Outcome] = {}
    if given.update and path.exists():
        outcomes = {one["case"]: Outcome(**one) for one in json.loads(path.read_text())["runs"]}
    for name in given.only:
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            outcomes[name] = run(name, Path(folder))
        show(asdict(outcomes[name]))
        told = [outcomes[key] for key in CASES if key in outcomes]
        write_result("recipes", {"runs": [asdict(one) for one in told], "missed": missed(told)})
    told = [outcomes[key] for key in CASES if key in outcomes]
    return conclude("recipes", {"runs": [asdict(one) for one in told]}, missed(told))


if __name__ == "__main__":
    sys.exit(main())
