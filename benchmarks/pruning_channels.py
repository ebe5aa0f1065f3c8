"""Prune channels of a model file, to a share of what it has or to a speed on a target, and say what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.compressing import Compressed, compress_file
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.benchmarks.channel_speed import Search
    from slimedge.comparison import Speedup
    from slimedge.compress.channel_pruning import PruneChannels
    from slimedge.data import Checks, Data


@dataclass(frozen=True, slots=True)
class ChannelsPruned:
    """What pruning channels gave.

    Attributes:
        compressed: as of any method.
        search: what was tried for a speed; None where a share was asked for.
        speedup: of the written model over the given one on that target; None likewise.
    """

    compressed: Compressed
    search: Search | None = None
    speedup: Speedup | None = None


def prune_channels_file(
    model: Path | str,
    data: Data,
    out: Path | str,
    stage: PruneChannels,
    *,
    target: str | None = None,
    speedup: float | None = None,
    effort: str = "quick",
    split: Mapping[str, Any] | None = None,
    checks: Checks = "strict",
    trust: bool = False,
    progress: Progress = silent,
) -> ChannelsPruned:
    """Prune channels of a model file on one part of the data, and score it on another.

    Args:
        model: a `.keras` file.
        data: examples to choose channels and train on, and for evaluation.
        out: the `.keras` file to write.
        stage: the settings; their share is found where a speedup is given.
        target: where it shall run faster, as `litert`; None for a share.
        speedup: that it shall have there.
        effort: how long to time.
        split: arguments of `Data.split`.
        checks: of `Data.bind`.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: a file, data or setting that cannot be used, or a speedup out of reach; nothing is written.
        CheckError: training led to numbers that are not finite; likewise.
    """
    searches: list[Search] = []

    def method(network: keras.Model, examples: Data, progress: Progress) -> keras.Model:
        asked = stage
        if target is not None and speedup is not None:
            from slimedge.benchmarks.channel_speed import macs_for

            found = macs_for(network, examples, target, speedup, stage, effort=effort, progress=progress)
            searches.append(found)
            asked = replace(stage, macs=found.best.macs)
        return asked(network, examples, progress)

    done = compress_file(model, data, out, method, split=split, checks=checks, trust=trust, progress=progress)
    if not searches:
        return ChannelsPruned(done)
    return ChannelsPruned(
        done, searches[0], _measured(model, out, searches[0].target, effort, trust=trust, progress=progress)
    )


def _measured(
    before: Path | str, after: Path | str, target: str, effort: str, *, trust: bool, progress: Progress
) -> Speedup:
    from slimedge.benchmarks.fastest import race
    from slimedge.export.exporting import export_model
    from slimedge.files import scratch_folder
    from slimedge.runtime.targets import formats_of, parse_target

    place = parse_target(target)
    kind = formats_of(place)[0]
    with scratch_folder() as folder:
        (one,) = export_model(before, to=kind, folder=folder, name="before", trust=trust)
        (other,) = export_model(after, to=kind, folder=folder, name="after")
        _, speedups = race(one, {"after": other}, place, effort=effort, progress=progress)
    return speedups["after"]
