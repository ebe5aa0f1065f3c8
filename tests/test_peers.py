"""The peer comparison: who takes part, what becomes of one that fails, how the bars are judged, what the page says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from slimedge.benchmarks.models import FASHION_MNIST
from slimedge.benchmarks.peers import __main__ as command
from slimedge.benchmarks.peers import making, measuring, registry
from slimedge.benchmarks.peers.judging import bars, over_fastest
from slimedge.benchmarks.peers.making import run_recipe
from slimedge.benchmarks.peers.page import as_json, page
from slimedge.benchmarks.peers.registry import FORMATS, PEERS, RECIPES
from slimedge.benchmarks.peers.rows import FLOAT, OURS, OWN, SEVEN, TRAINED, Row, from_json, merged
from slimedge.comparison import Accuracy, AccuracyDelta, Speedup
from slimedge.errors import InputError
from slimedge.runtime.jobs import environment_here

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/peers.json"


def share(value):
    return Accuracy(value, value - 0.01, value + 0.01, 10_000)


def a_row(maker, accuracy=0.9, ratio=None, *, net="net", format_="onnx", **others):
    return Row(
        net=net,
        format=format_,
        maker=maker,
        accuracy=None if accuracy is None else share(accuracy),
        time_ratio=ratio and Speedup(ratio, ratio / 1.01, ratio * 1.01),
        **others,
    )


def in_both_formats(*rows):
    return [replace(row, format=format_) for format_ in FORMATS for row in rows]


def missed(rows, nets=("net",)):
    return [f"{bar.asked}: {bar.found}" for bar in bars(rows, nets) if not bar.met]


# Who takes part


def test_every_peer_has_a_name_of_its_own_and_plain_settings():
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert not {peer.name for peer in PEERS} & {FLOAT, *OWN}
    for peer in PEERS:
        assert json.loads(json.dumps(dict(peer.settings))) == peer.settings
        assert peer.format in FORMATS


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_environment_is_pinned_to_the_last_package(peer):
    lines = [line for line in peer.requirements.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(line.count("==") == 1 and "*" not in line for line in lines)
    assert f"{peer.package}=={peer.version}" in lines


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_stands_alone(recipe):
    tree = ast.parse((registry.HERE / "recipes" / f"{recipe}.py").read_text())
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    imported += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imported if name.split(".")[0] in {"slimedge", recipe}]
    (make,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "make")
    assert [argument.arg for argument in make.args.args] == ["job"]


def test_every_recipe_and_every_requirement_is_used():
    used = {peer.script for peer in PEERS} | {registry.HERE / "recipes/__init__.py"}
    assert set((registry.HERE / "recipes").glob("*.py")) == used
    assert set(registry.HERE.glob("requirements-*.txt")) == {peer.requirements for peer in PEERS}


def test_keras_2_gives_what_keras_3_gave(tmp_path):
    code = f"""
import sys
sys.path.insert(0, {str(registry.HERE / "recipes")!r})
from tfmot_qat import twin
import keras, numpy as np
image = keras.Input((8, 8, 2), name="image")
x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))
x = keras.layers.Add()([x, keras.layers.DepthwiseConv2D(3, padding="same")(x)])
x = keras.layers.Activation("hard_swish")(keras.layers.Activation("hard_sigmoid")(x))
x = keras.layers.GlobalAveragePooling2D()(x)
model = keras.Model(image, keras.layers.Dense(3, activation="softmax", name="out")(x))
for variable in model.variables:
    variable.assign(np.random.default_rng(0).uniform(0.5, 1.5, variable.shape))
