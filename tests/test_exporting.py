"""Exporting the bundled ResNet-8, each file in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import own_layers
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from slimedge.artifact import Artifact
from slimedge.benchmarks import demo
from slimedge.compress.quantization import quantize
from slimedge.errors import ConversionError, InputError
from slimedge.export.exporting import export_model
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs, load_model, save_model


@pytest.fixture(scope="module")
def int8_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, data = demo.load()
    model = load_model(source)
    parts = data.bind(input_specs(model)).split(calibration=200)
    path = tmp_path_factory.mktemp("int8") / "resnet8_int8.keras"
    save_model(quantize(model, parts.calibration), path)
    return path


@pytest.fixture(scope="module")
def files(int8_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("files")
    source, _ = demo.load()
    onnx_file, tflite_file = export_model(source, folder=folder)
    int8_onnx, int8_tflite = export_model(int8_model, folder=folder)
    io_onnx, io_tflite = export_model(
        int8_model, folder=folder, name="io", io="int8", batch=4, integers="u8u8"
    )
    return {
        "float onnx": onnx_file,
        "float tflite": tflite_file,
        "int8 onnx": int8_onnx,
        "int8 tflite": int8_tflite,
        "integer onnx": io_onnx,
        "integer tflite": io_tflite,
    }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root; run the tests as root to see what a full disk does.")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_keras_names_are_kept(files: dict[str, Artifact]) -> None:
    for artifact in files.values():
        assert [spec.name for spec in artifact.inputs] == ["image"]
        assert [spec.name for spec in artifact.outputs] == ["probabilities"]


def test_the_batch_is_open_in_onnx_and_fixed_in_tflite(files: dict[str, Artifact]) -> None:
    model = onnx.load(files["int8 onnx"].path)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert files["int8 tflite"].inputs[0].shape[0] == 1
    assert files["integer tflite"].inputs[0].shape[0] == 4


def test_lineage_and_calibration_facts_are_in_the_files(files: dict[str, Artifact]) -> None:
    for kind in ("int8 onnx", "int8 tflite"):
        quantized, exported = files[kind].lineage
        assert quantized.settings["scheme"] == "static_wi8_ai8"
        assert quantized.settings["calibration_examples"] == 200
        assert exported.name == "export"
    assert files["int8 onnx"].lineage[-1].settings["integers"] == integers_for(isa_here())
    assert [step.name for step in files["float onnx"].lineage] == ["export"]
    assert "integers" not in files["float onnx"].lineage[0].settings


def test_integer_inputs_and_outputs_are_by_choice(files: dict[str, Artifact]) -> None:
    assert files["int8 tflite"].inputs[0].dtype == "float32"
    assert files["integer tflite"].inputs[0].dtype == "int8"
    assert files["integer tflite"].outputs[0].dtype == "int8"
    assert files["integer onnx"].inputs[0].dtype == "uint8"
    assert files["integer tflite"].outputs[0].scale == pytest.approx(1 / 256)


def test_onnx_holds_int8_kernels_per_channel_and_int32_biases(files: dict[str, Artifact]) -> None:
    graph = onnx.load(files["int8 onnx"].path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    heavy = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    assert len(heavy) == 10
    for node in heavy:
        kernel, bias = makers[node.input[1]], makers[node.input[2]]
        assert kernel.op_type == bias.op_type == "DequantizeLinear"
        integers, scale = constants[kernel.input[0]], constants[kernel.input[1]]
        assert integers.dtype in (np.int8, np.uint8)
        assert scale.shape == (integers.shape[0 if node.op_type == "Conv" else 1],)
        assert constants[bias.input[0]].dtype == np.int32


def test_onnx_holds_no_needless_transpose_or_reshape(files: dict[str, Artifact]) -> None:
    for kind in ("float onnx", "int8 onnx"):
        kinds = [node.op_type for node in onnx.load(files[kind].path).graph.node]
        assert "Transpose" not in kinds
        assert kinds.count("Reshape") <= 1  # 28×28×1 to 1×28×28 moves nothing


def test_nodes_are_named_after_keras_layers(files: dict[str, Artifact]) -> None:
    names = {node.name for node in onnx.load(files["float onnx"].path).graph.node}
    assert {"stem_conv/Conv", "block3_add/Add", "probabilities/Gemm"} <= names


def test_int8_files_are_a_third_of_the_float_ones(files: dict[str, Artifact]) -> None:
    for kind in ("onnx", "tflite"):
        small, large = (files[f"{size} {kind}"].path.stat().st_size for size in ("int8", "float"))
        assert small <= 0.36 * large


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"to": ["onxx"]}, "there is no export format 'onxx'; did you mean 'onnx'"),
        ({"io": "int4"}, "io is 'int4'; it can be float32, int8"),
        ({"integers": "u4s4"}, "integers is 'u4s4'; it can be u8s8, u8u8, s8s8"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_a_wrong_option_is_one_sentence_before_any_work(
    arguments: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        export_model(demo.load()[0], folder=tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_float_model_has_no_int8_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="computes in float, so it has no int8 inputs; quantize it"):
        export_model(demo.load()[0], folder=tmp_path, io="int8", to=["tflite"])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(InputError, match="no space left on device"):
        export_model(demo.load()[0], folder=small_disk, to=["onnx"])
    assert list(small_disk.iterdir()) == []


def test_an_interrupt_leaves_no_half_written_file(tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "slimedge.cli", "export", str(demo.load()[0]), "-o", str(out)]
    process = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert not out.exists() or list(out.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_the_metadata_is_json_that_others_can_read(files: dict[str, Artifact]) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(files["int8 onnx"].path).metadata_props}
    kept = json.loads(properties["slimedge"])
    assert kept["grids"]["probabilities"]["scale"] == pytest.approx(1 / 256)
    assert kept["lineage"][0]["settings"]["layer_sqnr_db"]["stem_conv"] > 30


def test_tflite_computes_every_heavy_operator_on_integers(files: dict[str, Artifact]) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files["int8 tflite"].path.read_bytes(), 0))
    (graph,) = model.subgraphs
    kinds = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    heavy = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED}
    chosen = [operator for operator, kind in zip(graph.operators, kinds, strict=True) if kind in heavy]
    assert len(chosen) == 10
    for operator in chosen:
        given, kernel, bias = (graph.tensors[index] for index in operator.inputs)
        assert given.type == kernel.type == schema.TensorType.INT8
        assert bias.type == schema.TensorType.INT32
        assert len(kernel.quantization.scale) == kernel.shape[0]
    edges = {schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE}
    assert sum(kind in edges for kind in kinds) == 2


def test_a_model_in_memory_with_layers_of_its_own_is_exported(tmp_path: Path) -> None:
    network = own_layers.model()
    (artifact,) = export_model(network, to="tflite", folder=tmp_path / "made")
    assert artifact.path == tmp_path / "made" / "own.tflite"
    network.save(tmp_path / "saved.keras")
    (artifact,) = export_model(tmp_path / "saved.keras", to="onnx", folder=tmp_path, name="other")
    assert artifact.path == tmp_path / "other.onnx"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["made", "other.onnx", "saved.keras"]


def test_a_layer_of_the_running_script_is_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_layers.Doubled, "__module__", "__main__")
    with pytest.raises(InputError, match=r"layer class Doubled is defined in the running script, .* move it"):
        export_model(own_layers.model(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_examples_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the examples hold picture, and no input 'image'"):
        export_model(
            demo.load()[0], to="onnx", folder=tmp_path, examples={"picture": np.ones((1, 28, 28, 1))}
        )
    assert list(tmp_path.iterdir()) == []


def test_the_time_limit_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"the export of small\.onnx was stopped after 1 s, its time"):
        export_model(demo.load()[0], to="onnx", name="small", folder=tmp_path / "new", time_limit_s=1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    for name in ("model.keras", "model.h5"):
        with pytest.raises(InputError, match=name):
            export_model(tmp_path / name, to="onnx", folder=tmp_path, trust=True)
    assert list(tmp_path.iterdir()) == []
