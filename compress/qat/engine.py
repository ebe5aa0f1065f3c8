"""The training engine of this package: Keras 3 in the user's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.compress.fitting.aims import GoalsAim
from slimedge.compress.fitting.goals import goals_of
from slimedge.compress.fitting.loop import fit
from slimedge.compress.fitting.outputs import trained_outputs
from slimedge.compress.fitting.teaching import teaching
from slimedge.compress.qat.engines import Engine, Outcome
from slimedge.compress.qat.finishing import finished
from slimedge.compress.qat.keeping import keepers_of
from slimedge.compress.qat.norms import folded_norms
from slimedge.compress.qat.rewriting import training_graph, with_bits
from slimedge.errors import InputError
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import output_specs
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
        CheckError: see `slimedge.compress.fitting.loop.fit`.
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
    aim = GoalsAim(
        goals,
        teaching(teacher),
        lambda part: part.labels_for(specs) if settings.loss is not None else {},
    )
    fitted = fit(model, aim, data, settings, keepers=keepers_of(settings), progress=progress)
    return Outcome(to_model(finished(graph, training, model)), fitted.epoch_losses, fitted.told())


ENGINE = Engine(train)
