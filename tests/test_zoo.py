"""Every family of the zoo, at its small size: both formats, float and quantized, as `make zoo` takes the full ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slimedge.artifact_file import read_artifact
from slimedge.benchmarks.inspecting import inspect
from slimedge.benchmarks.zoo import measuring, table
from slimedge.benchmarks.zoo.__main__ import missed
from slimedge.benchmarks.zoo.inputs import examples
from slimedge.benchmarks.zoo.measuring import File, Outcome
from slimedge.benchmarks.zoo.rows import ROWS, build
from slimedge.canonical import canonical
from slimedge.compress.quantization import quantize
from slimedge.data import Data
from slimedge.export.exporters import EXPORTERS, Settings
from slimedge.export.verify import fidelity
from slimedge.export.worker import keras_outputs
from slimedge.integers import integers_for, isa_here
from slimedge.keras_file import input_specs, output_specs
from slimedge.lineage import lineage_of
from slimedge.runtime.ops import count_ops

WEIGHT_ONLY = {
    "text_lstm",
    "text_gru",
    "text_bidirectional_lstm",
    "text_stacked_lstm",
    "bert_like",
    "gpt_like",
    "vit",
    "matrix_factorization",
}


def exported(network, to, folder, scheme=None):
    """Give a file as an artifact, and what runs it."""
    settings = Settings(
        io="float32", batch=1, integers=integers_for(isa_here()), metadata={"lineage": []}, scheme=scheme
    )
    content, trial = EXPORTERS[to](network, settings)
    path = folder / f"model.{to}"
    path.write_bytes(content)
    return read_artifact(path), trial


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_small_model_of_every_family_goes_through(row, tmp_path):
    network = canonical(build(row, small=True))
    checked, scored = examples(network, 3, 3), examples(network, 32, 2)
    exact, expected = keras_outputs(network, checked), keras_outputs(network, scored)
    data = Data.load(examples(network, 96, 1)).bind(input_specs(network), checks="types")
    quantized = quantize(network, data)
    scheme = lineage_of(quantized)[-1].settings["scheme"]
    assert scheme == ("weight_only_wi8_afp32" if row.name in WEIGHT_ONLY else "static_wi8_ai8")
    for to in measuring.FORMATS:
        artifact, trial = exported(network, to, tmp_path)
        assert [spec.name for spec in artifact.inputs] == [spec.name for spec in input_specs(network)]
        assert [spec.name for spec in artifact.outputs] == [spec.name for spec in output_specs(network)]
        assert fidelity(exact, trial.run(checked)).max_error <= measuring.LARGEST_ERROR
        first = trial.run({name: array[:1] for name, array in checked.items()})
        assert fidelity({name: array[:1] for name, array in exact.items()}, first).max_error < 1e-3
        artifact, trial = exported(quantized, to, tmp_path, scheme)
        level = fidelity(expected, trial.run(scored)).sqnr_db
        assert level is None or level >= measuring.LEAST_SQNR_DB[scheme]
        if scheme == "static_wi8_ai8":
            heavy = count_ops(artifact).heavy
            assert heavy
            assert [op for op in heavy if not op.integer] == []
    found = inspect(network)
    assert found.parameters == sum(
        int(np.prod(weight.shape)) for weight in network.weights if "seed" not in weight.path
    )


def outcome(**changes):
    files = {to: File(made=True, max_error=1e-6) for to in measuring.FORMATS}
    rounded = {to: File(made=True, sqnr_db=30.0, heavy=(3, 3), peak_bytes=10**9) for to in measuring.FORMATS}
    told = {"row": "cnn", "title": "CNN", "family": "CNN", "basic": True, "float_files": files}
    return Outcome(**{**told, "quantized_files": rounded, "file_bytes": 10**6, **changes})


def test_a_cell_that_is_not_a_yes_has_its_reason_below_the_table():
    bad = outcome(quantized_files={"onnx": File(reason="layer 'x' cannot"), "tflite": File(made=True)})
    text = table.page([outcome(), bad], "a machine", 1.0)
    assert "1 of 2 rows pass" in text
    assert "no [1]" in text
    assert "1. layer 'x' cannot" in text


def test_an_outcome_survives_json():
    told = json.loads(json.dumps(table.as_json([outcome()])))
    assert table.from_json(told[0]) == outcome()


def test_bars_are_missed_by_basic_rows_by_many_cells_and_by_memory():
    broken = {to: File(reason="no") for to in measuring.FORMATS}
    assert missed([outcome()]) == []
    assert len(missed([outcome(float_files=broken)])) == 2
    assert missed([outcome(basic=False, float_files=broken)]) == []
    assert missed([outcome(basic=False, float_files=broken, quantized_files=broken)])
    heavy = {to: File(made=True, sqnr_db=30.0, peak_bytes=5 * 10**9) for to in measuring.FORMATS}
    assert missed([outcome(quantized_files=heavy)]) == ["cnn takes 5.0 GB"]
    assert missed([outcome(quantized_files=heavy, file_bytes=300_000_000)]) == []


@pytest.mark.parametrize(
    ("scheme", "level", "heavy", "reason"),
    [
        ("static_wi8_ai8", 25.0, (3, 3), None),
        ("static_wi8_ai8", 19.9, (3, 3), "its SQNR is 19.9 dB, at least 20 are wanted"),
        ("static_wi8_ai8", 30.0, (2, 3), "2 of 3 convolutions and dense layers run on integers"),
        ("weight_only_wi8_afp32", 24.0, (0, 3), "its SQNR is 24.0 dB, at least 25 are wanted"),
        ("weight_only_wi8_afp32", None, (0, 3), None),
    ],
)
def test_what_a_quantized_file_has_to_reach(scheme, level, heavy, reason):
    assert measuring._shortfall(scheme, level, heavy) == reason
