"""What the commands that compress a float model share: a file, a method and data in, before and after out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimedge.cli import options
from slimedge.progress import on_terminal

if TYPE_CHECKING:
    from slimedge.benchmarks.compressing import Compressed, Method


def compress(
    model: Path,
    data: str,
    out: Path,
    method: Method,
    *,
    evaluation: str | None,
    seed: int,
    labels: str | None,
    scale: str | None,
    part: str | None,
    image_size: str | None,
    limit: int | None,
    no_range_checks: bool,
    trust: bool,
    quiet: bool,
    beside: Sequence[Path] = (),
) -> Compressed:
    """Compress a model file as a command line describes it, and show progress meanwhile.

    Args:
        model: the float file.
        data: where examples are.
        out: the file to write.
        method: what compresses.
        evaluation: examples to score on.
        seed: of the split.
        labels: and the others: the options of those names.
        scale: see there.
        part: see there.
        image_size: see there.
        limit: see there.
        no_range_checks: see there.
        trust: see there.
        quiet: see there.
        beside: other files to score on the same examples.

    Raises:
        InputError: something that cannot be used; nothing is written.
        CheckError: the method found its result wrong; likewise.
    """
    split = {"seed": seed, "evaluation": options.amount(evaluation, "--samples")}
    from slimedge.benchmarks.compressing import compress_file

    loaded = options.load_data(
        data, labels=labels, scale=scale, part=part, image_size=image_size, limit=limit
    )
    with on_terminal(quiet=quiet) as progress:
        return compress_file(
            model,
            loaded,
            out,
            method,
            split=split,
            beside=beside,
            checks="types" if no_range_checks else "strict",
            trust=trust,
            progress=progress,
        )
