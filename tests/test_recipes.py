"""Recipes that are read: what they mean, from where their paths are, and what stands in for what they leave out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from refusals import refusal_of

from slimedge.compress.channel_pruning import PruneChannels
from slimedge.compress.pruning import Prune
from slimedge.compress.quantization import Quantize
from slimedge.compress.training import Train
from slimedge.recipes.presets import preset_path, presets
from slimedge.recipes.recipe import DataSettings, Exports, Goals, read_recipe

ROOT = Path(__file__).resolve().parent.parent
FULL = """
model: net.keras
data:
  source: data.npz
  scale: 1/255
  labels: y
  part: train
  image_size: 224x224
  limit: 1000
  calibration: 0.25
  evaluation: all
  training: 50_0
  checks: types
stages:
  - prune-channels: {macs: 0.3, epochs: 2, learning_rate: 2e-3, layers: conv_*}
  - prune:
      pattern: 2:4
      exclude: [first, last]
      loss: labels
      seed: 5
  - quantize:
      observers: {conv_*: percentile:99.9}
      bits: {"*": 4, dense: float}
      methods: adaround
exports: {to: tflite, io: float32, batch: 4, dense: true}
targets: LiteRT
effort: quick
threads: 2
goals:
  max-accuracy-drop: 1
  min-speedup: 2
  max-bytes: 40 kB
  max-arena-bytes: 1.5 MiB
seed: 7
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.keras").touch()
    (tmp_path / "data.npz").touch()
    return tmp_path


def written(folder, text):
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_every_key_of_a_recipe_is_read(folder):
    found = read_recipe(written(folder, FULL.replace("50_0", "500")))

    assert (found.path, found.name) == (folder / "recipe.yaml", "recipe")
    assert found.model == folder / "net.keras"
    assert found.data == DataSettings(
        source=str(folder / "data.npz"),
        labels="y",
        scale="1/255",
        part="train",
        image_size=(224, 224),
        limit=1000,
        calibration=0.25,
        evaluation=1.0,
        training=500,
        checks="types",
    )
    assert found.exports == Exports(("tflite",), "float32", 4, None, dense=True)
    assert found.targets == ("litert",)
    assert (found.effort, found.threads, found.seed) == ("quick", 2, 7)
    assert found.goals == Goals(1.0, 2.0, 40_000, 1_572_864)


def test_stages_are_those_that_python_makes_and_tell_all_their_settings(folder):
    found = read_recipe(written(folder, FULL.replace("50_0", "500")))

    assert [each.name for each in found.stages] == ["prune-channels", "prune", "quantize"]
    assert [each.stage for each in found.stages] == [
        PruneChannels(macs=0.3, epochs=2, learning_rate=0.002, layers=("conv_*",), seed=7),
        Prune(pattern="2:4", exclude=("first", "last"), loss="labels", seed=5),
        Quantize(
            observers={"conv_*": "percentile:99.9"}, bits={"*": 4, "dense": "float"}, methods=("adaround",)
        ),
    ]
    for each in found.stages:
        assert set(each.settings) == {field.name for field in fields(each.stage)}
        assert json.loads(json.dumps(each.settings)) == each.settings
    assert found.stages[0].settings["learning_rate"] == 0.002
    assert found.stages[1].settings["loss"] == "labels"


def test_what_is_left_out_has_its_default(folder):
    found = read_recipe(written(folder, "model: net.keras\ndata: data.npz\nstages:\n  - train\n  # later\n"))

    assert found.data == DataSettings(source=str(folder / "data.npz"))
    assert found.stages[0].stage == Train()
    assert found.exports == Exports(("onnx", "tflite"))
    assert found.targets == ("ort", "litert")
    assert (found.effort, found.threads, found.seed) == ("default", 1, 0)
    assert found.goals == Goals()


def test_a_stage_or_section_without_values_has_its_defaults(folder):
    stages = "stages:\n  - cluster:\n  - quantize: {}\n"
    text = f"model: net.keras\ndata: data.npz\n{stages}exports: onnx\ngoals:\ntargets:\n"
    found = read_recipe(written(folder, text))
    assert [each.settings["seed"] for each in found.stages[:1]] == [0]
    assert (found.targets, found.goals) == (("ort",), Goals())


def test_targets_are_kept_in_their_order_by_their_shortest_names(folder):
    text = "model: net.keras\ndata: data.npz\nstages: [train]\ntargets: [litert, ort:CPU]\n"
    assert read_recipe(written(folder, text)).targets == ("litert", "ort")


def test_distillation_is_the_loss_without_a_name(folder):
    text = "model: net.keras\ndata: data.npz\nstages:\n  - train: {loss: distillation}\n"
    assert read_recipe(written(folder, text)).stages[0].stage.loss is None


def test_underscores_are_as_good_as_hyphens_and_anchors_work(folder):
    text = (
        "model: net.keras\ndata: data.npz\nstages:\n"
        "  - prune_channels: &all {macs: 0.5, learning_rate: &rate 0.01}\n  - prune-channels: *all\n"
        "  - distill: {learning-rate: *rate}\ngoals: {max_bytes: 1 MB}\n"
    )
    found = read_recipe(written(folder, text))
    assert [each.name for each in found.stages] == ["prune-channels", "prune-channels", "distill"]
    assert [each.settings["learning_rate"] for each in found.stages] == [0.01] * 3
    assert found.goals.max_bytes == 1_000_000


