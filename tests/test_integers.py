"""The integer types of an ONNX file follow the CPU's instruction set."""

from __future__ import annotations

import pytest

from slimedge.artifact import Step
from slimedge.integers import INTEGERS, integers_for, isa_here, kernel_bits, saturates


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


def test_kernels_of_seven_bits_never_saturate() -> None:
    assert not saturates("u8s8", ["avx2"], kernel_bits=7)
    assert saturates("u8s8", ["avx2"], kernel_bits=8)
    assert integers_for(["avx2"], kernel_bits=7) == "u8s8"
    assert integers_for(["asimd"], kernel_bits=7) == "s8s8"
    assert 2 * 255 * 63 < 2**15 <= 2 * 255 * 127


@pytest.mark.parametrize("integers", ["", "i16"])
def test_a_file_without_integer_types_does_not_saturate(integers: str) -> None:
    assert not saturates(integers, ["avx2"])


@pytest.mark.parametrize(
    ("steps", "bits"),
    [
        ([], 8),
        ([Step("quantize", {"kernel_bits": 4})], 4),
        ([Step("quantize", {}), Step("train", {"weight_bits": 3})], 3),
        ([Step("quantize", {"kernel_bits": 4}), Step("train", {"weight_bits": None}), Step("export", {})], 4),
    ],
)
def test_the_lineage_tells_the_widest_kernel(steps: list[Step], bits: int) -> None:
    assert kernel_bits(steps) == bits
