"""Training with TFMOT: the bridge to its process, what comes back, what is refused, and a user's process left alone."""

from __future__ import annotations

import os
import re
import sys

import keras
import numpy as np
import pytest
from keras import layers
from small_models import MODELS, examples, float_and_int8

from slimedge.compress.calibration import calibrate
from slimedge.compress.fitting.outputs import trained_outputs
from slimedge.compress.placement import place
from slimedge.compress.planning import Bits, planned
from slimedge.compress.qat.tfmot.engine import _prepared
from slimedge.compress.qat.tfmot.grids import with_scales
from slimedge.compress.qat.tfmot.tensors import by_group, by_tensor, groups_of
from slimedge.compress.quantization import quantize
from slimedge.compress.static import simplify
from slimedge.compress.tfmot.sending import cut, write
from slimedge.compress.training import train
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity, is_close, output_steps
from slimedge.export.worker import keras_outputs
from slimedge.fake_quant import FakeQuant, FakeQuantWeights
from slimedge.graph_reading import from_model
from slimedge.integers import integers_for, isa_here
from slimedge.isolation import run_isolated
from slimedge.keras_file import input_specs, load_model, save_model
from slimedge.lineage import lineage_of

REBUILT = (
    "depthwise_and_separable",
    "dense_chain",
    "fused_activations",
    "sequence",
    "swish_and_leaky",
    "two_inputs_two_outputs",
    "unet",
    "float_island",
    "squeeze_and_excite",
)
REFUSED = {
    "float_island": r"layer 'normed' \(LayerNormalization\) is not supported",
    "squeeze_and_excite": r"layer 'gated' \(Multiply\) is not supported",
    "sequence": r"layer '\w+' \(Conv1D\) is not supported",
    "fused_activations": r"Only some Keras activations .* are supported; layer '\w+' has 'relu6'",
}
NOT_REBUILT = {
    "hard_swish_and_excite": r"layer 'activation\w*' \(Activation\) .*it has no activation 'hard_silu'.*engine='keras'",
}


def bound(network: keras.Model, count: int = 32, labels: object = None) -> Data:
    return Data.load(examples(network, count), labels=labels).bind(input_specs(network), checks="types")


def sent(network: keras.Model):
    graph, _ = _prepared(from_model(network), {})
    return cut(graph, trained_outputs(graph))


@pytest.fixture(scope="session")
def in_tf_keras(tmp_path_factory):
    """The largest error of each model in tf-keras, or why it cannot be rebuilt; all in one process."""
    root = tmp_path_factory.mktemp("rebuilt")
    for name in (*REBUILT, *NOT_REBUILT):
        (root / name).mkdir()
        network = MODELS[name]()
        data = bound(network, 16)
        write(root / name, sent(network), data, data)
    folders = [str(root / name) for name in (*REBUILT, *NOT_REBUILT)]
    return run_isolated("tf_keras_process:rebuild", {"folders": folders}, label="rebuilding").result


@pytest.mark.parametrize("name", REBUILT)
def test_a_model_computes_in_tf_keras_what_it_computes_in_keras(in_tf_keras, name):
    assert in_tf_keras[name] < 1e-5


def test_a_model_that_computes_something_else_is_refused(in_tf_keras):
    assert "in tf-keras, which TFMOT needs: output 'value' differs by" in in_tf_keras["checked"]


@pytest.mark.parametrize(("name", "sentence"), NOT_REBUILT.items())
def test_what_tf_keras_cannot_have_is_one_sentence(in_tf_keras, name, sentence):
    assert re.fullmatch(rf"{sentence}\.", in_tf_keras[name])


def learner() -> keras.Model:
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(8, 3, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="pool")(x))
    network = keras.Model(inputs, layers.Dense(3, activation="softmax", name="classes")(x), name="learner")
    for _ in range(20):  # BatchNorm's statistics, as a trained net has them
        network(examples(network, 64)["picture"], training=True)
    return network


@pytest.fixture(scope="session")
def learned():
    """A net that learned classes which its float model had never seen, by TFMOT; with the process before and after."""
    network = learner()
    truth = np.random.default_rng(3).integers(0, 3, 256)
    pictures = examples(network, 256)["picture"] / 2
    pictures[np.arange(256), ..., truth] += 0.5
    told: list[tuple[str, float | None]] = []
    before = dict(os.environ)
    trained = train(
        network,
        Data.load((pictures, truth)),
        loss="labels",
        epochs=6,
        batch_size=16,
        learning_rate=1e-2,
        engine="tfmot",
        progress=lambda doing, share=None: told.append((doing, share)),
    )
    return network, trained, pictures, truth, told, before


