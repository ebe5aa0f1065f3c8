"""Keras models in and out: names, lineage, parameters, and what is said where one cannot be taken."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hand_made_keras import archive, refusal

from slimedge import keras_config, keras_file
from slimedge.artifact import Format, Step, TensorSpec
from slimedge.errors import InputError
from slimedge.lineage import lineage_of, with_lineage


def test_a_hand_made_file_is_what_keras_would_have_written(tmp_path):
    model = keras_file.load_model(archive(tmp_path / "hand.keras"))
    assert model.predict(np.array([[1.0, 2.0, 3.0]]), verbose=0).tolist() == [[6.0, 6.0]]


def test_a_model_is_the_same_after_saving_and_loading(two_ended, tmp_path):
    path = tmp_path / "model.keras"
    keras_file.save_model(two_ended, path, lineage=[])
    loaded = keras_file.load_model(path)
    generator = np.random.default_rng(0)
    inputs = [generator.random((6, 4, 4, 1)), generator.random((6, 3))]
    for before, after in zip(
        two_ended.predict(inputs, verbose=0), loaded.predict(inputs, verbose=0), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_inputs_and_outputs_have_keras_names_in_keras_order(two_ended, tmp_path):
    artifact = keras_file.save_model(two_ended, tmp_path / "model.keras", lineage=[])
    assert artifact.format is Format.KERAS
    assert artifact.inputs == (
        TensorSpec("right_eye", (None, 4, 4, 1), "float32"),
        TensorSpec("age", (None, 3), "float32"),
    )
    assert artifact.outputs == (
        TensorSpec("z_class", (None, 2), "float32"),
        TensorSpec("inner", (None, 5), "float32"),
    )


def test_reading_tells_what_saving_told(two_ended, tmp_path):
    lineage = (
        Step("prune", {"sparsity": 0.5}),
        Step("quantize", {"scheme": "static_wi8_ai8", "layers": ["a"]}),
    )
    saved = keras_file.save_model(two_ended, tmp_path / "model.keras", lineage=lineage)
    assert keras_file.read(saved.path) == saved
    assert keras_file.read(saved.path).lineage == lineage
    assert keras_file.read(saved.path).inputs == saved.inputs
    assert keras_file.read(saved.path).outputs == saved.outputs


def test_the_lineage_goes_with_the_model(two_ended, tmp_path):
    step = Step("prune", {"sparsity": 0.5})
    keras_file.save_model(with_lineage(two_ended, [step]), tmp_path / "model.keras")
    assert lineage_of(keras_file.load_model(tmp_path / "model.keras")) == (step,)


def test_a_file_of_slimedge_is_an_ordinary_keras_file(two_ended, tmp_path):
    import keras

    artifact = keras_file.save_model(two_ended, tmp_path / "model.keras", lineage=[Step("prune", {})])
    loaded = keras.saving.load_model(artifact.path)
    assert loaded.count_params() == two_ended.count_params()


def test_a_file_without_notes_has_no_lineage(two_ended, tmp_path):
    two_ended.save(tmp_path / "plain.keras")
    assert keras_file.read(tmp_path / "plain.keras").lineage == ()


def test_artifacts_are_equal_when_their_bytes_are(two_ended, tmp_path):
    artifact = keras_file.save_model(two_ended, tmp_path / "one.keras", lineage=[])
    (tmp_path / "two.keras").write_bytes(artifact.path.read_bytes())
    assert keras_file.read(tmp_path / "two.keras") == artifact
    assert replace(artifact, sha256="0" * 64) != artifact


def test_parameters_are_counted_as_keras_counts_them(two_ended, tmp_path):
    kernel, bias = two_ended.get_layer("z_class").get_weights()
    kernel[0, 0] = 0.0
    two_ended.get_layer("z_class").set_weights([kernel, bias])
    two_ended.compile("adam", "mse")
    two_ended.save(tmp_path / "model.keras")
    zeros = sum(int((weight == 0).sum()) for weight in two_ended.get_weights())
    assert keras_file.weights_summary(tmp_path / "model.keras") == (
        two_ended.count_params(),
        two_ended.count_params() - zeros,
    )


def test_reading_needs_no_keras_where_the_config_says_it_all(tmp_path):
    path = archive(tmp_path / "hand.keras")
    code = (
        f"import sys; from slimedge import keras_file; artifact = keras_file.read({str(path)!r})\n"
        "assert artifact.outputs[0].shape == (None, 2), artifact\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_the_config_does_not_say_it_all_keras_infers_the_outputs(tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((5, 4), name="series")
    model = keras.Model(inputs, layers.LSTM(3, return_state=True, name="lstm")(inputs))
    model.save(tmp_path / "lstm.keras")
    artifact = keras_file.read(tmp_path / "lstm.keras")
    assert [spec.name for spec in artifact.outputs] == ["lstm", "lstm_1", "lstm_2"]
    assert [spec.shape for spec in artifact.outputs] == [(None, 3)] * 3


@pytest.mark.parametrize(
    "layer", ["LSTM", "GRU", "MultiHeadAttention", "Normalization", "Dropout", "Embedding"]
)
def test_layers_with_state_of_their_own_load(layer, tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((6, 4), dtype="int32" if layer == "Embedding" else "float32")
    made = {
        "LSTM": lambda: layers.Bidirectional(layers.LSTM(3))(inputs),
        "GRU": lambda: layers.GRU(3, dropout=0.1)(inputs),
        "MultiHeadAttention": lambda: layers.MultiHeadAttention(2, 4, dropout=0.1)(inputs, inputs),
        "Normalization": lambda: layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 1, 1, 1])(inputs),
        "Dropout": lambda: layers.GaussianNoise(0.1)(layers.Dropout(0.5)(inputs)),
        "Embedding": lambda: layers.Embedding(10, 3)(inputs),
    }[layer]()
    model = keras.Model(inputs, made)
    model.save(tmp_path / "model.keras")
    loaded = keras_file.load_model(tmp_path / "model.keras")
    example = np.ones((2, 6, 4), "int32")
    np.testing.assert_array_equal(model(example), loaded(example))
    assert keras_file.read(tmp_path / "model.keras").outputs == keras_file.output_specs(model)
    assert keras_file.weights_summary(tmp_path / "model.keras")[0] == model.count_params()


def test_layers_of_slimedge_load_without_being_imported_before(tmp_path):
    import keras

    from slimedge.fake_quant import FakeQuant

    inputs = keras.Input((3,), name="features")
    model = keras.Model(inputs, FakeQuant(-1.0, 1.0, name="rounded")(inputs))
    artifact = keras_file.save_model(model, tmp_path / "quantized.keras", lineage=[])
    config = json.loads(zipfile.ZipFile(artifact.path).read("config.json"))
    assert keras_config.specs(config) == (artifact.inputs, artifact.outputs)
    code = (
        "from slimedge import keras_file\n"
        f"model = keras_file.load_model({str(tmp_path / 'quantized.keras')!r})\n"
        "assert type(model.layers[-1]).__name__ == 'FakeQuant', model.layers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_layer_of_slimedge_is_found_under_its_registered_name():
    import keras

    for name in keras_config.LAYERS:
        assert keras.saving.get_registered_name(keras_config.LAYERS[name]) == name


def test_a_loss_that_keras_does_not_know_costs_only_the_compilation(two_ended, tmp_path):
    def my_loss(truth, guess):
        return abs(truth - guess)

    two_ended.compile("adam", loss=my_loss)
    two_ended.save(tmp_path / "model.keras")
    assert not keras_file.load_model(tmp_path / "model.keras").compiled
    two_ended.compile("adam", loss="mse")
    two_ended.save(tmp_path / "model.keras")
    assert keras_file.load_model(tmp_path / "model.keras").compiled


def test_a_model_that_was_never_built_says_how_to_build_it(tmp_path):
    import keras

    model = keras.Sequential([keras.layers.Dense(2)], name="unbuilt")
    with pytest.raises(InputError, match=r"'unbuilt' was never built.*model\.build\(\(None"):
        keras_file.save_model(model, tmp_path / "model.keras", lineage=[])
    with pytest.warns(UserWarning, match="not yet been built"):
        model.save(tmp_path / "model.keras")
    assert "model.build((None" in refusal(tmp_path / "model.keras")
    with pytest.raises(InputError, match="never built"):
        keras_file.read(tmp_path / "model.keras")


def test_a_sequential_that_was_built_by_a_shape_has_the_names_it_loads_with(tmp_path):
    import keras

    model = keras.Sequential(
        [keras.Sequential([keras.layers.Dense(3)], name="nested"), keras.layers.Softmax()]
    )
    model.build((None, 5))
    saved = keras_file.save_model(model, tmp_path / "model.keras", lineage=[])
    loaded = keras_file.load_model(saved.path)
    assert keras_file.input_specs(loaded) == saved.inputs == keras_file.read(saved.path).inputs
    assert keras_file.output_specs(loaded) == saved.outputs == keras_file.read(saved.path).outputs


def test_a_subclass_that_was_never_called_says_so():
    import keras

    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(InputError, match=r"subclass of keras\.Model \(Mine\) that was never called"):
        keras_file.input_specs(Mine())


def test_what_is_no_keras_model_is_named():
    with pytest.raises(InputError, match=r"is a dict, not a keras\.Model"):
        keras_file.output_specs({})


def test_a_model_is_saved_under_its_own_ending_only(two_ended, tmp_path):
    with pytest.raises(InputError, match=r"saved as \.keras"):
        keras_file.save_model(two_ended, tmp_path / "model.h5", lineage=[])


def test_nothing_is_left_of_a_model_that_cannot_be_saved(two_ended, tmp_path, monkeypatch):
    def fail(path):
        path.write_bytes(b"half")
        raise TypeError("cannot be serialized")

    monkeypatch.setattr(two_ended, "save", fail)
    with pytest.raises(InputError, match=r"cannot be saved as \.keras: cannot be serialized"):
        keras_file.save_model(two_ended, tmp_path / "model.keras", lineage=[])
    assert list(tmp_path.iterdir()) == []
