"""Patterns, rankings and schedules against plain numpy and TFMOT; which weights are pruned; masks while training."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples

from slimedge.compress.fitting.outputs import opened, trained_outputs
from slimedge.compress.sparsity.axes import Axes
from slimedge.compress.sparsity.callback import PruningCallback
from slimedge.compress.sparsity.masks import Growth, Masks
from slimedge.compress.sparsity.patterns import pattern_of
from slimedge.compress.sparsity.plan import Plan
from slimedge.compress.sparsity.ranking import kept_count, masks
from slimedge.compress.sparsity.schedules import Constant, Polynomial, schedule_of
from slimedge.compress.sparsity.weights import chosen, prunable
from slimedge.compress.tfmot.sending import cut, write
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.graph_reading import from_model
from slimedge.isolation import run_isolated
from slimedge.keras_file import input_specs

GENERATOR = np.random.default_rng(4)
TWINS = ("dense_chain", "unet", "conv_batchnorm_relu")
SPARSITIES = (0.0, 0.3, 0.5, 0.8, 0.97)
POLYNOMIALS = ((0.0, 0.8, 0, 100, 3.0), (0.5, 0.9, 20, 60, 3.0), (0.2, 0.6, 5, 11, 1.5))
STEPS = (0, 1, 5, 7, 20, 33, 59, 60, 61, 150)


@pytest.fixture(scope="session")
def of_tfmot(tmp_path_factory):
    """TFMOT's masks of the twins of three nets in tf-keras, and its schedules; made in one process of its own."""
    root = tmp_path_factory.mktemp("twins")
    networks = {name: MODELS[name]() for name in TWINS}
    for name, network in networks.items():
        (root / name).mkdir()
        data = Data.load(examples(network, 8)).bind(input_specs(network), checks="types")
        graph = opened(from_model(network))
        write(root / name, cut(graph, trained_outputs(graph)), data, data)
    arguments = {
        "folders": [str(root / name) for name in TWINS],
        "sparsities": SPARSITIES,
        "polynomials": POLYNOMIALS,
        "steps": STEPS,
    }
    told = run_isolated("tf_keras_process:pruned", arguments, label="pruning").result
    return root, networks, told


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_unstructured_masks_are_tfmot_s(of_tfmot, name, sparsity):
    root, networks, _ = of_tfmot
    with np.load(root / name / "masks.npz") as found:
        theirs = {key: found[key] for key in found.files if key.endswith(f"@{sparsity}")}
    for weight in prunable(networks[name]):
        array = weight.variable.numpy()
        (mask,) = masks([array], [weight.axes], pattern_of("unstructured"), sparsity)
        np.testing.assert_array_equal(mask, theirs.pop(f"{weight.layer}@{sparsity}"))
    assert not theirs


@pytest.mark.parametrize("name", TWINS)
def test_two_of_four_masks_are_tfmot_s(of_tfmot, name):
    root, networks, _ = of_tfmot
    compared = 0
    with np.load(root / name / "masks.npz") as found:
        for weight in prunable(networks[name]):
            if f"{weight.layer}@2:4" in found.files and "transpose" not in weight.layer:
                (mask,) = masks([weight.variable.numpy()], [weight.axes], pattern_of("2:4"), 0.5)
                np.testing.assert_array_equal(mask, found[f"{weight.layer}@2:4"])
                compared += 1
    assert compared > 1


