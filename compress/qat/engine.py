"""The training engine of this package: Keras 3 in the user's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.compress.qat.finishing import finished
from slimedge.compress.qat.fitting import Goal, fit
from slimedge.compress.qat.losses import distillation, of_your_own, supervision
from slimedge.compress.qat.norms import folded_norms
from slimedge.compress.qat.outputs import Output, trained_outputs
from slimedge.compress.qat.rewriting import training_graph, with_bits
from slimedge.errors import InputError
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_structure, output_specs
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.compress.qat.settings import Settings
    from slimedge.data import Data

# A row of probabilities adds up to 1, but for the rounding of each.
SUM_TOLERANCE = 0.1
LOOKED_AT = 32


def train(
    teacher: keras.Model | None,
    quantized: keras.Model,
    data: Data,
    settings: Settings,
    progress: Progress = silent,
) -> tuple[keras.Model, tuple[float, ...]]:
    """Train a quantized model.

    Args:
        teacher: the float model, for distillation and BatchNorm; None where it is not known.
        quantized: it stays as it is.
        data: bound to both.
        settings: checked.
        progress: told what is being done.

    Returns:
        A model that differs from `quantized` in its numbers only, and the mean loss of each epoch.

    Raises:
        InputError: there is nothing to train, or nothing to train for.
        CheckError: see `slimedge.compress.qat.fitting.fit`.
    """
    graph = from_model(quantized)
    if not any(layer.type is FakeQuantWeights for layer in graph.calls()):
        raise InputError(
            f"model '{quantized.name}' has no layer that is rounded as it runs, so there is nothing to train; quantize "
            "it with the scheme static_wi8_ai8."
        )
    outputs, goals = _goals(trained_outputs(graph), teacher, quantized, data, settings)
    norms = {}
    if settings.batchnorm == "trained":
        if teacher is None:
            raise InputError(
                "batchnorm='trained' needs the float model, where BatchNorm is not folded yet; give it as teacher=."
            )
        norms = folded_norms(teacher, graph)
    learned = settings.gradients == "lsq"
    if settings.weight_bits is not None:
        graph = with_bits(graph, settings.weight_bits)
    training = training_graph(graph, outputs, ranges=settings.ranges, learned_scales=learned, norms=norms)
    model = to_model(training.graph)
    specs = output_specs(quantized)
    history = fit(
        model,
        goals,
        data,
        settings,
        teach=_teaching(teacher),
        labels_of=lambda part: part.labels_for(specs) if settings.loss is not None else {},
        progress=progress,
    )
    return to_model(finished(graph, training, model)), history


def _teaching(teacher: keras.Model | None) -> Callable[[list[Any]], list[Any]]:
    import keras
    import tensorflow as tf

    if teacher is None:
        return lambda feeds: []  # noqa: ARG005 - nothing asks it
    structure = input_structure(teacher)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def teach(feeds: list[Any]) -> Any:
        given = keras.tree.pack_sequence_as(structure, feeds)
        return keras.tree.flatten(teacher(given, training=False))

    return teach  # type: ignore[no-any-return, unused-ignore]


def _goals(
    outputs: tuple[Output, ...],
    teacher: keras.Model | None,
    quantized: keras.Model,
    data: Data,
    settings: Settings,
) -> tuple[tuple[Output, ...], list[Goal]]:
    """Give the outputs that have a target, and what each is trained for."""
    if settings.loss is None:
        if teacher is None:
            raise InputError(
                f"model '{quantized.name}' is quantized, and without the float model there are no outputs to train "
                "towards; give that as teacher=, or train on labels with loss='labels'."
            )
        return outputs, [Goal(distillation(output.function), position=output.position) for output in outputs]
    specs = output_specs(quantized)
    labels = data.labels_for(specs)
    chosen = tuple(output for output in outputs if specs[output.position].name in labels)
    if not chosen:
        raise InputError(
            "the data has no labels for a float output of the model; give some, or leave out the loss to train towards "
            "the float model's outputs."
        )
    goals = []
    for output in chosen:
        name = specs[output.position].name
        if callable(settings.loss):
            goals.append(Goal(of_your_own(output.function, settings.loss), label=name))
            continue
        classes = labels[name].dtype.kind == "i"
        shown = classes and output.function == "identity" and _are_probabilities(quantized, output, data)
        goals.append(Goal(supervision(output.function, classes=classes, probabilities=shown), label=name))
    return chosen, goals


def _are_probabilities(model: keras.Model, output: Output, data: Data) -> bool:
    """Whether an output whose making is not understood gives probabilities, told by its numbers."""
    import keras

    inputs, _ = next(data.batches(min(LOOKED_AT, len(data))))
    given = keras.tree.pack_sequence_as(input_structure(model), list(inputs.values()))
    array = np.asarray(keras.tree.flatten(model(given, training=False))[output.position])
    sums = array.sum(axis=-1)
    apart = array.shape[-1] == 1 or bool(np.all(np.abs(sums - 1) < SUM_TOLERANCE))
    return bool(array.min() >= 0 and array.max() <= 1 and apart)