print([layer.name for layer in twin(model, np.ones((2, 8, 8, 2), "float32")).layers][-1])
model = keras.Model(image, keras.layers.RMSNormalization()(image))
twin(model, np.ones((2, 8, 8, 2), "float32"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "out"
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Keras 2 has no layer RMSNormalization"


# What becomes of a peer that fails


def run(tmp_path, code, **options):
    (tmp_path / "recipe.py").write_text(code)
    (tmp_path / "job.json").write_text(json.dumps({"out": str(tmp_path / "file.onnx")}))
    return run_recipe(
        options.pop("python", Path(sys.executable)),
        tmp_path / "recipe.py",
        tmp_path / "job.json",
        tmp_path / "file.onnx",
        **options,
    )


WRITE = "import json, sys\nopen(json.load(open(sys.argv[1]))['out'], 'w').close()\n"


def test_a_recipe_that_writes_its_file_has_no_reason(tmp_path):
    assert run(tmp_path, WRITE) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f():\n    raise ValueError('no such\\n  layer, or\\nother')\nf()", "ValueError: no such."),
        ("raise SystemExit('Keras 2 has no layer Foo')", "Keras 2 has no layer Foo."),
        ("print('all is well')", "it ended with status 0 and wrote no file."),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "it ended with status -9 and wrote no file.",
        ),
        (WRITE + "raise OSError('half-written')", "OSError: half-written."),
    ],
)
def test_a_recipe_that_fails_says_why_in_a_sentence(tmp_path, code, reason):
    assert run(tmp_path, code) == reason


def test_a_recipe_is_stopped_at_its_limit(tmp_path):
    assert run(tmp_path, "import time; time.sleep(60)", limit_s=0.5) == "it was not done after 0 s."


def test_without_its_environment_a_peer_says_how_to_make_it(tmp_path):
    reason = run(tmp_path, WRITE, python=tmp_path / "env/peer/bin/python")
    assert "`make peers`" in reason
    assert "env/peer" in reason


def test_a_peer_that_fails_is_asked_again_and_one_that_made_its_file_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "CACHE", tmp_path)
    (tmp_path / "files/resnet8").mkdir(parents=True)
    (tmp_path / "files/resnet8/float.onnx").write_text("a model")
    answers = iter(["ValueError: no.", None])
    asked = []

    def recipe(_python, _script, _job, out):
        asked.append(out)
        reason = next(answers)
        if reason is None:
            out.write_text("made")
        return reason

    monkeypatch.setattr(making, "run_recipe", recipe)
    reasons = [making.make_peer("resnet8", PEERS[0]) for _ in range(3)]
    assert reasons == ["ValueError: no.", None, None]
    assert len(asked) == 2
    monkeypatch.setattr(making, "run_recipe", lambda *_: "ValueError: other settings.")
    assert making.make_peer("resnet8", replace(PEERS[0], settings={"per_channel": True})) is not None
    assert not (tmp_path / f"files/resnet8/{PEERS[0].name}.onnx").exists()


def test_a_file_is_made_again_when_what_it_was_made_of_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "CACHE", tmp_path)
    source = tmp_path / "files/resnet8/float.onnx"
    source.parent.mkdir(parents=True)
    asked = []
    monkeypatch.setattr(
        making, "run_recipe", lambda *given: given[-1].write_text(str(len(asked))) and asked.append(given)
    )
    for content in ("a model", "a model", "another"):
        source.write_text(content)
        making.make_peer("resnet8", PEERS[0])
    assert len(asked) == 2


def test_a_file_that_was_not_made_is_a_row_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(making, "CACHE", tmp_path)
    (tmp_path / "files/net").mkdir(parents=True)
    (tmp_path / "files/net/nncf.failed").write_text("RuntimeError: no.")
    assert measuring._answers(Row("net", "onnx", "nncf"), None, ()) == "RuntimeError: no."
    (tmp_path / "files/net/ort_static.onnx").write_bytes(b"nothing")
    assert "ort_static.onnx" in measuring._answers(Row("net", "onnx", "ort_static"), None, ())


# How the bars are judged


def test_slimedge_may_lose_a_fifth_of_a_point_against_float_and_a_tenth_against_the_best_peer():
    rows = in_both_formats(a_row(FLOAT, 0.9168), a_row(OURS, 0.9148), a_row("peer", 0.9158, 1.1))
    assert missed(rows) == []
    rows = in_both_formats(a_row(FLOAT, 0.9169), a_row(OURS, 0.9148), a_row("peer", 0.9159, 1.1))
    assert missed(rows) == [
        "onnx of net: at most 0.20% below float: -0.21%",
        "onnx of net: at most 0.10% below the best peer: -0.11% (peer)",
        "tflite of net: at most 0.20% below float: -0.21%",
        "tflite of net: at most 0.10% below the best peer: -0.11% (peer)",
    ]


