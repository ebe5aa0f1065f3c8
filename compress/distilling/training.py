"""A student put together with what it learns from, and trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slimedge.compress.distilling.aim import DistillationAim
from slimedge.compress.distilling.networks import Teacher, cut, feature, opened_graph
from slimedge.compress.distilling.pairs import Pair, pairs_of
from slimedge.compress.distilling.settings import Shares
from slimedge.compress.fitting import strategies
from slimedge.compress.fitting.fine_tuning import FineTuned, network_of, with_learned
from slimedge.compress.fitting.goals import Goal, goals_of
from slimedge.compress.fitting.loop import KeepersOf, fit
from slimedge.compress.fitting.outputs import Output, trained_outputs
from slimedge.compress.fitting.settings import FitSettings, precision_of
from slimedge.compress.norm_statistics import with_measured_norms
from slimedge.errors import InputError
from slimedge.graph_reading import from_model
from slimedge.keras_file import output_specs
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

ADAPTOR = "slimedge_adaptor"


def trained(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    data: Data,
    settings: FitSettings,
    shares: Shares,
    *,
    keepers_of: KeepersOf = lambda _: (),
    progress: Progress = silent,
) -> FineTuned:
    """Train a student; see `slimedge.compress.distillation.distill`.

    Args:
        student: float, canonical.
        teachers: likewise, or quantized; any number.
        data: bound to the student.
        settings: of the training.
        shares: of what is learned.
        keepers_of: as of `slimedge.compress.fitting.fine_tuning.fine_tuned`.
        progress: likewise.

    Raises:
        InputError: teachers that do not fit, a layer that is not there, or nothing to train for.
        CheckError: see `slimedge.compress.fitting.loop.fit`.
    """
    whole, graph = from_model(student), opened_graph(student)
    outputs = trained_outputs(graph)
    labelled = _goals(outputs, student, data, replace(settings, loss="labels"), alone=not teachers)
    goals = labelled
    if settings.loss not in (None, "labels"):
        goals = _goals(outputs, student, data, settings, alone=not teachers)
    if shares.label_weight == 1 and not goals:
        raise InputError(
            "label_weight=1 learns from labels alone, and the data has none; give a smaller share, or data with labels."
        )
    if not shares.label_weight:
        goals = {}
    if not teachers:
        outputs = tuple(output for output in outputs if output in goals)
    pairs = pairs_of(shares, [opened_graph(teacher) for teacher in teachers])
    known = [
        Teacher(model, student, outputs, [pair.theirs for pair in pairs if pair.teacher == place])
        for place, model in enumerate(teachers)
    ]
    values = [feature(graph, pair.ours, "student") for pair in pairs]
    for pair, value in zip(pairs, values, strict=True):
        pair.check(value.shape, known[pair.teacher].features[pair.place])
    opened = cut(graph, outputs, values)
    network = network_of(opened, settings)
    specs = output_specs(student)
    aim = DistillationAim(
        functions=[_softened(output, labelled.get(output)) for output in outputs],
        goals={place: goals[output] for place, output in enumerate(outputs) if output in goals},
        teachers=known,
        weights=_shared(shares.teacher_weights, len(known)),
        shares=shares,
        pairs=pairs,
        labels_of=lambda part: part.labels_for(specs),
    )
    adapted = _adapted(network, len(outputs), pairs, known, settings)
    fitted = fit(adapted, aim, data, settings, keepers=keepers_of(network), progress=progress)
    learned = with_learned(student, whole, opened, network)
    return FineTuned(with_measured_norms(learned, data, seed=settings.seed), fitted)


def _goals(
    outputs: tuple[Output, ...], student: keras.Model, data: Data, settings: FitSettings, *, alone: bool
) -> dict[Output, Goal]:
    """Give what labels there are to train on; without a teacher there must be some."""
    specs = output_specs(student)
    labels = data.labels_for(specs)
    if not alone and not any(specs[output.position].name in labels for output in outputs):
        return {}
    chosen, goals = goals_of(outputs, None, student, data, settings)
    return dict(zip(chosen, goals, strict=True))


def _softened(output: Output, labelled: Goal | None) -> str:
    """Numbers without an activation are logits where their labels are classes."""
    logits = labelled is not None and labelled.classes and not labelled.probabilities
    if output.function != "identity" or not logits:
        return output.function
    return "sigmoid" if output.value.shape[-1] == 1 else "softmax"


def _shared(weights: Sequence[float], count: int) -> list[float]:
    """Give weights that add up to 1."""
    given = list(weights) or [1.0] * count
    return [weight / sum(given) for weight in given]


def _adapted(
    network: keras.Model,
    outputs: int,
    pairs: Sequence[Pair],
    teachers: Sequence[Teacher],
    settings: FitSettings,
) -> keras.Model:
    """Give the student with a linear map to the teacher's channels behind each layer that learns its features."""
    import keras

    if not any(pair.kind == "hints" for pair in pairs):
        return network
    made: list[Any] = list(network.outputs)
    strategy = strategies.for_settings(settings)
    with strategies.within(strategy):
        for index, pair in enumerate(pairs):
            if pair.kind == "hints":
                channels = teachers[pair.teacher].features[pair.place][-1]
                adaptor = keras.layers.Dense(
                    channels,
                    kernel_initializer=keras.initializers.GlorotUniform(settings.seed + index),
                    dtype=precision_of(settings),
                    name=f"{ADAPTOR}_{index}",
                )
                made[outputs + index] = adaptor(made[outputs + index])
        return keras.Model(network.inputs, made, name=network.name)
