"""Files that are no Keras models are named for what they are."""

from __future__ import annotations

import pickle
import zipfile

import pytest
from hand_made_keras import archive, refusal


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
