"""Repairs of a traced graph: a dilated convolution of sequences is one operator."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.tensorflow_graph import with_dilations
from slimedge.export.tracing import trace
from slimedge.export.verify import example_inputs, fidelity
from slimedge.export.worker import keras_outputs


def gates(length: int | None, size: int, step: int, padding: str) -> keras.Model:
    """Two dilated convolutions of one input, as in a WaveNet."""
    given = keras.Input((length, 4), name="x")
    made = [
        layers.Conv1D(3, size, dilation_rate=step, padding=padding, bias_initializer="normal")(given)
        for _ in range(2)
    ]
    return keras.Model(given, made)


def ops_of(definition) -> list[str]:
    return [node.op for node in definition.node]


@pytest.mark.parametrize("padding", ["causal", "valid", "same"])
@pytest.mark.parametrize(("length", "size", "step"), [(24, 2, 2), (23, 3, 4), (47, 4, 3)])
def test_dilated_convolutions_are_not_split_into_batches(
    length: int, size: int, step: int, padding: str
) -> None:
    network = gates(length, size, step, padding)
    definition = trace(network, batch=1).definition
    assert "SpaceToBatchND" in ops_of(definition)
    with_dilations(definition)
    assert "BatchToSpaceND" not in ops_of(definition)
    examples = example_inputs(network, None)
    settings = Settings(io="float32", batch=1, integers="u8u8", metadata={"lineage": []})
    content, trial = EXPORTERS["tflite"](network, settings)
    assert fidelity(keras_outputs(network, examples), trial.run(examples)).max_error < 1e-5
    assert content


def test_on_an_open_length_they_stay_as_they_are() -> None:
    definition = trace(gates(None, 3, 2, "causal"), batch=1).definition
    before = ops_of(definition)
    with_dilations(definition)
    assert ops_of(definition) == before
