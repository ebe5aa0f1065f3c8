"""Ranges of a graph's tensors against the tensors themselves, as Keras gives them."""

from __future__ import annotations

import fnmatch

import keras
import numpy as np
import pytest

from slimedge.compress.calibration import EAGER_BATCHES, Watch, calibrate
from slimedge.compress.observers import OBSERVERS, maker
from slimedge.compress.observers.assigning import assigned
from slimedge.compress.placement import Placement, place
from slimedge.compress.quantization import quantize
from slimedge.compress.static import simplify
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.fake_quant import FakeQuant
from slimedge.graph import Graph
from slimedge.graph_reading import from_model
from slimedge.keras_file import input_specs
from slimedge.lineage import lineage_of

PICTURES = np.random.default_rng(2).normal(size=(300, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6, 6, 2), name="picture")
    x = keras.layers.Conv2D(3, 3, name="conv_1")(inputs)
    x = keras.layers.ReLU(name="relu_1")(x)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="head")(x))


def parts(network: keras.Model) -> tuple[Graph, Placement, Data]:
    graph, _, _ = simplify(from_model(network))
    return graph, place(graph), Data.load(PICTURES).bind(input_specs(network), checks="types")


def tensors(network: keras.Model, *names: str) -> list[np.ndarray]:
    taps = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
    return [np.asarray(array) for array in keras.tree.flatten(taps.predict(PICTURES, verbose=0))]


def by_name(graph: Graph, placement: Placement, ranges: dict[int, tuple[float, float]]) -> dict[str, object]:
    makers = graph.producers()
    return {
        makers[value].source if value in makers else "picture": ranges[group]
        for value, group in placement.groups.items()
    }


def test_ranges_are_those_of_the_tensors(network: keras.Model) -> None:
    graph, placement, data = parts(network)
    found = by_name(graph, placement, calibrate(graph, placement, data))
    expected = {
        "picture": (PICTURES.min(), PICTURES.max()),
        **{
            name: (array.min(), array.max())
            for name, array in zip(("relu_1", "head"), tensors(network, "relu_1", "head"), strict=True)
        },
    }
    for name, bounds in expected.items():
        assert found[name] == pytest.approx(bounds, abs=1e-5), name
    assert found["pool"] == found["flat"] == found["relu_1"]


@pytest.mark.parametrize("observer", OBSERVERS)
def test_ranges_do_not_depend_on_the_batch_size(network: keras.Model, observer: str) -> None:
    graph, placement, data = parts(network)
    # With 5 at a time there are more batches than run eagerly, so the compiled graph is compared as well.
    assert len(data) > EAGER_BATCHES * 5
    found = [
        calibrate(graph, placement, data, observer=observer, batch_size=size) for size in (5, 64, len(data))
    ]
    for group, bounds in found[0].items():
        for other in found[1:]:
            assert other[group] == pytest.approx(bounds, rel=1e-3, abs=1e-5)


def test_a_compiled_graph_gives_what_the_eager_one_gives(network: keras.Model) -> None:
    graph, placement, _ = parts(network)
    eager, compiled = (Watch(graph, list(placement.groups), compiled=mode) for mode in (False, True))
    for batch in (PICTURES[:64], PICTURES[:3]):
        pairs = zip(eager.run({"picture": batch}), compiled.run({"picture": batch}), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_each_group_has_the_observer_for_its_bits(network: keras.Model) -> None:
    graph, placement, data = parts(network)
    head = placement.groups[graph.outputs[0]]
    found = calibrate(graph, placement, data, observer="mse", bits={head: 4})
    (logits,) = tensors(network, "head")
    for bits, group in ((4, found[head]), (8, calibrate(graph, placement, data, observer="mse")[head])):
        alone = maker("mse")(bits)
        alone.update(logits)
        assert group == pytest.approx(alone.range(), rel=1e-3, abs=1e-4)


def test_tensors_that_share_a_range_are_observed_together(network: keras.Model) -> None:
    graph, placement, data = parts(network)
    found = by_name(graph, placement, calibrate(graph, placement, data, observer="percentile:90"))
    joined = np.concatenate([array.ravel() for array in tensors(network, "relu_1", "pool", "flat")])
    assert found["relu_1"] == pytest.approx(np.percentile(joined, [5, 95]), rel=3e-3)


def test_the_first_pattern_that_fits_counts(network: keras.Model) -> None:
    graph, placement, _ = parts(network)
    patterns = {"pic*": "percentile:99", "flat": "mse", "relu_?": "entropy", "*": "moving_average"}
    found = by_name(graph, placement, assigned(graph, placement, "minmax", patterns))
    assert found == {
        "picture": "percentile:99",
        "relu_1": "mse",
        "pool": "mse",
        "flat": "mse",
        "head": "moving_average",
    }
    assert fnmatch.fnmatchcase("relu_1", "relu_?")
    only = by_name(graph, placement, assigned(graph, placement, "minmax", {"head": "mse"}))
    assert set(only.values()) == {"minmax", "mse"}


def test_a_pattern_reaches_its_tensor_and_no_other(network: keras.Model) -> None:
    _, _, data = parts(network)
    whole = quantize(network, data, scheme="static_wi8_ai8")
    part = quantize(network, data, scheme="static_wi8_ai8", observers={"head": "percentile:90"})
    grids = [
        {layer.name: layer.grid() for layer in model.layers if isinstance(layer, FakeQuant)}
        for model in (whole, part)
    ]
    assert {name for name in grids[0] if grids[0][name] != grids[1][name]} == {"dense_fq"} & set(grids[0]) | {
        name for name in grids[0] if name == network.output_names[0]
    }
    assert lineage_of(part)[-1].settings["observers"] == {"head": "percentile:90"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"observers": {"conv_*": "mse"}},
            r"pattern 'conv_\*' fits no tensor .* go by picture, relu_1, pool",
        ),
        ({"observers": {"head": "best"}}, "there is no observer 'best'"),
        ({"observers": {"head": "mse:2"}}, "observer 'mse:2' has a setting and mse takes none"),
        ({"observer": "percentile:half"}, "observer 'percentile:half' is not allowed"),
        (
            {"observers": {"*": "mse"}, "scheme": "weight_only_wi8_afp32"},
            "quantized by weight_only_wi8_afp32, which calibrates no tensor",
        ),
    ],
)
def test_wrong_observers_are_one_sentence(
    network: keras.Model, settings: dict[str, object], sentence: str
) -> None:
    wide = keras.layers.Dense(64)(network.output)
    model = keras.Model(network.inputs, wide) if "scheme" in settings else network
    _, _, data = parts(model)
    with pytest.raises(InputError, match=sentence):
        quantize(model, data, **{"scheme": "static_wi8_ai8", **settings})


@pytest.mark.parametrize("observer", OBSERVERS)
def test_nan_is_refused_before_an_observer_sees_it(observer: str) -> None:
    inputs = keras.Input((4,), name="x")
    burst = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(np.nan), name="burst")
    graph, placement, _ = parts_of(keras.Model(inputs, burst(inputs)))
    data = Data.load(np.ones((3, 4), np.float32)).bind(
        input_specs(keras.Model(inputs, burst.output)), checks="types"
    )
    with pytest.raises(InputError, match=r"layer 'burst' of model .* gave NaN or infinity in calibration"):
        calibrate(graph, placement, data, observer=observer)


def parts_of(model: keras.Model) -> tuple[Graph, Placement, None]:
    graph, _, _ = simplify(from_model(model))
    return graph, place(graph), None
