"""A comparison keeps what lies behind its figures, measured in the same run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import linear

from slimedge import notes
from slimedge.artifact import Step
from slimedge.benchmarks import comparing, latency
from slimedge.benchmarks.comparing import Conditions, compare_groups_detailed
from slimedge.benchmarks.details.flips import Turn
from slimedge.data import Data
from slimedge.errors import RunError

SIDE, CLASSES, EXAMPLES = 6, 3, 200
GENERATOR = np.random.default_rng(8)
KERNEL = GENERATOR.normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
NOISY = (KERNEL + GENERATOR.normal(scale=0.4, size=KERNEL.shape)).astype(np.float32)
X = GENERATOR.random((EXAMPLES, SIDE, SIDE)).astype(np.float32)
FLAT = X.reshape(EXAMPLES, -1)
TRUE = np.argmax(FLAT @ (KERNEL + GENERATOR.normal(scale=0.2, size=KERNEL.shape)), axis=1)
NAMES = ("cat", "dog", "owl")
SHORT = replace(latency.QUICK, launches=2, most_launches=2, rounds=2, launch_s=0.1, warm_s=0.05)
LEVELS = {"dense": 30.5}


def pictures_net(path, kernel, *, lineage=()):
    """Write scores = flatten(x) · kernel of pictures (batch, 6, 6), its nodes named after layers."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"], name="flatten/Flatten"),
            helper.make_node("MatMul", ["flat", "kernel"], ["scores"], name="dense/MatMul"),
        ],
        "pictures",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {notes.KEY: notes.to_json(lineage)} if lineage else {})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("details")
    files = [
        pictures_net(folder / "before.onnx", KERNEL),
        pictures_net(folder / "after.onnx", NOISY, lineage=(Step("quantize", {"layer_sqnr_db": LEVELS}),)),
    ]
    data = Data.load((X, TRUE)).with_class_names(NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SETTINGS", {"default": SHORT})
        return compare_groups_detailed([files], data, Conditions())


def test_every_file_has_its_samples_and_only_variants_have_flips(found):
    assert set(found.details) == {"before.onnx", "after.onnx"}
    (comparison,) = found.comparisons
    for variant in (comparison.baseline, *comparison.variants):
        assert found.details[variant.name].latency.n == variant.latency_s.n
        assert found.details[variant.name].latency.p90_s == variant.latency_s.p90
    assert found.details["before.onnx"].flips is found.details["before.onnx"].classes is None


def test_classes_and_flips_are_those_of_numpy(found):
    before, after = np.argmax(FLAT @ KERNEL, axis=1), np.argmax(FLAT @ NOISY, axis=1)
    details = found.details["after.onnx"]

    assert {each.name: each.change for each in details.classes.classes} == {
        name: int(np.sum((after == TRUE) & (label == TRUE)) - np.sum((before == TRUE) & (label == TRUE)))
        for label, name in enumerate(NAMES)
    }
    lost = np.flatnonzero((before == TRUE) & (after != TRUE))
    assert details.flips.counts[Turn.LOST] == len(lost)
    assert sum(details.flips.counts.values()) == np.sum(before != after)
    shown = [flip for flip in details.flips.shown if flip.turn is Turn.LOST]
    assert {flip.position for flip in shown} <= set(lost)
    first = shown[0]
    assert (first.truth, first.after) == (NAMES[TRUE[first.position]], NAMES[after[first.position]])
    assert all(flip.picture.startswith("data:image/png;base64,") for flip in details.flips.shown)


def test_layers_are_timed_of_every_file_and_a_foreign_ones_ops_stand_for_themselves(found):
    assert [time.layer for time in found.details["after.onnx"].layer_times] == ["flatten", "dense"]
    assert [time.layer for time in found.details["before.onnx"].layer_times] == [
        "flatten/Flatten",
        "dense/MatMul",
    ]


def test_layers_that_cannot_be_timed_end_no_comparison(tmp_path, monkeypatch):
    def fail(artifact, *_arguments, **_settings):
        raise RunError(f"ort died of SIGSEGV in native code while running {artifact.path.name}.")

    monkeypatch.setattr(comparing, "profile", fail)
    monkeypatch.setattr(latency, "SETTINGS", {"default": SHORT})
    lineage = (Step("quantize", {"layer_sqnr_db": LEVELS}),)
    files = [pictures_net(tmp_path / f"{name}.onnx", KERNEL, lineage=lineage) for name in "ab"]

    found = compare_groups_detailed([files])

    assert found.details["a.onnx"].notes == (
        "Its layers could not be timed: ort died of SIGSEGV in native code while running a.onnx.",
    )
    assert found.details["b.onnx"].flips is None  # no examples were given


def test_flat_examples_have_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "SETTINGS", {"default": SHORT})
    files = [linear(tmp_path / "a.onnx", KERNEL), linear(tmp_path / "b.onnx", NOISY)]

    shown = compare_groups_detailed([files], Data.load(FLAT)).details["b.onnx"].flips.shown

    assert shown
    assert all(flip.picture is None and flip.truth is None for flip in shown)
    assert shown[0].after.startswith("class ")
