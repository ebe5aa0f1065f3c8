"""`.tflite` files that are cut off, damaged or none: one sentence, and no memory that the file has no room for."""

from __future__ import annotations

import random

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_models import (
    buffer,
    entries,
    int8_model,
    refusal,
    tensor,
    written,
)

from slimedge import notes, tflite_file
from slimedge.artifact import Artifact, Step
from slimedge.errors import InputError


@pytest.mark.parametrize("share", [0.25, 0.9])
def test_a_cut_off_file_is_cut_off(share, tmp_path):
    path = written(int8_model(), tmp_path / "model.tflite")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut off or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "an empty file"), (b"hello\n", "a text file"), (b"PK\x03\x04" + bytes(99), "a zip archive")],
)
def test_a_foreign_file_is_named_for_what_it_is(content, words, tmp_path):
    (tmp_path / "model.tflite").write_bytes(content)
    message = refusal(tmp_path / "model.tflite")
    assert words in message
    assert "not a TFLite model" in message


def test_nothing_but_the_identifier_is_damaged(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    assert "cut off or damaged" in refusal(tmp_path / "model.tflite")


def spoiled(change):
    made = int8_model(signature=(entries(image=0), entries(logits=1)))
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: setattr(made, "version", 2), "schema version 2"),
        (lambda made: setattr(made, "subgraphs", []), "no graph"),
        (lambda made: setattr(made.subgraphs[0], "inputs", [9]), "tensor 9 of 3"),
        (lambda made: setattr(made.subgraphs[0], "outputs", [-1]), "tensor -1 of 3"),
        (lambda made: setattr(made.subgraphs[0].operators[0], "inputs", [3]), "tensor 3 of 3"),
        (lambda made: setattr(made.subgraphs[0].operators[0], "outputs", [-1]), "tensor -1 of 3"),
        (lambda made: setattr(made.subgraphs[0].operators[0], "opcodeIndex", 5), "operator 5 of 1"),
        (lambda made: setattr(made.subgraphs[0].tensors[2], "buffer", 7), "buffer 7 of 2"),
        (lambda made: setattr(made.subgraphs[0].tensors[2], "type", 99), "element type 99"),
        (lambda made: setattr(made.subgraphs[0].tensors[2], "shape", [2, -3]), "shape [2, -3]"),
        (
            lambda made: setattr(made.subgraphs[0].tensors[2], "shape", [2, 4]),
            "6 bytes for a tensor that needs 8",
        ),
        (lambda made: setattr(made.signatureDefs[0], "subgraphIndex", 4), "graph 4 of 1"),
        (lambda made: setattr(made.signatureDefs[0].inputs[0], "tensorIndex", 4), "tensor 4 of 3"),
        (lambda made: setattr(made.subgraphs[0].tensors[2], "externalBuffer", 1), "in another file"),
    ],
)
def test_what_leads_out_of_the_file_is_told(change, words, tmp_path):
    message = refusal(written(spoiled(change), tmp_path / "model.tflite"))
    assert "cut off or damaged" in message
    assert words in message


def test_weights_behind_the_tables_must_be_there(tmp_path):
    path = written(
        spoiled(lambda made: setattr(made.buffers[1], "offset", 1 << 40)), tmp_path / "model.tflite"
    )
    assert "cut off or damaged" in refusal(path)


def repeated(builder, offset, count):
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def test_one_table_named_again_and_again_is_not_read_again_and_again(tmp_path):
    builder = flatbuffers.Builder(1024)
    one_tensor = tensor("t", (1, 3)).Pack(builder)
    many_tensors = repeated(builder, one_tensor, 20_000)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, many_tensors)
    many_graphs = repeated(builder, schema.SubGraphEnd(builder), 20_000)
    buffers = repeated(builder, buffer().Pack(builder), 1)
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, many_graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    (tmp_path / "model.tflite").write_bytes(
        bytes(builder.Output())
    )  # 160 kB that ask for 400 million tensors
    assert "more tables and vectors than the file has room for" in refusal(tmp_path / "model.tflite")


@pytest.mark.parametrize("seed", range(200))
def test_flipped_bytes_give_an_error_or_an_artifact_and_nothing_else(seed, tmp_path):
    facts = notes.to_json([Step("quantize", {"scheme": "x"})], inputs=["image"], outputs=["logits"])
    path = written(
        int8_model(signature=(entries(image=0), entries(logits=1)), facts=facts), tmp_path / "m.tflite"
    )
    content = bytearray(path.read_bytes())
    generator = random.Random(seed)
    for _ in range(generator.randint(1, 12)):
        content[generator.randrange(8, len(content))] = generator.choice(
            (0, 1, 127, 128, 255, generator.randrange(256))
        )
    path.write_bytes(content)
    try:
        assert isinstance(tflite_file.read(path), Artifact)
        parameters, nonzero = tflite_file.weights_summary(path)
        assert 0 <= nonzero <= parameters
    except InputError:
        pass  # any other exception fails the test
