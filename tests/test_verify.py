"""A file that computes something else is refused, with the layer where it parts from Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_models import MODELS, examples, float_and_int8

from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.errors import CheckError, InputError
from slimedge.export import onnx_lowering, to_tflite, worker
from slimedge.export.verify import (
    FLOAT_TOLERANCE,
    Fidelity,
    _tensors_of,
    example_inputs,
    fidelity,
    first_difference,
    is_close,
)
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs, save_model


def test_fidelity_is_relative_to_the_range_of_the_output() -> None:
    exact = {"y": np.array([[0.0, 2.0]]), "z": np.array([[-4.0, 4.0]])}
    other = {"y": np.array([[0.0, 2.1]]), "z": np.array([[-4.0, 4.0]])}
    measured = fidelity(exact, other, {"y": 0.05, "z": 0.1})
    assert measured.max_error == pytest.approx(0.05)
    assert measured.max_steps == pytest.approx(2.0)
    assert measured.sqnr_db == pytest.approx(10 * np.log10((4 + 32) / 0.01))


def test_equal_outputs_have_no_noise() -> None:
    same = {"y": np.ones((2, 2))}
    assert fidelity(same, same).sqnr_db is None
    assert is_close(fidelity(same, same), quantized=False)


def test_not_a_number_is_never_close() -> None:
    measured = fidelity({"y": np.ones((1, 2))}, {"y": np.array([[1.0, np.nan]])})
    assert not is_close(measured, quantized=False)
    assert not is_close(measured, quantized=True)


@pytest.mark.parametrize(
    ("measured", "quantized", "close"),
    [
        (Fidelity(8, FLOAT_TOLERANCE, 60.0), False, True),
        (Fidelity(8, 2 * FLOAT_TOLERANCE, 60.0), False, False),
        (Fidelity(8, 0.5, 35.0, None), True, True),
        (Fidelity(8, 0.5, 15.0, None), True, False),
        (Fidelity(8, 0.5, 15.0, 1.0), True, True),
        (Fidelity(8, 0.5, 15.0, 9.0), True, False),
    ],
)
def test_what_is_close(measured: Fidelity, quantized: bool, close: bool) -> None:
    assert is_close(measured, quantized=quantized) is close


@pytest.fixture(scope="module")
def quantized_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = MODELS["conv_batchnorm_relu"]()
    data = Data.load(examples(network)).bind(input_specs(network), checks="types")
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(quantize(network, data), path)
    return path


def convert(model: Path, to: str, out: Path) -> dict[str, Any]:
    return worker.convert(
        model=str(model),
        to=to,
        out=str(out),
        name=out.name,
        io="float32",
        batch=1,
        integers=integers_for(isa_here()),
        trust=False,
        examples=None,
        modules=[],
        metadata={"lineage": []},
    )


@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_a_right_file_is_kept_and_says_how_close_it_is(quantized_file: Path, tmp_path: Path, to: str) -> None:
    told = convert(quantized_file, to, tmp_path / f"model.{to}")
    assert (tmp_path / f"model.{to}").exists()
    assert told["sqnr_db"] is None or told["sqnr_db"] > 30


def test_a_wrong_kernel_scale_is_refused_at_its_layer(
    quantized_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = onnx_lowering.fill_weights

    def spoilt(graph: Any, weights: Any) -> None:
        fill(graph, weights)
        scale = next(
            name for name, array in graph.constants.items() if name.endswith("_scale") and array.size == 8
        )
        graph.constants[scale] = graph.constants[scale] * 3

    monkeypatch.setattr(onnx_lowering, "fill_weights", spoilt)
    with pytest.raises(
        CheckError, match=r"model\.onnx does not compute .* from layer '(re_lu|conv2d)\w*' on"
    ):
        convert(quantized_file, "onnx", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_tflite_bias_is_refused_at_its_layer(
    quantized_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(graph: Any, *_: Any) -> None:
        bias = next(op.inputs[2] for op in graph.operators if op.inputs is not None and len(op.inputs) == 3)
        spoilt_buffers.append(graph.tensors[bias].buffer)
        name_tensors(graph, *_)

    spoilt_buffers: list[int] = []
    name_tensors = to_tflite._name_tensors
    finish = to_tflite.finish

    def finish_spoilt(content: bytes, *arguments: Any, **named: Any) -> bytes:
        from ai_edge_litert import schema_py_generated as schema

        made = bytearray(finish(content, *arguments, **named))
        buffer = schema.Model.GetRootAs(made, 0).Buffers(spoilt_buffers[0])
        buffer.DataAsNumpy()[:] = 33
        return bytes(made)

    monkeypatch.setattr(to_tflite, "_name_tensors", spoilt)
    monkeypatch.setattr(to_tflite, "finish", finish_spoilt)
    with pytest.raises(CheckError, match=r"model\.tflite does not compute .* from layer '\w+' on"):
        convert(quantized_file, "tflite", tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


def test_not_a_number_on_both_sides_is_no_difference() -> None:
    odd = {"y": np.array([[1.0, np.nan, np.inf, -np.inf]])}
    assert fidelity(odd, odd) == Fidelity(1, 0.0, None, None)


@pytest.mark.parametrize("other", [np.nan, np.inf, -np.inf])
def test_infinity_on_one_side_is_never_close(other: float) -> None:
    measured = fidelity({"y": np.array([[1.0, 2.0]])}, {"y": np.array([[1.0, other]])}, {"y": 1.0})
    assert not is_close(measured, quantized=False)
    assert not is_close(measured, quantized=True)


def test_a_missing_output_is_named() -> None:
    with pytest.raises(CheckError, match="output 'y' is missing in the file; it has z"):
        fidelity({"y": np.ones(1)}, {"z": np.ones(1)})


def test_an_output_of_another_shape_is_named() -> None:
    with pytest.raises(CheckError, match=r"output 'y' has shape \(1, 3\) in the file and \(1, 2\) in Keras"):
        fidelity({"y": np.ones((1, 2))}, {"y": np.ones((1, 3))})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"image": np.ones((2, 12, 12, 3))}, "the examples hold image, and no input 'picture'; add it"),
        ({"picture": np.ones((2, 10, 12, 3))}, r"have shape \(2, 10, 12, 3\); .* shape \(12, 12, 3\)"),
        ({"picture": np.ones((0, 12, 12, 3))}, "give one or more"),
        ({"picture": np.ones((12, 12, 3))}, r"have shape \(12, 12, 3\)"),
    ],
)
def test_examples_that_do_not_fit_are_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        example_inputs(MODELS["conv_batchnorm_relu"](), given)


def test_examples_are_the_same_each_time_and_lie_inside_the_inputs_range() -> None:
    _, quantized = float_and_int8("tokens")
    tokens = example_inputs(quantized, None)["my tokens"]
    assert set(np.unique(tokens)) <= set(range(20))  # the rows of its table
    assert len(np.unique(tokens)) > 2
    _, quantized = float_and_int8("conv_batchnorm_relu")
    picture = example_inputs(quantized, None)["picture"]
    scale, zero_point = quantized.get_layer("picture_fq").grid()
    assert -zero_point * scale <= picture.min() <= picture.max() <= (255 - zero_point) * scale
    np.testing.assert_array_equal(picture, example_inputs(quantized, None)["picture"])


@pytest.mark.parametrize("name", ["shared_tower", "nested_twice", "two_inputs_two_outputs", "recurrent"])
def test_the_layer_that_parts_is_found_in_models_of_every_kind(name: str) -> None:
    network, _ = float_and_int8(name)
    inputs = example_inputs(network, None)
    made = _tensors_of(network)
    values = keras.tree.flatten(
        keras.Model(network.inputs, list(made.values())).predict_on_batch(
            [inputs[spec.name] for spec in input_specs(network)]
        )
    )
    right = dict(zip(made, map(np.asarray, values), strict=True))
    assert first_difference(network, inputs, lambda _: right, quantized=False) is None
    last = list(made)[-1]
    wrong = {**right, last: right[last] + 1}
    assert first_difference(network, inputs, lambda _: wrong, quantized=False) == last


def test_a_model_of_one_layer_has_a_layer_that_parts() -> None:
    inputs = keras.Input((3,), name="x")
    network = keras.Model(inputs, keras.layers.Dense(2, name="only")(inputs))
    found = first_difference(
        network, {"x": np.ones((4, 3))}, lambda _: {"only": np.ones((4, 2))}, quantized=False
    )
    assert found == "only"
