"""What every way to compress a model file shares: the split, before and after, the report, and what is refused."""

from __future__ import annotations

import gzip
import json

import keras
import numpy as np
import pytest
from keras import layers

from slimedge.artifact import Step
from slimedge.benchmarks.compressing import compress_file
from slimedge.benchmarks.reporting import compression
from slimedge.data import Data
from slimedge.errors import InputError
from slimedge.keras_file import load_model, save_model
from slimedge.lineage import with_lineage

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(200, 6)).astype(np.float32)


def halved(model, data, progress):
    """Set the first half of the inputs' weights to 0."""
    progress("halving")
    halved.seen = len(data)
    found = keras.models.clone_model(model)
    kernel, bias = model.get_weights()
    kernel[:3] = 0
    found.set_weights([kernel, bias])
    return with_lineage(found, [Step("halve", {"rows": 3})])


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressing")
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((6,), name="x"), layers.Dense(3, name="classes")])
    network.compile("adam", "mse")
    network.fit(X, np.zeros((200, 3)), verbose=0)  # gives it an optimizer, which no comparison may count
    save_model(network, folder / "float.keras")
    data = Data.load((X, np.asarray(network(X)).argmax(axis=1)))
    done = compress_file(
        folder / "float.keras", data, folder / "out.keras", halved, split={"evaluation": 50, "seed": 1}
    )
    return folder, network, data, done


def test_what_is_scored_was_not_compressed_on(compressed):
    _, network, data, done = compressed
    assert (halved.seen, done.examples, done.score_before.accuracy.n) == (150, 150, 50)
    evaluation = data.bind(done.artifact.inputs).split(seed=1, calibration=0, evaluation=50).evaluation
    (inputs,) = evaluation.arrays()[0].values()
    kernel, bias = network.get_weights()
    kernel[:3] = 0
    assert done.score_before.accuracy.value == 1
    right = np.mean(
        (inputs @ kernel + bias).argmax(axis=1) == (inputs @ network.get_weights()[0] + bias).argmax(axis=1)
    )
    assert done.score_after.accuracy.value == pytest.approx(right)
    assert done.score_after.accuracy_delta.value == pytest.approx(right - 1)


def test_zeros_work_and_bytes_are_told_before_and_after(compressed):
    folder, _, _, done = compressed
    assert (done.before.parameters, done.after.parameters) == (21, 21)
    assert done.before.nonzero_parameters - done.after.nonzero_parameters == 9
    assert done.before.macs == done.after.macs == 18
    assert done.after.file_bytes == (folder / "out.keras").stat().st_size
    packed = len(gzip.compress((folder / "out.keras").read_bytes(), 9))
    assert done.after.gzip_bytes == pytest.approx(packed, abs=20)
    assert done.before.file_bytes < (folder / "float.keras").stat().st_size - 1000


def test_text_and_json_say_the_same(compressed):
    _, _, _, done = compressed
    text = "\n".join(compression.lines(done, ["3 rows set to 0"]))
    document = json.loads(compression.as_json(done, {"rows": 3}))
    assert "3 rows set to 0\nweights 21 before, 21 after\n  not zero 21 before, 12 after (57.1 %)" in text
    assert f"accuracy 100.00 % before, {100 * document['after']['accuracy']['value']:.2f} % after" in text
    assert document["rows"] == 3
    assert document["before"]["parameters"] == document["after"]["nonzero_parameters"] + 9
    assert [step["name"] for step in document["artifact"]["lineage"]] == ["halve"]


def test_the_file_holds_what_the_method_made(compressed):
    folder, *_ = compressed
    assert not np.any(load_model(folder / "out.keras").get_weights()[0][:3])


def test_no_example_to_compress_on_and_the_model_as_its_own_result_are_refused(compressed, tmp_path):
    folder, _, data, _ = compressed
    with pytest.raises(InputError, match="evaluation leaves no example to compress the model on"):
        compress_file(folder / "float.keras", data, tmp_path / "o.keras", halved, split={"evaluation": 1.0})
    with pytest.raises(InputError, match="is the model itself; write the compressed model to another file"):
        compress_file(folder / "float.keras", data, folder / "float.keras", halved)
    assert not list(tmp_path.iterdir())
