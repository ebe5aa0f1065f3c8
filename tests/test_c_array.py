"""A TFLite file as C++ source: what a compiler makes of it is the file, byte by byte."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from hashlib import sha256

import micro_files
import pytest
import tiny_files
from ai_edge_litert import schema_py_generated as schema
from tflite_models import int8_model, tensor, written

from slimedge.artifact import Format
from slimedge.artifact_file import read_artifact
from slimedge.cli import main
from slimedge.errors import CheckError, InputError, RunError, UnavailableError
from slimedge.export import c_array
from slimedge.export.c_array import parsed, source, symbol, write_c_array
from slimedge.export.exporting import export_model
from slimedge.micro_operators import METHODS
from slimedge.runtime.microcontroller.arena import arena_bytes
from slimedge.runtime.microcontroller.flash import flash

STRICT = ("-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic")


@pytest.fixture
def compiler():
    found = shutil.which("g++")
    if found is None:
        pytest.skip("g++ is not here; apt-get install g++")
    return found


@pytest.fixture
def model(tmp_path):
    return tiny_files.tflite(tmp_path / "tiny-int8.tflite", integer=True)


def built(compiler, folder, *sources):
    subprocess.run([compiler, *STRICT, "-o", "program", *sources], cwd=folder, check=True)
    return subprocess.run([folder / "program"], capture_output=True, check=True).stdout


def test_the_compiled_array_is_the_file(model, tmp_path, compiler):
    write_c_array(model.path, folder=tmp_path)
    (tmp_path / "main.cc").write_text(
        '#include <cstdio>\n#include "tiny-int8.h"\n'
        "int main() { std::fwrite(tiny_int8_tflite, 1, tiny_int8_tflite_len, stdout); return 0; }\n"
    )
    assert built(compiler, tmp_path, "main.cc", "tiny-int8.cc") == model.path.read_bytes()


def test_the_array_lies_where_tflite_micro_can_read_it(model, tmp_path, compiler):
    write_c_array(model.path, folder=tmp_path)
    (tmp_path / "main.cc").write_text(
        '#include <cstdint>\n#include "tiny-int8.h"\n#include <cstdio>\n'
        'int main() { std::printf("%u", unsigned(reinterpret_cast<std::uintptr_t>(tiny_int8_tflite) % 16)); }\n'
    )
    assert built(compiler, tmp_path, "main.cc", "tiny-int8.cc") == b"0"


def test_the_flash_is_what_the_compiler_puts_there(model, tmp_path, compiler):
    write_c_array(model.path, folder=tmp_path)
    subprocess.run([compiler, *STRICT, "-c", "tiny-int8.cc"], cwd=tmp_path, check=True)
    sizes = subprocess.run(
        ["size", "-A", "tiny-int8.o"], cwd=tmp_path, capture_output=True, check=True, text=True
    ).stdout
    read_only = int(re.search(r"\.rodata\s+(\d+)", sizes)[1])
    assert 0 <= read_only - flash(model.path.stat().st_size).c_array_bytes < 64  # alignment


def test_the_header_adds_each_operator_once_and_tells_where_that_fails(tmp_path, compiler):
    write_c_array(micro_files.dense_then_float(tmp_path / "two.tflite"), folder=tmp_path)
    (tmp_path / "main.cc").write_text(
        '#include <cstdio>\n#include "two.h"\n'
        "struct Resolver {\n"
        "  int full; unsigned int added;\n"
        '  int AddDequantize() { std::printf("AddDequantize "); return ++added > 2u || full; }\n'
        '  int AddFullyConnected() { std::printf("AddFullyConnected "); return ++added > 2u || full; }\n'
        "};\n"
        "int main() {\n"
        "  Resolver good = {0, 0u}, bad = {1, 0u};\n"
        "  bool ok = two_tflite_add_operators(good) && !two_tflite_add_operators(bad);\n"
        '  std::printf("%d %u %u", ok, two_tflite_operators, two_tflite_arena_bytes);\n'
        "  return 0;\n"
        "}\n"
    )
    told = built(compiler, tmp_path, "main.cc", "two.cc").decode().split()
    assert told == [
        "AddDequantize", "AddFullyConnected", "AddDequantize", "1", "2", str(arena_bytes(tmp_path / "two.tflite"))
    ]  # fmt: skip


def test_the_header_tells_hash_inputs_and_outputs(model, tmp_path):
    write_c_array(model.path, folder=tmp_path, name="other")
    text = (tmp_path / "other.h").read_text()
    assert f"sha256 {sha256(model.path.read_bytes()).hexdigest()}" in text
    for line in (
        f"input 0: 'left', int8 [1, 4], scale {float_of(0.02)!r}, zero point 3",
        f"input 1: 'right', int8 [1, 3], scale {float_of(0.025)!r}, zero point -5",
        f"output 0: 'zeta', int8 [1, 3], scale {float_of(0.05)!r}, zero point 7",
        f"output 1: 'alpha', int8 [1, 2], scale {float_of(0.04)!r}, zero point -2",
    ):
        assert f"// {line}\n" in text


def float_of(number):
    import numpy as np

    return float(np.float32(number))


def test_the_artifact_is_the_source_with_the_model_s_ends(model, tmp_path):
    made = write_c_array(model.path, folder=tmp_path / "new")
    read = read_artifact(model.path)
    assert (made.path, made.format) == (tmp_path / "new" / "tiny-int8.cc", Format.C_ARRAY)
    assert (made.inputs, made.outputs, made.lineage) == (read.inputs, read.outputs, read.lineage)
    assert made.sha256 == sha256(made.path.read_bytes()).hexdigest()
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["tiny-int8.cc", "tiny-int8.h"]


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)), b"0123456789abcdef" * 3])
def test_the_array_can_be_read_back(content):
    assert parsed(source(content, "any")) == content


def test_a_source_that_does_not_hold_the_file_is_not_kept(model, tmp_path, monkeypatch):
    monkeypatch.setattr(c_array, "source", lambda content, stem: source(content[:-1] + b"?", stem))
    with pytest.raises(CheckError, match=r"tiny-int8\.cc does not hold the bytes of tiny-int8\.tflite"):
        write_c_array(model.path, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("stem", ["8 bit", "net.v2", "größe", "int", "a-b"])
def test_any_name_of_a_file_gives_names_that_compile(stem, model, tmp_path, compiler):
    write_c_array(model.path, folder=tmp_path, name=stem)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", symbol(stem))
    subprocess.run([compiler, *STRICT, "-c", f"{stem}.cc"], cwd=tmp_path, check=True)


def test_names_of_tensors_cannot_leave_their_comment(tmp_path, compiler, monkeypatch):
    monkeypatch.setattr(c_array, "_arena_bytes", lambda _: (None, "not asked"))
    made = int8_model()
    made.subgraphs[0].tensors[0] = tensor("in\n#error out??/", (1, 3), "INT8", scale=0.5, zero_point=0)
    write_c_array(written(made, tmp_path / "odd.tflite"), folder=tmp_path)
    subprocess.run([compiler, *STRICT, "-c", "odd.cc"], cwd=tmp_path, check=True)


def test_all_operators_that_tflite_micro_lacks_are_named_and_nothing_is_written(tmp_path):
    made = micro_files.with_dense_options(int8_model())
    for kind in (schema.BuiltinOperator.TILE, schema.BuiltinOperator.TOPK_V2):
        micro_files.add_operator(made, kind, [1], [1])
    path = written(made, tmp_path / "many.tflite")
    with pytest.raises(InputError, match=r"TILE, TOPK_V2"):
        write_c_array(path, folder=tmp_path / "new")
    assert "TILE" not in METHODS
    assert not (tmp_path / "new").exists()


def test_a_file_that_tflite_micro_refuses_is_not_written(tmp_path):
    pytest.importorskip("tflite_micro")
    path = micro_files.one_operator(tmp_path / "conv.tflite", schema.BuiltinOperator.CONV_2D)
    with pytest.raises(RunError, match=r"does not take conv\.tflite"):
        write_c_array(path, folder=tmp_path / "new")


def test_without_tflite_micro_the_header_says_why_there_is_no_arena(model, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise UnavailableError("TFLite Micro is not installed; pip install 'slimedge[mcu]'.")

    monkeypatch.setattr(c_array, "run_isolated", refuse)
    write_c_array(model.path, folder=tmp_path)
    text = (tmp_path / "tiny-int8.h").read_text()
    assert (
        "// The arena was not counted: TFLite Micro is not installed; pip install 'slimedge[mcu]'.\n" in text
    )
    assert "arena_bytes" not in text


# The command and the function for all formats


def test_a_tflite_file_can_be_exported_as_an_array_and_as_nothing_else(model, tmp_path):
    (made,) = export_model(model.path, to="c-array", folder=tmp_path, name="net")
    assert parsed(made.path.read_text()) == model.path.read_bytes()
    with pytest.raises(InputError, match=r"tiny-int8\.tflite is a TFLite file.* c-array; onnx is made from"):
        export_model(model.path, to="onnx", folder=tmp_path)


def test_the_command_writes_both_files_and_names_them(model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(model.path), "--to", "c-array", "--json", "made.json"])
    assert ended.value.code == 0
    assert re.findall(r"wrote (\S+)", capsys.readouterr().out) == ["tiny-int8.cc", "tiny-int8.h"]
    (told,) = json.loads((tmp_path / "made.json").read_text())
    assert told["format"] == "cc"
    assert (tmp_path / "tiny-int8.h").exists()


def test_an_unknown_format_is_told_with_all_that_there_are(model):
    with pytest.raises(InputError, match=r"onnx, tflite, c-array\.$"):
        export_model(model.path, to="carray")
