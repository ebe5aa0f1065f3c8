"""Times of ops become times of layers; the arithmetic, on profiles made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from slimedge.benchmarks.file_graph import FileGraph, FileOp
from slimedge.benchmarks.profiles.naming import OnnxPlaces, tflite_place
from slimedge.benchmarks.profiles.partitions import partitions
from slimedge.benchmarks.profiles.profiling import op_indices
from slimedge.benchmarks.profiles.times import Place, model_profile
from slimedge.benchmarks.profiles.xnnpack import align
from slimedge.benchmarks.reporting.profile import headline, rows
from slimedge.benchmarks.statistics import midmean
from slimedge.runtime.profiling import OpEvent, Profile, ProfiledRun, RuntimeOp


def place(layer, *fused):
    return Place(f"{layer}/Op", "Op", layer, fused)


def profile_of(*runs, samples_s=(1e-3,), resolution_s=1e-6):
    """Each run a list of durations in µs, op by op, one after the other."""
    made = []
    for begin, durations in enumerate(runs):
        at, events = begin * 10**9, []
        for op, duration_us in enumerate(durations):
            events.append(OpEvent(op, at, duration_us * 1000))
            at += duration_us * 1000
        made.append(ProfiledRun(begin * 10**9, at - begin * 10**9, tuple(events)))
    ops = tuple(RuntimeOp(f"op{number}", "Op", "cpu") for number in range(len(runs[0])))
    return Profile(ops, tuple(made), samples_s, resolution_s)


def test_the_mean_of_the_middle_half_is_scipys_trimmed_mean():
    values = np.random.default_rng(3).exponential(size=41)

    assert midmean(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_a_layer_takes_the_middle_of_the_sums_of_its_ops_run_by_run():
    runs = [(10, 20, 5), (12, 30, 9), (11, 99, 7), (11, 22, 7), (900, 900, 900)]
    layers = ("conv", "conv", "dense")

    found = model_profile(profile_of(*runs), [place(layer) for layer in layers])

    sums = [a + b for a, b, _ in runs]
    assert [time.layer for time in found.layers] == ["conv", "dense"]
    expected = [np.mean(sorted(sums)[1:4]) * 1e-6, np.mean([7, 7, 9]) * 1e-6]
    assert [time.seconds for time in found.layers] == pytest.approx(expected)
    assert [time.share for time in found.layers] == pytest.approx([e / sum(expected) for e in expected])
    assert [time.cut_s for time in found.layers] == pytest.approx([2e-6, 1e-6])
    assert (found.runs, found.cut_s) == (5, pytest.approx(3e-6))


def test_ops_of_one_name_are_one_with_all_that_the_runtime_ran_for_it():
    both = Place("add", "ADD", "add")

    found = model_profile(profile_of((3, 1, 6)), [both, both, Place("op2", "SOFTMAX", "softmax")])

    assert [(op.name, op.kernels, op.seconds) for op in found.ops] == [
        ("add", ("op0", "op1"), pytest.approx(4e-6)),
        ("op2", (), pytest.approx(6e-6)),
    ]
    assert [op.share for op in found.ops] == pytest.approx([0.4, 0.6])
    assert found.ops_s == pytest.approx(10e-6)


def test_what_a_loop_does_counts_for_the_layers_inside_and_not_twice():
    events = (
        OpEvent(0, 0, 100_000),
        OpEvent(1, 10_000, 30_000),
        OpEvent(2, 40_000, 10_000),
        OpEvent(3, 100_000, 5_000),
    )
    ops = tuple(RuntimeOp(name, name, "cpu") for name in ("Loop", "MatMul", "Add", "Gemm"))
    raw = Profile(ops, (ProfiledRun(0, 120_000, events),), (1e-4,), 1e-6)

    found = model_profile(raw, [place("lstm"), place("cell"), place("cell"), place("dense")])

    assert {time.layer: time.seconds for time in found.layers} == pytest.approx(
        {"lstm": 60e-6, "cell": 40e-6, "dense": 5e-6}
    )


def test_ops_that_took_no_time_have_no_share():
    found = model_profile(profile_of((0, 0)), [place("a"), place("b")])

    assert [(time.seconds, time.share) for time in found.layers] == [(0.0, 0.0)] * 2


def test_the_plain_runs_are_kept_beside_the_profiled_ones():
    found = model_profile(
        profile_of((40, 2), samples_s=(30e-6, 31e-6, 32e-6, 500e-6)), [place("a"), place("b")]
    )

    assert found.run_s == pytest.approx(31.5e-6)
    assert found.profiled_run_s == pytest.approx(42e-6)


def test_what_ops_take_beyond_a_whole_run_is_the_profilers_and_shared_equally():
    places = [place("a"), place("b")]

    longer = model_profile(profile_of((40, 20), samples_s=(50e-6,)), places)
    shorter = model_profile(profile_of((40, 20), samples_s=(70e-6,)), places)

    assert (longer.added_s, shorter.added_s) == (pytest.approx(5e-6), 0.0)
    assert "at least 5.00 µs of each op are the profiler's" in headline("a", longer)
    assert "profiler's" not in headline("a", shorter)


def test_layers_beyond_the_slowest_are_summed():
    found = model_profile(profile_of(tuple(range(1, 21))), [place(f"l{number}") for number in range(20)])

    shown = rows(found.layers, 5)

    assert [row.layer for row in shown] == ["l19", "l18", "l17", "l16", "l15", "15 more layers"]
    assert sum(row.seconds for row in shown) == pytest.approx(210e-6)
    assert sum(row.share for row in shown) == pytest.approx(1.0)
    assert len(rows(found.layers, 19)) == 20  # one more is shown rather than summed alone


@pytest.mark.parametrize(
    ("ops", "kernels", "expected"),
    [
        (
            ["CONV_2D", "RELU", "DEPTHWISE_CONV_2D", "SOFTMAX"],
            ["Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv", "Softmax (NC, F32)"],
            (0, 2, 3),
        ),
        (["PAD", "CONV_2D"], ["Convolution (NHWC, F32) IGEMM"], (1,)),
        (["PAD", "CONV_2D"], ["Constant Pad (ND, X32)", "Convolution (NHWC, F32) IGEMM"], (0, 1)),
        (
            ["CONV_2D", "CONV_2D"],
            [
                "Convert (NC, F32, QD8)",
                "Convolution (NHWC, QD8, F32, QC8W) IGEMM",
                "Convert (NC, F32, QD8)",
                "Fully Connected (NC, QD8, F32, QC8W) GEMM",
            ],
            (0, 0, 1, 1),
        ),
        (
            ["QUANTIZE", "ADD", "MEAN", "FULLY_CONNECTED"],
            [
                "Convert (NC)",
                "Add (ND)",
                "Clamp (NC)",
                "Mean (ND) Reduce",
                "Static Reshape (NC)",
                "Fully Connected (NC, QS8, QC8W) GEMM",
            ],
            (0, 1, 1, 2, 3, 3),
        ),
        (["HARD_SWISH", "MUL"], ["HardSwish (NC)", "Multiply (ND)"], (0, 1)),
        (["ADD"], ["Softmax (NC, F32)"], (None,)),
        ([], ["Add (ND)"], (None,)),
        (["ADD"], [], ()),
    ],
)
def test_kernels_of_a_delegate_are_paired_with_ops_in_order(ops, kernels, expected):
    assert align(ops, kernels) == expected


def chain(*kinds):
    """Ops, each of which takes what the one before gives."""
    return FileGraph(
        tuple(FileOp(str(n), kind, (), None, (str(n - 1),), (str(n),)) for n, kind in enumerate(kinds)), {}, 1
    )


def test_a_delegates_sets_run_in_the_order_in_which_they_are_ready():
    # b and d take the input, c takes b, e takes c and d: where c is LiteRT's own, d runs with b.
    edges = {"b": ("x",), "c": ("b",), "d": ("x",), "e": ("c", "d")}
    graph = FileGraph(tuple(FileOp(n, "ADD", (), None, takes, (n,)) for n, takes in edges.items()), {}, 1)

    assert partitions(graph, {1}) == ((0, 2), (1,), (3,))
    assert partitions(graph, set()) == ((0, 1, 2, 3),)
    assert partitions(graph, {0, 1, 2, 3}) == ((0,), (1,), (2,), (3,))


def test_a_delegates_kernels_stay_on_their_side_of_an_op_that_it_left():
    graph = chain("ADD", "CUSTOM", "ADD", "SOFTMAX")
    ran = [
        RuntimeOp("Add (ND)", "Add (ND)", "xnnpack"),
        RuntimeOp("CUSTOM", "CUSTOM", "cpu", 1),
        RuntimeOp("Add (ND)", "Add (ND)", "xnnpack"),
        RuntimeOp("Softmax (NC, F32)", "Softmax (NC, F32)", "xnnpack"),
    ]

    assert op_indices(ran, graph) == (0, 1, 2, 3)
    assert op_indices(ran[1:], graph) == (1, 2, 3)  # the first addition was folded


def test_what_fits_no_op_is_told_to_be_the_delegates():
    assert op_indices([RuntimeOp("Copy (NC, X32)", "Copy (NC, X32)", "xnnpack")], chain("ADD")) == (None,)


@pytest.mark.parametrize(
    ("name", "layer", "fused"),
    [
        ("stem_relu+stem_bn+stem_conv:2", "stem_conv", ("stem_bn", "stem_relu")),
        ("pool:12", "pool", ()),
        ("probabilities", "probabilities", ()),
        ("model", "model", ()),
    ],
)
def test_a_tflite_op_belongs_to_the_first_layer_that_made_its_output(name, layer, fused):
    found = tflite_place(FileOp(name, "CONV_2D", (), None), ours=True)

    assert (found.name, found.layer, found.fused) == (name, layer, fused)
    assert tflite_place(FileOp(name, "CONV_2D", (), None), ours=False).layer == name


def onnx_graph(*nodes):
    return FileGraph(tuple(FileOp(n, k, (), None, takes, (f"{n}:out",)) for n, k, *takes in nodes), {}, 1)


NODES = (
    ("block1/conv/Conv", "Conv", "x"),
    ("block1_add/Add", "Add", "block1/conv/Conv:out", "x"),
    ("block1_relu/Relu", "Relu", "block1_add/Add:out"),
    ("dense/Gemm", "Gemm", "block1_relu/Relu:out"),
    ("Conv_12", "Conv", "x"),
)


@pytest.mark.parametrize(
    ("name", "kind", "layer", "fused"),
    [
        ("block1/conv/Conv_token_1", "QLinearConv", "block1/conv", ()),
        ("block1_relu/Relu:out_nchwc", "Conv", "block1/conv", ("block1_relu",)),
        ("dense/Gemm_MatMul_quant", "DynamicQuantizeMatMul", "dense", ()),
        ("dense/Gemm", "QGemm", "dense", ()),
        ("gone/Mul_7", "Mul", "gone", ()),
        ("Transpose_token_32", "Transpose", "ONNX Runtime: Transpose", ()),
        ("", "ReorderOutput", "ONNX Runtime: ReorderOutput", ()),
    ],
)
def test_an_onnx_op_belongs_to_the_layer_of_the_node_that_it_begins_with(name, kind, layer, fused):
    found = OnnxPlaces(onnx_graph(*NODES), ours=True).place(name, kind)

    assert (found.layer, found.fused, found.name, found.kind) == (layer, fused, name, kind)


def test_an_op_of_a_foreign_file_stands_for_itself():
    known = OnnxPlaces(onnx_graph(*NODES), ours=False)

    assert known.place("Conv_12", "Conv").layer == "Conv_12"
    assert known.place("block1/conv/Conv_token_1", "QLinearConv").layer == "block1/conv/Conv"
    assert known.place("Transpose_1", "Transpose").layer == "ONNX Runtime: Transpose"
