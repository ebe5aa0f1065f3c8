"""Which batches and how many workers a sweep tries."""

from __future__ import annotations

from collections.abc import Sequence

from slimedge.artifact import Artifact
from slimedge.errors import InputError

USUAL_BATCHES = (1, 2, 4, 8, 16, 32)


def fixed_batch(artifact: Artifact) -> int | None:
    """Give the batch that a file is fixed to; None where it is open."""
    return next((spec.shape[0] for spec in artifact.inputs if spec.shape), None)


def batches_of(artifact: Artifact, asked: Sequence[int]) -> tuple[int, ...]:
    """Give the batches to try.

    Args:
        artifact: the file.
        asked: for; empty for all that are usual.

    Raises:
        InputError: what was asked for is not what the file can run.

    Example:
        >>> from slimedge.artifact import Format, TensorSpec
        >>> open_one = TensorSpec("x", (None, 4), "float32")
        >>> batches_of(Artifact("m.onnx", Format.ONNX, "", (open_one,), ()), [])
        (1, 2, 4, 8, 16, 32)
    """
    _check("batches", asked)
    fixed = fixed_batch(artifact)
    if fixed is None:
        return tuple(sorted(set(asked))) or USUAL_BATCHES
    if set(asked) - {fixed}:
        raise InputError(
            f"the batches are {_listed(asked)}, but {artifact.path.name} runs batches of {fixed} only; leave --batches "
            f"out, or export it with another: `slimedge export --batch N`, or as ONNX, which takes any."
        )
    return (fixed,)


def levels_of(cores: int, threads: int, asked: Sequence[int]) -> tuple[int, ...]:
    """Give the numbers of workers to try: 1, 2, 4, … and as many as there are processors for.

    Args:
        cores: that the process may use.
        threads: of the runtime, for each worker.
        asked: for; empty for the usual ones.

    Raises:
        InputError: a level under 1.

    Example:
        >>> levels_of(cores=6, threads=1, asked=[])
        (1, 2, 4, 6)
        >>> levels_of(cores=6, threads=4, asked=[])
        (1,)
    """
    _check("concurrency", asked)
    if asked:
        return tuple(sorted(set(asked)))
    most = max(1, cores // threads)
    return tuple(sorted({level for level in (2**power for power in range(12)) if level <= most} | {most}))


def samples_of_a_query(artifact: Artifact, wanted: int) -> int:
    """Give how many samples a query has: those that are wanted, or a whole run of a file with a larger fixed batch.

    Raises:
        InputError: a query would be no whole number of the file's fixed batches.
    """
    fixed = fixed_batch(artifact) or 1
    if wanted == 1:
        return fixed
    if wanted % fixed:
        raise InputError(
            f"a multi-stream query has {wanted} samples, but {artifact.path.name} runs batches of {fixed}, of which "
            f"they are no multiple; export it with a batch of 1, 2, 4 or {wanted}, or an open one."
        )
    return wanted


def _check(what: str, asked: Sequence[int]) -> None:
    if any(number < 1 for number in asked):
        raise InputError(f"{what} is {_listed(asked)}; give whole numbers from 1 on, as in 1,2,4.")


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
