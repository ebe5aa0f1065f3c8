"""How many channels must go for a model to run so much faster on a target: measured, not estimated."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from slimedge.artifact import Step
from slimedge.benchmarks.fastest import race
from slimedge.comparison import Speedup
from slimedge.compress.channels.removal import Path
from slimedge.errors import InputError, OutOfReachError
from slimedge.export.exporting import export_model
from slimedge.files import scratch_folder
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent
from slimedge.runtime.targets import formats_of, parse_target

if TYPE_CHECKING:
    import keras

    from slimedge.compress.channel_pruning import PruneChannels
    from slimedge.data import Data

# What is reached lies between the speedup that was asked for and so much above it.
TOLERANCE = 0.1
# Where in that interval a try aims, so that neither side is missed by the noise of a measurement.
AIM = 1.04
TRIES = 8
SMALLEST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Try:
    """One share of the MACs, and how fast that runs.

    Attributes:
        macs: share that is left.
        speedup: over the whole model, float, in one interleaved run.
    """

    macs: float
    speedup: Speedup


@dataclass(frozen=True, slots=True)
class Search:
    """What was tried for a speedup.

    Attributes:
        target: where it ran.
        wanted: the speedup.
        tries: in order.
    """

    target: str
    wanted: float
    tries: tuple[Try, ...]

    @property
    def best(self) -> Try:
        """The most work that is as fast as wanted; where none is, the fastest."""
        enough = [one for one in self.tries if one.speedup.value >= self.wanted]
        return (
            max(enough, key=lambda one: one.macs)
            if enough
            else max(self.tries, key=lambda one: one.speedup.value)
        )


@dataclass(frozen=True, slots=True)
class PruneForSpeed:
    """Prunes channels to the share of MACs that is found to be so fast; a method of `compress_file`.

    Attributes:
        stage: how channels are chosen and what is left is trained; its own target is not looked at.
        target: where it shall be faster, as `ort` or `litert`.
        speedup: that it shall have there, above 1.
        effort: how long to time.
    """

    stage: PruneChannels
    target: str
    speedup: float
    effort: str = "quick"

    def __call__(self, model: keras.Model, data: Data, progress: Progress, /) -> keras.Model:
        """Give the smaller model, whose lineage tells what was tried; raises as `macs_for`."""
        found = macs_for(
            model, data, self.target, self.speedup, self.stage, effort=self.effort, progress=progress
        )
        stage = replace(self.stage, ratio=None, parameters=None, macs=found.best.macs)
        pruned = stage(model, data, progress)
        *before, step = lineage_of(pruned)
        return with_lineage(pruned, (*before, Step(step.name, {**step.settings, "searched": asdict(found)})))


def speedup_of(
    before: pathlib.Path | str,
    after: pathlib.Path | str,
    target: str,
    *,
    effort: str = "quick",
    trust: bool = False,
    progress: Progress = silent,
) -> Speedup:
    """Export two model files and time them on a target in one interleaved run.

    Args:
        before: a `.keras` file.
        after: likewise, with the same inputs.
        target: as `ort` or `litert`.
        effort: how long to time.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        Of the second over the first.
    """
    place = parse_target(target)
    kind = formats_of(place)[0]
    with scratch_folder() as folder:
        (one,) = export_model(before, to=kind, folder=folder, name="before", trust=trust)
        (other,) = export_model(after, to=kind, folder=folder, name="after", trust=trust)
        _, speedups = race(one, {"after": other}, place, effort=effort, progress=progress)
    return speedups["after"]


def macs_for(
    model: keras.Model,
    data: Data,
    target: str,
    speedup: float,
    asked: PruneChannels,
    *,
    threads: int = 1,
    effort: str = "quick",
    progress: Progress = silent,
) -> Search:
    """Find the share of a model's MACs with which it runs so much faster.

    Models of several sizes are made, exported and timed against the whole one; none is trained, since the numbers of
    weights do not change how long a product of floats takes.

    Args:
        model: float, canonical.
        data: bound to it; what the channels' worth is told by.
        target: as `ort` or `litert`.
        speedup: above 1.
        asked: how channels are chosen; its own target is not looked at.
        threads: of the runtime.
        effort: how long to time.
        progress: told what is being done.

    Raises:
        InputError: no such target, a speedup that is not above 1 or cannot be reached, or no channels that can go.
    """
    if not 1 < speedup < math.inf:
        raise InputError(f"a speedup of {speedup:g} is not allowed; give a number above 1, as 2.0.")
    place = parse_target(target)
    kind = formats_of(place)[0]
    path = Path(
        replace(asked, ratio=None, parameters=None, macs=1 / speedup).removal(), model, data, None, progress
    )
    with scratch_folder() as folder:
        progress(f"exporting the whole model to {kind}")
        (baseline,) = export_model(model, to=kind, folder=folder, name="whole")

        def speed_at(share: float) -> Speedup:
            name = f"{100 * share:.2f}"
            cut = path.at(share)
            progress(f"exporting with {name} % of the MACs")
            (file,) = export_model(cut, to=kind, folder=folder, name=name)
            _, speedups = race(
                baseline, {name: file}, place, threads=threads, effort=effort, progress=progress
            )
            return speedups[name]

        tries = search(speed_at, speedup)
    found = Search(target, speedup, tuple(tries))
    if found.best.speedup.value < speedup:
        raise OutOfReachError(
            f"a speedup of {speedup:g} on {target} is out of reach for model '{model.name}': with "
            f"{100 * found.best.macs:.1f} % of its MACs it is {found.best.speedup.value:.2f}; ask for less."
        )
    return found


def search(speed_at: Callable[[float], Speedup], wanted: float) -> list[Try]:
    """Try shares until one is between `wanted` and a tenth above it.

    Speed over share is taken for a straight line in logarithms between the two tries around what is wanted.

    Args:
        speed_at: measures; raises OutOfReachError for a share that cannot be had.
        wanted: speedup, above 1.
    """
    aim = wanted * AIM
    slow, fast = Try(1.0, Speedup(1.0, 1.0, 1.0)), None
    share, tries = 1 / aim, []
    smallest = SMALLEST_SHARE
    for _ in range(TRIES):
        try:
            found = Try(share, speed_at(share))
        except OutOfReachError:
            # Less than can be removed: what can is somewhere above.
            smallest = share
            share = math.sqrt(share * slow.macs)
            if share / smallest < 1 + TOLERANCE / 4:
                break
            continue
        tries.append(found)
        if wanted <= found.speedup.value <= wanted * (1 + TOLERANCE):
            break
        if found.speedup.value < aim:
            slow = found if found.macs < slow.macs else slow
        else:
            fast = found if fast is None or found.macs > fast.macs else fast
        share = _between(slow, fast, aim, smallest)
    if not tries:
        raise InputError("the channels that can go are too few to be measured; ask for a ratio instead.")
    return tries


def _between(slow: Try, fast: Try | None, aim: float, smallest: float) -> float:
    """The share at which a line through two tries has the speed that is aimed at."""
    if fast is None:
        # As if the speed were a power of the work, as it was so far; at least a tenth less work.
        power: float = math.log(max(slow.speedup.value, 1.01)) / -math.log(min(slow.macs, 0.99))
        share: float = slow.macs * (slow.speedup.value / aim) ** (1 / max(power, 0.25))
        return float(max(min(share, 0.9 * slow.macs), math.sqrt(smallest * slow.macs)))
    way = math.log(aim / slow.speedup.value) / max(math.log(fast.speedup.value / slow.speedup.value), 1e-9)
    way = min(max(way, 0.1), 0.9)
    return math.exp(math.log(slow.macs) + way * (math.log(fast.macs) - math.log(slow.macs)))
