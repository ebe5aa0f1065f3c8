"""Pruning a model: what becomes 0, what stays, what is trained, told, refused; and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples

from slimedge.benchmarks.pruned import Run, merged, missed
from slimedge.cli.running import run
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.pruning import Prune, prune
from slimedge.compress.quantization import quantize
from slimedge.compress.sparsity import engine
from slimedge.compress.sparsity.masks import MaskKeeper
from slimedge.compress.sparsity.places import places_of
from slimedge.compress.sparsity.plan import Plan
from slimedge.compress.training import train
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.fake_quant import FakeQuantWeights
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs, load_model, output_specs, save_model
from slimedge.lineage import lineage_of
from slimedge.progress import silent

KINDS = (
    "conv_batchnorm_relu",
    "recurrent",
    "nested_by_name",
    "depthwise_and_separable",
    "tokens",
    "dense_chain",
)


def bound(network: keras.Model, count: int = 32, labels: object = None) -> Data:
    return Data.load(examples(network, count), labels=labels).bind(
        input_specs(network), outputs=output_specs(network), checks="types"
    )


def kernels(network: keras.Model) -> list[np.ndarray]:
    """Give all weights of rank 2 and more but biases, in the order of the graph."""
    weights = (weight for layer in from_model(network).calls() for weight in layer.weights)
    return [array for name, array in weights if array.ndim > 1 and name != "bias"]


@pytest.mark.parametrize("name", KINDS)
def test_without_training_the_smallest_half_of_each_kernel_is_0_and_the_rest_as_it_was(name):
    network = MODELS[name]()
    found = prune(network, None, epochs=0)
    for before, after in zip(kernels(network), kernels(found), strict=True):
        count = max(int(np.round(before.size * 0.5)), 1)
        expected = np.where(np.argsort(np.argsort(-np.abs(before).ravel())) < count, before.ravel(), 0)
        np.testing.assert_array_equal(after.ravel(), expected)
    assert (input_specs(found), output_specs(found)) == (input_specs(network), output_specs(network))


@pytest.mark.parametrize("name", KINDS)
def test_after_training_as_much_is_0_and_the_rest_has_moved(name):
    network = MODELS[name]()
    found = prune(network, bound(network), sparsity=0.75, batch_size=8, epochs=1, learning_rate=1e-3)
    moved = 0
    for before, after in zip(kernels(network), kernels(found), strict=True):
        assert np.count_nonzero(after) == max(round(before.size * 0.25), 1)
        moved += not np.array_equal(before[after != 0], after[after != 0])
    assert moved
    step = lineage_of(found)[-1]
    assert step.name == "prune"
    assert all(share == pytest.approx(0.75, abs=0.13) for share in step.settings["layer_sparsity"].values())
    assert step.settings["training_examples"] == 32
    assert len(step.settings["epoch_losses"]) == 1


def learner() -> tuple[keras.Model, np.ndarray]:
    """A net with BatchNorm and more weights than it needs, trained a little."""
    keras.utils.set_random_seed(5)
    generator = np.random.default_rng(5)
    x = generator.normal(size=(512, 10)).astype(np.float32)
    inputs = keras.Input((10,), name="x")
    hidden = layers.Dense(32, use_bias=False, name="wide")(inputs)
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(hidden))
    network = keras.Model(inputs, layers.Dense(3, name="y")(hidden))
    network.compile(keras.optimizers.Adam(1e-2), "mse")
    network.fit(x, np.tanh(x[:, :3] + x[:, 3:6]), epochs=10, batch_size=64, verbose=0)
    return network, x


def test_training_makes_up_for_most_of_what_pruning_costs():
    network, x = learner()
    exact = np.asarray(network(x))

    def error(found):
        return float(np.mean(np.square(np.asarray(found(x)) - exact)))

    at_once = prune(network, None, sparsity=0.7, epochs=0)
    trained = prune(network, Data.load(x), sparsity=0.7, epochs=10, batch_size=32, learning_rate=1e-2)
    assert error(trained) < 0.4 * error(at_once)
    assert lineage_of(trained)[-1].settings["loss"] == "distillation"


def test_the_optimizer_remembers_nothing_of_what_is_pruned(monkeypatch):
    network, x = learner()
    kept = []
    start = MaskKeeper.optimizing

    def optimizing(self, optimizer):
        start(self, optimizer)
        kept.append((self, optimizer))

    monkeypatch.setattr(MaskKeeper, "optimizing", optimizing)
    plan, data = Plan(0.7), Data.load(x).bind(input_specs(network))
    places = places_of(network, plan.weights(network)[0])
    settings = FitSettings(epochs=2, batch_size=32, learning_rate=1e-2)
    engine.prune(network, places, data, plan, settings, silent)
    ((keeper, optimizer),) = kept
    for weight in keeper.masks.weights:
        zeros = weight.variable.numpy() == 0
        slots = [slot.numpy() for slot in optimizer.variables if tuple(slot.shape) == zeros.shape]
        assert len(slots) == 2
        for slot in slots:
            assert not slot[zeros].any()
            assert slot[~zeros].any()


def test_zeros_that_were_there_stay_though_more_could_be_kept():
    network = MODELS["dense_chain"]()
    first = next(layer for layer in network.layers if isinstance(layer, layers.Dense))
    first.kernel.assign(first.kernel * (np.arange(first.kernel.shape[1]) < 2))
    gone = first.kernel.numpy() == 0
    found = prune(network, bound(network), sparsity=0.0, batch_size=8, epochs=1, schedule="one_shot")
    after = found.get_layer(first.name).kernel.numpy()
    np.testing.assert_array_equal(after == 0, gone)


@pytest.mark.parametrize("pattern", ["2:4", "4x1", "1x2"])
@pytest.mark.parametrize("epochs", [0, 1])
def test_patterns_hold_whether_it_trains_or_not(pattern, epochs):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 8), name="x")
    x = layers.Conv2D(8, 3, name="conv")(inputs)
    network = keras.Model(inputs, layers.Dense(4, name="y")(layers.GlobalAveragePooling2D()(x)))
    found = prune(network, bound(network), pattern=pattern, epochs=epochs, batch_size=8)
    conv = found.get_layer("conv").kernel.numpy() != 0
    if pattern == "2:4":
        assert np.all(conv.reshape(3, 3, 2, 4, 8).sum(axis=3) == 2)
    elif pattern == "4x1":
        blocks = conv.reshape(3, 3, 8, 2, 4)
        assert np.array_equal(blocks.all(axis=-1), blocks.any(axis=-1))
    else:
        blocks = conv.reshape(3, 3, 4, 2, 8)
        assert np.array_equal(blocks.all(axis=3), blocks.any(axis=3))
    assert conv.mean() == 0.5


def test_a_layer_without_the_pattern_stays_dense_and_is_named_and_none_with_it_is_an_error():
    network = MODELS["depthwise_and_separable"]()
    found = prune(network, None, epochs=0, pattern="2:4")
    told = lineage_of(found)[-1].settings
    depthwise = [name for name in told["layer_sparsity"] if name.startswith("depthwise")]
    assert {told["layer_sparsity"][name] for name in depthwise} == {0.0}
    assert told["left_dense"][f"{depthwise[0]}/kernel"] == "it sums over no input channels"
    with pytest.raises(InputError, match=r"pattern='2:4' fits no weight .*it sums over no input channels"):
        prune(network, None, epochs=0, pattern="2:4", layers=["depthwise*"])


def test_names_choose_what_is_pruned_in_nested_models_too():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="dense")], name="body")
    inputs = keras.Input((6,), name="x")
    network = keras.Model(inputs, layers.Dense(2, name="y")(layers.Dense(6, name="dense")(inner(inputs))))
    only = prune(network, bound(network), epochs=1, batch_size=8, layers=["body"])
    shares = [float(np.mean(kernel == 0)) for kernel in kernels(only)]
    assert shares == [0.5, 0.0, 0.0]
    others = prune(network, None, epochs=0, exclude=["body"])
    assert [float(np.mean(kernel == 0)) for kernel in kernels(others)] == [0.0, 0.5, 0.5]


def test_global_ranking_prunes_layers_of_small_weights_more():
    network = MODELS["dense_chain"]()
    dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)]
    dense[0].kernel.assign(dense[0].kernel * 0.01)
    found = prune(network, bound(network), ranking="global", sparsity=0.6, epochs=1, batch_size=8)
    arrays = kernels(found)
    assert sum(np.count_nonzero(array) for array in arrays) == round(
        0.4 * sum(array.size for array in arrays)
    )
    assert np.mean(arrays[0] == 0) > 0.9


def test_zeros_survive_quantization_and_training_with_it():
    network = MODELS["conv_batchnorm_relu"]()
    found = prune(network, None, sparsity=0.8, epochs=0)
    quantized = quantize(found, bound(found), scheme="static_wi8_ai8")
    trained = train(quantized, bound(found), teacher=found, keep_zeros=True, batch_size=8)
    rounding = [layer for layer in trained.layers if isinstance(layer, FakeQuantWeights)]
    assert len(rounding) == 2
    for layer, kernel in zip(rounding, kernels(found), strict=True):
        integers = layer.integers()["kernel"][0]
        assert not integers[kernel == 0].any()
        assert np.mean(kernel == 0) == pytest.approx(0.8, abs=0.02)
    assert [step.name for step in lineage_of(trained)] == ["prune", "quantize", "train"]


def test_the_stage_does_what_the_function_does_the_seed_tells_and_the_model_stays():
    network = MODELS["dense_chain"]()
    before = [weight.copy() for weight in network.get_weights()]
    one = Prune(sparsity=0.6, epochs=1, batch_size=8, seed=4)(network, bound(network))
    same = prune(network, bound(network), sparsity=0.6, epochs=1, batch_size=8, seed=4)
    other = prune(network, bound(network), sparsity=0.6, epochs=1, batch_size=8, seed=5)
    for first, second in zip(one.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert any(not np.array_equal(*pair) for pair in zip(one.get_weights(), other.get_weights(), strict=True))
    for first, second in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_pruned_model_saves_and_tells_how_it_came_to_be(tmp_path):
    network = MODELS["tokens"]()
    found = prune(network, bound(network), epochs=1, batch_size=8)
    save_model(found, tmp_path / "pruned.keras")
    loaded = load_model(tmp_path / "pruned.keras")
    for one, other in zip(found.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert lineage_of(loaded) == lineage_of(found)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sparsity": 1.0}, "sparsity=1.0 is not allowed"),
        ({"epochs": -1}, "epochs=-1 is not allowed; give a whole number"),
        ({"learning_rate": 0}, "learning_rate=0 is not allowed"),
        ({"engine": "kera"}, "there is no engine 'kera'; did you mean 'keras'"),
        (
            {"layers": ["conv_*"]},
            r"layers: the pattern 'conv_\*' fits no layer of model .* that can be pruned",
        ),
        ({"loss": "labels"}, "the data has no labels for a float output of the model"),
    ],
)
def test_a_wrong_setting_is_one_sentence(arguments, sentence):
    network = MODELS["dense_chain"]()
    with pytest.raises(InputError, match=sentence):
        prune(network, bound(network), **arguments)


def test_no_data_a_quantized_model_and_one_without_kernels_are_refused():
    network = MODELS["dense_chain"]()
    with pytest.raises(InputError, match="there is no data to train on while weights are pruned"):
        prune(network, None)
    quantized = quantize(network, bound(network), scheme="weight_only_wi8_afp32")
    with pytest.raises(InputError, match="is quantized already; prune the float model"):
        prune(quantized, bound(network))
    inputs = keras.Input((3,), name="x")
    bare = keras.Model(inputs, layers.ReLU()(inputs))
    with pytest.raises(InputError, match="has no weight that can be pruned"):
        prune(bare, None, epochs=0)


def test_a_loss_that_is_not_finite_keeps_nothing():
    network = MODELS["dense_chain"]()
    data = bound(network, 32, np.full((32, 1), 1e30, np.float32))
    with pytest.raises(CheckError, match="the loss became inf in step 1 of 1, so nothing was kept"):
        prune(network, data, epochs=1, loss="labels")


def test_the_command_prunes_tells_and_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network, x = learner()
    save_model(network, "float.keras")
    np.savez("data.npz", x=x, y=np.asarray(network(x)).argmax(axis=1))
    command = ["prune", "float.keras", "--data", "data.npz", "-o", "pruned.keras", "--json", "done.json"]
    assert run([*command, "--sparsity", "0.75", "--exclude", "y", "--epochs", "1", "--loss", "labels"]) == 0
    out = capsys.readouterr().out
    assert "pruned to 75 % zeros, unstructured, the smallest of each layer; trained on" in out
    assert "  wide 75.0 % zeros\n  y 0.0 % zeros\n" in out
    assert "most runtimes compute with them as with any number" in " ".join(out.split())
    document = json.loads(Path("done.json").read_text())
    assert document["pruning"]["layer_sparsity"] == {"wide": 0.75, "y": 0.0}
    assert document["before"]["nonzero_parameters"] - document["after"]["nonzero_parameters"] == 240
    assert document["after"]["gzip_bytes"] < document["before"]["gzip_bytes"]
    assert document["after"]["accuracy_delta"]["value"] <= 0.1
    assert np.mean(load_model("pruned.keras").get_layer("wide").kernel.numpy() == 0) == 0.75
    assert run([*command[:-2], "--epochs", "0", "--pattern", "2:4", "--quiet"]) == 0
    assert run([*command[:-2], "--loss", "mse"]) == 2
    assert "--loss mse is not allowed; give distillation or labels" in capsys.readouterr().err


def a_run(kind: str, **changed) -> Run:
    usual = {
        "kind": kind,
        "seed": 0,
        "examples": 10_000,
        "recipe": {},
        "float_accuracy": 0.92,
        "pruned_accuracy": 0.916,
        "difference": (-0.004, -0.006, -0.002),
        "held_out_difference": (-0.003, -0.006, 0.0),
        "layer_sparsity": {},
        "int8_accuracy": {"onnx": 0.91},
        "int8_zeros": {"onnx": 0.8},
        "gzip_share": {"onnx": 0.4},
        "train_s": 1.0,
    }
    return Run(**{**usual, **changed})


def test_bars_of_the_measurement_are_told_apart():
    good, half = a_run("unstructured 0.8"), a_run("unstructured 0.5")
    poor = a_run("unstructured 0.8", int8_zeros={"onnx": 0.7}, gzip_share={"onnx": 0.6}, seed=1)
    assert missed([good, a_run("2:4 0.5")]) == []
    assert missed([half]) == ["unstructured 0.5 with seed 0 loses 0.40%, at most 0.30% is allowed"]
    assert missed([poor]) == [
        "unstructured 0.8 with seed 1: 70.00% of the int8 weights in onnx are 0",
        "unstructured 0.8 with seed 1: onnx has 60.0% of the dense file's bytes after gzip",
    ]
    assert merged([good, half], [a_run("unstructured 0.8", train_s=2.0)])[0].train_s == 2.0
