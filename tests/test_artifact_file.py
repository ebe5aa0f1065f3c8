"""Any model file: told by its ending and its content, which must agree."""

from __future__ import annotations

import zipfile

import pytest

from slimedge.artifact import Format
from slimedge.artifact_file import READERS, SUMMARIES, format_of, read_artifact, weights_summary
from slimedge.errors import InputError

CONTENTS = {
    Format.TFLITE: b"\x1c\x00\x00\x00TFL3" + bytes(64),
    Format.ONNX: b"\x08\x08\x12\x07slimedge" + bytes(64),
    Format.KERAS: b"PK\x03\x04" + bytes(64),
}


@pytest.mark.parametrize("ending", CONTENTS)
@pytest.mark.parametrize("content", CONTENTS)
def test_ending_and_content_must_agree(content, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    path.write_bytes(CONTENTS[content])
    if content == ending:
        assert format_of(path) is Format(ending)
    else:
        with pytest.raises(InputError, match=rf"under the name \.{ending}; name it \.{content}"):
            format_of(path)


@pytest.mark.parametrize("name", ["model", "model.bin", "model.h5"])
def test_another_ending_lists_the_known(name, tmp_path):
    (tmp_path / name).write_bytes(CONTENTS[Format.TFLITE])
    with pytest.raises(InputError, match=r"\.keras, \.onnx, \.tflite, so name it \.tflite"):
        read_artifact(tmp_path / name)


@pytest.mark.parametrize("ending", Format)
@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)), b"\x80\x04\x95" + bytes(64)])
def test_what_is_no_model_is_an_error_of_every_reader(content, ending, tmp_path):
    path = tmp_path / f"model.{ending}"
    path.write_bytes(content)
    for function in (read_artifact, weights_summary):
        with pytest.raises(InputError, match=str(path)):
            function(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_artifact(tmp_path / "none.onnx")


def test_endings_are_taken_in_capitals(tmp_path):
    path = tmp_path / "MODEL.KERAS"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", "y")
    with pytest.raises(InputError, match=r"without config\.json"):
        read_artifact(path)


def test_every_format_but_arrays_for_compilers_has_a_reader_and_a_summary():
    assert set(READERS) == set(SUMMARIES) == set(CONTENTS) == set(Format) - {Format.C_ARRAY}
    for name in READERS:
        assert callable(READERS[name])
        assert callable(SUMMARIES[name])
