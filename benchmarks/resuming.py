"""Runs of a recipe that are killed at any moment and go on: `make resuming`.

`benchmarks/recipes/short.yaml` is run undisturbed once. Then it is started in a fresh folder again and again, killed
(SIGKILL, that process alone) at a moment that is drawn from the undisturbed duration, and run again until it is done.
Exits 1 where a bar is missed: every model and file has the SHA-256 of the undisturbed run, no process outlives the
killed one, and no temporary file is left, in the run's folder, in the folder for temporary files, or where it was
started.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimedge.benchmarks.bundled import RESULTS, conclude, show
from slimedge.compress.fitting.checkpoints import VARIABLE
from slimedge.files import sha256_of

RECIPE = Path(__file__).resolve().parent / "recipes" / "short.yaml"
STAGES = ("prune-channels", "distill", "train")
# What a run finishes, in this order; each is a folder in RUN/steps.
STEPS = ("original", "export", *(step for stage in STAGES for step in (stage, "export")), "measure")
KILLS = 20
SEED = 1
CHECKPOINT_S = 0.5
# What dies with the killed process may take so long.
GRACE_S = 1.0
# Tells our processes from those of others.
MARK = "SLIMEDGE_RESUMING"
# Notes of a step hold how long it took, and what was measured is never the same.
VARYING = ("step.json", "measured.json")


@dataclass(frozen=True, slots=True)
class Kill:
    """A run that was killed, and went on.

    Attributes:
        at_s: seconds after its start.
        during: what it was doing: a stage, `export after STAGE`, `measure`, `start`, `end`.
        orphans: processes that it had started and that were there a second later.
        resumed: trainings that went on in the middle.
        saved_s: seconds of training that these did not take again.
        kept_s: seconds that the stages had taken which were whole, and were not run again.
        resume_s: seconds until the run was done, from its second start.
        status: exit status of that.
        same: files with the SHA-256 of the undisturbed run.
        files: of the undisturbed run.
        left: files that should not be there, by their paths in the folder of the trial.
    """

    at_s: float
    during: str
    orphans: int
    resumed: int
    saved_s: float
    kept_s: float
    resume_s: float
    status: int
    same: int
    files: int
    left: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """Folders of one run, all of them empty at first.

    Attributes:
        run: for `--output`.
        work: in which the command is started.
        scratch: TMPDIR of the command.
        mark: in the environment of all its processes.
    """

    run: Path
    work: Path
    scratch: Path
    mark: str

    @classmethod
    def within(cls, folder: Path) -> Trial:
        """Make the folders."""
        work, scratch = folder / "work", folder / "tmp"
        for each in (work, scratch):
            each.mkdir(parents=True)
        return cls(work / "run", work, scratch, secrets.token_hex(8))

    def start(self, recipe: Path) -> subprocess.Popen[bytes]:
        """Start the command."""
        settings = {VARIABLE: str(CHECKPOINT_S), "TMPDIR": str(self.scratch), MARK: self.mark}
        return subprocess.Popen(
            [sys.executable, "-m", "slimedge.cli", "run", str(recipe), "--output", "run", "--quiet"],
            cwd=self.work,
            env={**os.environ, **settings},
        )

    def hashes(self) -> dict[str, str]:
        """Give the SHA-256 of every model and file of the run, by its path; that of a step has its key in it."""
        files = [*self.run.glob("steps/*/*"), *self.run.glob("*.keras"), *self.run.glob("*.onnx")]
        files += self.run.glob("*.tflite")
        return {
            str(file.relative_to(self.run)): sha256_of(file) for file in files if file.name not in VARYING
        }

    def notes(self) -> dict[str, dict[str, Any]]:
        """Give what is noted of the stages that are whole, by name."""
        told = (json.loads(path.read_text()) for path in self.run.glob("steps/*/step.json"))
        return {note["name"]: note for note in told if note["name"] in STAGES}

    def during(self) -> str:
        """Tell what the run is at."""
        if not self.run.exists():
            return "start"
        finished = len(list(self.run.glob("steps/*")))
        if finished >= len(STEPS):
            return "end"
        return f"export after {STEPS[finished - 1]}" if STEPS[finished] == "export" else STEPS[finished]

    def left(self) -> tuple[str, ...]:
        """Give what should not be there once a run is done."""
        wanted = {".lock", "steps", "report.html", "report.json", "report.md"}
        ours = [
            path
            for path in self.run.iterdir()
            if path.name not in wanted and not path.name.startswith("resnet8_")
        ]
        hidden = [path for path in self.work.rglob(".slimedge-*") if path not in ours]
        others = [path for path in self.work.iterdir() if path != self.run]
        found = [*ours, *hidden, *others, *self.scratch.rglob("*")]
        return tuple(sorted(str(path.relative_to(self.work.parent)) for path in found))

    def alive(self) -> list[int]:
        """Give the processes that have the mark."""
        import psutil

        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found


def undisturbed(folder: Path, recipe: Path) -> tuple[float, dict[str, str]]:
    """Run the recipe without a break, and give the seconds that it took and the hashes."""
    trial = Trial.within(folder)
    started = time.monotonic()
    status = trial.start(recipe).wait()
    if status or trial.left():
        raise RuntimeError(f"the undisturbed run ended with status {status} and left {trial.left()}")
    return time.monotonic() - started, trial.hashes()


def killed(folder: Path, recipe: Path, at_s: float, expected: Mapping[str, str]) -> Kill | None:
    """Kill a run, let it go on, and compare.

    Args:
        folder: empty.
        recipe: that is run.
        at_s: seconds after the start.
        expected: hashes of the undisturbed run.

    Returns:
        What came of it; None where the run was done before.
    """
    trial = Trial.within(folder)
    process = trial.start(recipe)
    with suppress(subprocess.TimeoutExpired):
        process.wait(at_s)
        return None
    during, whole = trial.during(), trial.notes()
    process.kill()
    process.wait()
    time.sleep(GRACE_S)
    orphans = len(trial.alive())
    started = time.monotonic()
    status = trial.start(recipe).wait()
    resume_s = time.monotonic() - started
    notes, found = trial.notes(), trial.hashes()
    again = [note for name, note in notes.items() if name not in whole]
    return Kill(
        at_s=at_s,
        during=during,
        orphans=orphans,
        resumed=sum(note["resumed"] for note in again),
        saved_s=sum(note["saved_s"] for note in again),
        kept_s=sum(note["seconds"] for note in whole.values()),
        resume_s=resume_s,
        status=status,
        same=sum(found.get(name) == digest for name, digest in expected.items())
        if found.keys() == expected.keys()
        else 0,
        files=len(expected),
        left=trial.left(),
    )


def kills(
    folder: Path, recipe: Path, shares: Iterator[float], whole_s: float, expected: Mapping[str, str]
) -> Iterator[Kill]:
    """Kill a run at each share of the time that it takes undisturbed; see `killed`.

    A run that was done before is an undisturbed one, too: how long it took holds from there on, so that a machine that
    others use as well is not waited for in vain.
    """
    for share in shares:
        trial = folder / "trial"
        started = time.monotonic()
        found = killed(trial, recipe, share * whole_s, expected)
        if found is None:
            whole_s = time.monotonic() - started
        else:
            yield found
        shutil.rmtree(trial)


def drawn(seed: int, after: int = 0) -> Iterator[float]:
    """Give shares without end, each as likely as any other.

    Args:
        seed: the same seed gives the same shares.
        after: so many kills; others go on with other shares.
    """
    generator = np.random.default_rng([seed, after])
    while True:
        yield float(generator.uniform(0, 1))


def missed(found: list[Kill], count: int) -> list[str]:
    """Give a sentence for each bar that is missed."""
    bars = {
        f"{len(found)} of {count} runs were killed": len(found) == count,
        "a run that went on did not end with status 0": all(kill.status == 0 for kill in found),
        "files differ from those of the undisturbed run": all(kill.same == kill.files for kill in found),
        "processes outlived a killed run": not any(kill.orphans for kill in found),
        "temporary files were left": not any(kill.left for kill in found),
        "no training went on in the middle": any(kill.resumed for kill in found) or count < KILLS,
    }
    return [bar for bar, met in bars.items() if not met]


def main() -> int:
    """Kill runs, write after each of them what came of all, and give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--update", action="store_true", help="go on with what the file of results holds of the same files"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slimedge-resuming-") as folder:
        whole_s, expected = undisturbed(Path(folder, "whole"), RECIPE)
        found = _earlier(expected) if given.update else []
        show({"undisturbed": f"{whole_s:.0f} s, {len(expected)} files", "earlier kills": len(found)})
        more = kills(Path(folder), RECIPE, drawn(given.seed, len(found)), whole_s, expected)
        status = _written(given.seed, whole_s, expected, found, given.kills) if found else 1
        while len(found) < given.kills:
            found.append(next(more))
            show({f"kill {len(found)}": json.dumps(asdict(found[-1]))})
            status = _written(given.seed, whole_s, expected, found, given.kills)
    return status


def _earlier(expected: Mapping[str, str]) -> list[Kill]:
    """Give the kills in the file of results, unless an undisturbed run made other files then."""
    told = json.loads((RESULTS / "resuming.json").read_text())
    return [Kill(**kill) for kill in told["kills"]] if told["sha256"] == expected else []


def _written(seed: int, whole_s: float, expected: Mapping[str, str], found: list[Kill], count: int) -> int:
    measured = {
        "recipe": RECIPE.name,
        "seed": seed,
        "checkpoint_s": CHECKPOINT_S,
        "undisturbed_s": whole_s,
        "minutes": sum(kill.at_s + kill.resume_s for kill in found) / 60,
        "sha256": dict(sorted(expected.items())),
        "kills": [asdict(kill) for kill in found],
    }
    return conclude("resuming", measured, missed(found, count))


if __name__ == "__main__":
    sys.exit(main())
