"""A float model trained on, so that it makes up for what was taken from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.fitting import strategies
from slimedge.compress.fitting.aims import GoalsAim
from slimedge.compress.fitting.loop import Fitted, KeepersOf, fit
from slimedge.compress.fitting.outputs import cut_to, opened, trained_outputs
from slimedge.compress.fitting.settings import FitSettings, precision_of
from slimedge.compress.fitting.teaching import teaching
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.compress.simplifying import strip_training_only
from slimedge.graph import Graph, Layer, with_values
from slimedge.graph_making import layer_names, to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import output_specs
from slimedge.lineage import lineage_of, with_lineage
from slimedge.precision import mixed_precision
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What training gave.

    Attributes:
        model: with the inputs, outputs and names of the one that was given.
        fitted: how it went.
    """

    model: keras.Model
    fitted: Fitted

    @property
    def epoch_losses(self) -> tuple[float, ...]:
        """The mean loss of each epoch."""
        return self.fitted.epoch_losses


def fine_tuned(
    model: keras.Model,
    teacher: keras.Model | None,
    data: Data,
    settings: FitSettings,
    *,
    keepers_of: KeepersOf = lambda _: (),
    progress: Progress = silent,
) -> FineTuned:
    """Train a float model, towards another one's outputs or labels.

    BatchNorm normalizes with the statistics of each batch while its gain and offset train, and its statistics are
    measured again at the end. Dropout and augmentation are left out: what is trained is what runs.

    Args:
        model: float, canonical (`slimedge.canonical`); it stays as it is, and layers that are not trainable keep their
            weights.
        teacher: the model whose outputs are the target, with the same inputs and outputs; None where labels are.
        data: bound to both.
        settings: checked.
        keepers_of: from the model that trains to what is done around its steps. That model is a copy of `model`, cut
            in front of a softmax or sigmoid that makes an output; its layers have the same names, but that the parts
            of a nested model stand beside it, those whose name another layer has with its name in front.
        progress: told the epoch, the loss, and the share of the steps that are done.

    Returns:
        A new model with other weights, without a lineage of this training, and the losses.

    Raises:
        InputError: there is nothing to train, or nothing to train for.
        CheckError: see `slimedge.compress.fitting.loop.fit`.
    """
    from slimedge.compress.fitting.goals import goals_of

    whole = from_model(model)
    graph = opened(strip_training_only(whole)[0])
    outputs, goals = goals_of(trained_outputs(graph), teacher, model, data, settings)
    producers = graph.producers()
    trained = cut_to(graph, outputs, [producers[output.value].layer.name for output in outputs])
    specs = output_specs(model)
    aim = GoalsAim(
        goals,
        teaching(teacher),
        lambda part: part.labels_for(specs) if settings.loss is not None else {},
    )
    network = network_of(trained, settings)
    fitted = fit(network, aim, data, settings, keepers=keepers_of(network), progress=progress)
    learned = with_learned(model, whole, trained, network)
    return FineTuned(with_measured_norms(learned, data, seed=settings.seed), fitted)


def network_of(graph: Graph, settings: FitSettings) -> keras.Model:
    """Make the model that trains: in the precision and on the devices of the settings."""
    strategy = strategies.for_settings(settings)
    if strategy is not None:
        from slimedge.compress.fitting.common_norms import with_common_norms

        graph = with_common_norms(graph)
    if precision_of(settings) != "float32":
        graph = mixed_precision(graph, precision_of(settings))
    with strategies.within(strategy):
        return to_model(graph)


def with_learned(model: keras.Model, whole: Graph, trained: Graph, network: keras.Model) -> keras.Model:
    """Give the whole model with what the layers of one that trained have learned.

    Args:
        model: as it was given; its lineage is kept.
        whole: its graph.
        trained: what was made into `network`, whose layers have the names of those of `whole`.
        network: after training.
    """
    changed = with_values(whole, {}, _learned(whole, trained, network))
    return with_lineage(to_model(changed), lineage_of(model))


def _learned(whole: Graph, trained: Graph, network: keras.Model) -> Mapping[Layer, Layer]:
    """Give each layer with what the one of its name learned."""
    learned: dict[str, list[NDArray[Any]]] = {
        layer.name: [np.asarray(variable) for variable in network.get_layer(name).weights]
        for layer, name in layer_names(trained).items()
        if layer.weights
    }
    return {layer: layer.with_arrays(learned[layer.name]) for layer in whole.calls() if layer.name in learned}
