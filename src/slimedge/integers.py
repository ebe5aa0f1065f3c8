"""Which integer types an ONNX file should use for a CPU: the numbers are the same in all, the instructions are not.

u8s8  uint8 activations, int8 kernels: the fast pair on x86 with VNNI. Without it the instruction that adds two
products saturates at 16 bits, and answers change (ONNX Runtime's documentation, "Quantize ONNX models").
u8u8  uint8 both, kernels with zero point 128: exact on every CPU.
s8s8  int8 both: what Arm's dot products take; on x86 ONNX Runtime leaves some operators in float, and without VNNI its
dense layers saturate as those of u8s8 do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from slimedge.registry import Registry

INTEGERS = ("u8s8", "u8u8", "s8s8")
PORTABLE = "u8u8"
# How the names of schemes end whose activations have 16 bits.
WIDE_ACTIVATIONS = "_ai16"

# What this machine is, told by the file that an agent takes along to other machines.
HOST = Registry("fact", {"environment": "slimedge.runtime.facts:environment"})

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_ARM = frozenset({"asimd", "asimddp", "neon", "i8mm"})


def integers_for(isa: Collection[str]) -> str:
    """Give the types for a CPU with these instruction-set flags (as in `Environment.isa`).

    Example:
        >>> integers_for(["avx2", "avx512_vnni"]), integers_for(["avx2"]), integers_for(["asimd", "asimddp"])
        ('u8s8', 'u8u8', 's8s8')
    """
    if _VNNI & set(isa):
        return "u8s8"
    return "s8s8" if _ARM & set(isa) else PORTABLE


def saturates(integers: str, isa: Collection[str]) -> bool:
    """Whether a file of these types may saturate on a CPU with these flags."""
    return integers != PORTABLE and not (_VNNI | _ARM) & set(isa)


def isa_here() -> tuple[str, ...]:
    """Give this machine's instruction-set flags."""
    facts: dict[str, Any] = HOST["environment"](1)
    return tuple(facts["isa"])
