"""Runs and times the files: every one on all test images, and those of one runtime against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks import statistics
from slimedge.benchmarks.accuracy import score
from slimedge.benchmarks.latency import Settings, measure_latency
from slimedge.benchmarks.models import AUTOENCODERS
from slimedge.benchmarks.peers.making import SEVEN_FORMAT, file_of, reason_of
from slimedge.benchmarks.peers.registry import FORMATS, PEERS
from slimedge.benchmarks.peers.rows import FLOAT, OURS, OWN, SEVEN, Row
from slimedge.benchmarks.predicting import Predictions, predict
from slimedge.errors import InputError, SlimedgeError
from slimedge.runtime.targets import target_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slimedge.artifact import TensorSpec
    from slimedge.data import Data


def makers(format_: str) -> list[str]:
    """Name all that make files of a format, float and slimedge first."""
    own = [name for name in OWN if name != SEVEN or format_ == SEVEN_FORMAT]
    return [FLOAT, *own, *(peer.name for peer in PEERS if peer.format == format_)]


def keys(nets: Sequence[str]) -> list[tuple[str, str, str]]:
    """Give net, format and maker of every row, in the order of the table."""
    return [(net, format_, maker) for net in nets for format_ in FORMATS for maker in makers(format_)]


def scored(net: str, data: Data) -> list[Row]:
    """Run all files of a net on the test images.

    Args:
        net: whose files are made.
        data: all of Fashion-MNIST.
    """
    return [row for format_ in FORMATS for row in _scored(net, format_, data)]


def _scored(net: str, format_: str, data: Data) -> Iterator[Row]:
    first = read_artifact(file_of(net, FLOAT, format_))
    test = data.bind(first.inputs).split().evaluation
    rows = [Row(net, format_, maker) for maker in makers(format_)]
    answers = {row.maker: _answers(row, test, first.inputs) for row in rows}
    # An autoencoder is told by the pictures that it gives back.
    pictures = next(iter(test.arrays()[0].values())) if net in AUTOENCODERS else None
    for row in rows:
        found = answers[row.maker]
        yield (
            replace(row, reason=found)
            if isinstance(found, str)
            else _row(row, answers, test.labels, pictures)
        )


def _answers(row: Row, test: Data, inputs: Sequence[TensorSpec]) -> Predictions | str:
    """Run a file on the test images, or say why it cannot."""
    path, failed = file_of(row.net, row.maker, row.format), reason_of(row.net, row.maker)
    if not path.exists():
        return failed.read_text() if failed.exists() else "it was not made."
    try:
        artifact = read_artifact(path)
        return predict(artifact, target_for(artifact), test, inputs=inputs)
    except SlimedgeError as error:
        return str(error)


def _row(
    row: Row,
    answers: Mapping[str, Predictions | str],
    classes: NDArray[Any] | None,
    pictures: NDArray[Any] | None,
) -> Row:
    """Put what a file answers, and how that stands beside the float file and slimedge's, into its row."""
    outputs = {
        maker: found.outputs[0]
        for maker, found in answers.items()
        if not isinstance(found, str) and found.outputs is not None
    }
    found, own = answers[row.maker], outputs[row.maker]
    labels = classes if pictures is None else None
    over = {
        other: score(own, outputs[other], labels)
        for other in (FLOAT, OURS)
        if other != row.maker and other in outputs
    }
    path = file_of(row.net, row.maker, row.format)
    return replace(
        row,
        sha256=read_artifact(path).sha256,
        file_bytes=path.stat().st_size,
        accuracy=None if labels is None else score(own, None, labels).accuracy,
        over_float=over[FLOAT].accuracy_delta if FLOAT in over else None,
        over_ours=over[OURS].accuracy_delta if OURS in over else None,
        squared_error=None
        if pictures is None
        else float(np.mean(np.square(own - pictures.reshape(own.shape), dtype=np.float64))),
        sqnr_db=over[FLOAT].sqnr_db if FLOAT in over else None,
        ops=None if isinstance(found, str) else (found.integer_ops, found.total_ops),
    )


def timed(rows: Sequence[Row], data: Data, settings: Settings) -> list[Row]:
    """Time the files of one net and format in one interleaved run on one thread.

    Args:
        rows: of one net and format; those with a reason stay as they are.
        data: all of Fashion-MNIST.
        settings: how long; slimedge's file is the baseline of the precision.

    Raises:
        InputError: a file is not the one that was scored.
    """
    # What times are compared with comes first.
    running = sorted((row for row in rows if row.reason is None), key=lambda row: row.maker != OURS)
    entries = []
    for row in running:
        path = file_of(row.net, row.maker, row.format)
        artifact = read_artifact(path) if path.exists() else None
        if artifact is None or artifact.sha256 != row.sha256:
            raise InputError(
                f"{path} is not the file that was scored; score again, with `--only score time` of this command."
            )
        entries.append((row.maker, artifact, target_for(artifact)))
    first = entries[0][1]
    inputs, _ = data.bind(first.inputs).split().evaluation.take(1).arrays()
    run = measure_latency(entries, inputs=inputs, threads=1, batch=1, settings=settings)
    ours = run[OURS].turn_medians()
    medians = {entry.name: entry.latency.p50 * 1e6 for entry in run.entries}
    ratios = {
        entry.name: statistics.speedup(entry.turn_medians(), ours)
        for entry in run.entries
        if entry.name != OURS
    }
    return [replace(row, median_us=medians.get(row.maker), time_ratio=ratios.get(row.maker)) for row in rows]