def test_paths_are_relative_to_the_recipe_and_given_ones_to_the_current_folder(folder, monkeypatch):
    inner = folder / "recipes"
    inner.mkdir()
    path = written(inner, "model: ../net.keras\ndata: ../data.npz\nstages: [train]\n")
    monkeypatch.chdir(inner.parent)
    (folder / "other.keras").touch()
    (folder / "other.npz").touch()

    assert read_recipe("recipes/recipe.yaml").model.samefile(folder / "net.keras")
    assert read_recipe("recipes/recipe.yaml").model.is_absolute()
    found = read_recipe(path, model="other.keras", data={"source": "other.npz"})
    assert (found.model, found.data.source) == (folder / "other.keras", str(folder / "other.npz"))


def test_given_data_replace_only_what_they_name(folder, monkeypatch):
    path = written(
        folder, "model: net.keras\ndata: {source: data.npz, scale: 1/255, image-size: 8x6}\nstages: [train]\n"
    )
    monkeypatch.chdir("/")

    found = read_recipe(path, data={"limit": 5, "calibration": 7, "labels": None}).data
    assert found == DataSettings(
        str(folder / "data.npz"), scale="1/255", image_size=(8, 6), limit=5, calibration=7
    )
    whole = DataSettings("my_data:examples", scale=0.5)
    assert read_recipe(path, data=whole).data == whole


def test_given_data_and_models_that_cannot_be_used_are_refused_in_a_sentence(folder):
    path = written(folder, "model: net.keras\ndata: data.npz\nstages: [train]\n")
    assert "there is no setting 'scales'; did you mean 'scale'" in refusal_of(
        read_recipe, path, data={"scales": 1}
    )
    assert "there is no" in refusal_of(read_recipe, path, data={"source": "nothing.npz"})
    assert "nothing.keras; name a trained .keras file" in refusal_of(read_recipe, path, model="nothing.keras")
    assert "is a folder" in refusal_of(read_recipe, path, model=folder)


def test_a_model_that_is_given_stands_in_for_one_that_is_not_there(folder):
    path = written(folder, "model: gone.keras\ndata: gone.npz\nstages: [train]\n")
    found = read_recipe(path, model=folder / "net.keras", data=DataSettings(str(folder / "data.npz")))
    assert found.model == folder / "net.keras"


def test_a_function_is_data_without_a_file(folder):
    path = written(folder, "model: net.keras\ndata: my_data:examples\nstages: [train]\n")
    assert read_recipe(path).data.source == "my_data:examples"


@pytest.mark.parametrize("name", ["accuracy", "balanced", "mcu", "tiny"])
def test_a_preset_takes_any_model_and_data_and_ends_in_integers(folder, name):
    found = read_recipe(name, model=folder / "net.keras", data={"source": folder / "data.npz"})
    assert (found.path, found.name, found.model) == (None, name, folder / "net.keras")
    assert found.stages[-1].name in {"train", "quantize-for"}
    assert preset_path(name).read_text().startswith("# For ")


def test_presets_are_what_they_are_for(folder):
    read = {
        name: read_recipe(name, model=folder / "net.keras", data={"source": str(folder / "data.npz")})
        for name in presets()
    }
    left = {name: found.stages[0].settings.get("macs") for name, found in read.items()}
    assert left["accuracy"] is None
    assert left["tiny"] < left["mcu"] < left["balanced"] <= 0.5
    assert read["mcu"].exports == Exports(("tflite",), "int8", dense=True)
    assert read["mcu"].targets == ("litert",)
    assert all(found.exports.to == ("onnx", "tflite") for name, found in read.items() if name != "mcu")


@pytest.mark.parametrize("stages", ["[prune]", "[{quantize: {scheme: fp16}}]"])
def test_a_model_without_integers_may_compute_in_float16(folder, stages):
    path = written(
        folder, f"model: net.keras\ndata: data.npz\nstages: {stages}\nexports: {{compute: float16}}\n"
    )
    assert read_recipe(path).exports.compute == "float16"


def test_a_preset_without_model_or_data_is_refused_and_a_file_comes_first(folder, monkeypatch):
    assert "names no model and no data" in refusal_of(read_recipe, "tiny")
    assert "names no model and no data" in refusal_of(read_recipe, "tiny", model=folder / "net.keras")
    monkeypatch.chdir(folder)
    (folder / "tiny").write_text("model: net.keras\ndata: data.npz\nstages: [prune]\n")
    assert [each.name for each in read_recipe("tiny").stages] == ["prune"]


def test_reading_a_recipe_imports_no_heavy_library(folder):
    everything = "stages:\n" + "".join(
        f"  - {stage}\n"
        for stage in (
            "prune-channels: {macs: 0.5}",
            "factorize: {macs: 0.5}",
            "distill",
            "prune",
            "cluster",
            "quantize",
        )
    )
    path = written(folder, f"model: net.keras\ndata: data.npz\n{everything}")
    code = (
        "import sys; from slimedge.recipes.recipe import read_recipe; from slimedge.recipes.schema import schema\n"
        f"schema(); found = read_recipe({str(path)!r}); assert len(found.stages) == 6\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "tf2onnx", "scipy"}
    assert set(re.findall(r"'(\w+)'", done.stdout)) & heavy == set()
