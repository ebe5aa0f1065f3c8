"""A file weighs what its bytes, its weights and its ops are, in every format."""

from __future__ import annotations

import gzip

import keras
import numpy as np
import pytest
import tiny_files
from keras import layers

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.weighing import weigh
from slimedge.weight_facts import WeightFacts

PARAMETERS = 4 * 3 + 3 + 3 * 2
NONZERO = sum(np.count_nonzero(each) for each in (tiny_files.KERNEL, tiny_files.BIAS, tiny_files.SIDE))


@pytest.fixture
def files(tmp_path):
    """The same net in every format: two dense layers that have nothing to do with each other."""
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    zeta = layers.Dense(3, name="zeta")
    alpha = layers.Dense(2, use_bias=False, name="alpha")
    model = keras.Model([left, right], [zeta(left), alpha(right)])
    zeta.set_weights([tiny_files.KERNEL, tiny_files.BIAS])
    alpha.set_weights([tiny_files.SIDE])
    model.save(tmp_path / "tiny.keras")
    tiny_files.float_onnx(tmp_path / "tiny.onnx")
    tiny_files.tflite(tmp_path / "tiny.tflite", integer=False)
    return tmp_path


@pytest.mark.parametrize("kind", ["keras", "onnx", "tflite"])
def test_every_format_weighs_the_same_net_alike(files, kind):
    path = files / f"tiny.{kind}"

    found = weigh(read_artifact(path))

    assert (found.parameters, found.nonzero_parameters) == (PARAMETERS, NONZERO)
    assert found.macs == 4 * 3 + 3 * 2
    assert found.activations.bytes == 4 * (4 + 3 + 3)  # both inputs and the first output
    assert found.file_bytes == path.stat().st_size
    assert found.gzip_bytes == pytest.approx(len(gzip.compress(path.read_bytes(), 9)), abs=20)
    assert found.notes == ()
    assert not found.stored_sparsely


@pytest.mark.parametrize(("kind", "shapes"), [("onnx", {(4, 3), (3, 2)}), ("tflite", {(3, 4), (2, 3)})])
def test_a_file_gives_its_weights_and_its_ops(files, kind, shapes):
    found = weigh(read_artifact(files / f"tiny.{kind}"))

    assert {weight.shape for weight in found.weights} == {*shapes, (3,)}
    assert len(found.graph.ops) == 2


def test_a_keras_file_gives_neither(files):
    found = weigh(read_artifact(files / "tiny.keras"))

    assert found.weights == ()
    assert found.graph is None


def test_one_sparse_weight_makes_a_file_stored_sparsely(files, monkeypatch):
    from slimedge import tflite_file

    both = tuple(WeightFacts("w", (3, 4), "float32", 12, 5, sparse=sparse) for sparse in (False, True))
    monkeypatch.setattr(tflite_file, "weights", lambda _path: both)

    found = weigh(read_artifact(files / "tiny.tflite"))

    assert found.stored_sparsely
    assert (found.parameters, found.nonzero_parameters) == (24, 10)
