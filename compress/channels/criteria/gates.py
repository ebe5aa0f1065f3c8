"""Channels by what the loss does when they are switched off.

With a factor z in front of all weights that take a channel, d loss / dz = sum over those weights w of w · d loss / dw.
Squared and averaged over batches it is

- `taylor`: on the labels, the square of the first-order change (Molchanov et al., 2019, "Importance estimation for
  neural network pruning", eq. 8);
- `hessian`: the second-order change of the distance from the model's own outputs, whose first-order one is 0. Its
  Hessian is J'J for a squared distance, and Fisher's information for the divergence of probabilities; both are
  estimated without labels, by random signs on the outputs (Hutchinson, 1990) and by classes drawn from the
  probabilities, where the products of different examples cancel on average.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.compress.channels.criteria import Asked, Criterion, added
from slimedge.compress.channels.tracing import Use
from slimedge.compress.fitting.goals import goals_of
from slimedge.compress.fitting.outputs import Output, cut_to, opened, trained_outputs
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.simplifying import strip_training_only
from slimedge.errors import InputError
from slimedge.graph_making import layer_names, to_model
from slimedge.keras_file import output_specs

EXAMPLES = 2048
BATCH_SIZE = 32

# From what the outputs give, and labels by output name, to a loss.
Loss = Callable[[list[Any], Mapping[str, Any]], Any]


def _score(asked: Asked, loss_of: Callable[[Asked, tuple[Output, ...]], tuple[Any, Loss]]) -> NDArray[Any]:
    import tensorflow as tf

    graph = opened(strip_training_only(asked.graph)[0])
    outputs, loss = loss_of(asked, trained_outputs(graph))
    producers = graph.producers()
    cut = cut_to(graph, outputs, [producers[output.value].layer.name for output in outputs])
    network = to_model(cut, kept=False)
    names = {layer.name: name for layer, name in layer_names(cut).items()}
    uses = [use for use in asked.tracing.uses.values() if use.role == "in" and use.layer.name in names]
    weights = [network.get_layer(names[use.layer.name]).weights[use.weight].value for use in uses]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator, unused-ignore]
    def slopes(feeds: list[Any], labels: Mapping[str, Any]) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            value = loss(_flat(network(feeds, training=False)), labels)
        gradients = tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [
            tf.reduce_sum(weight * slope, [axis for axis in range(len(weight.shape)) if axis != use.axis])
            for use, weight, slope in zip(uses, weights, gradients, strict=True)
        ]

    tf.random.set_seed(asked.seed)
    totals = np.zeros(asked.tracing.units.count)
    few = asked.data.take(min(EXAMPLES, len(asked.data)), seed=asked.seed)
    labels = few.labels_for(output_specs(asked.model))
    size = min(BATCH_SIZE, len(few))
    for index, (inputs, _) in enumerate(few.batches(size)):
        feeds = [tf.convert_to_tensor(inputs[name]) for name in asked.graph.input_names]
        rows = slice(index * size, (index + 1) * size)
        if len(feeds[0]) == size:
            found = slopes(feeds, {name: tf.convert_to_tensor(array[rows]) for name, array in labels.items()})
            totals += np.square(added(asked.tracing, _numbers(uses, found)))
    return totals


def _numbers(uses: list[Use], found: list[Any]) -> list[tuple[Use, NDArray[np.float64]]]:
    return [(use, np.asarray(slope, np.float64)) for use, slope in zip(uses, found, strict=True)]


def _flat(made: Any) -> list[Any]:
    import keras

    return list(keras.tree.flatten(made))


def _supervised(asked: Asked, outputs: tuple[Output, ...]) -> tuple[tuple[Output, ...], Loss]:
    try:
        chosen, goals = goals_of(outputs, None, asked.model, asked.data, FitSettings(loss="labels"))
    except InputError as error:
        raise InputError(f"the criterion taylor needs labels: {error} hessian needs none.") from error

    def loss(made: list[Any], labels: Mapping[str, Any]) -> Any:
        return sum(goal.loss()(one, labels[str(goal.label)]) for goal, one in zip(goals, made, strict=True))

    return chosen, loss


def _own(asked: Asked, outputs: tuple[Output, ...]) -> tuple[tuple[Output, ...], Loss]:  # noqa: ARG001 - as above

    def loss(made: list[Any], labels: Mapping[str, Any]) -> Any:  # noqa: ARG001 - it needs none
        return sum(_drawn(output.function, one) for output, one in zip(outputs, made, strict=True))

    return outputs, loss


def _drawn(function: str, made: Any) -> Any:
    """A random loss, the expected square of whose slope is what the distance from the outputs is curved by."""
    import tensorflow as tf

    if function == "softmax":
        logits = tf.reshape(made, (-1, made.shape[-1]))
        drawn = tf.random.categorical(logits, 1)[:, 0]
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=drawn, logits=logits))
    if function == "sigmoid":
        hit = tf.cast(tf.random.uniform(tf.shape(made)) < tf.sigmoid(made), made.dtype)
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=hit, logits=made))
    signs = tf.sign(tf.random.uniform(tf.shape(made), -1.0, 1.0))
    scale = tf.sqrt(tf.reduce_mean(tf.square(tf.stop_gradient(made))) + np.finfo(np.float32).tiny)
    return tf.reduce_sum(signs * made) / scale


TAYLOR = Criterion(lambda asked: _score(asked, _supervised), in_loss=True)
HESSIAN = Criterion(lambda asked: _score(asked, _own), in_loss=True)
