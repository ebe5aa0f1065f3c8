"""Keras models in and out: what is taken, what is refused, and what refusing costs."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest

from slimedge import keras_config, keras_file
from slimedge.artifact import Format, Step, TensorSpec
from slimedge.errors import InputError
from slimedge.lineage import lineage_of, with_lineage

DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"name": "head", "dtype": "float32", "units": 2, "activation": "linear"},
    "registered_name": None,
    "build_config": {"input_shape": [None, 3]},
}
INPUT = {
    "module": "keras.layers",
    "class_name": "InputLayer",
    "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "features"},
    "registered_name": None,
}


def sequential(*layers):
    settings = {"name": "small", "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": settings, "registered_name": None}


def hdf5(**arrays):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return buffer.getvalue()


def good_weights():
    return hdf5(layers__dense__vars__0=np.ones((3, 2), "f4"), layers__dense__vars__1=np.zeros(2, "f4"))


def archive(path, config=None, weights=None, *, more=(), compression=zipfile.ZIP_STORED):
    """Write a .keras file by hand, as an attacker would."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", json.dumps(config or sequential(INPUT, DENSE)))
        file.writestr("model.weights.h5", good_weights() if weights is None else weights)
        for name, content in more:
            file.writestr(name, content)
    return path


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        keras_file.load_model(path, **options)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in message
    assert message.endswith(".")
    assert "Traceback" not in message
    return message


@pytest.fixture(scope="module")
def two_ended():
    """Two inputs, two outputs of which one is a nested model's, and names that are not in order."""
    import keras
    from keras import layers

    left, right = keras.Input((4, 4, 1), name="right_eye"), keras.Input((3,), name="age")
    inner_input = keras.Input((16,))
    inner = keras.Model(inner_input, layers.Dense(5, name="inner_dense")(inner_input), name="inner")
    flat = layers.Flatten()(left)
    joined = layers.Concatenate()([inner(flat), right])
    return keras.Model(
        [left, right],
        [layers.Dense(2, activation="softmax", name="z_class")(joined), inner(flat)],
        name="two_ended",
    )


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


