"""The activation memory is what a step-by-step look at the tensors that are still needed finds."""

from __future__ import annotations

import numpy as np
import pytest

from slimedge.benchmarks.activation_memory import Op, Peak, Role, fused, peak


def looked_up_at_every_step(ops, sizes, inputs, outputs):
    """Sum, at each op, what it takes, what it makes, and what is there already and is needed later."""
    found = []
    for step, op in enumerate(ops):
        made = {*inputs, *(name for before in ops[:step] for name in before.outputs)}
        needed = {*outputs, *(name for after in ops[step + 1 :] for name in after.inputs)}
        alive = {*op.inputs, *op.outputs, *(made & needed)} | (set(inputs) if step == 0 else set())
        found.append(sum(sizes[name] for name in alive))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_of_a_random_graph_is_that_of_looking_at_every_step(seed):
    generator = np.random.default_rng(seed)
    sizes, ops = {"in0": 7, "in1": 11}, []
    for step in range(12):
        takes = generator.choice(list(sizes), generator.integers(1, 4))
        gives = [f"{step}.{each}" for each in range(generator.integers(1, 3))]
        ops.append(Op(f"op{step}", tuple(map(str, takes)), tuple(gives)))
        sizes.update((name, int(generator.integers(1, 100))) for name in gives)
    outputs = [str(name) for name in generator.choice(list(sizes), 2)]

    found = looked_up_at_every_step(ops, sizes, ("in0", "in1"), outputs)

    assert peak(ops, sizes, ("in0", "in1"), outputs) == Peak(max(found), f"op{int(np.argmax(found))}")


def test_a_skip_connection_is_alive_beside_all_that_it_skips():
    ops = [Op("a", ("x",), ("y",)), Op("b", ("y",), ("z",)), Op("add", ("x", "z"), ("sum",))]
    sizes = dict.fromkeys(("x", "y", "z", "sum"), 10)

    assert peak(ops, sizes, ["x"], ["sum"]) == Peak(30, "b")


def test_a_reshape_needs_no_memory_and_keeps_what_it_reshapes_alive():
    ops = [Op("a", ("x",), ("y",)), Op("flat", ("y",), ("row",), Role.ALIAS), Op("b", ("row",), ("z",))]

    assert peak(ops, {"x": 1, "y": 10, "row": 10, "z": 5}, ["x"], ["z"]) == Peak(15, "b")


def test_a_graph_inside_of_an_op_counts_while_it_runs():
    ops = [Op("a", ("x",), ("y",)), Op("loop", ("y",), ("z",), body_bytes=100)]

    assert peak(ops, {"x": 50, "y": 10, "z": 5}, ["x"], ["z"]) == Peak(115, "loop")
    assert peak([Op("loop", ("x",), ("z",), body_bytes=None)], {"x": 1, "z": 1}, ["x"], ["z"]) is None


@pytest.mark.parametrize("sizes", [{"x": 1}, {"x": 1, "y": None}])
def test_a_tensor_of_unknown_size_makes_the_whole_unknown(sizes):
    assert peak([Op("a", ("x",), ("y",))], sizes, ["x"], ["y"]) is None


def test_a_model_without_ops_needs_its_inputs():
    assert peak([], {"x": 8}, ["x"], ["x"]) == Peak(8, None)


SIZES = {"x": 40, "qx": 10, "dx": 40, "y": 80, "t": 80, "r": 80, "qy": 20, "dy": 80}
QUANTIZED = [
    Op("quantize x", ("x",), ("qx",), Role.QUANTIZE),
    Op("dequantize x", ("qx",), ("dx",), Role.DEQUANTIZE),
    Op("conv", ("dx",), ("y",)),
    Op("relu", ("y",), ("r",), Role.CLIP),
    Op("quantize y", ("r",), ("qy",), Role.QUANTIZE),
    Op("dequantize y", ("qy",), ("dy",), Role.DEQUANTIZE),
]


def test_a_quantized_op_takes_and_makes_integers():
    ops, sizes = fused(QUANTIZED, SIZES, ["x"], ["qy"])

    assert peak(ops, sizes, ["x"], ["qy"]) == Peak(40 + 10, "quantize x")
    assert peak(ops[1:], sizes, ["qx"], ["qy"]) == Peak(10 + 20, "conv")


def test_the_borders_between_float_and_integers_hold_both():
    ops, sizes = fused(QUANTIZED, SIZES, ["x"], ["dy"])

    assert peak(ops, sizes, ["x"], ["dy"]) == Peak(20 + 80, "dequantize y")


def test_an_op_without_integer_form_takes_and_makes_real_numbers():
    ops = [
        Op(op.name, op.inputs, op.outputs, Role.FLOAT if op.name == "conv" else op.role) for op in QUANTIZED
    ]

    assert peak(*fused(ops, SIZES, ["x"], ["qy"]), ["x"], ["qy"]) == Peak(80 + 80, "relu")


def test_real_numbers_that_another_op_reads_are_in_memory():
    ops = [*QUANTIZED, Op("peek", ("y",), ("t",))]

    assert peak(*fused(ops, SIZES, ["x"], ["t"]), ["x"], ["t"]) == Peak(80 + 80 + 20, "quantize y")


def test_a_transposition_between_quantized_ops_is_one_of_integers():
    before = [
        *QUANTIZED[:2],
        Op("turn", ("dx",), ("t",), Role.MOVE),
        Op("conv", ("t",), ("r",)),
        QUANTIZED[4],
    ]
    after = [*QUANTIZED[:3], Op("turn", ("y",), ("r",), Role.MOVE), QUANTIZED[4]]

    for ops, sizes in ((before, {**SIZES, "t": 40}), (after, SIZES)):
        integers = fused(ops, sizes, ["x"], ["qy"])
        found = peak(integers[0][1:], integers[1], ["qx"], ["qy"])
        assert found.bytes == (10 + 20 if ops is before else 20 + 20)