def test_the_best_peer_may_have_made_the_other_format():
    rows = [
        *in_both_formats(a_row(FLOAT), a_row(OURS), a_row("peer", 0.9, 1.1)),
        a_row("best", 0.9011, 1.1, format_="tflite"),
    ]
    assert [line.partition(":")[0] for line in missed(rows)] == ["onnx of net", "tflite of net"]


def test_a_peer_that_trains_is_judged_too_and_the_best_that_does_not_is_named_beside_it():
    rows = in_both_formats(
        a_row(FLOAT), a_row(OURS), a_row("peer", 0.8999, 1.1), a_row("tfmot_qat", 0.902, 1.1)
    )
    assert missed(rows)[0] == (
        "onnx of net: at most 0.10% below the best peer: -0.20% (tfmot_qat); of those that do not train +0.01% (peer)"
    )


def test_an_autoencoder_is_judged_by_its_squared_error():
    def rows(ours):
        return in_both_formats(
            a_row(FLOAT, None, squared_error=0.0100),
            a_row(OURS, None, squared_error=ours),
            a_row("peer", None, 1.1, squared_error=0.0101),
        )

    assert missed(rows(0.01019)) == []
    assert missed(rows(0.01021))[:2] == [
        "onnx of net: squared error at most 2% above float: +2.10%",
        "onnx of net: squared error at most 1% above the best peer's: +1.09% (peer)",
    ]


def test_a_peer_that_failed_is_no_bar_and_what_was_not_measured_is_not_met():
    failed = a_row("failed", None, reason="ValueError: no.")
    rows = in_both_formats(a_row(FLOAT), a_row(OURS), a_row("peer", 0.9, 1.1), failed)
    assert missed(rows) == []
    assert len(missed([row for row in rows if row.maker != "peer"])) == 4
    assert missed([], ["net"]) == [
        "onnx of net: as right as float and the best peer: not measured",
        "tflite of net: as right as float and the best peer: not measured",
        "onnx: at most 1.02 of the time of the fastest peer, geometric mean of the nets: not measured",
        "tflite: at most 1.02 of the time of the fastest peer, geometric mean of the nets: not measured",
    ]


def test_the_time_is_the_geometric_mean_over_that_of_the_fastest_peer_of_each_net():
    rows = [
        a_row("slow", ratio=1.3, net="a"),
        a_row("fast", ratio=0.8, net="a"),
        a_row("slow", ratio=1.25, net="b"),
        a_row("fast", ratio=2.0, net="b", format_="tflite"),
        a_row(FLOAT, ratio=0.1, net="b"),
    ]
    found = over_fastest(rows, ["a", "b"], "onnx")
    assert found.value == pytest.approx((0.8 * 1.25) ** -0.5)
    # Both intervals reach 1 % to either side; the mean of two independent ones reaches 1 % over the root of two.
    assert found.high / found.value == pytest.approx(1.01 ** (2**-0.5))
    assert found.value / found.low == pytest.approx(1.01 ** (2**-0.5))
    assert over_fastest(rows, ["a", "b"], "tflite") is None


@pytest.mark.parametrize(("ratio", "met"), [(1 / 1.019, True), (1 / 1.021, False)])
def test_slimedge_may_take_two_per_cent_longer_than_the_fastest_peer(ratio, met):
    rows = in_both_formats(a_row(FLOAT), a_row(OURS), a_row("peer", 0.9, ratio))
    assert (missed(rows) == []) == met


def test_slimedge_s_fastest_file_has_a_bar_of_its_own():
    rows = [a_row(FLOAT), a_row(OURS), a_row(SEVEN, ratio=0.7), a_row("peer", 0.9, 0.69)]

    found = over_fastest(rows, ["net"], "onnx", own=(OURS, SEVEN))
    assert found.value == pytest.approx(0.7 / 0.69)
    assert found.high / found.value == pytest.approx(1.01 ** (2**0.5))
    assert over_fastest(rows, ["net"], "onnx").value == pytest.approx(1 / 0.69)
    assert [line.partition(":")[0] for line in missed(rows) if "time" in line] == ["onnx", "tflite"]