# Foreign files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello, this is no model\n", "a text file"),
        (b"\x00\x00\x00\x00TFL3" + bytes(64), "a TFLite model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
        (b"\x1f\x8b" + bytes(64), "a gzip file"),
        (bytes(range(256)), "a file of an unknown kind"),
        (b"\x08\x08\x12\x04tf2o" + bytes(64), "an ONNX model"),
    ],
)
def test_a_foreign_file_is_named_for_what_it_is(content, words, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    message = refusal(path)
    assert words in message
    assert "not a Keras model" in message


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert "a pickle" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_a_tflite_file_by_its_own_name_is_told_apart(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    assert "a TFLite model" in refusal(path)


def test_a_saved_model_folder_says_how_to_convert_it(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    assert "a SavedModel folder" in refusal(tmp_path / "saved")
    assert "a folder" in refusal(tmp_path)


def test_a_missing_file_is_missing(tmp_path):
    assert "there is no file" in refusal(tmp_path / "none.keras")


def test_other_zip_files_are_told_apart(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        file.writestr("readme.txt", "hello")
    assert "without config.json" in refusal(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as file:
        file.writestr("archive/data.pkl", b"")
    assert "a PyTorch checkpoint" in refusal(tmp_path / "b.keras")


@pytest.mark.parametrize("share", [0.25, 0.9, 0.999])
def test_a_cut_off_file_is_cut_off(share, two_ended, tmp_path):
    path = tmp_path / "model.keras"
    two_ended.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut off or damaged" in refusal(path)


def test_a_flipped_byte_is_noticed(tmp_path):
    path = archive(tmp_path / "model.keras")
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89HDF") + 600] ^= 0xFF
    path.write_bytes(content)
    assert "cut off or damaged" in refusal(path)


# Hostile files


def custom(name, module="keras.layers", registered_name=None):
    return {
        "module": module,
        "class_name": name,
        "config": {"name": "evil"},
        "registered_name": registered_name,
    }


def dense_with(activation):
    return {**DENSE, "config": {**DENSE["config"], "activation": activation}}


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (custom("Lambda"), "a Lambda layer ('evil')"),
        ({"class_name": "Lambda", "config": {"name": "evil"}}, "a Lambda layer ('evil')"),
        (custom("layers.Lambda", module="keras"), "('evil')"),
        (custom("TFSMLayer"), "a TFSMLayer layer ('evil')"),
        (custom("TorchModuleWrapper"), "a TorchModuleWrapper layer ('evil')"),
        (custom("system", module="os"), "'os.system' (in 'evil')"),
        (custom("X", module="keras_hub.models"), "'keras_hub.models.X' (in 'evil')"),
        (custom("Mine", module=None, registered_name="a>Mine"), "'a>Mine' (in 'evil')"),
        (dense_with({"class_name": "__lambda__", "config": {"value": "eA=="}}), "a Python lambda ('head')"),
        (dense_with({"module": "os", "class_name": "function", "config": "abort"}), "(in 'head')"),
    ],
)
def test_what_would_run_code_is_refused_by_name(layer, words, tmp_path):
    for config in (sequential(INPUT, layer), sequential(INPUT, {**sequential(INPUT, layer)}, DENSE)):
        assert words in refusal(archive(tmp_path / "model.keras", config))


@pytest.mark.parametrize("module", ["tf_keras.src.engine.functional", "keras.src.engine.functional"])
def test_a_file_of_keras_2_says_how_to_convert_it(module, tmp_path):
    message = refusal(archive(tmp_path / "model.keras", {**sequential(INPUT, DENSE), "module": module}))
    assert "saved by Keras 2" in message
    assert "save it as .h5" in message


def test_a_module_named_by_the_config_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    layer = {
        "module": "evil_module",
        "class_name": "Evil",
        "config": {"name": "evil"},
        "registered_name": "Evil",
    }
    message = refusal(archive(tmp_path / "model.keras", sequential(INPUT, layer)))
    assert "'evil_module.Evil'" in message
    assert "register_keras_serializable" in message
    assert not (tmp_path / "ran").exists()
    assert "evil_module" not in sys.modules


def test_a_class_that_the_caller_registered_is_taken(tmp_path):
    import keras

    @keras.saving.register_keras_serializable(package="test_keras_file")
    class Doubling(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    inputs = keras.Input((3,), name="features")
    keras.Model(inputs, Doubling(name="doubled")(inputs)).save(tmp_path / "model.keras")
    loaded = keras_file.load_model(tmp_path / "model.keras")
    assert loaded.predict(np.ones((1, 3)), verbose=0).tolist() == [[2.0, 2.0, 2.0]]
    assert keras_file.read(tmp_path / "model.keras").outputs == (TensorSpec("doubled", (None, 3), "float32"),)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil", "'../evil'"),
        ("assets/../../evil", "assets/../../evil"),
        ("/evil", "'/evil'"),
        ("x.py", "'x.py'"),
    ],
)
def test_members_that_keras_does_not_write_are_refused(name, words, tmp_path):
    message = refusal(archive(tmp_path / "model.keras", more=[(name, "x")]))
    assert words in message
    assert "does not write" in message


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "model.keras", more=[("config.json", "{}")])
    assert "more than once" in refusal(path)


def test_a_symbolic_link_in_the_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = 0o120777 << 16
    assert "'assets/link'" in refusal(archive(tmp_path / "model.keras", more=[(link, "/etc/passwd")]))


@pytest.mark.parametrize(
    "config", [[], "x", {}, {"class_name": 3}, {"class_name": "Sequential", "config": 3}]
)
def test_a_config_that_describes_no_model_is_an_error_not_a_crash(config, tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", good_weights())
    refusal(path)


def test_a_config_nested_without_end_is_an_error_not_a_crash(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", '{"class_name":' * 20000 + "1" + "}" * 20000)
        file.writestr("model.weights.h5", good_weights())
    assert "not JSON" in refusal(path)


def test_an_architecture_that_asks_for_more_than_the_file_holds_takes_no_memory(tmp_path):
    greedy = {**DENSE, "config": {**DENSE["config"], "units": 10**12}}
    message = refusal(archive(tmp_path / "model.keras", sequential(INPUT, greedy)))
    assert "4,000,000,000,000 parameters" in message
    assert "holds weights for 8" in message
    import keras

    # Nothing of the refused model is left for Keras to fill with values later.
    assert keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).count_params() == 8


def test_weights_that_the_architecture_cannot_need_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_file, "_OVERHEAD_BYTES", 20_000)
    weights = hdf5(
        layers__dense__vars__0=np.ones((3, 2), "f4"),
        layers__dense__vars__1=np.zeros(2, "f4"),
        layers__more=np.ones(10_000),
    )
    message = refusal(archive(tmp_path / "model.keras", weights=weights))
    assert "oversized member 'model.weights.h5'" in message
    assert "the model of 8 parameters needs at most 20,320" in message


def test_weights_of_another_shape_are_an_error_of_one_sentence(tmp_path):
    weights = hdf5(layers__dense__vars__0=np.ones((4, 2), "f4"), layers__dense__vars__1=np.zeros(2, "f4"))
    assert "cannot be rebuilt by Keras" in refusal(archive(tmp_path / "model.keras", weights=weights))


