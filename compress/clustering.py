"""Clustering: the weights of each layer take a few values, which compress well, and training moves the values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.clusters import INITIALIZATIONS
from slimedge.compress.clusters.groups import grouped, value_counts
from slimedge.compress.clusters.keeping import Clustered, ClusterKeeper
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.folding import fold_affine
from slimedge.compress.quantization import is_quantized
from slimedge.compress.sparsity.places import Place, places_of
from slimedge.compress.sparsity.weights import Prunable, chosen, prunable
from slimedge.errors import InputError
from slimedge.graph import Graph
from slimedge.graph_making import layer_names, to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
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

    def __call__(self, model: keras.Model, data: Data, /, progress: Progress = silent) -> keras.Model:
        """Cluster the weights of a model; see `cluster`."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return cluster(model, data, **settings, progress=progress)

    def check(self) -> None:
        """Refuse settings that no model can be clustered with.

        Raises:
            InputError: one is outside of what is allowed.
        """
        _check(self.clusters, self.init, self.granularity, self.epochs)
        FitSettings(max(self.epochs, 1), self.learning_rate, self.batch_size, self.loss, self.seed)


def cluster(
    model: keras.Model,
    data: Data | None,
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
        data: training examples, bound to the model's inputs or bindable to them; None where `epochs` is 0.
        clusters: the most values, 2 or more. A weight that has no more keeps those that it has.
        init: where k-means starts, a name in `slimedge.compress.clusters.INITIALIZATIONS`: `kmeans++` (Arthur and
            Vassilvitskii, 2007), `linear` from the smallest weight to the largest, or `density`, evenly among them.
        granularity: `per_layer`, or `per_channel` for values of its own for each output channel.
        layers: patterns (`conv_*`) of the names of the layers to cluster, a nested model's for all in it; none for all.
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
        CheckError: the loss became NaN, or a weight has more values at the end.
    """
    from slimedge.compress.fitting.fine_tuning import fine_tuned

    _check(clusters, init, granularity, epochs)
    settings = FitSettings(
        epochs=max(epochs, 1), learning_rate=learning_rate, batch_size=batch_size, loss=loss, seed=seed
    )
    if is_quantized(model):
        raise InputError(
            f"model '{model.name}' is quantized; cluster the float model, and quantize what comes out."
        )
    model = canonical(model)
    weights = chosen(prunable(model), layers, exclude, model.name, done="clustered")
    bound = _bound(model, data, epochs)
    graph, folded = from_model(model), tuple[str, ...]()
    if fold:
        graph, folded = fold_affine(graph)
    places = _renamed(places_of(model, weights), graph)
    made = to_model(graph)
    for index, place in enumerate(places):
        progress("finding clusters", index / len(places))
        weight = place.within(made)
        found = grouped(_finite(weight), clusters, init=init, axes=_axes(weight, granularity), seed=seed)
        weight.variable.assign(found.weight())
    losses: tuple[float, ...] = ()
    if bound is not None:

        def keepers_of(network: keras.Model) -> list[ClusterKeeper]:
            held = [place.within(network) for place in places]
            return [
                ClusterKeeper(clusters, [Clustered(one.variable, _axes(one, granularity)) for one in held])
            ]

        teacher = model if loss is None else None
        done = fine_tuned(made, teacher, bound, settings, keepers_of=keepers_of, progress=progress)
        made, losses = done.model, done.epoch_losses
    told = {
        "clusters": clusters,
        "init": init,
        "granularity": granularity,
        "folded": list(folded),
        **settings.told(),
        "epochs": epochs,
        "layer_values": _values([place.within(made) for place in places], granularity),
        **(
            {"training_examples": len(bound), "training_data": bound.fingerprint} if bound is not None else {}
        ),
        "epoch_losses": list(losses),
    }
    return with_lineage(made, (*lineage_of(model), Step("cluster", told)))


def _check(clusters: int, init: str, granularity: str, epochs: int) -> None:
    _check_whole("clusters", clusters, 2)
    _check_whole("epochs", epochs, 0)
    if granularity not in GRANULARITIES:
        raise InputError(f"granularity='{granularity}' is not allowed; give {' or '.join(GRANULARITIES)}.")
    INITIALIZATIONS.check(init)


def _check_whole(name: str, given: object, least: int) -> None:
    if not isinstance(given, int) or given < least:
        raise InputError(f"{name}={given!r} is not allowed; give a whole number, {least} or more.")


def _bound(model: keras.Model, data: Data | None, epochs: int) -> Data | None:
    if epochs == 0:
        return None
    if data is None:
        raise InputError("there is no data to train the centroids on; give some, or train for 0 epochs.")
    return bound_to(model, data)


def _renamed(places: Sequence[Place], graph: Graph) -> list[Place]:
    """Give places by the names of the layers in the model that is made of the graph."""
    names = {layer.name: name for layer, name in layer_names(graph).items()}
    return [replace(place, layer=names[place.layer]) for place in places]


def _axes(weight: Prunable, granularity: str) -> tuple[int, ...]:
    """Give the axes whose places have values of their own: output channels, or the features of a table."""
    if granularity == "per_layer":
        return ()
    return weight.axes.summed if weight.variable.name == "embeddings" else weight.axes.output


def _finite(weight: Prunable) -> NDArray[np.float32]:
    array = np.asarray(weight.variable)
    if not np.isfinite(array).all():
        raise InputError(
            f"layer '{weight.layer}' has weights that are not finite numbers, which have no centroid; exclude it, or "
            "train the model again."
        )
    return array


def _values(weights: Sequence[Prunable], granularity: str) -> dict[str, int]:
    """Give the most values that a weight, or channel, of each layer has."""
    found: dict[str, int] = {}
    for weight in weights:
        most = int(value_counts(np.asarray(weight.variable), _axes(weight, granularity)).max())
        found[weight.layer] = max(found.get(weight.layer, 0), most)
    return found
