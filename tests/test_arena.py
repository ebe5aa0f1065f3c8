"""The memory of a microcontroller: what TFLite Micro itself counts for a file, and what it runs in."""

from __future__ import annotations

import importlib.util

import micro_files
import pytest
import tiny_files

from slimedge.errors import RunError, UnavailableError
from slimedge.runtime.microcontroller import arena
from slimedge.runtime.microcontroller.describing import describe
from slimedge.runtime.microcontroller.flash import Flash


@pytest.fixture
def installed():
    pytest.importorskip("tflite_micro")


@pytest.fixture
def not_installed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tflite_micro" else find(name)
    )


@pytest.mark.usefixtures("installed")
def test_the_arena_grows_by_the_bytes_of_the_activations_and_not_of_the_weights(tmp_path):
    small = micro_files.dense(tmp_path / "small.tflite", 16_000)
    wide = micro_files.dense(tmp_path / "wide.tflite", 20_000)
    deep = micro_files.dense(tmp_path / "deep.tflite", 16_000, outputs=16)

    found = arena.arena_bytes(small)

    assert arena.arena_bytes(wide) - found == 20_000 - 16_000
    assert 0 <= arena.arena_bytes(deep) - found < 160
    assert 16_000 < found < 20_000


@pytest.mark.usefixtures("installed")
def test_head_and_tail_are_the_arena_and_activations_lie_in_the_head(tmp_path):
    small = arena.arena(micro_files.dense(tmp_path / "small.tflite", 160))
    wide = arena.arena(micro_files.dense(tmp_path / "wide.tflite", 1600))

    assert small.head_bytes + small.tail_bytes + small.planning_bytes == small.total_bytes
    assert (wide.head_bytes - small.head_bytes, wide.tail_bytes) == (1600 - 160, small.tail_bytes)


@pytest.mark.usefixtures("installed")
def test_a_small_model_with_large_activations_is_counted(tmp_path):
    # TFLite Micro's own default is ten times the file, which would not hold the input.
    path = micro_files.dense(tmp_path / "wide.tflite", 100_000, outputs=1)
    assert 100_000 < arena.arena_bytes(path) < 110_000


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("integer", [False, True])
def test_what_is_told_is_what_a_file_runs_in(tmp_path, integer):
    path = tiny_files.tflite(tmp_path / "tiny.tflite", integer=integer).path

    assert arena.arena_bytes(path) == arena.smallest_arena_bytes(path)


@pytest.mark.usefixtures("installed")
def test_planning_a_tiny_model_takes_more_than_running_it(tmp_path):
    tiny = arena.arena(tiny_files.tflite(tmp_path / "tiny.tflite", integer=True).path)
    wide = arena.arena(micro_files.dense(tmp_path / "wide.tflite", 16_000))

    assert tiny.planning_bytes > 0
    assert wide.planning_bytes == 0


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("ask", [arena.arena_bytes, arena.smallest_arena_bytes])
def test_a_file_that_tflite_micro_refuses_is_one_sentence(tmp_path, ask):
    path = tmp_path / "none.tflite"
    path.write_bytes(b"no model at all" * 10)
    with pytest.raises(
        RunError, match=r"^TFLite Micro does not take none\.tflite \(.*\); export .*\.$"
    ) as caught:
        ask(path)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("not_installed")
def test_where_tflite_micro_is_not_installed_it_says_what_to_install(tmp_path):
    for act in (arena.require, lambda: arena.arena_bytes(tmp_path / "any.tflite")):
        with pytest.raises(UnavailableError, match=r"pip install 'slimedge\[mcu\]'\.$"):
            act()


# All that is known of a file


@pytest.mark.usefixtures("installed")
def test_a_description_tells_memory_flash_and_operators(tmp_path):
    path = micro_files.dense_then_float(tmp_path / "two.tflite")

    found = describe(path)

    assert found.arena == arena.arena(path)
    assert found.no_arena is None
    assert found.flash == Flash(path.stat().st_size, path.stat().st_size + 4, code_bytes=None)
    assert found.operators == {"FULLY_CONNECTED": 1, "DEQUANTIZE": 1}
    assert found.resolver_methods == ("AddDequantize", "AddFullyConnected")
    assert found.unsupported == ()


def test_a_description_of_what_cannot_run_says_why(tmp_path):
    path = micro_files.one_operator(tmp_path / "gelu.tflite", 150)

    found = describe(path)

    assert (found.arena, found.unsupported) == (None, ("GELU",))
    assert found.no_arena == "TFLite Micro does not have GELU"


@pytest.mark.usefixtures("installed")
def test_a_description_passes_on_what_tflite_micro_says_against_a_file(tmp_path):
    # It has the operator, but none that takes one tensor.
    found = describe(micro_files.one_operator(tmp_path / "conv.tflite", 3))

    assert (found.arena, found.unsupported) == (None, ())
    assert "TFLite Micro does not take conv.tflite" in found.no_arena


@pytest.mark.usefixtures("not_installed")
def test_a_description_needs_no_tflite_micro_but_for_the_arena(tmp_path):
    found = describe(micro_files.dense(tmp_path / "dense.tflite", 16))

    assert (found.arena, found.resolver_methods) == (None, ("AddFullyConnected",))
    assert "pip install 'slimedge[mcu]'" in found.no_arena