def test_an_hdf5_part_that_leads_out_of_the_file_is_refused(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.ones((3, 2), "f4")
    for name, put in {
        "external link": lambda file: file.__setitem__("layers/l", h5py.ExternalLink(str(secret), "/x")),
        "soft link": lambda file: file.__setitem__("layers/l", h5py.SoftLink("/layers/dense")),
        "external storage": lambda file: file.create_dataset(
            "layers/e", (3, 2), "f4", external=[("/etc/passwd", 0, 24)]
        ),
    }.items():
        buffer = io.BytesIO(good_weights())
        with h5py.File(buffer, "a") as file:
            put(file)
        message = refusal(archive(tmp_path / f"{name}.keras", weights=buffer.getvalue()))
        assert "elsewhere" in message or "another file" in message


def test_an_hdf5_part_that_declares_more_than_it_holds_is_refused(tmp_path):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(
            "layers/dense/vars/0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024), compression="gzip"
        )
    message = refusal(archive(tmp_path / "model.keras", weights=buffer.getvalue()))
    assert "declares weights of 4,398,046,511,104 bytes" in message


def test_damaged_weights_are_an_error_of_one_sentence(tmp_path):
    assert "cut off or damaged" in refusal(
        archive(tmp_path / "a.keras", weights=b"\x89HDF\r\n\x1a\n" + bytes(500))
    )
    assert "cut off or damaged" in refusal(archive(tmp_path / "b.keras", weights=b"no weights"))
    assert "cut off or damaged" in refusal(archive(tmp_path / "c.keras", weights=good_weights()[:-700]))


def zip_bomb(path, name):
    """Half a gigabyte of zeros in half a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in {"config.json", "model.weights.h5", name} - {name}:
            file.writestr(member, "{}")
        with file.open(name, "w") as bomb:
            for _ in range(512):
                bomb.write(bytes(1 << 20))


def lie_about_the_size(path):
    """Declare the bomb's half gigabyte as a hundred bytes."""
    content = path.read_bytes()
    path.write_bytes(content.replace((1 << 29).to_bytes(4, "little"), (100).to_bytes(4, "little")))


@pytest.mark.parametrize("lying", [False, True])
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/words.txt"])
def test_a_zip_bomb_is_refused_in_little_memory(name, lying, tmp_path):
    path = tmp_path / "bomb.keras"
    zip_bomb(path, name)
    if lying:
        lie_about_the_size(path)
    code = (
        "from slimedge import keras_file\nfrom slimedge.errors import InputError\n"
        f"try:\n    keras_file.load_model({str(path)!r})\n"
        "except InputError as error:\n    print(error)\n"
        # Not ru_maxrss: that one starts with the parent's.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, peak_kib = done.stdout.splitlines()
    assert ("damaged" if lying else "oversized") in message
    assert int(peak_kib) < 150 << 10


def test_a_deflated_model_of_zeros_and_ones_is_no_bomb(tmp_path):
    weights = hdf5(layers__dense__vars__0=np.eye(3, 2, dtype="f4"), layers__dense__vars__1=np.zeros(2, "f4"))
    path = archive(tmp_path / "model.keras", weights=weights, compression=zipfile.ZIP_DEFLATED)
    assert keras_file.load_model(path).count_params() == 8
    assert keras_file.weights_summary(path) == (8, 2)


# HDF5


@pytest.fixture(scope="module")
def legacy(two_ended, tmp_path_factory):
    path = tmp_path_factory.mktemp("legacy") / "model.h5"
    two_ended.save(path)
    return path


def test_an_h5_file_needs_trust(legacy):
    assert "--trust (trust=True in Python)" in refusal(legacy)


def test_a_trusted_h5_file_loads_through_keras_3(legacy, two_ended):
    import keras

    model = keras_file.load_model(legacy, trust=True)
    assert isinstance(model, keras.Model)
    for before, after in zip(two_ended.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_lambda_in_a_trusted_h5_file_stays_refused(legacy, tmp_path):
    path = tmp_path / "lambda.h5"
    path.write_bytes(legacy.read_bytes())
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "evil"}})
        file.attrs["model_config"] = json.dumps(config)
    assert "a Lambda layer ('evil')" in refusal(path, trust=True)


def test_an_h5_file_of_weights_alone_says_so(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["dense"] = np.ones(3)
    assert "holds weights and no model" in refusal(tmp_path / "w.h5", trust=True)


def test_an_h5_file_that_is_cut_off_says_so(legacy, tmp_path):
    path = tmp_path / "cut.h5"
    path.write_bytes(legacy.read_bytes()[:3000])
    assert "cut off or damaged" in refusal(path, trust=True)


def test_an_h5_file_under_another_name_is_told_apart(legacy, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(legacy.read_bytes())
    assert "name it .h5" in refusal(path, trust=True)


# Saving


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
