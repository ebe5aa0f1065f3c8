"""The operators that TFLite Micro has: the table against the runtime itself, and files against another reader."""

from __future__ import annotations

from collections import Counter

import micro_files
import pytest
import tiny_files
from ai_edge_litert import schema_py_generated as schema
from tflite_models import int8_model, written

from slimedge.benchmarks.file_graph import read_tflite
from slimedge.errors import InputError
from slimedge.micro_operators import (
    CUSTOM_METHODS,
    METHODS,
    operators,
    require_operators,
    resolver_methods,
    unsupported,
)

KINDS = {name: number for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
ERF_LIKE = ("CONV_3D", "RESIZE_BILINEAR", "TILE", "TOPK_V2")


def test_the_table_holds_exactly_the_operators_that_tflite_micro_has(tmp_path):
    pytest.importorskip("tflite_micro")
    paths = {
        name: micro_files.one_operator(tmp_path / f"{name}.tflite", number)
        for name, number in KINDS.items()
        if name not in {"CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    }

    known = micro_files.known_to_tflite_micro(paths)

    assert {name for name, is_known in known.items() if is_known} == set(METHODS)
    assert len(METHODS) >= 100


def test_so_it_does_of_those_that_are_not_built_in_but_the_npu_s(tmp_path):
    pytest.importorskip("tflite_micro")
    names = (*CUSTOM_METHODS, "FlexErf")
    paths = {
        name: micro_files.one_operator(tmp_path / f"{number}.tflite", KINDS["CUSTOM"], custom=name)
        for number, name in enumerate(names)
    }

    known = micro_files.known_to_tflite_micro(paths)

    # The NPU's is registered where there is one.
    assert {name for name in names if not known[name]} == {"FlexErf", "ethos-u"}


def test_operators_are_counted_as_another_reader_counts_them(tmp_path):
    paths = [
        tiny_files.tflite(tmp_path / "tiny.tflite", integer=True).path,
        micro_files.dense_then_float(tmp_path / "two.tflite"),
    ]
    for path in paths:
        assert operators(path) == Counter(op.kind for op in read_tflite(path).ops)


def test_operators_with_numbers_beyond_a_byte_are_named(tmp_path):
    path = micro_files.one_operator(tmp_path / "late.tflite", KINDS["GELU"])
    assert KINDS["GELU"] > 127
    assert operators(path) == {"GELU": 1}


def test_all_that_is_missing_is_named_at_once(tmp_path):
    made = micro_files.with_dense_options(int8_model())
    for kind in ERF_LIKE:
        micro_files.add_operator(made, KINDS[kind], [1], [1])
    micro_files.add_operator(made, KINDS["CUSTOM"], [1], [1], custom="FlexErf")
    path = written(made, tmp_path / "many.tflite")

    assert unsupported(operators(path)) == ("CONV_3D", "TILE", "TOPK_V2", "custom FlexErf")
    assert resolver_methods(operators(path)) == ("AddFullyConnected", "AddResizeBilinear")
    with pytest.raises(InputError, match=r"many\.tflite .*: CONV_3D, TILE, TOPK_V2, custom FlexErf; replace"):
        require_operators(path)


def test_what_tflite_micro_has_is_let_through(tmp_path):
    require_operators(micro_files.dense_then_float(tmp_path / "two.tflite"))


def test_weights_without_their_zeros_are_refused_with_the_way_out(tmp_path):
    made = int8_model()
    kernel = made.subgraphs[0].tensors[2]
    kernel.sparsity = schema.SparsityParametersT()
    path = written(micro_files.with_dense_options(made), tmp_path / "sparse.tflite")

    with pytest.raises(InputError, match=r"sparse\.tflite has weights .* --dense\.$"):
        require_operators(path)
