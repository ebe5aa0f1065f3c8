"""Cluster the weights of a model file and say what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.benchmarks.compressing import Compressed, compress_file
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.compress.clustering import Cluster
    from slimedge.data import Checks, Data


def cluster_file(
    model: Path | str,
    data: Data,
    out: Path | str,
    stage: Cluster,
    *,
    split: Mapping[str, Any] | None = None,
    checks: Checks = "strict",
    trust: bool = False,
    progress: Progress = silent,
) -> Compressed:
    """Cluster the weights of a model file on one part of the data, and score it on another.

    Args:
        model: a `.keras` file.
        data: examples to train on and for evaluation.
        out: the `.keras` file to write.
        stage: the settings.
        split: arguments of `Data.split`.
        checks: of `Data.bind`.
        trust: whether an `.h5` may be opened.
        progress: told what is being done.

    Raises:
        InputError: a file, data or setting that cannot be used; nothing is written.
        CheckError: training led to numbers that are not finite; likewise.
    """
    from slimedge.compress.clustering import cluster

    settings = {field.name: getattr(stage, field.name) for field in fields(stage)}

    def method(network: keras.Model, examples: Data, progress: Progress) -> keras.Model:
        return cluster(network, examples, **settings, progress=progress)

    return compress_file(model, data, out, method, split=split, checks=checks, trust=trust, progress=progress)
