"""The memory of a microcontroller: what TFLite Micro itself counts for a file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_models import buffer, model, tensor, written

from slimedge.errors import RunError, UnavailableError
from slimedge.runtime import arena

GENERATOR = np.random.default_rng(2)


def dense(path, inputs, outputs=2):
    """Write an int8 file that multiplies `inputs` numbers with a kernel."""
    kernel = GENERATOR.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    made = model(
        [
            tensor("in", (1, inputs), "INT8", scale=0.5, zero_point=-128),
            tensor("out", (1, outputs), "INT8", scale=0.25, zero_point=3),
            tensor("kernel", (outputs, inputs), "INT8", buffer=1, scale=0.1, zero_point=0),
        ],
        [buffer(), buffer(kernel)],
    )
    (operator,) = made.subgraphs[0].operators
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    return written(made, path)


def test_the_arena_grows_by_the_bytes_of_the_activations_and_not_of_the_weights(tmp_path):
    pytest.importorskip("tflite_micro")
    small, wide = dense(tmp_path / "small.tflite", 160), dense(tmp_path / "wide.tflite", 1600)
    deep = dense(tmp_path / "deep.tflite", 160, outputs=16)

    found = arena.arena_bytes(small)

    assert arena.arena_bytes(wide) - found == 1600 - 160
    assert 0 <= arena.arena_bytes(deep) - found < 14 * 160
    assert 160 < found < 4096


def test_a_file_that_tflite_micro_refuses_is_one_sentence(tmp_path):
    pytest.importorskip("tflite_micro")
    path = tmp_path / "none.tflite"
    path.write_bytes(b"no model at all" * 10)
    with pytest.raises(
        RunError, match=r"^TFLite Micro does not take none\.tflite \(.*\); export .*\.$"
    ) as caught:
        arena.arena_bytes(path)
    assert "\n" not in str(caught.value)


def test_where_tflite_micro_is_not_installed_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(arena, "find_spec", lambda _: None)
    for act in (arena.require, lambda: arena.arena_bytes(tmp_path / "any.tflite")):
        with pytest.raises(UnavailableError, match=r"pip install 'slimedge\[mcu\]'\.$"):
            act()
