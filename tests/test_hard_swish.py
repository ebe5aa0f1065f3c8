"""Hard-swish and squeeze-and-excite: every operator between the ends of a file runs on integers."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from small_models import float_and_int8

from slimedge.artifact_file import read_artifact
from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.fake_quant import FakeQuant
from slimedge.integers import integers_for, isa_here
from slimedge.runtime.ops import count_ops

SETTINGS = Settings(io="float32", batch=1, integers=integers_for(isa_here()), metadata={"lineage": []})
NETS = ["squeeze_and_excite", "hard_swish_and_excite", "hard_swish_by_hand", "swish_and_leaky"]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETS)
def test_every_operator_of_a_file_runs_on_integers(name: str, exporter: str, tmp_path: Path) -> None:
    content, _ = EXPORTERS[exporter](float_and_int8(name)[1], SETTINGS)
    path = tmp_path / f"{name}.{exporter}"
    path.write_bytes(content)
    counts = count_ops(read_artifact(path))
    assert counts.integer_ops is not None
    assert counts.total_ops == counts.integer_ops + 2  # the input is rounded, and the output made real again


def rounded(array: NDArray[np.float64], layer: FakeQuant) -> NDArray[np.float64]:
    """Affine quantization (Jacob et al., 2018, equation 1) to 256 levels and back."""
    scale, zero_point = layer.grid()
    return (np.clip(np.rint(array / scale) + zero_point, 0, 255) - zero_point) * scale


def test_the_quantized_graph_is_hard_swish_rounded_at_the_gate_and_at_the_end() -> None:
    inputs = keras.Input((6, 6, 3), name="picture")
    x = keras.layers.Conv2D(4, 1, name="conv")(inputs)
    network = keras.Model(inputs, keras.layers.Activation("hard_swish", name="swish")(x))
    pictures = np.random.default_rng(0).normal(0, 5, (64, 6, 6, 3)).astype(np.float32)
    quantized = quantize(network, Data.load({"picture": pictures}), scheme="static_wi8_ai8")
    ends = [layer for layer in quantized.layers if isinstance(layer, FakeQuant)]
    given, gate, end = ends[-3:]
    watch = keras.Model(quantized.inputs, [given.output, quantized.outputs[0]])
    x, got = (np.asarray(array, np.float64) for array in watch(pictures))
    assert x.min() < -3
    assert x.max() > 3
    line = rounded(np.clip(x / 6 + 0.5, 0, 1), gate)  # Howard et al., 2019, section 5.2
    steps = np.abs(got - rounded(x * line, end)) / end.grid()[0]
    assert steps.max() <= 1.01
    assert np.mean(steps < 0.5) > 0.99
    exact = x * np.clip(x + 3, 0, 6) / 6
    assert 10 * np.log10(np.sum(exact**2) / np.sum((got - exact) ** 2)) > 40