def test_what_slimedge_trains_is_judged_beside_the_best_peer_too():
    rows = in_both_formats(
        a_row(FLOAT), a_row(OURS), a_row(TRAINED, 0.9005, 1.0), a_row("tfmot_qat", 0.902, 1.1)
    )

    assert "onnx of net: trained, at most 0.10% below the best peer: -0.15% (tfmot_qat)" in missed(rows)


def test_an_autoencoder_that_slimedge_trains_is_judged_beside_the_best_peer_too():
    def rows(trained):
        return in_both_formats(
            a_row(FLOAT, None, squared_error=0.0100),
            a_row(OURS, None, squared_error=0.0100),
            a_row(TRAINED, None, 1.0, squared_error=trained),
            a_row("tfmot_qat", None, 1.1, squared_error=0.0100),
        )

    assert missed(rows(0.01009)) == []
    assert missed(rows(0.01012))[0] == (
        "onnx of net: trained, squared error at most 1% above the best peer's: +1.20% (tfmot_qat)"
    )


# What is written


def test_a_row_comes_back_from_json_as_it_was():
    row = a_row(
        "peer", 0.9, 1.2, ops=(3, 4), over_float=AccuracyDelta(0.1, 0.0, 0.2, 0.5), file_bytes=3, sha256="0"
    )
    for one in (row, Row("net", "onnx", "peer", reason="ValueError: no.")):
        assert from_json(json.loads(json.dumps(asdict(one)))) == one


def test_new_rows_take_the_places_of_old_ones_and_what_is_no_peer_any_more_goes():
    old = [a_row("one", 0.1), a_row("two", 0.2), a_row("gone", 0.3)]
    order = [("net", "onnx", "two"), ("net", "onnx", "one")]
    assert [row.accuracy.value for row in merged(old, [a_row("one", 0.4)], order)] == [0.2, 0.4]


def found(rows):
    return {
        "environment": {"cpu": "a CPU", "cores": 2, "isa": ["avx2"], "versions": {"onnx": "1"}},
        "calibration_examples": 512,
        "test_examples": 10_000,
        "nets": ["net"],
        "peers": {
            name: {"title": name.upper(), "package": "p", "version": "2"} for name in ("peer", "failed")
        },
        **json.loads(json.dumps(as_json(rows, ["net"]))),
    }


def test_the_page_shows_where_a_peer_is_ahead_and_why_one_failed():
    behind, ahead = AccuracyDelta(0.001, -0.001, 0.003, 0.4), AccuracyDelta(0.004, 0.001, 0.007, 0.01)
    rows = [
        a_row(FLOAT, 0.91, 1.5, over_ours=behind),
        a_row(OURS, 0.90),
        a_row("peer", 0.904, 0.9, over_ours=ahead, over_float=behind),
        a_row("failed", None, reason="ValueError: no."),
    ]
    text = page(found(rows))
    line = next(line for line in text.splitlines() if "| PEER |" in line)
    assert "**+0.40 (+0.10 to +0.70)**" in line
    assert "**0.90 (0.89 to 0.91)**" in line
    assert "+0.10 (-0.10 to +0.30) | **" in line
    assert "| net | FAILED | none [1] | –" in text
    assert "1. ValueError: no." in text
    assert "**missed**" in text
    assert "| 1.50 (1.49 to 1.52) |" in next(line for line in text.splitlines() if "| float, ONNX" in line)


def test_rows_of_another_cpu_are_not_mixed_in(tmp_path, monkeypatch):
    here = environment_here(1, ())
    told = {"environment": json.loads(json.dumps(asdict(here))), "rows": [asdict(a_row("peer"))]}
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    assert command.kept_rows() == []
    (tmp_path / "peers.json").write_text(json.dumps(told))
    assert command.kept_rows() == [a_row("peer")]
    told["environment"]["isa"] = ["another"]
    (tmp_path / "peers.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"another.*all of it"):
        command.kept_rows()


def test_the_page_is_made_from_what_was_measured():
    assert (ROOT / "docs/peers.md").read_text() == page(json.loads(RESULT.read_text()))


def test_every_net_and_peer_has_its_row():
    rows = [from_json(told) for told in json.loads(RESULT.read_text())["rows"]]
    assert [row.key for row in rows] == measuring.keys(tuple(FASHION_MNIST))
