"""The training engine of this package: Keras 3 in the user's process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slimedge.compress.qat.engines import Engine, Outcome
from slimedge.compress.qat.finishing import finished
from slimedge.compress.qat.fitting import fit
from slimedge.compress.qat.goals import goals_of
from slimedge.compress.qat.norms import folded_norms
from slimedge.compress.qat.outputs import trained_outputs
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


def train(
    teacher: keras.Model | None,
    quantized: keras.Model,
    data: Data,
    settings: Settings,
    progress: Progress = silent,
) -> Outcome:
    """Train a quantized model.

    Args:
        teacher: the float model, for distillation and BatchNorm; None where it is not known.
        quantized: it stays as it is.
        data: bound to both.
        settings: checked.
        progress: told what is being done.

    Returns:
        A model that differs from `quantized` in its numbers only.

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
    outputs, goals = goals_of(trained_outputs(graph), teacher, quantized, data, settings)
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
    return Outcome(to_model(finished(graph, training, model)), history)


ENGINE = Engine(train)


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
