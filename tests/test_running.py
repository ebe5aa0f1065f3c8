"""A recipe's steps: each is made once, again when what it follows from changes, and goes on where it was stopped."""

from __future__ import annotations

import functools
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from refusals import refusal_of
from tiny_onnx import linear

from slimedge.compress.clustering import Cluster
from slimedge.compress.fitting import checkpoints
from slimedge.compress.pruning import Prune
from slimedge.files import sha256_of
from slimedge.keras_file import load_model, save_model
from slimedge.recipes.examples import parted
from slimedge.recipes.recipe import read_recipe
from slimedge.recipes.run_folder import RunFolder
from slimedge.recipes.running import MODEL, Runner

GENERATOR = np.random.default_rng(5)
X = GENERATOR.random((200, 6)).astype(np.float32)
Y = np.argmax(X @ GENERATOR.normal(size=(6, 3)), axis=1)
RECIPE = """
model: float.keras
data: {source: data.npz, calibration: 20, training: 64, evaluation: 40}
exports: onnx
stages:
  - prune: {sparsity: 0.5, epochs: 0}
  - cluster: {clusters: 4, epochs: 0}
"""
TRAINED = RECIPE.replace("epochs: 0", "epochs: 3, batch-size: 16")


def without_times(lines):
    """Give lines without the seconds that something took."""
    return [re.sub(r"\d+ s$", "…", line) for line in lines]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in with a net, data and a recipe; exporting takes no time, and only writes some file."""
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((6,), name="x")
    for _ in range(2):
        x = keras.layers.Dense(8, activation="relu")(x)
    save_model(keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x)), tmp_path / "float.keras")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slimedge.export.exporting.export_model", fake_export)
    return tmp_path


def fake_export(model, *, folder, name, to, **_):
    assert to == ["onnx"]
    kernel = load_model(model, compiled=False).layers[-1].get_weights()[0]
    linear(folder / f"{name}.onnx", kernel)


@pytest.fixture
def calls(monkeypatch):
    """Names of the stages that were called."""
    called = []
    for kind in (Prune, Cluster):
        monkeypatch.setattr(kind, "__call__", counted(kind.__call__, kind.__name__, called))
    return called


def counted(function, name, called):
    @functools.wraps(function)
    def call(*given, **options):
        called.append(name)
        return function(*given, **options)

    return call


def run(path="recipe.yaml", folder="run", **options):
    """Give what was made, what was said, and the SHA-256 of every file of it."""
    recipe, said = read_recipe(path), []
    with RunFolder(Path(folder)).locked():
        runner = Runner(recipe, RunFolder(Path(folder)), said.append, **options)
        made = runner.models(parted(recipe, runner.original_model()))
    hashes = [sha256_of(one.model) for one in made] + [sha256_of(one.files["onnx"].path) for one in made]
    return made, said, hashes


def test_the_models_are_those_of_the_stages_called_by_hand(folder):
    made, said, _ = run()

    recipe = read_recipe("recipe.yaml")
    original = load_model("float.keras", compiled=False)
    data = parted(recipe, original).training
    pruned = Prune(sparsity=0.5, epochs=0)(original, data)
    clustered = Cluster(clusters=4, epochs=0)(pruned, data)
    assert [(one.title, one.settings, one.reused) for one in made] == [
        ("original", "", False),
        ("prune", "epochs 0", False),
        ("cluster", "clusters 4, epochs 0", False),
    ]
    for one, expected in zip(made, (original, pruned, clustered), strict=True):
        found = load_model(one.model, compiled=False)
        assert len(found.get_weights()) == len(expected.get_weights()) == 6
        for weight, other in zip(found.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, other)
    assert [one.files["onnx"].path.name for one in made] == [
        "original.onnx",
        "1-prune.onnx",
        "float_recipe.onnx",
    ]
    assert without_times(said) == ["stage 1 of 2, prune: …", "stage 2 of 2, cluster: …"]
    assert made[0].seconds is None
    assert 0 < made[1].seconds < 60


def test_only_the_last_file_computes_in_float16(folder, monkeypatch):
    computes = {}

    def export(model, *, name, compute, **options):
        computes[name] = compute
        fake_export(model, name=name, **options)

    monkeypatch.setattr("slimedge.export.exporting.export_model", export)
    Path("recipe.yaml").write_text(RECIPE.replace("exports: onnx", "exports: {to: onnx, compute: float16}"))
    run()
    assert computes == {"original": "float32", "1-prune": "float32", "float_recipe": "float16"}


def test_a_second_run_calls_no_stage(folder, calls):
    before, _, hashes = run()
    assert calls == ["Prune", "Cluster"]

    made, said, again = run()

    assert calls == ["Prune", "Cluster"]
    assert said == ["stage 1 of 2, prune: as before", "stage 2 of 2, cluster: as before"]
    assert again == hashes
    assert [one.reused for one in made] == [True, True, True]
    assert [one.seconds for one in made] == [one.seconds for one in before]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("clusters: 4", "clusters: 3"), ["Cluster"]),
        (lambda text: text.replace("sparsity: 0.5", "sparsity: 0.6"), ["Prune", "Cluster"]),
        (lambda text: text + "seed: 4\n", ["Prune", "Cluster"]),
        (lambda text: text.replace("training: 64", "training: 63"), ["Prune", "Cluster"]),
        (lambda text: text + "effort: quick\nthreads: 2\ngoals: {max-bytes: 3}\n", []),
        (lambda text: text + "\n# a comment\n", []),
    ],
    ids=["setting of stage 2", "setting of stage 1", "seed", "examples", "how it is measured", "comment"],
)
def test_a_change_of_the_recipe_makes_again_what_follows_from_it(folder, calls, change, expected):
    run()
    calls.clear()
    Path("recipe.yaml").write_text(change(RECIPE))

    run()

    assert calls == expected


def test_going_back_takes_what_was_made_before(folder, calls):
    _, _, hashes = run()
    Path("recipe.yaml").write_text(RECIPE.replace("0.5", "0.6"))
    _, _, others = run()
    Path("recipe.yaml").write_text(RECIPE)
    calls.clear()

    assert run()[2] == hashes != others
    assert calls == []


def test_other_data_and_another_model_make_all_of_it_again(folder, calls):
    run()
    calls.clear()
    np.savez("data.npz", x=X * np.float32(0.99), y=Y)
    run()
    assert calls == ["Prune", "Cluster"]

    calls.clear()
    network = load_model("float.keras", compiled=False)
    network.set_weights([weight * 1.5 for weight in network.get_weights()])
    save_model(network, Path("float.keras"))
    run()
    assert calls == ["Prune", "Cluster"]


def test_a_moved_folder_and_recipe_change_nothing(folder, calls):
    _, _, hashes = run()
    calls.clear()
    Path("elsewhere with a space").mkdir()
    for name in ("recipe.yaml", "float.keras", "data.npz", "run"):
        Path(name).rename(Path("elsewhere with a space") / name)

    assert run("elsewhere with a space/recipe.yaml", "elsewhere with a space/run")[2] == hashes
    assert calls == []


def test_a_step_whose_file_was_touched_is_made_again_and_gives_the_same(folder, calls):
    made, _, hashes = run()
    calls.clear()
    made[1].model.write_bytes(made[1].model.read_bytes() + b"x")

    again, said, found = run()

    assert calls == ["Prune"]
    assert found == hashes
    assert said[1] == "stage 2 of 2, cluster: as before"
    assert [one.reused for one in again] == [True, False, True]


@pytest.mark.parametrize(
    "stop_at", ["stage 1 of 2, prune: training, epoch 2", "stage 2 of 2, cluster: training, epoch 3"]
)
def test_a_training_that_was_stopped_goes_on_and_gives_the_same(folder, monkeypatch, stop_at):
    Path("recipe.yaml").write_text(TRAINED)
    monkeypatch.setenv(checkpoints.VARIABLE, "0")
    _, _, hashes = run(folder="undisturbed")

    def stop(doing, share=None, /):
        if doing.startswith(stop_at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    assert not list(Path("run").rglob("tmp"))
    shares = []
    made, said, found = run(progress=lambda doing, share=None, /: shares.append((doing, share)))

    assert found == hashes
    stage = stop_at.partition(":")[0]
    assert [line for line in said if "were done before it was stopped" in line] == [
        line for line in said if line.startswith(stage)
    ]
    first = next(share for doing, share in shares if doing.startswith(f"{stage}: training"))
    assert first > 0.3  # three epochs, stopped in the second or third
    note = json.loads((made[int(stage[6])].model.parent / "step.json").read_text())
    assert note["resumed"] == 1
    assert 0 < note["saved_s"] < note["seconds"]
    assert list(Path("run").rglob("*.npz")) == []


def test_what_was_finished_before_a_stage_fails_is_kept(folder, calls, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "__call__", fail)
        assert "no space left on device; what was finished is kept" in refusal_of(run)
    calls.clear()

    _, said, _ = run()

    assert calls == ["Cluster"]
    assert said[0] == "stage 1 of 2, prune: as before"


def test_the_only_stage_is_the_last(folder):
    Path("net.yaml").write_text(RECIPE.partition("  - cluster")[0])
    made, said, _ = run("net.yaml")
    assert [one.files["onnx"].path.name for one in made] == ["original.onnx", "float_net.onnx"]
    assert without_times(said) == ["stage 1 of 1, prune: …"]


def test_a_recipe_named_as_its_model_writes_no_file_of_that_name(folder):
    Path("recipe.yaml").rename("float.yaml")
    made, _, _ = run("float.yaml")
    assert made[-1].files["onnx"].path.name == "float_compressed.onnx"


def test_a_teacher_is_found_beside_the_recipe_and_its_content_counts(folder, monkeypatch):
    Path("sub").mkdir()
    for name in ("float.keras", "data.npz"):
        Path(name).rename(Path("sub") / name)
    recipe = RECIPE.partition("  - prune")[0] + "  - distill: {teachers: [big.keras, self], epochs: 1}\n"
    Path("sub/recipe.yaml").write_text(recipe)
    assert (
        f"recipe.yaml, line 6, stages[0].distill.teachers[0]: there is no {folder}/sub/big.keras"
        in refusal_of(read_recipe, "sub/recipe.yaml")
    )

    network = load_model("sub/float.keras", compiled=False)
    save_model(network, Path("sub/big.keras"))
    _, _, hashes = run("sub/recipe.yaml")
    _, said, _ = run("sub/recipe.yaml")
    assert said == ["stage 1 of 1, distill: as before"]

    network.set_weights([weight * 1.5 for weight in network.get_weights()])
    save_model(network, Path("sub/big.keras"))
    _, said, others = run("sub/recipe.yaml")
    assert "as before" not in said[0]
    assert hashes[1] != others[1]


def test_a_stage_that_trains_nothing_does_without_training_examples(folder):
    Path("recipe.yaml").write_text(RECIPE.replace("training: 64", "training: 0"))
    made, _, _ = run()
    assert load_model(made[-1].model, compiled=False).count_params() == 6 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (TRAINED.replace("calibration: 20, training: 64, evaluation: 40", "evaluation: all"), "training"),
        (
            RECIPE.partition("  - prune")[0].replace(
                "calibration: 20, training: 64, evaluation: 40", "evaluation: all"
            )
            + "  - quantize\n",
            "calibration",
        ),
    ],
)
def test_a_part_of_the_data_that_is_needed_and_empty_is_refused(folder, text, part):
    Path("recipe.yaml").write_text(text)
    assert f"leaves no example for {part}" in refusal_of(run)


def test_a_checkpoint_interval_that_is_no_number_is_refused(monkeypatch):
    for given in ("often", "-1", "inf", "nan"):
        monkeypatch.setenv(checkpoints.VARIABLE, given)
        assert refusal_of(checkpoints.interval_s).startswith(
            f"SLIMEDGE_CHECKPOINT_S is '{given}'; give seconds"
        )
    monkeypatch.setenv(checkpoints.VARIABLE, "2.5")
    assert checkpoints.interval_s() == 2.5
    monkeypatch.delenv(checkpoints.VARIABLE)
    assert checkpoints.interval_s() == checkpoints.EVERY_S


def test_a_model_of_a_step_holds_no_trace_of_the_folder(folder):
    made, _, _ = run()
    assert all(str(folder).encode() not in one.model.read_bytes() for one in made)
    assert made[0].model.name == MODEL


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_running
from slimedge.export import exporting
exporting.export_model = test_running.fake_export
point = sys.argv[2]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def progress(doing, share=None, /):
    if doing.startswith(point):
        die()

if point == "export":
    def export(model, *, folder, name, **_):
        (folder / f"{name}.onnx").write_bytes(b"half")
        die()
    exporting.export_model = export
if point == "keep":
    replace = Path.replace
    Path.replace = lambda path, target: die() if path.name == "out" else replace(path, target)
test_running.run(progress=progress)
"""


def test_runs_that_are_killed_at_any_point_go_on_to_the_same_files(folder, monkeypatch):
    Path("recipe.yaml").write_text(TRAINED)
    monkeypatch.setenv(checkpoints.VARIABLE, "0")
    _, _, hashes = run(folder="undisturbed")
    last = "stage 2 of 2, cluster: training, epoch 2"
    done = []
    for point in ("export", "stage 1 of 2, prune: training, epoch 3", "keep", last):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, str(Path(__file__).parent), point],
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
        done.append(sorted(path.name.partition("-")[0] for path in Path("run/steps").iterdir()))

    _, said, found = run()

    assert done == [
        ["original"],
        ["export", "original"],
        ["export", "original"],
        ["export", "export", "original", "prune"],
    ]
    assert found == hashes
    assert said[0] == "stage 1 of 2, prune: as before"
    assert "were done before it was stopped" in said[1]
    names = {str(path.relative_to("undisturbed")) for path in Path("undisturbed").rglob("*")}
    assert {str(path.relative_to("run")) for path in Path("run").rglob("*")} == names
