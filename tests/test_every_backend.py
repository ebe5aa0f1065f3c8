"""The contract of `slimedge.runtime.protocols.Backend`, over the registry: a new backend adds a line to `FILES`."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tarfile

import numpy as np
import psutil
import pytest
import tiny_files

from slimedge.errors import InputError, RunError, SlimedgeError
from slimedge.integers import isa_here, saturates
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.backends import BACKENDS, backend_file
from slimedge.runtime.devices import ssh
from slimedge.runtime.devices.local import Local
from slimedge.runtime.facts import cores
from slimedge.runtime.jobs import load_request
from slimedge.runtime.ops import count_ops
from slimedge.runtime.protocols import Job
from slimedge.runtime.targets import Target


def keras_file(path):
    import keras
    from keras import layers

    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    zeta, alpha = layers.Dense(3, name="zeta"), layers.Dense(2, use_bias=False, name="alpha")
    model = keras.Model([left, right], [zeta(left), alpha(right)])
    zeta.set_weights([tiny_files.KERNEL, tiny_files.BIAS])
    alpha.set_weights([tiny_files.SIDE])
    model.save(path)
    return tiny_files.artifact(path)


# The file that each backend is tested with: tiny_files' model in its format.
FILES = {
    "reference": ("tiny.keras", keras_file),
    "ort": ("tiny.onnx", tiny_files.float_onnx),
    "litert": ("tiny.tflite", lambda path: tiny_files.tflite(path, integer=False)),
    "mcu": ("micro.tflite", lambda path: tiny_files.tflite(path, integer=False)),
    "openvino": ("tiny.onnx", tiny_files.float_onnx),
}
INTEGER_FILES = {
    "ort": ("tiny_int8.onnx", tiny_files.integer_onnx),
    "litert": ("tiny_int8.tflite", lambda path: tiny_files.tflite(path, integer=True)),
    "mcu": ("micro_int8.tflite", lambda path: tiny_files.tflite(path, integer=True)),
    "openvino": ("tiny_int8.tflite", lambda path: tiny_files.tflite(path, integer=True)),
}

# Those that tell how long each op takes.
PROFILED = {"ort", "litert"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module", params=list(BACKENDS))
def opened(request, folder):
    """A backend's name, its file and an open session, one process for all tests."""
    name, make = FILES[request.param]
    artifact = make(folder / name)
    with BACKENDS[request.param].open(artifact, threads=1) as session:
        yield request.param, artifact, session


@pytest.fixture(params=list(INTEGER_FILES))
def integer(request, folder):
    name, make = INTEGER_FILES[request.param]
    return request.param, make(folder / name)


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backend_is_registered_under_its_name_and_is_here(name):
    assert BACKENDS[name].name == name
    assert BACKENDS[name].missing() is None


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backend_says_what_is_missing_and_how_to_get_it(name, monkeypatch):
    find = importlib.util.find_spec
    packages = {package.replace("-", "_") for package in BACKENDS[name].packages}
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in packages else find(n, *a))
    assert "pip install" in BACKENDS[name].missing()


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backends_file_imports_without_slimedge_and_without_its_runtime(name):
    code = (
        "import importlib, sys, types\n"
        "sys.modules['slimedge'] = None\n"
        "sys.modules['boards'] = types.ModuleType('boards')\n"
        f"sys.modules['boards'].__path__ = [{str(backend_file(name).parent)!r}]\n"
        f"module = importlib.import_module('boards.{backend_file(name).stem}')\n"
        "assert module.BACKEND.missing() is None\n"
        "runtimes = {'onnxruntime', 'ai_edge_litert', 'openvino', 'tensorflow', 'keras', 'tflite_micro'}\n"
        "assert not runtimes & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", list(INTEGER_FILES))
def test_a_backend_needs_nothing_but_what_is_sent_to_boards(name, folder, tmp_path, monkeypatch):
    file, make = INTEGER_FILES[name]
    artifact = make(folder / file)
    board, blocked = tmp_path / "board", tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "slimedge.py").write_text("raise ImportError('slimedge is not there.')\n")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    with tarfile.open(fileobj=io.BytesIO(ssh._packed(ssh._files(name)))) as archive:
        archive.extractall(board, filter="data")
    command = [sys.executable, str(board / "agent.py"), str(board / backend_file(name).name)]
    with AgentProcess(command, name=name, limit_s=60.0) as agent:
        agent.ask("prepare", threads=1, devices=True)
        agent.ask("load", **load_request(Job(artifact, Target(name)), timed=True))
        counts, profiled = agent.ask("ops"), agent.ask("profile", seconds=0.0, runs=5)
    assert [integer for _, _, integer in counts["heavy"]] == [True, True]
    assert (profiled["ops"] is None) is (name not in PROFILED)


def test_a_session_gives_what_the_model_says_by_name_in_keras_order(opened):
    _, _, session = opened
    inputs = tiny_files.examples(5)
    outputs = session.predict(inputs)
    assert list(outputs) == ["zeta", "alpha"]
    assert [spec.name for spec in session.inputs] == ["left", "right"]
    assert [spec.name for spec in session.outputs] == ["zeta", "alpha"]
    for name, expected in tiny_files.answers(**inputs).items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 33])
def test_a_batch_can_have_any_size(opened, count):
    _, _, session = opened
    inputs = tiny_files.examples(count, seed=count)
    np.testing.assert_allclose(
        session.predict(inputs)["zeta"], tiny_files.answers(**inputs)["zeta"], atol=1e-6
    )


def test_the_order_of_the_inputs_does_not_matter(opened):
    _, _, session = opened
    inputs = tiny_files.examples(2)
    swapped = dict(reversed(inputs.items()))
    assert session.predict(swapped)["alpha"].tolist() == session.predict(inputs)["alpha"].tolist()


