"""Time model files against each other on this machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.artifact import Artifact
from slimedge.benchmarks import latency
from slimedge.benchmarks.entries import opened
from slimedge.benchmarks.latency import LatencyRun
from slimedge.errors import InputError
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras


def benchmark(
    models: Sequence[keras.Model | Artifact | Path | str],
    *,
    targets: Collection[str] = (),
    threads: int = 1,
    batch: int | None = None,
    effort: str = "default",
    allow_fallback: bool = False,
    trust: bool = False,
    progress: Progress = silent,
) -> LatencyRun:
    """Time models in one interleaved run, fed with seeded random numbers.

    Args:
        models: Keras models, artifacts, or paths of `.keras`, `.onnx` or `.tflite` files.
        targets: names of targets, one a format at most; other formats run on their usual runtime.
        threads: of every runtime.
        batch: examples in one inference; None takes the files' own, else 1.
        effort: how long to measure: `quick`, `default` or `thorough`.
        allow_fallback: measure on the CPU where a provider cannot run.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Returns:
        Raw samples of every model, with quantiles, load times and memory.

    Raises:
        InputError: a file or setting that cannot be used.
        UnavailableError: a runtime or provider that is not here.
        RunError: a model that would not run.
    """
    if effort not in latency.SETTINGS:
        raise InputError(f"effort '{effort}' is not known; it can be {', '.join(latency.SETTINGS)}.")
    if not models:
        raise InputError("there is nothing to time; name at least one model.")
    with opened([models], targets, trust=trust) as ((*entries,),):
        return latency.measure_latency(
            [(entry.name, entry.artifact, entry.target) for entry in entries],
            threads=threads,
            batch=batch,
            settings=latency.SETTINGS[effort],
            options={"allow_fallback": allow_fallback},
            progress=lambda share, name: progress(f"timing {name}", share),
        )
