"""Keras files that would run code, lead elsewhere, or take more memory than they hold are refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from hand_made_keras import DENSE, INPUT, archive, good_weights, hdf5, refusal, sequential

from slimedge import keras_file
from slimedge.artifact import TensorSpec


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
