"""Clustering: the weights of each layer take a few values, which compress well, and training moves the values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.clusters import INITIALIZATIONS
from slimedge.compress.clusters.groups import grouped, value_counts
from slimedge.compress.clusters.keeping import Clustered, ClusterKeeper
from slimedge.compress.clusters.weights import Place, places
from slimedge.compress.equivalence import check_same
from slimedge.compress.fitting.fine_tuning import fine_tuned
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.folding import fold_affine
from slimedge.compress.quantization import is_quantized
from slimedge.errors import InputError
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of, with_lineage
from slimedge.preprocessing import starts_with_preprocessing
from slimedge.progress import Progress, silent

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

GRANULARITIES = ("per_layer", "per_channel")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The stage of `cluster`, which says what its arguments mean."""

    clusters: int = 16
    init: str = "kmeans++"
    granularity: str = "per_layer"
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    fold: bool = True
    epochs: int = 1
    learning_rate: float = 1e-3
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | None = None
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /) -> keras.Model:
        """Cluster the weights of a model; see `cluster`."""
        return cluster(model, data, **{field.name: getattr(self, field.name) for field in fields(self)})


def cluster(
    model: keras.Model,
    data: Data,
    *,
    clusters: int = 16,
    init: str = "kmeans++",
    granularity: str = "per_layer",
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    fold: bool = True,
    epochs: int = 1,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    loss: str | Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Give the weights of each layer at most so many values (Han et al., 2016, "Deep Compression", section 3).

    The values are the centroids of k-means over the weights. Training then moves them: each by the mean gradient of the
    weights that have it. Files stay as large and as fast as they were, and become small where they are compressed.
    Kernels and tables are clustered; biases and the weights of normalization stay as they are but for training.

    Args:
        model: float, any that `quantize` takes; it stays as it is. What pruning set to 0 stays 0: where a weight has
            zeros, 0 is one of its values and does not move.
        data: examples, bound to the model's inputs or bindable to them.
        clusters: the most values, 2 or more. A weight that has no more keeps those that it has.
        init: where k-means starts, a name in `slimedge.compress.clusters.INITIALIZATIONS`: `kmeans++` (Arthur and
            Vassilvitskii, 2007), `linear` from the smallest weight to the largest, or `density`, evenly among them.
        granularity: `per_layer`, or `per_channel` for values of its own for each output channel.
        layers: patterns of names, as of `fnmatch`, of the layers to cluster; none for all.
        exclude: likewise, of layers that keep their weights.
        fold: whether BatchNorm is folded into the layer in front of it first. Exporters do that, and multiply the few
            values with a factor for each channel: without it a file has few values a channel, but many a layer.
        epochs: passes over the data; 0 leaves the centroids where k-means put them.
        learning_rate: of Adam at its highest, after a short warm-up; a cosine takes it to 0.
        batch_size: examples a step.
        loss: None trains towards the model's own outputs, which needs no labels; `labels` trains on the data's; or a
            function of (labels, outputs).
        seed: of k-means and of the order of the examples.
        progress: told what is being done.

    Returns:
        An ordinary Keras 3 model with the same inputs, outputs and names.

    Raises:
        InputError: a quantized model, a setting or data that cannot be used, or a pattern that fits no layer.
        CheckError: the loss became NaN, or a layer computes something else when it is made again.
    """
    _check_whole("clusters", clusters, 2)
    _check_whole("epochs", epochs, 0)
    if granularity not in GRANULARITIES:
        raise InputError(f"granularity='{granularity}' is not allowed; give {' or '.join(GRANULARITIES)}.")
    INITIALIZATIONS.check(init)
    settings = FitSettings(
        epochs=max(epochs, 1), learning_rate=learning_rate, batch_size=batch_size, loss=loss, seed=seed
    )
    if is_quantized(model):
        raise InputError(
            f"model '{model.name}' is quantized; cluster the float model, and quantize what comes out."
        )
    model = canonical(model)
    bound = (
        data
        if data.is_bound
        else data.bind(
            input_specs(model), preprocessing=starts_with_preprocessing(model), outputs=output_specs(model)
        )
    )
    graph, folded = from_model(model), tuple[str, ...]()
    if fold:
        graph, folded = fold_affine(graph)
        check_same(model, graph, bound)
    made = to_model(graph)
    chosen = places(graph, made, layers, exclude)
    axes = {place: place.axes if granularity == "per_channel" else () for place in chosen}
    for index, place in enumerate(chosen):
        progress("finding clusters", index / len(chosen))
        _group(made, place, axes[place], clusters=clusters, init=init, seed=seed)
    losses: tuple[float, ...] = ()
    if epochs:
        done = fine_tuned(
            made,
            model if loss is None else None,
            bound,
            settings,
            keepers_of=lambda network: [
                ClusterKeeper(clusters, [Clustered(place.variable(network), axes[place]) for place in chosen])
            ],
            progress=progress,
        )
        made, losses = done.model, done.epoch_losses
    trained = {
        **settings.told(),
        "training_examples": len(bound),
        "training_data": bound.fingerprint,
        "epoch_losses": list(losses),
    }
    step = Step(
        "cluster",
        {
            "clusters": clusters,
            "init": init,
            "granularity": granularity,
            "folded": list(folded),
            "layers": _values(made, chosen, axes),
            **(trained if epochs else {"epochs": 0, "seed": seed}),
        },
    )
    return with_lineage(made, (*lineage_of(model), step))


def _check_whole(name: str, given: object, least: int) -> None:
    if not isinstance(given, int) or given < least:
        raise InputError(f"{name}={given!r} is not allowed; give a whole number, {least} or more.")


def _group(
    network: keras.Model, place: Place, axes: tuple[int, ...], *, clusters: int, init: str, seed: int
) -> None:
    variable = place.variable(network)
    weight = np.asarray(variable)
    if not np.isfinite(weight).all():
        raise InputError(
            f"layer '{place.source}' has weights that are not finite numbers, which have no centroid; exclude it, or "
            "train the model again."
        )
    variable.assign(grouped(weight, clusters, init=init, axes=axes, seed=seed).weight())


def _values(
    network: keras.Model, chosen: Sequence[Place], axes: dict[Place, tuple[int, ...]]
) -> dict[str, int]:
    """Give the most values that a weight, or channel, of each layer has."""
    found: dict[str, int] = {}
    for place in chosen:
        most = int(value_counts(np.asarray(place.variable(network)), axes[place]).max())
        found[place.source] = max(found.get(place.source, 0), most)
    return found
