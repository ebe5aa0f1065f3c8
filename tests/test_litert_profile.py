"""LiteRT's profiler: what its events mean, and what happens where it is another or none."""

from __future__ import annotations

import ctypes
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
import tiny_files

from slimedge.runtime.backends import litert_profile
from slimedge.runtime.backends.litert_profile import DEFAULT, DELEGATE_OPERATOR, OPERATOR, by_run, told

TELEMETRY = 1 << 5
X = {"left": np.ones((1, 4), np.float32), "right": np.ones((1, 3), np.float32)}


def invoke(start, elapsed, graph=0):
    return ("Invoke", DEFAULT, start, elapsed, 0, graph)


def end(graph=0):
    return ("Invoke", TELEMETRY, 0, 1 << 32, 0, graph)


def op(tag, start, elapsed, node, graph=0):
    return (tag, OPERATOR, start, elapsed, node, graph)


def kernel(tag, elapsed, node, graph=0):
    return (tag, DELEGATE_OPERATOR, 0, elapsed, node, graph)


def test_events_are_parted_into_runs_and_only_ops_are_kept():
    around = ("LiteRT::Run[buffer registration]", DEFAULT, 90, 9, 0, 0)
    one = [around, invoke(100, 50), kernel("Add (ND)", 10, 0), op("SOFTMAX", 120, 5, 3), end()]
    two = [around, invoke(200, 40), kernel("Add (ND)", 9, 0), op("SOFTMAX", 220, 4, 3), end()]

    runs = by_run([*one, *two])

    assert [[event[0] for event in run] for run in runs] == [["Invoke", "Add (ND)", "SOFTMAX"]] * 2


def test_kernels_of_a_delegate_are_laid_end_to_end_and_ops_stand_where_they_began():
    events = [
        invoke(100, 60),
        kernel("Convert (NC)", 3, 0),
        kernel("Add (ND)", 10, 1),
        op("SOFTMAX", 120, 5, 3),
        kernel("Convert (NC)", 2, 0),
    ]

    answer = told(
        by_run([*events, end(), invoke(1100, 60), *events[1:3], op("SOFTMAX", 1120, 6, 3), events[4], end()])
    )

    assert [(each["name"], each["provider"], each["node"]) for each in answer["ops"]] == [
        ("Convert (NC)", "xnnpack", None),
        ("Add (ND)", "xnnpack", None),
        ("SOFTMAX", "cpu", 3),
        ("Convert (NC)", "xnnpack", None),
    ]
    first, second = answer["runs"]
    assert (first["start_ns"], first["duration_ns"], second["start_ns"]) == (0, 60_000, 1_000_000)
    assert first["events"] == [[0, 0, 3000], [1, 3000, 10_000], [2, 20_000, 5000], [3, 25_000, 2000]]
    assert second["events"][2] == [2, 1_020_000, 6000]


def test_a_loop_takes_the_time_of_the_ops_that_it_runs():
    inside = [
        invoke(130, 400, 1),
        op("LESS", 131, 2, 0, 1),
        end(1),
        invoke(600, 700, 2),
        kernel("Fully Connected (NC, F32) GEMM", 7, 0, 2),
        op("ADD", 800, 3, 4, 2),
        end(2),
    ]
    events = [invoke(100, 5000), op("WHILE", 120, 4800, 0), *inside, *inside, op("ADD", 5000, 4, 1), end()]

    (run,) = by_run(events)

    assert [(event[0], event[3]) for event in run] == [("Invoke", 5000), ("WHILE", 24), ("ADD", 4)]


def test_runs_of_other_ops_are_refused():
    with pytest.raises(ImportError, match="other ops in one run than in another"):
        told(by_run([invoke(1, 9), op("ADD", 2, 3, 0), end(), invoke(20, 9), op("MUL", 22, 3, 0), end()]))


@pytest.fixture
def content(tmp_path):
    tiny_files.tflite(tmp_path / "a.tflite", integer=False)
    return (tmp_path / "a.tflite").read_bytes()


def profile(content, **more):
    return litert_profile.profile(content, None, X, **{"threads": 1, "warm_runs": 1, "runs": 30, **more})


def test_more_runs_than_the_profilers_buffer_holds_at_once_are_all_there(content, monkeypatch):
    monkeypatch.setattr(litert_profile, "EVENTS_AT_ONCE", 40)

    answer = profile(content, runs=101)

    assert len(answer["runs"]) == 101
    assert [run["start_ns"] for run in answer["runs"]] == sorted(run["start_ns"] for run in answer["runs"])
    assert all(len(run["events"]) == len(answer["ops"]) for run in answer["runs"])


def test_a_litert_without_its_library_is_a_sentence(content, monkeypatch, tmp_path):
    monkeypatch.setattr(ai_edge_litert, "__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(ImportError, match=r"comes without libLiteRt.*install ai-edge-litert"):
        profile(content)


def test_a_library_without_the_profiler_is_a_sentence(content, monkeypatch):
    library = ctypes.CDLL(str(next(Path(ai_edge_litert.__file__).parent.glob("libLiteRt.so"))))

    class Older:
        def __getattr__(self, name):
            if "Profiler" in name:
                raise AttributeError(name)
            return getattr(library, name)

    monkeypatch.setattr(litert_profile, "_library", Older)

    with pytest.raises(ImportError, match=r"lacks LiteRtCompiledModelGetProfiler.*install ai-edge-litert"):
        profile(content)


def test_events_of_another_size_are_a_sentence(content, monkeypatch):
    class Larger(litert_profile.Event):
        _fields_ = (("more", ctypes.c_uint64 * 2),)

    monkeypatch.setattr(litert_profile, "Event", Larger)

    with pytest.raises(ImportError, match="describes its profile in another way"):
        profile(content)


def test_a_damaged_file_is_a_sentence(content):
    with pytest.raises(ImportError, match=r"does not take the file: LiteRt\w+ ended with status \d+"):
        profile(content[:200])


def test_an_unknown_signature_is_a_sentence(content):
    with pytest.raises(ImportError, match="does not know the signature 'other'"):
        litert_profile.profile(content, "other", X, threads=1, warm_runs=1, runs=1)
