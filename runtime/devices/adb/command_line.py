"""The flags that `benchmark_model` is run with, and which of them it has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimedge.errors import InputError
from slimedge.runtime.protocols import Job

PROVIDERS = ("cpu", "gpu", "nnapi")

# XNNPACK is named so that what it takes of the graph is told.
_DELEGATES = {
    "cpu": {"use_xnnpack": "true"},
    "gpu": {"use_gpu": "true"},
    "nnapi": {"use_nnapi": "true"},
}

# A version that does not know one of these still measures what was asked for.
_DISPENSABLE = {
    "use_xnnpack",
    "enable_op_profiling",
    "report_peak_memory_footprint",
    "memory_footprint_check_interval_ms",
}

# The largest resident memory of a process never sinks, so that looking once a second, and at the end, is enough; the
# tool's 50 ms would wake a thread beside the measured ones.
_MEMORY_INTERVAL_MS = 1000


def flags(job: Job, *, graph: str, limit_s: float, passed: Mapping[str, str]) -> dict[str, str]:
    """Give the flags for a job.

    Args:
        job: what to measure; its target's provider is one of `PROVIDERS`.
        graph: path of the model on the device.
        limit_s: within which the tool should come to an end by itself.
        passed: further flags of the user's.

    Raises:
        InputError: the job asks for what the tool cannot do, or a passed flag is one of slimedge's.
    """
    if job.artifact.format != "tflite":
        raise InputError(f"an Android device runs .tflite and was given {job.artifact.path.name}.")
    if job.target.provider not in PROVIDERS:
        raise InputError(
            f"'{job.target.provider}' is no provider of an Android device; it has {', '.join(PROVIDERS)}."
        )
    if job.inputs is not None:
        raise InputError(
            f"benchmark_model runs on random numbers, so that {job.inputs.name} cannot be used; leave the inputs away."
        )
    shapes = _shapes(job)
    found = {
        "graph": graph,
        "num_threads": str(job.threads),
        **_DELEGATES[job.target.provider],
        "warmup_runs": "1",
        "warmup_min_secs": f"{job.warm_s:g}",
        "num_runs": str(job.runs),
        "min_secs": f"{job.seconds:g}",
        "max_secs": f"{max(job.seconds, 0.8 * limit_s - job.warm_s):g}",
        "enable_op_profiling": "false",
        "report_peak_memory_footprint": "true",
        "memory_footprint_check_interval_ms": str(_MEMORY_INTERVAL_MS),
        **shapes,
    }
    if job.target.provider != "cpu" and not job.options.get("allow_fallback"):
        found["require_full_delegation"] = "true"
    own = next((name for name in passed if name in found or name == "require_full_delegation"), None)
    if own is not None:
        raise InputError(f"--{own} of benchmark_model is set by slimedge and cannot be passed.")
    return {**found, **passed}


def as_words(told: Mapping[str, str]) -> tuple[str, ...]:
    """Write flags as words of a command line.

    Example:
        >>> as_words({"num_threads": "2"})
        ('--num_threads=2',)
    """
    return tuple(f"--{name}={value}" for name, value in told.items())


def unknown_flag(unconsumed: Sequence[str]) -> str | None:
    """Give a flag that the tool did not know and without which its figures are not those asked for, or None.

    Example:
        >>> unknown_flag(["enable_op_profiling", "use_gpu"])
        'use_gpu'
    """
    return next((name for name in unconsumed if name not in _DISPENSABLE), None)


def _shapes(job: Job) -> dict[str, str]:
    """Give the shape of a file that leaves its batch open; the tool takes 1 where nobody says."""
    inputs = job.artifact.inputs
    if job.batch == 1 or all(size is not None for spec in inputs for size in spec.shape):
        return {}
    if len(inputs) > 1:
        # They would have to come in the order of the file's graph, which the names do not tell.
        raise InputError(
            f"benchmark_model cannot be told a batch of {job.batch} for the {len(inputs)} inputs of "
            f"{job.artifact.path.name}; export it with a fixed batch."
        )
    sizes = (str(job.batch if size is None else size) for size in inputs[0].shape)
    return {"input_layer": "input", "input_layer_shape": ",".join(sizes)}
