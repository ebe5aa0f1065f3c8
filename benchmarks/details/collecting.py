"""Find what lies behind the figures of a group of files, from what was measured of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from slimedge.benchmarks.accuracy import Task, task_of, truth_of
from slimedge.benchmarks.assembling import Measured
from slimedge.benchmarks.details.answers import Answers, class_names, read_answers
from slimedge.benchmarks.details.classes import class_changes
from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.details.distribution import distributions
from slimedge.benchmarks.details.flips import flips, with_pictures
from slimedge.benchmarks.details.pictures import as_bytes, data_uri, is_picture
from slimedge.benchmarks.entries import Entry

if TYPE_CHECKING:
    from slimedge.data import Data


def collect(group: Sequence[Entry], measured: Measured, data: Data | None) -> dict[str, Details]:
    """Give what lies behind the figures of a group, by the names of its files.

    Args:
        group: the baseline, then its variants.
        measured: of these files, and perhaps of others.
        data: the examples that they were run on, bound; None without.

    Returns:
        Details of every file; classes and flips only of variants whose outputs are classes.
    """
    samples = distributions({entry.name: measured.run[entry.name].samples_s for entry in group})
    found = {entry.name: Details(latency=samples.get(entry.name)) for entry in group}
    baseline, *variants = group
    outputs = measured.predictions[baseline.name].outputs
    if outputs is None or data is None:
        return found
    reference = outputs[measured.position]
    task = task_of(reference, measured.labels, name=measured.scored)
    before = read_answers(reference, task)
    if before is None:
        return found
    names = class_names(data.class_names, reference.shape[-1] if task is Task.CLASSES else 2)
    labels = measured.labels
    truth = None if labels is None else truth_of(labels, task, reference, measured.scored)
    for entry in variants:
        after = _answers(measured, entry.name, task)
        if after is not None:
            found[entry.name] = replace(
                found[entry.name],
                classes=None if truth is None else class_changes(truth, before.classes, after.classes, names),
                flips=flips(before, after, truth, names),
            )
    return _with_pictures(found, data)


def _answers(measured: Measured, name: str, task: Task) -> Answers | None:
    outputs = measured.predictions[name].outputs
    return None if outputs is None else read_answers(outputs[measured.position], task)


def _with_pictures(found: dict[str, Details], data: Data) -> dict[str, Details]:
    """Add pictures to all examples that are shown, which are read once."""
    shown = {flip.position for details in found.values() if details.flips for flip in details.flips.shown}
    pictures = _pictures(sorted(shown), data)
    return {
        name: replace(details, flips=with_pictures(details.flips, pictures)) if details.flips else details
        for name, details in found.items()
    }


def _pictures(positions: Collection[int], data: Data) -> dict[int, str]:
    """Give a `data:` URI for each position, of the first input that is a picture; empty where none is."""
    if not positions:
        return {}
    inputs, _ = data.rows(np.array(positions, np.int64)).arrays()
    for examples in inputs.values():
        pixels = as_bytes(examples) if is_picture(examples.shape[1:]) else None
        if pixels is not None:
            return {position: data_uri(picture) for position, picture in zip(positions, pixels, strict=True)}
    return {}
