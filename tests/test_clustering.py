"""Clustering a model: few values in each weight before and after training, zeros kept, and what it refuses."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples, float_and_int8
from test_weight_only import bound, text_gru, text_lstm, transformer

from slimedge.compress.clustering import Cluster, cluster
from slimedge.compress.pruning import prune
from slimedge.compress.quantization import quantize
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.integers import integers_for, isa_here
from slimedge.lineage import lineage_of

WEIGHTS = ("kernel", "embeddings")
# By hand: the axes whose places have values of their own.
CHANNELS = {
    "text_lstm": {"table/embeddings": (1,), "reader/lstm_cell/kernel": (1,), "mood/kernel": (1,)},
    "transformer": {
        "table/embeddings": (1,),
        "attention/query/kernel": (1, 2),
        "attention/attention_output/kernel": (2,),
        "wide/kernel": (1,),
    },
}


def residual() -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = stem = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.Conv2D(8, 1, name="pointwise")(layers.BatchNormalization(name="depthwise_norm")(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, stem]))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="classes")(x))


BUILD = {"residual": residual, "text_lstm": text_lstm, "text_gru": text_gru, "transformer": transformer}


@cache
def network_of(name):
    """Give a model with random weights and statistics; leave it as it is."""
    keras.utils.set_random_seed(3)
    network = BUILD[name]()
    generator = np.random.default_rng(3)
    for variable in network.variables:
        if variable.name in {"gamma", "moving_variance"}:
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
        elif variable.name in {"bias", "beta", "moving_mean"}:
            variable.assign(generator.normal(0, 0.2, variable.shape))
    return network


@cache
def clustered(name, granularity="per_layer", epochs=2):
    network = network_of(name)
    return cluster(
        network,
        bound(network) if epochs else None,
        clusters=8,
        granularity=granularity,
        epochs=epochs,
        batch_size=8,
        learning_rate=3e-3,
    )


def weights_of(network):
    """Kernels and tables by path."""
    return {each.path: each.numpy() for each in network.weights if each.name.endswith(WEIGHTS)}


@pytest.mark.parametrize("name", BUILD)
def test_training_moves_the_values_of_each_weight_and_leaves_at_most_so_many(name):
    before, after = weights_of(clustered(name, epochs=0)), weights_of(clustered(name))

    assert before.keys() == after.keys() == weights_of(network_of(name)).keys()
    for path, start in before.items():
        assert 1 < len(np.unique(start)) <= 8
        assert len(np.unique(after[path])) <= 8
        # The same weights have the same value: training moved clusters, not weights.
        for value in np.unique(start):
            assert len(np.unique(after[path][start == value])) == 1
        assert not np.array_equal(start, after[path])


@pytest.mark.parametrize("name", CHANNELS)
def test_each_channel_has_values_of_its_own_where_asked_for(name):
    after = weights_of(clustered(name, "per_channel"))
    for path, axes in CHANNELS[name].items():
        weight = np.moveaxis(after[path], axes, range(len(axes)))
        channels = weight.reshape(int(np.prod(weight.shape[: len(axes)])), -1)
        counts = [len(np.unique(channel)) for channel in channels]
        assert max(counts) == 8
        assert len(np.unique(after[path])) > 8


def test_without_training_each_weight_lies_at_the_mean_of_its_cluster():
    network = network_of("transformer")
    after = weights_of(clustered("transformer", epochs=0))
    for path, weight in weights_of(network).items():
        for value in np.unique(after[path]):
            assert value == pytest.approx(weight[after[path] == value].mean(), rel=1e-4, abs=1e-6)


def test_biases_and_normalization_stay_without_training():
    network, after = network_of("transformer"), clustered("transformer", epochs=0)
    for old, new in zip(network.weights, after.weights, strict=True):
        if not old.name.endswith(WEIGHTS):
            assert np.array_equal(old.numpy(), new.numpy())


def test_training_brings_the_outputs_nearer_to_those_of_the_float_model():
    network = network_of("residual")
    inputs = examples(network, count=64, seed=9)

    def sqnr_db(other):
        return fidelity(keras_outputs(network, inputs), keras_outputs(other, inputs)).sqnr_db

    data = bound(network)
    coarse = cluster(network, None, clusters=4, epochs=0)
    better = cluster(network, data, clusters=4, epochs=60, batch_size=16, learning_rate=3e-3)
    assert sqnr_db(better) > sqnr_db(coarse) + 6


def test_zeros_of_pruning_stay_zeros_through_clustering_and_training():
    network = network_of("residual")
    data = bound(network)
    pruned = prune(network, data, sparsity=0.6, epochs=1, batch_size=16)

    made = cluster(pruned, data, clusters=6, epochs=3, batch_size=8, learning_rate=1e-2)

    before, after = weights_of(pruned), weights_of(made)
    for path, weight in before.items():
        assert np.mean(weight == 0) > 0.5
        assert np.all(after[path][weight == 0] == 0)
        assert len(np.unique(after[path])) <= 6
    assert [step.name for step in lineage_of(made)] == ["prune", "cluster"]


def test_batchnorm_is_folded_first_so_that_a_file_has_as_few_values():
    import onnx
    from onnx import numpy_helper

    network = network_of("residual")
    counts = {}
    for fold in (True, False):
        made = cluster(network, None, clusters=4, epochs=0, fold=fold)
        content, _ = EXPORTERS["onnx"](made, Settings(io="float32", batch=1, integers="u8u8", metadata={}))
        arrays = map(numpy_helper.to_array, onnx.load_from_string(content).graph.initializer)
        counts[fold] = [len(np.unique(array)) for array in arrays if array.shape == (8, 3, 3, 3)]
    assert counts == {True: [4], False: [32]}


@pytest.mark.parametrize("name", ["nested_twice", "preactivation", "shared_tower", "transposed"])
def test_with_more_clusters_than_weights_nothing_changes(name):
    network = MODELS[name]()
    inputs = examples(network, count=4, seed=2)

    made = cluster(network, None, clusters=1_000_000, epochs=0)

    expected = keras_outputs(network, inputs)
    for output, array in keras_outputs(made, inputs).items():
        np.testing.assert_allclose(array, expected[output], atol=1e-5 * np.abs(expected[output]).max())


def test_an_output_that_a_folded_batchnorm_made_keeps_its_name():
    inputs = keras.Input((6,), name="features")
    outputs = layers.BatchNormalization(name="scores")(layers.Dense(5, name="dense")(inputs))
    network = keras.Model(inputs, outputs)

    made = cluster(network, bound(network), clusters=3, epochs=1)

    assert list(keras_outputs(made, examples(network))) == ["scores"]
    assert lineage_of(made)[-1].settings["folded"] == ["scores"]
    (kernel,) = weights_of(made).values()
    assert len(np.unique(kernel)) == 3


def test_without_folding_batchnorm_trains_and_stays():
    network = network_of("residual")
    data = bound(network)

    made = cluster(network, data, clusters=8, fold=False, epochs=2, batch_size=8)

    assert [layer.name for layer in made.layers] == [layer.name for layer in network.layers]
    old, new = network.get_layer("stem_norm"), made.get_layer("stem_norm")
    assert not np.array_equal(old.gamma.numpy(), new.gamma.numpy())
    assert len(np.unique(made.get_layer("stem").kernel.numpy())) == 8


def test_the_model_that_was_given_stays_as_it_is():
    network = MODELS["dense_chain"]()
    before = [weight.numpy() for weight in network.weights]
    cluster(network, bound(network), clusters=3, epochs=1)

    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, network.weights, strict=True))


def test_layers_are_chosen_by_pattern():
    network = network_of("transformer")
    before = weights_of(network)

    made = weights_of(
        cluster(network, None, clusters=4, epochs=0, layers=["attention", "w*"], exclude=["wide"])
    )

    changed = {
        path.split("/")[0] for path, weight in before.items() if not np.array_equal(weight, made[path])
    }
    assert changed == {"attention"}


def test_a_layer_of_a_nested_model_is_chosen_by_the_name_of_either():
    network = MODELS["nested_by_name"]()
    inner = next(layer for layer in network.layers if isinstance(layer, keras.Model))

    made = cluster(network, None, clusters=3, epochs=0, layers=[inner.name])

    counts = lineage_of(made)[-1].settings["layer_values"]
    assert set(counts) <= {layer.name for layer in inner._flatten_layers()}
    assert set(counts.values()) == {3}


def test_a_layer_that_is_not_trainable_is_clustered_and_does_not_train():
    keras.utils.set_random_seed(0)
    network = MODELS["dense_chain"]()
    frozen = next(layer for layer in network.layers if layer.weights)
    frozen.trainable = False

    still, moved = (
        cluster(network, bound(network) if epochs else None, clusters=4, epochs=epochs) for epochs in (0, 1)
    )

    assert np.array_equal(
        still.get_layer(frozen.name).kernel.numpy(), moved.get_layer(frozen.name).kernel.numpy()
    )
    assert len(np.unique(moved.get_layer(frozen.name).kernel.numpy())) == 4


def test_the_lineage_tells_settings_and_how_many_values_each_layer_has():
    made = clustered("text_lstm")

    (step,) = lineage_of(made)
    assert step.name == "cluster"
    assert step.settings["layer_values"] == {"table": 8, "reader": 8, "mood": 8}
    told = {name: step.settings[name] for name in ("clusters", "init", "granularity", "epochs", "loss")}
    assert told == {
        "clusters": 8,
        "init": "kmeans++",
        "granularity": "per_layer",
        "epochs": 2,
        "loss": "distillation",
    }
    assert len(step.settings["epoch_losses"]) == 2
    assert step.settings["training_examples"] == 32


def test_the_stage_does_what_the_function_does():
    network = network_of("text_gru")
    stage = Cluster(clusters=5, init="density", granularity="per_channel", epochs=0, seed=4)

    made = weights_of(stage(network, bound(network)))

    expected = cluster(network, None, clusters=5, init="density", granularity="per_channel", epochs=0, seed=4)
    for path, weight in weights_of(expected).items():
        assert np.array_equal(made[path], weight)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_files_compute_what_the_clustered_model_computes_float_and_quantized(exporter):
    made = clustered("residual")
    inputs = examples(made, count=16, seed=2)
    integers = integers_for(isa_here())
    quantized = quantize(made, bound(made), scheme="static_wi8_ai8")
    for network, steps in ((made, None), (quantized, output_steps(quantized))):
        _, trial = EXPORTERS[exporter](
            network, Settings(io="float32", batch=1, integers=integers, metadata={})
        )
        found = fidelity(keras_outputs(network, inputs), trial.run(inputs), steps)
        assert is_close(found, quantized=steps is not None)
    assert fidelity(keras_outputs(made, inputs), keras_outputs(quantized, inputs)).sqnr_db > 20
    assert [step.name for step in lineage_of(quantized)] == ["cluster", "quantize"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clusters": 1}, "clusters=1 is not allowed; give a whole number, 2 or more"),
        ({"clusters": 2.5}, "clusters=2.5 is not allowed"),
        ({"epochs": -1}, "epochs=-1 is not allowed"),
        ({"init": "random"}, "no initialization 'random'"),
        ({"granularity": "per_tensor"}, "per_layer or per_channel"),
        ({"learning_rate": 0}, "learning_rate=0 is not allowed"),
        (
            {"layers": ["conv_*"]},
            "the pattern 'conv_\\*' fits no layer .* that can be clustered; there are .*",
        ),
        ({"exclude": ["nothing"]}, "the pattern 'nothing' fits no layer"),
        ({"exclude": ["*"]}, "leave no layer"),
        ({"epochs": 1}, "no data to train the centroids on"),
        ({"epochs": 0, "loss": "mse"}, "loss='mse' is not allowed"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(settings, said):
    with pytest.raises(InputError, match=said):
        cluster(network_of("text_gru"), None, **{"epochs": 0, **settings})


def test_a_quantized_model_is_refused():
    _, quantized = float_and_int8("conv_batchnorm_relu")

    with pytest.raises(InputError, match=r"is quantized; cluster the float model"):
        cluster(quantized, None, epochs=0)


def test_weights_that_are_not_finite_are_refused():
    network = MODELS["dense_chain"]()
    layer = next(layer for layer in network.layers if layer.weights)
    layer.kernel.assign(np.where(layer.kernel.numpy() > 0, np.nan, layer.kernel.numpy()))

    with pytest.raises(InputError, match=f"layer '{layer.name}' has weights that are not finite"):
        cluster(network, None, epochs=0)
