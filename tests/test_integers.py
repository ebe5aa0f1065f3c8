"""The integer types of an ONNX file follow the CPU's instruction set."""

from __future__ import annotations

import pytest

from slimedge.integers import INTEGERS, integers_for, isa_here, saturates


@pytest.mark.parametrize(
    ("isa", "chosen"),
    [
        (["sse4_1", "avx2", "avx512_vnni"], "u8s8"),
        (["avx2", "avx_vnni"], "u8s8"),
        (["avx", "avx2", "fma"], "u8u8"),
        (["asimd", "asimddp"], "s8s8"),
        ([], "u8u8"),
    ],
)
def test_the_fastest_exact_types_are_chosen(isa: list[str], chosen: str) -> None:
    assert integers_for(isa) == chosen


def test_what_is_chosen_never_saturates() -> None:
    for isa in (["avx2"], ["avx2", "avx512_vnni"], ["asimd"], []):
        assert not saturates(integers_for(isa), isa)


def test_only_unsigned_kernels_saturate_nowhere() -> None:
    assert saturates("u8s8", ["avx2", "avx512f"])
    assert saturates("s8s8", ["avx2"])
    assert not saturates("u8s8", ["avx2", "avx_vnni"])
    assert not saturates("u8u8", ["avx2"])


def test_this_machine_has_an_answer() -> None:
    assert integers_for(isa_here()) in INTEGERS
