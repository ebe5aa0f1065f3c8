"""Which integer types an ONNX file should use for a CPU: the numbers are the same in all, the instructions are not.

u8s8  uint8 activations, int8 kernels: the fast pair on x86 with VNNI. Without it the instruction that adds two
products saturates at 16 bits, and answers change (ONNX Runtime's documentation, "Quantize ONNX models"); kernels of 7
bits or fewer are safe from that.
u8u8  uint8 both, kernels with zero point 128: exact on every CPU.
s8s8  int8 both: what Arm's dot products take; on x86 ONNX Runtime leaves some operators in float, and without VNNI its
dense layers saturate as those of u8s8 do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from slimedge.artifact import Step
from slimedge.registry import Registry

INTEGERS = ("u8s8", "u8u8", "s8s8")
PORTABLE = "u8u8"
# Two products of 255 and 63 add up to less than 2^15.
NEVER_SATURATES_BITS = 7
# How the names of schemes end whose activations have 16 bits.
WIDE_ACTIVATIONS = "_ai16"

# What this machine is, told by the file that an agent takes along to other machines.
HOST = Registry("fact", {"environment": "slimedge.runtime.facts:environment"})

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_ARM = frozenset({"asimd", "asimddp", "neon", "i8mm"})


def integers_for(isa: Collection[str], kernel_bits: int = 8) -> str:
    """Give the types for a CPU with these instruction-set flags (as in `Environment.isa`).

    Args:
        isa: of the CPU.
        kernel_bits: of the widest kernel in the file.

    Example:
        >>> integers_for(["avx2", "avx512_vnni"]), integers_for(["avx2"]), integers_for(["asimd", "asimddp"])
        ('u8s8', 'u8u8', 's8s8')
        >>> integers_for(["avx2"], kernel_bits=7)
        'u8s8'
    """
    if _VNNI & set(isa):
        return "u8s8"
    if _ARM & set(isa):
        return "s8s8"
    return "u8s8" if kernel_bits <= NEVER_SATURATES_BITS else PORTABLE


def saturates(integers: str, isa: Collection[str], kernel_bits: int = 8) -> bool:
    """Whether a file of these types may saturate on a CPU with these flags.

    Args:
        integers: of `INTEGERS`; others never do.
        isa: of the CPU.
        kernel_bits: of the widest kernel in the file.
    """
    wide = kernel_bits > NEVER_SATURATES_BITS
    return integers in INTEGERS and integers != PORTABLE and wide and not (_VNNI | _ARM) & set(isa)


def kernel_bits(lineage: Iterable[Step]) -> int:
    """Give the bits of the widest kernel, as a model's or a file's lineage tells; 8 where it does not.

    Example:
        >>> kernel_bits([Step("quantize", {"scheme": "static_wi8_ai8", "kernel_bits": 7}), Step("export", {})])
        7
    """
    told = 8
    for step in lineage:
        if step.name == "quantize":
            told = int(step.settings.get("kernel_bits", 8))
        elif step.name == "train":
            told = int(step.settings.get("weight_bits") or told)
    return told


def isa_here() -> tuple[str, ...]:
    """Give this machine's instruction-set flags."""
    facts: dict[str, Any] = HOST["environment"](1)
    return tuple(facts["isa"])