def test_tfmot_learns_from_labels(learned):
    network, trained, pictures, truth, *_ = learned

    def right(model: keras.Model) -> float:
        return float(np.mean(np.asarray(model(pictures)).argmax(axis=1) == truth))

    losses = lineage_of(trained)[-1].settings["epoch_losses"]
    assert len(losses) == 6
    assert losses[-1] < 0.7 * losses[0]
    assert right(trained) > right(network) + 0.2


def test_what_tfmot_learned_computes_in_our_graph_what_it_computes_in_tfmot(learned):
    _, trained, *_ = learned
    assert lineage_of(trained)[-1].settings["agreement_sqnr_db"]["classes"] > 35


def test_the_lineage_tells_how_tfmot_trains(learned):
    quantized, told = lineage_of(learned[1])
    assert (quantized.name, told.name) == ("quantize", "train")
    found = {name: told.settings[name] for name in ("engine", "ranges", "batchnorm", "weight_bits", "loss")}
    assert found == {
        "engine": "tfmot",
        "ranges": "moving_average",
        "batchnorm": "trained",
        "weight_bits": 8,
        "loss": "labels",
    }


def test_a_depthwise_kernel_has_one_scale_in_front_of_its_batchnorm(learned):
    _, trained, *_ = learned
    integers, _ = trained.get_layer("depthwise").integers()["kernel"]
    assert np.abs(integers).max() in {126, 127}
    # With a scale for each channel the largest weight of every channel would be 127.
    assert np.abs(integers).max(axis=(0, 1)).min() < 120


def test_the_graph_is_that_of_quantization_with_other_numbers(learned):
    network, trained, pictures, *_ = learned
    plain = quantize(network, Data.load(pictures), scheme="static_wi8_ai8")
    assert [layer.name for layer in trained.layers] == [layer.name for layer in plain.layers]
    changed = [
        not np.array_equal(one, other)
        for one, other in zip(trained.get_weights(), plain.get_weights(), strict=True)
    ]
    assert sum(changed) > len(changed) / 2
    assert {type(layer) for layer in trained.layers} >= {FakeQuant, FakeQuantWeights}


def test_both_files_equal_what_tfmot_trained(learned, tmp_path):
    _, trained, pictures, *_ = learned
    save_model(trained, tmp_path / "trained.keras")
    network = load_model(tmp_path / "trained.keras")
    inputs = {"picture": pictures[:16]}
    for make in (EXPORTERS[exporter] for exporter in EXPORTERS):
        settings = Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={})
        _, trial = make(network, settings)
        found = fidelity(keras_outputs(network, inputs), trial.run(inputs), output_steps(network))
        assert is_close(found, quantized=True)


def test_progress_comes_from_the_process_of_tfmot(learned):
    told = learned[4]
    assert ("starting TFMOT", None) in told
    shares = [share for doing, share in told if doing.startswith("training with TFMOT, epoch ")]
    assert shares
    assert shares == sorted(shares)


def test_the_users_process_stays_one_of_keras_3(learned, in_tf_keras):
    before = learned[5]
    assert not {"tf_keras", "tensorflow_model_optimization"} & {
        name.partition(".")[0] for name in sys.modules
    }
    assert os.environ.get("TF_USE_LEGACY_KERAS") == before.get("TF_USE_LEGACY_KERAS")


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_what_tfmot_does_not_take_is_one_sentence(in_tf_keras, name, reason):
    assert re.fullmatch(
        rf"TFMOT does not take model '\w+' \({reason}\); train it with engine='keras', or leave such layers float with "
        r"exclude\.",
        in_tf_keras[f"{name} quantized"],
    )


@pytest.mark.parametrize("name", ["dense_chain", "unet"])
def test_tfmot_takes_what_it_knows(in_tf_keras, name):
    assert not in_tf_keras[f"{name} quantized"]


def test_a_layer_that_tfmot_does_not_take_can_be_left_float(in_tf_keras):
    assert not in_tf_keras["excluded"]


@pytest.mark.parametrize("name", ["float_island", "hard_swish_and_excite"])
def test_what_tfmot_refuses_trains_with_keras(name):
    network, quantized = float_and_int8(name)
    trained = train(quantized, bound(network), teacher=network, engine="keras")
    assert np.isfinite(lineage_of(trained)[-1].settings["epoch_losses"]).all()