def test_a_session_takes_any_float(opened):
    _, _, session = opened
    inputs = tiny_files.examples(2)
    doubles = {name: array.astype(np.float64) for name, array in inputs.items()}
    assert session.predict(doubles)["zeta"].tolist() == session.predict(inputs)["zeta"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": None}, "input 'right' is missing; the model takes 'left', 'right' and was given left."),
        (
            {"right": np.zeros((2, 7))},
            r"input 'right' takes the shape \('batch', 3\) and was given \(2, 7\).",
        ),
        ({"right": np.zeros((9, 3))}, "as many examples each; they have left 2, right 9."),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_the_session_lives_on(opened, change, message):
    _, _, session = opened
    inputs = tiny_files.examples(2)
    wrong = {name: array for name, array in {**inputs, **change}.items() if array is not None}
    with pytest.raises(InputError, match=message):
        session.predict(wrong)
    assert session.predict(inputs)["zeta"].shape == (2, 3)


def test_a_session_tells_where_it_really_runs(opened):
    name, _, session = opened
    assert session.provider == {"litert": "xnnpack"}.get(name, "cpu")


def test_a_provider_that_nobody_has_is_refused(opened):
    name, artifact, _ = opened
    with (
        pytest.raises(SlimedgeError, match="abacus"),
        BACKENDS[name].open(artifact, threads=1, provider="abacus"),
    ):
        pass


def test_more_threads_than_there_are_processors_are_refused(opened):
    name, artifact, _ = opened
    too_many = cores() + 1
    with (
        pytest.raises(InputError, match=f"threads is {too_many}"),
        BACKENDS[name].open(artifact, threads=too_many),
    ):
        pass


def test_an_agent_times_runs_and_tells_what_it_runs_on(opened):
    name, artifact, _ = opened
    with Local().start(name, limit_s=60.0) as agent:
        told = agent.ask("prepare", threads=1)
        agent.ask("load", **load_request(Job(artifact, Target(name)), timed=True))
        samples = agent.ask("time", settle_s=0.0, seconds=0.0, runs=20)["samples_ns"]
    assert len(samples) == 20
    assert min(samples) > 0
    assert told["facts"]["threads"] == 1
    assert BACKENDS[name].packages[0] in told["facts"]["versions"]


def test_another_format_is_refused(opened, folder):
    name, _, _ = opened
    other = "tiny.keras" if name != "reference" else "tiny.onnx"
    with (
        pytest.raises(InputError, match=f"{name} runs .* and was given {other}"),
        BACKENDS[name].open(tiny_files.artifact(folder / other), threads=1),
    ):
        pass


@pytest.mark.parametrize("damage", ["cut at 25 %", "cut at 90 %", "empty", "text"])
def test_a_damaged_file_is_one_sentence_and_never_the_end(opened, damage, tmp_path):
    name, artifact, _ = opened
    if name == "reference" and damage != "cut at 90 %":
        pytest.skip("reading a Keras file has tests of its own, and TensorFlow takes its time")
    content = artifact.path.read_bytes()
    damaged = {
        "cut at 25 %": content[: len(content) // 4],
        "cut at 90 %": content[: len(content) * 9 // 10],
        "empty": b"",
        "text": b"this is not a model\n" * 50,
    }[damage]
    path = tmp_path / artifact.path.name
    path.write_bytes(damaged)
    with (
        pytest.raises((InputError, RunError), match=path.name) as caught,
        BACKENDS[name].open(tiny_files.artifact(path), threads=1),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_session_leaves_no_process_behind(opened):
    name, artifact, _ = opened
    if name == "reference":
        pytest.skip("as the others do, but slower")
    before = set(psutil.Process().children())
    with BACKENDS[name].open(artifact, threads=1):
        (running,) = set(psutil.Process().children()) - before
    assert not running.is_running()


def test_integers_inside_are_floats_outside(integer):
    name, artifact = integer
    inputs = tiny_files.examples(7)
    with BACKENDS[name].open(artifact, threads=1) as session:
        outputs = session.predict(inputs)
    # OpenVINO's kernels add pairs of products in 16 bits on x86 without VNNI: up to six steps are lost here.
    steps = 6 if name == "openvino" and saturates("u8s8", isa_here()) else 0
    for output, expected in tiny_files.integer_answers(inputs).items():
        atol = 1e-6 + steps * tiny_files.GRIDS[output][0]
        np.testing.assert_allclose(outputs[output], expected, atol=atol)


def test_a_fixed_batch_is_filled_up(folder):
    artifact = tiny_files.tflite(folder / "three.tflite", integer=True, batch=3)
    inputs = tiny_files.examples(7)
    with BACKENDS["litert"].open(artifact, threads=1) as session:
        assert session.inputs[0].shape == (3, 4)
        outputs = session.predict(inputs)
    np.testing.assert_allclose(outputs["zeta"], tiny_files.integer_answers(inputs)["zeta"], atol=1e-6)


def test_names_that_the_file_does_not_have_are_told(folder):
    artifact = tiny_files.float_onnx(folder / "named.onnx")
    renamed = tiny_files.artifact(artifact.path)
    object.__setattr__(renamed, "outputs", renamed.outputs[:1])
    with (
        pytest.raises(InputError, match=r"named\.onnx has 'zeta', 'alpha' where 'zeta' was expected"),
        BACKENDS["ort"].open(renamed, threads=1),
    ):
        pass


def test_the_reference_counts_no_ops(folder):
    counts = count_ops(keras_file(folder / "counted.keras"))
    assert (counts.integer_ops, counts.total_ops, counts.heavy) == (None, None, ())
