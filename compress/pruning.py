"""Pruning: the smallest weights become 0, and the others make up for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.artifact import Step
from slimedge.canonical import canonical
from slimedge.compress.bound_data import bound_to
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.quantization import is_quantized
from slimedge.compress.sparsity.engines import Engine, Pruned
from slimedge.compress.sparsity.places import Place, places_of
from slimedge.compress.sparsity.plan import Plan
from slimedge.compress.sparsity.ranking import masks
from slimedge.compress.sparsity.weights import prunable
from slimedge.errors import InputError
from slimedge.graph import Layer, with_values
from slimedge.graph_making import to_model
from slimedge.graph_reading import from_model
from slimedge.lineage import lineage_of, with_lineage
from slimedge.progress import Progress, silent
from slimedge.registry import Registry

if TYPE_CHECKING:
    import keras

    from slimedge.data import Data

# Who prunes and trains; see `slimedge.compress.sparsity.engines`.
ENGINES = Registry(
    "engine",
    {
        "keras": "slimedge.compress.sparsity.engine:prune",
        "tfmot": "slimedge.compress.sparsity.tfmot.engine:prune",
    },
)
EPOCHS = 2
LEARNING_RATE = 1e-3


@dataclass(frozen=True, slots=True)
class Prune:
    """The stage of `prune`, which says what its arguments mean."""

    sparsity: float = 0.5
    pattern: str = "unstructured"
    ranking: str = "layer"
    schedule: str = "polynomial"
    layers: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    batch_size: int = 128
    loss: str | Callable[[Any, Any], Any] | None = None
    engine: str = "keras"
    seed: int = 0

    def __call__(self, model: keras.Model, data: Data, /, progress: Progress = silent) -> keras.Model:
        """Prune a model; see `prune`."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        return prune(model, data, **settings, progress=progress)

    def check(self) -> None:
        """Refuse settings that no model can be pruned with.

        Raises:
            InputError: one is outside of what is allowed.
        """
        Plan(self.sparsity, self.pattern, self.ranking, self.schedule, self.layers, self.exclude)
        FitSettings(self.epochs or 1, self.learning_rate, self.batch_size, self.loss, self.seed)
        ENGINES.check(self.engine)