def test_polynomial_schedules_are_tfmot_s(of_tfmot):
    for (initial, final, begin, end, power), theirs in zip(POLYNOMIALS, of_tfmot[2], strict=True):
        ours = Polynomial(initial, final, begin, end, power)
        np.testing.assert_allclose([ours.at(step) for step in STEPS], theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("sparsity", [0.0, 0.31, 0.5, 0.91, 0.999])
def test_the_largest_of_each_weight_stay(sparsity):
    weight = GENERATOR.normal(size=(3, 3, 7, 5)).astype(np.float32)
    (mask,) = masks([weight], [Axes((3,), (2,))], pattern_of("unstructured"), sparsity)
    kept = max(round(weight.size * (1 - sparsity)), 1)
    expected = np.zeros(weight.size, bool)
    expected[np.argsort(-np.abs(weight).ravel(), kind="stable")[:kept]] = True
    np.testing.assert_array_equal(mask, expected.reshape(weight.shape))


def test_of_equal_magnitudes_the_first_stay_and_the_number_is_exact():
    weight = np.array([[1, -1, 1], [-1, 1, 2]], np.float32)
    (mask,) = masks([weight], [Axes((1,), (0,))], pattern_of("unstructured"), 0.5)
    assert mask.tolist() == [[True, True, False], [False, False, True]]
    assert [kept_count(9, 0.5), kept_count(11, 0.5)] == [4, 6]  # halves go to the even number, as in TFMOT


def test_global_ranking_takes_the_smallest_of_all_and_leaves_each_layer_one():
    one, other = GENERATOR.normal(size=(6, 10)), GENERATOR.normal(size=(3, 3, 2, 5))
    tiny = np.full((2, 2), 1e-9)
    arrays, axes = [one, other, tiny], [Axes((1,), (0,)), Axes((3,), (2,)), Axes((1,), (0,))]
    found = masks(arrays, axes, pattern_of("unstructured"), 0.6, ranking="global")
    size = one.size + other.size + tiny.size
    assert sum(int(mask.sum()) for mask in found) == round(0.4 * size)
    assert found[2].tolist() == [[True, False], [False, False]]
    threshold = np.sort(np.abs(np.concatenate([one.ravel(), other.ravel()])))[-(round(0.4 * size) - 1)]
    for mask, array in zip(found[:2], arrays, strict=False):
        np.testing.assert_array_equal(mask, np.abs(array) >= threshold)


@pytest.mark.parametrize(
    ("pattern", "outputs", "inputs"), [("4x1", 4, 1), ("1x4", 1, 4), ("2x3", 2, 3), ("16x1", 16, 1)]
)
def test_blocks_go_whole_by_their_mean(pattern, outputs, inputs):
    weight = GENERATOR.normal(size=(2, 6, 18)).astype(
        np.float32
    )  # one dimension of positions, 6 inputs, 18 outputs
    (mask,) = masks([weight], [Axes((2,), (1,))], pattern_of(pattern), 0.5)
    blocks = []
    for position in range(2):
        for first in range(0, 18, outputs):
            for start in range(0, 6, inputs):
                at = (position, slice(start, start + inputs), slice(first, first + outputs))
                assert mask[at].all() == mask[at].any()
                blocks.append((float(np.abs(weight[at]).mean()), bool(mask[at].all())))
    kept, gone = ([mean for mean, stays in blocks if stays is wanted] for wanted in (True, False))
    assert len(kept) == max(round(len(blocks) * 0.5), 1)
    assert min(kept) > max(gone)


@pytest.mark.parametrize(("pattern", "kept", "size"), [("2:4", 2, 4), ("1:4", 1, 4), ("3:5", 3, 5)])
def test_of_each_group_of_input_channels_so_many_stay(pattern, kept, size):
    weight = GENERATOR.normal(size=(3, 3, 14, 4)).astype(np.float32)
    (mask,) = masks([weight], [Axes((3,), (2,))], pattern_of(pattern), 0.5)
    for start in range(0, 14, size):
        group, at = np.abs(weight[:, :, start : start + size]), mask[:, :, start : start + size]
        assert np.all(at.sum(axis=2) == min(kept, group.shape[2]))
        smallest_kept = np.where(at, group, np.inf).min(axis=2)
        largest_gone = np.where(at, -np.inf, group).max(axis=2)
        assert np.all(smallest_kept > largest_gone)


@pytest.mark.parametrize("name", ["", "4:2", "0:4", "0x1", "banded", "4x", "2:4:8"])
def test_a_pattern_that_there_is_not_is_one_sentence(name):
    with pytest.raises(InputError, match=r"is not allowed; give 'unstructured', a block as '4x1'"):
        pattern_of(name)


def test_schedules_by_name():
    assert schedule_of("one_shot", 0.7, 50) == Constant(0.7)
    assert schedule_of("constant:0.4", 0.7, 50) == Constant(0.7, 20)
    assert schedule_of("cubic", 0.7, 50) == schedule_of("polynomial", 0.7, 50) == Polynomial(0.0, 0.7, 0, 25)
    assert schedule_of("polynomial:1", 0.8, 20).at(5) == pytest.approx(0.4)
    assert [Constant(0.7, 2).at(step) for step in range(4)] == [0, 0, 0.7, 0.7]
    for steps in (1, 2, 3, 10):
        assert schedule_of("polynomial", 0.8, steps).at(steps - 1) == 0.8
    for wrong in (
        "linear",
        "constant:1",
        "constant:x",
        "polynomial:0",
        "cubic:2",
        "one_shot:1",
        "polynomial:nan",
    ):
        with pytest.raises(InputError, match=rf"schedule='{wrong}' is not allowed; give 'polynomial'"):
            schedule_of(wrong, 0.5, 10)


def every_kind() -> keras.Model:
    """One model with every kind of layer that has weights to prune."""
    picture, words = keras.Input((8, 8, 4), name="picture"), keras.Input((6,), dtype="int32", name="words")
    x = layers.Conv2D(8, 3, name="conv")(picture)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(6, 2, name="separable")(x)
    x = layers.Conv2DTranspose(4, 2, name="transposed")(layers.BatchNormalization(name="norm")(x))
    y = layers.Embedding(9, 8, name="table")(words)
    y = layers.Conv1D(8, 3, padding="same", name="conv1d")(y)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    y = layers.GroupQueryAttention(4, 4, 2, name="grouped")(y, y)
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(y)
    y = layers.RNN(layers.SimpleRNNCell(5), return_sequences=True, name="own")(y)
    y = layers.TimeDistributed(layers.Dense(6), name="each")(layers.LayerNormalization()(y))
    y = layers.EinsumDense("abc,cde->abde", (None, 2, 3), name="einsum")(y)
    y = layers.GRU(4, name="gru")(layers.Reshape((6, 6))(y))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="within")], name="head")
    return keras.Model([picture, words], [layers.GlobalAveragePooling2D()(x), inner(y)])


