"""A float graph and examples sent to the process of TFMOT, and the weights that come back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.calibration import Watch
from slimedge.compress.fitting.outputs import Output, cut_to
from slimedge.compress.tfmot.description import described
from slimedge.errors import InputError
from slimedge.graph import Graph, Layer, with_values

if TYPE_CHECKING:
    from slimedge.compress.fitting.goals import Goal
    from slimedge.compress.fitting.settings import FitSettings
    from slimedge.data import Data

BATCH = 128


def cut(graph: Graph, outputs: Sequence[Output]) -> Graph:
    """Give a graph with these outputs, named as the model's are; what only the others need is gone."""
    return cut_to(graph, outputs, [graph.output_names[output.position] for output in outputs])


def write(folder: Path, sent: Graph, data: Data, few: Data) -> None:
    """Write what the process of TFMOT reads; see `slimedge.compress.tfmot.student.Student`.

    Args:
        folder: for the files.
        sent: the graph, which gives what losses compare.
        data: to train on, bound.
        few: of it, on which the rebuilt model is compared.
    """
    description, arrays = described(sent)
    (folder / "description.json").write_text(json.dumps(description))
    np.savez(folder / "weights.npz", **arrays)
    for name, examples in (("input", data), ("few", few)):
        files: list[Any] = []
        done = 0
        for inputs, _ in examples.batches(BATCH):
            for index, batch in enumerate(inputs[name] for name in sent.input_names):
                if len(files) <= index:
                    path, shape = folder / f"{name}_{index}.npy", (len(examples), *batch.shape[1:])
                    files.append(np.lib.format.open_memmap(path, "w+", batch.dtype, shape))
                files[index][done : done + len(batch)] = batch
            done += len(batch)
    for index, array in enumerate(outputs_of(sent, few)):
        np.save(folder / f"expected_{index}.npy", array)


def write_labels(folder: Path, goals: Sequence[Goal], labels: Mapping[str, NDArray[Any]]) -> None:
    """Write the labels of the goals that have some."""
    for index, goal in enumerate(goals):
        if goal.label is not None:
            np.save(folder / f"label_{index}.npy", labels[goal.label])


def check_loss(settings: FitSettings) -> None:
    """Refuse a loss that cannot be sent.

    Raises:
        InputError: it is a function.
    """
    if callable(settings.loss):
        raise InputError(
            "loss is a function, which cannot be sent to the process of TFMOT; give 'labels' or None, or train with "
            "engine='keras'."
        )


def outputs_of(graph: Graph, data: Data) -> list[NDArray[Any]]:
    """Give a graph's outputs for data, (n, …) each."""
    watch = Watch(graph, graph.outputs)
    pieces = [watch.run(batch) for batch, _ in data.batches(BATCH)]
    return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]


def with_weights(graph: Graph, sent: Graph, arrays: Mapping[str, NDArray[Any]]) -> Graph:
    """Give a graph with the weights that came back for the graph that was sent, layer by layer of one name."""
    back: dict[str, tuple[tuple[str, NDArray[Any]], ...]] = {}
    for number, layer in enumerate(sent.calls()):
        back[layer.name] = tuple(
            (name, arrays[f"{number}/{index}"]) for index, (name, _) in enumerate(layer.weights)
        )
    changed = {
        layer: Layer(layer.type, layer.config, back[layer.name])
        for layer in graph.calls()
        if layer.name in back
    }
    return with_values(graph, {}, changed)