def test_an_operation_of_keras_ops_is_refused_before_any_process_starts():
    network, quantized = float_and_int8("arithmetic")
    with pytest.raises(InputError, match=r"\(Add\) .*it is an operation of keras.ops and no layer"):
        train(quantized, bound(network), teacher=network, engine="tfmot")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"gradients": "lsq"},
            "gradients='lsq' cannot be had with engine='tfmot', which always trains with 'straight",
        ),
        ({"weight_bits": 4}, "weight_bits=4 cannot be had with engine='tfmot', which always trains with 8"),
        ({"freeze_after": 0.2}, "freeze_after=0.2 cannot be had with"),
        ({"keep_zeros": True}, r"constraints=\(KeepZeros\(\),\) cannot be had with engine='tfmot'"),
        ({"loss": keras.losses.MeanAbsoluteError()}, "loss is a function, which cannot be sent"),
        ({"teacher": None}, "TFMOT trains float models; give the one that it was quantized from as teacher="),
    ],
)
def test_what_tfmot_has_no_equivalent_of_is_one_sentence(arguments, sentence):
    network, quantized = float_and_int8("dense_chain")
    with pytest.raises(InputError, match=sentence):
        train(quantized, bound(network), **{"teacher": network, "engine": "tfmot", **arguments})


def test_methods_that_changed_the_float_weights_are_not_undone():
    network = MODELS["dense_chain"]()
    quantized = quantize(network, bound(network), scheme="static_wi8_ai8", methods=["bias_correction"])
    with pytest.raises(
        InputError, match=r"was quantized with methods \['bias_correction'\], which TFMOT's training"
    ):
        train(quantized, bound(network), teacher=network, engine="tfmot")


def test_a_range_behind_batchnorm_is_that_of_the_layer_it_is_folded_into():
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inputs))
    network = keras.Model(inputs, layers.Conv2D(2, 1, activation="relu", name="end")(x))
    graph, _ = _prepared(from_model(network), {})
    simplified, _, _ = simplify(graph)
    placement = place(simplified)
    groups = groups_of(graph, simplified, placement)
    made = {node.layer.name: node.output for node in simplified.nodes}
    assert set(groups["after"]) == {"norm", "end"}
    assert groups["after"]["norm"] == placement.groups[made["conv"]]
    assert groups["after"]["end"] == placement.groups[made["end_relu"]]
    assert groups["inputs"] == {"0": placement.groups[simplified.inputs[0]]}


def test_ranges_go_to_groups_and_back():
    groups = {"after": {"a": 1, "b": 1, "c": 2}, "before": {}}
    assert by_group({"after": {"a": (0.0, 2.0), "b": (-1.0, 1.0), "d": (0.0, 9.0)}}, groups) == {
        1: (-1.0, 2.0)
    }
    assert by_tensor({1: (-1.0, 2.0)}, groups) == {
        "after": {"a": (-1.0, 2.0), "b": (-1.0, 2.0)},
        "before": {},
    }


def test_a_scale_grows_with_the_gain_of_the_batchnorm_that_is_folded_in():
    network = MODELS["conv_batchnorm_relu"]()
    graph, _ = _prepared(from_model(network), {})
    simplified, _, _ = simplify(graph)
    placement = place(simplified)
    ranges = calibrate(simplified, placement, bound(network))
    plan = planned(simplified, placement, ranges, Bits())
    norm = next(layer for layer in network.layers if isinstance(layer, layers.BatchNormalization))
    conv = next(layer for layer in network.layers if isinstance(layer, layers.Conv2D))
    gain = norm.gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    theirs = np.linspace(0.01, 0.02, 8)
    found = with_scales(plan, graph, {conv.name: theirs})
    (layer,) = [layer for layer in found.kernels if layer.name == conv.name]
    np.testing.assert_allclose(found.kernels[layer].scale.ravel(), theirs * np.abs(gain), rtol=1e-5)


def test_a_function_in_a_process_of_its_own_tells_how_far_it_is():
    told: list[tuple[str, float | None]] = []
    run_isolated(
        "tf_keras_process:say_how_far",
        {},
        label="it",
        progress=lambda doing, share=None: told.append((doing, share)),
    )
    assert told == [("working", 0.25), ("working", 1.0)]