def test_every_kind_of_kernel_is_found_and_nothing_else():
    network = every_kind()
    found = prunable(network)
    kernels = {
        variable.path
        for variable in network.trainable_variables
        if variable.name
        in {"kernel", "recurrent_kernel", "embeddings", "depthwise_kernel", "pointwise_kernel"}
    }
    assert {weight.variable.path for weight in found} == kernels
    assert len(found) == len(kernels) == 26
    inputs = {f"{weight.layer}/{weight.variable.name}": weight for weight in found}

    def arranged(name):
        return inputs[name].axes.arranged(inputs[name].variable.numpy()).shape

    assert arranged("conv/kernel") == (9, 8, 4)
    assert arranged("transposed/kernel") == (4, 4, 6)
    assert arranged("depthwise/kernel") == (9, 8, 1)
    assert arranged("separable/pointwise_kernel") == (1, 6, 8)
    assert arranged("table/embeddings") == (1, 9, 8)
    assert arranged("einsum/kernel") == (1, 6, 6)
    assert arranged("both/recurrent_kernel") == (1, 16, 4)
    assert inputs["within/kernel"].names == ("head", "within")


def test_the_axes_of_attention_s_output_are_its_heads():
    by_path = {weight.variable.path: weight for weight in prunable(every_kind())}
    output = next(weight for path, weight in by_path.items() if "attention/" in path and "output" in path)
    shape = tuple(output.variable.shape)
    assert output.axes.arranged(np.zeros(shape)).shape == (1, shape[2], shape[0] * shape[1])


def test_arranging_is_undone():
    weight = GENERATOR.normal(size=(2, 3, 4, 5))
    axes = Axes((0, 3), (1,))
    np.testing.assert_array_equal(axes.restored(axes.arranged(weight), weight.shape), weight)


def test_layers_are_chosen_by_patterns_of_any_name_on_the_way():
    found = prunable(every_kind())

    def names(include=(), exclude=()):
        return list(dict.fromkeys(weight.layer for weight in chosen(found, include, exclude, "m")))

    assert set(names(["conv*"])) == {"conv", "conv1d"}
    assert names(["head"]) == ["within"]
    assert names(["lstm_cell"]) == ["both"]
    assert "table" not in names(exclude=["table"])
    with pytest.raises(
        InputError,
        match=r"layers: the pattern 'convs' fits no layer of model 'm' that .* there are table, conv1d",
    ):
        names(["convs"])
    with pytest.raises(InputError, match="exclude: the pattern 'norm' fits no layer"):
        names(exclude=["norm"])
    with pytest.raises(InputError, match="layers and exclude leave no layer of model 'm' to be pruned"):
        names(["conv"], ["conv"])
    inputs = keras.Input((3,))
    bare = keras.Model(inputs, layers.ReLU()(inputs), name="bare")
    with pytest.raises(InputError, match="model 'bare' has no weight that can be pruned"):
        chosen(prunable(bare), (), (), "bare")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sparsity": 1.0}, "sparsity=1.0 is not allowed; give the share of the weights"),
        ({"sparsity": -0.1}, "sparsity=-0.1 is not allowed"),
        ({"sparsity": math.nan}, "sparsity=nan is not allowed"),
        ({"ranking": "random"}, "ranking='random' is not allowed; give 'layer' or 'global'"),
        (
            {"pattern": "2:4", "sparsity": 0.8},
            "sparsity=0.8 cannot be had with pattern='2:4', which sets 0.5 of the",
        ),
        ({"pattern": "2:4", "ranking": "global"}, "ranking='global' cannot be had with pattern='2:4'"),
        ({"schedule": "slow"}, "schedule='slow' is not allowed"),
    ],
)
def test_a_wrong_plan_is_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Plan(**arguments)