def prune(
    model: keras.Model,
    data: Data | None,
    *,
    sparsity: float = 0.5,
    pattern: str = "unstructured",
    ranking: str = "layer",
    schedule: str = "polynomial",
    layers: Collection[str] = (),
    exclude: Collection[str] = (),
    epochs: int = EPOCHS,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = 128,
    loss: str | Callable[[Any, Any], Any] | None = None,
    engine: str = "keras",
    seed: int = 0,
    progress: Progress = silent,
) -> keras.Model:
    """Set the smallest weights of a model to 0 while it trains on (Zhu and Gupta, 2017).

    All kernels are pruned by default, those of the first and the last layer too: they hold few of the weights, and are
    named in `exclude` where they matter. Weights that are 0 already stay 0, whether they train or not. A file with
    zeros is smaller once it is compressed; that a runtime is faster with them is not promised, since most compute with
    zeros as with any number.

    Args:
        model: float, any that `quantize` takes; it stays as it is.
        data: training examples, bound to the model's inputs or bindable to them; None where `epochs` is 0.
        sparsity: the share of the weights of each pruned layer, or of all with `ranking="global"`, that shall be 0,
            from 0 to below 1. A pattern N:M fixes it.
        pattern: where zeros may lie: `unstructured`; blocks as `4x1`, of output by input channels; or `2:4`, so many
            kept of each group along the axis that the product sums over. A layer that has no such block or group stays
            dense, and the lineage says so.
        ranking: `layer` takes the same share of each weight; `global` takes the smallest of all.
        schedule: how sparsity grows over the steps: `polynomial`, from 0 to the whole by half of the steps, with its
            power as in `polynomial:2`; `cubic`, the same with 3; `constant`, all at once, or from a share of the steps
            on as in `constant:0.2`; or `one_shot`.
        layers: patterns (`conv_*`) of the names of the layers to prune, a nested model's for all in it; none for all.
        exclude: likewise, of layers that stay dense.
        epochs: passes over the data; 0 sets weights to 0 and trains nothing.
        learning_rate: of Adam at its highest, after a short warm-up; a cosine takes it to 0.
        batch_size: examples a step.
        loss: None trains towards the model's own outputs, which needs no labels; `labels` trains on the data's; or a
            function of (labels, outputs).
        engine: a name in `ENGINES`: `keras`, in this process, or `tfmot`, Google's own pruning in a process of its own,
            for the models that it takes; see `slimedge.compress.sparsity.tfmot.engine`.
        seed: of the order of the examples.
        progress: told the epoch, the loss, and the share of the steps that are done.

    Returns:
        An ordinary Keras 3 model with the same inputs, outputs and names.

    Raises:
        InputError: a setting or data that cannot be used, a quantized model, or nothing to prune.
        CheckError: the loss became NaN, or a pruned weight is not 0 at the end; nothing was kept.
    """
    plan = Plan(sparsity, pattern, ranking, schedule, tuple(layers), tuple(exclude))
    settings = FitSettings(epochs or 1, learning_rate, batch_size, loss, seed)
    chosen: Engine = ENGINES[engine]
    model = canonical(model)
    if is_quantized(model):
        raise InputError(
            f"model '{model.name}' is quantized already; prune the float model, and quantize what that gives."
        )
    weights, misfits = plan.weights(model)
    places = places_of(model, weights)
    bound = None if epochs == 0 else _bound(model, data)
    if bound is None:
        done = Pruned(_at_once(model, places, plan))
    else:
        done = chosen(model, places, bound, plan, settings, progress)
    told = {
        "engine": engine,
        **plan.told(),
        **(settings.told() if bound is not None else {}),
        "epochs": epochs,
        "layer_sparsity": _by_layer(done.model),
        "left_dense": {**misfits, **done.left_dense},
        **(
            {"training_examples": len(bound), "training_data": bound.fingerprint} if bound is not None else {}
        ),
        "epoch_losses": list(done.epoch_losses),
        **done.told,
    }
    return with_lineage(done.model, (*lineage_of(model), Step("prune", told)))


def _bound(model: keras.Model, data: Data | None) -> Data:
    if data is None:
        raise InputError(
            "there is no data to train on while weights are pruned; give some, or train for 0 epochs."
        )
    return bound_to(model, data)


def _at_once(model: keras.Model, places: Sequence[Place], plan: Plan) -> keras.Model:
    """Give a model whose smallest weights are 0 and whose others are as they were."""
    graph = from_model(model)
    by_name = {layer.name: layer for layer in graph.calls()}
    arrays = [by_name[place.layer].weights[place.index][1] for place in places]
    kept = masks(arrays, [place.weight.axes for place in places], plan.form, plan.final, ranking=plan.ranking)
    changed: dict[Layer, Layer] = {}
    for place, array, mask in zip(places, arrays, kept, strict=True):
        layer = by_name[place.layer]
        pruned = [*changed.get(layer, layer).weights]
        pruned[place.index] = (pruned[place.index][0], np.where(mask, array, np.zeros_like(array)))
        changed[layer] = replace(layer, weights=tuple(pruned))
    return to_model(with_values(graph, {}, changed))


def _by_layer(model: keras.Model) -> Mapping[str, float]:
    """Give the share of zeros among the weights of each layer that can be pruned."""
    zeros: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for weight in prunable(model):
        array = np.asarray(weight.variable)
        zeros[weight.layer] = zeros.get(weight.layer, 0) + int(np.sum(array == 0))
        sizes[weight.layer] = sizes.get(weight.layer, 0) + array.size
    return {name: zeros[name] / sizes[name] for name in zeros}
