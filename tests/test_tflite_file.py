"""`.tflite` files in plain Python: what a file says of itself and of its weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_models import (
    FLOAT_KERNEL,
    KERNEL,
    buffer,
    entries,
    int8_model,
    model,
    refusal,
    tensor,
    written,
)

from slimedge import notes, tflite_file
from slimedge.artifact import Artifact, Format, Step, TensorSpec
from slimedge.files import sha256_of
from slimedge.weight_facts import WeightFacts


def test_inputs_and_outputs_are_those_of_the_signature(tmp_path):
    path = written(int8_model(signature=(entries(image=0), entries(logits=1))), tmp_path / "model.tflite")
    artifact = tflite_file.read(path)
    assert artifact == Artifact(path, Format.TFLITE, sha256_of(path), (), ())
    assert artifact.inputs == (TensorSpec("image", (1, 3), "int8", 0.5, -128),)
    assert artifact.outputs == (TensorSpec("logits", (1, 2), "int8", 0.25, 3),)


def test_without_a_signature_tensors_have_their_own_names(tmp_path):
    artifact = tflite_file.read(written(int8_model(), tmp_path / "model.tflite"))
    assert [spec.name for spec in (*artifact.inputs, *artifact.outputs)] == ["in", "out"]


def test_an_open_batch_has_no_size(tmp_path):
    tensors = [
        tensor("in", (1, 3), signature=[-1, 3]),
        tensor("out", (1, 2), signature=[-1, 2]),
        tensor("kernel", (2, 3), buffer=1),
    ]
    artifact = tflite_file.read(
        written(model(tensors, [buffer(), buffer(FLOAT_KERNEL)]), tmp_path / "m.tflite")
    )
    assert artifact.inputs == (TensorSpec("in", (None, 3), "float32"),)


def test_a_tensor_with_a_scale_per_channel_has_no_single_one(tmp_path):
    tensors = [
        tensor("in", (1, 2), "INT8", scale=[0.5, 0.25], zero_point=[0, 0], axis=1),
        tensor("out", (1, 2), "INT8"),
        tensor("kernel", (2, 3), "INT8", buffer=1),
    ]
    artifact = tflite_file.read(written(model(tensors, [buffer(), buffer(KERNEL)]), tmp_path / "m.tflite"))
    assert artifact.inputs == (TensorSpec("in", (1, 2), "int8"),)


def test_order_and_lineage_come_from_the_notes(tmp_path):
    steps = (Step("quantize", {"scheme": "static_wi8_ai8"}),)
    made = int8_model(
        outputs=(1, 0),
        signature=(entries(image=0), entries(zebra=0, ant=1)),
        facts=notes.to_json(steps, inputs=["image"], outputs=["zebra", "ant"]),
    )
    artifact = tflite_file.read(written(made, tmp_path / "model.tflite"))
    assert [spec.name for spec in artifact.outputs] == ["zebra", "ant"]
    assert artifact.lineage == steps
    made = int8_model(outputs=(1, 0), signature=(entries(image=0), entries(zebra=0, ant=1)))
    artifact = tflite_file.read(written(made, tmp_path / "foreign.tflite"))
    assert [spec.name for spec in artifact.outputs] == ["ant", "zebra"]
    assert artifact.lineage == ()


@pytest.mark.parametrize(
    "facts", ["", "{", "[1]", '{"lineage": 3, "outputs": "x"}', '{"lineage": [{"name": 1}]}']
)
def test_notes_of_somebody_else_say_nothing(facts, tmp_path):
    path = written(int8_model(facts=facts), tmp_path / "model.tflite")
    assert tflite_file.read(path).lineage == ()


def test_parameters_are_the_constants_without_shapes(tmp_path):
    tensors = [
        tensor("in", (1, 3)),
        tensor("out", (1, 2)),
        tensor("kernel", (2, 3), buffer=1),
        tensor("the same kernel", (2, 3), buffer=1),
        tensor("bias", (2,), "INT32", buffer=2, scale=0.1, zero_point=0),
        tensor("shape", (2,), "INT32", buffer=3),
    ]
    buffers = [
        buffer(),
        buffer(FLOAT_KERNEL),
        buffer(np.array([7, 0], np.int32)),
        buffer(np.array([1, 2], np.int32)),
    ]
    path = written(model(tensors, buffers), tmp_path / "model.tflite")
    assert tflite_file.weights_summary(path) == (FLOAT_KERNEL.size + 2, np.count_nonzero(FLOAT_KERNEL) + 1)


@pytest.mark.parametrize(
    ("zero_point", "axis", "nonzero"),
    [(0, 0, 4), (4, 0, 5), ([0, 5], 0, 4), ([1, 5, 0], 1, 3)],
)
def test_a_quantized_number_is_zero_at_its_zero_point(zero_point, axis, nonzero, tmp_path):
    scale = np.ones(np.size(zero_point))
    tensors = [
        tensor("in", (1, 3)),
        tensor("out", (1, 2)),
        tensor("kernel", (2, 3), "INT8", buffer=1, scale=scale, zero_point=zero_point, axis=axis),
    ]
    path = written(model(tensors, [buffer(), buffer(KERNEL)]), tmp_path / "model.tflite")
    assert tflite_file.weights_summary(path) == (6, nonzero)


def test_packed_int4_is_counted_by_element(tmp_path):
    values = [1, 0, -8, 7, 0]
    packed = bytes([(values[0] & 15) | (values[1] & 15) << 4, (values[2] & 15) | (values[3] & 15) << 4, 0])
    for zero_point, nonzero in ((0, 3), (-8, 4)):
        tensors = [
            tensor("in", (1, 5)),
            tensor("out", (1, 1)),
            tensor("kernel", (1, 5), "INT4", buffer=1, scale=0.1, zero_point=zero_point),
        ]
        path = written(model(tensors, [buffer(), buffer(packed)]), tmp_path / "model.tflite")
        assert tflite_file.weights_summary(path) == (5, nonzero)


def sparse_kernel(shape, kind, stored, *, segments, indices, block=None):
    """A tensor whose rows hold only some of their numbers (compressed sparse rows), or blocks of them in a row."""
    made = tensor("kernel", shape, kind, buffer=1)
    made.sparsity = schema.SparsityParametersT()
    made.sparsity.traversalOrder = [0, 1] if block is None else [0, 1, 2]
    made.sparsity.blockMap = [] if block is None else [1]
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, shape[0]
    columns.format = schema.DimensionType.SPARSE_CSR
    for name, numbers in (("Segments", segments), ("Indices", indices)):
        vector = schema.Int32VectorT()
        vector.values = list(numbers)
        setattr(columns, f"array{name}Type", schema.SparseIndexVector.Int32Vector)
        setattr(columns, f"array{name}", vector)
    made.sparsity.dimMetadata = [rows, columns]
    if block is not None:
        inside = schema.DimensionMetadataT()
        inside.format, inside.denseSize = schema.DimensionType.DENSE, block
        made.sparsity.dimMetadata.append(inside)
    return model(
        [tensor("in", (1, shape[1])), tensor("out", (1, shape[0])), made], [buffer(), buffer(stored)]
    )


@pytest.mark.parametrize("kind", ["FLOAT32", "INT8"])
def test_of_a_sparse_weight_the_whole_is_counted_and_what_is_stored_is_not_zero(kind, tmp_path):
    dense = np.zeros((2, 8), kind.lower())
    dense[0, [1, 6]], dense[1, 3] = (5, -2), 7
    stored = np.concatenate([row[row != 0] for row in dense])
    made = sparse_kernel((2, 8), kind, stored, segments=[0, 2, 3], indices=[1, 6, 3])
    path = written(made, tmp_path / "model.tflite")

    assert tflite_file.weights_summary(path) == (dense.size, np.count_nonzero(dense)) == (16, 3)
    assert tflite_file.weights(path) == (WeightFacts("kernel", (2, 8), kind.lower(), 16, 3, sparse=True),)
    assert isinstance(tflite_file.read(path), Artifact)


def test_zeros_inside_of_a_stored_block_are_zeros(tmp_path):
    stored = np.float32([1, 0, 2, 0, 0, 0, 3, -0.0])  # two blocks of 4 in the first row, none in the second
    made = sparse_kernel((2, 16), "FLOAT32", stored, segments=[0, 2, 2], indices=[0, 3], block=4)
    assert tflite_file.weights_summary(written(made, tmp_path / "model.tflite")) == (32, 3)


def test_a_clustered_sparse_weight_has_its_values_and_zero(tmp_path):
    stored = np.resize(np.float32([1, 2, 3, -1]), 400)
    made = sparse_kernel((2, 500), "FLOAT32", stored, segments=[0, 200, 400], indices=[*range(200)] * 2)
    (found,) = tflite_file.weights(written(made, tmp_path / "model.tflite"))
    assert (found.nonzero_parameters, found.distinct_values, found.pattern) == (400, 5, None)


def test_a_sparse_weight_does_not_hold_more_than_the_whole(tmp_path):
    stored = np.ones(17, np.float32)
    made = sparse_kernel((2, 8), "FLOAT32", stored, segments=[0, 8, 17], indices=[*range(8)] * 2)
    assert "68 bytes for a sparse tensor of 64 at most" in refusal(written(made, tmp_path / "model.tflite"))


def test_each_weight_tells_its_zeros_values_and_pattern(tmp_path):
    generator = np.random.default_rng(2)
    kernel = generator.integers(1, 11, (8, 64)).astype(np.int8)
    kernel[generator.permuted(np.tile([True, True, False, False], (8 * 16, 1)), axis=1).reshape(8, 64)] = 0
    depthwise = generator.normal(size=(1, 3, 3, 64)).astype(np.float32)
    depthwise[..., ::2] = 0  # 2:4 along the outputs, where it is of no use
    brains = np.resize(np.arange(0x3F80, 0x3F88, dtype=np.uint16), 600)  # bfloat16: 8 numbers from 1 on
    brains[::2] |= 0x8000  # and as many below zero
    brains[0] = 0x8000  # the zero below zero
    tensors = [
        tensor("in", (1, 64)),
        tensor("out", (1, 8)),
        tensor("kernel", kernel.shape, "INT8", buffer=1, scale=np.ones(8), zero_point=np.zeros(8)),
        tensor("depthwise", depthwise.shape, buffer=2),
        tensor("brains", (600,), "BFLOAT16", buffer=3),
    ]
    made = model(tensors, [buffer(), buffer(kernel), buffer(depthwise), buffer(brains)])

    assert tflite_file.weights(written(made, tmp_path / "model.tflite")) == (
        WeightFacts("kernel", (8, 64), "int8", 512, 256, None, "2:4"),
        WeightFacts("depthwise", (1, 3, 3, 64), "float32", 576, 288),
        WeightFacts("brains", (600,), "bfloat16", 600, 599, len(np.unique(brains))),
    )


def test_reading_loads_no_native_code(tmp_path):
    path = written(int8_model(), tmp_path / "model.tflite")
    code = (
        f"import sys; from slimedge import tflite_file; tflite_file.read({str(path)!r})\n"
        "assert not {'ai_edge_litert', 'tensorflow', 'flatbuffers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