def fitted(optimizer: keras.optimizers.Optimizer, callback: PruningCallback, **how) -> keras.Model:
    keras.utils.set_random_seed(2)
    network = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, activation="relu", name="first"), layers.Dense(4, name="last")]
    )
    network.get_layer("first").kernel.assign(network.get_layer("first").kernel * (np.arange(16) != 3))
    network.compile(optimizer, "mse")
    x = GENERATOR.normal(size=(96, 8)).astype(np.float32)
    network.fit(x, x[:, :4] * 2, batch_size=8, epochs=2, verbose=0, callbacks=[callback], **how)
    return network


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(1e-2, use_ema=True, ema_overwrite_frequency=5),
        keras.optimizers.AdamW(1e-2, weight_decay=0.1, amsgrad=True),
        keras.optimizers.SGD(1e-2, momentum=0.9, nesterov=True),
        keras.optimizers.RMSprop(1e-2, momentum=0.9, centered=True),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_the_callback_prunes_in_the_user_s_fit_and_the_optimizer_forgets(optimizer):
    network = fitted(optimizer, PruningCallback(0.75))
    inner = getattr(network.optimizer, "inner_optimizer", network.optimizer)
    slots = [
        variable
        for variable in inner.variables
        if tuple(variable.shape) in {(8, 16), (16, 4)} and not any(variable is v for v in network.variables)
    ]
    assert len(slots) >= 2
    for name in ("first", "last"):
        kernel = network.get_layer(name).kernel.numpy()
        assert np.mean(kernel == 0) == 0.75
        mine = [slot.numpy() for slot in slots if tuple(slot.shape) == kernel.shape]
        assert mine
        for slot in mine:
            assert not slot[kernel == 0].any()
            assert slot[kernel != 0].any()
    assert not network.get_layer("first").kernel.numpy()[:, 3].any()


def test_the_callback_takes_layers_patterns_and_steps():
    network = fitted("adam", PruningCallback(pattern="2:4", layers=["last"], steps=10, schedule="one_shot"))
    kernel = network.get_layer("last").kernel.numpy()
    assert np.all((kernel.reshape(4, 4, 4) != 0).sum(axis=1) == 2)
    assert np.mean(network.get_layer("first").kernel.numpy() == 0) == 1 / 16


def test_the_callback_asks_for_steps_where_fit_does_not_know_them():
    callback = PruningCallback()
    callback.set_params({"steps": None, "epochs": 2})
    with pytest.raises(InputError, match=r"give the callback steps=, the batches of all epochs together"):
        callback.on_train_begin()


def test_masks_only_ever_take_away_and_tell_what_came_back():
    layer = layers.Dense(10, name="dense")
    network = keras.Sequential([keras.Input((10,)), layer])
    held = Masks(prunable(network), pattern_of("unstructured"), "layer")
    growth = Growth(held, Polynomial(0.0, 0.8, 0, 4), 0.8, 8)
    gone = np.zeros((10, 10), bool)
    for step, expected in enumerate([0.0, 0.46, 0.7, 0.79, 0.8, 0.8, 0.8, 0.8]):
        growth.before(step)
        layer.kernel.assign(layer.kernel + GENERATOR.normal(size=(10, 10)))
        held.apply()
        zeros = layer.kernel.numpy() == 0
        assert zeros[gone].all()
        assert np.mean(zeros) == pytest.approx(expected)
        gone = zeros
    held.check()
    layer.kernel.assign(layer.kernel + 1)
    with pytest.raises(CheckError, match=r"80 pruned weights of '.*dense/kernel' are not 0 any more"):
        held.check()


def test_told_settings_are_json():
    assert json.loads(json.dumps(Plan(pattern="2:4").told()))["sparsity"] == 0.5
