"""The memory that activations need: the largest sum of bytes of tensors that are alive at the same time.

Ops run one at a time, in the order of the file or of the model's calls. A tensor is alive from the op that makes it
(an input: from the start) to the last op that takes it (an output: to the end); what an op takes and what it makes are
alive together. This is the working set of Liberis and Lane, 2019, "Neural networks on microcontrollers: saving memory
at inference via operator reordering". Weights are not counted, nor scratch buffers, alignment and the gaps that a
planner leaves, so that it is a lower bound for a runtime that runs the ops as they stand. One that fuses ops or lets
them write over what they take can do with less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import accumulate


class Role(Enum):
    """What an op means for memory."""

    PLAIN = auto()
    """Makes new tensors."""
    ALIAS = auto()
    """Gives what it takes, in the same bytes: a reshape, a dropout at inference."""
    QUANTIZE = auto()
    """Turns real numbers into integers."""
    DEQUANTIZE = auto()
    """Turns integers into real numbers."""
    CLIP = auto()
    """A ReLU, which a quantized op before it does on the way."""
    MOVE = auto()
    """Moves or selects numbers, integers as well as real ones: a transposition."""
    FLOAT = auto()
    """Makes new tensors, and has no form on integers."""


@dataclass(frozen=True, slots=True)
class Op:
    """One op.

    Attributes:
        name: to tell it by.
        inputs: names of the tensors that it takes; weights are left out.
        outputs: names of the tensors that it makes.
        role: all but `PLAIN` are about the first input and the first output.
        body_bytes: what a graph inside it needs while it runs; None where that is not known.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    role: Role = Role.PLAIN
    body_bytes: int | None = 0


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that is needed at once.

    Attributes:
        bytes: of all tensors alive then.
        op: the first that runs then; None where there is no op.
    """

    bytes: int
    op: str | None


def peak(
    ops: Sequence[Op], sizes: Mapping[str, int | None], inputs: Iterable[str], outputs: Iterable[str]
) -> Peak | None:
    """Find the op at which the tensors that are alive need most.

    Args:
        ops: in the order in which they run.
        sizes: bytes of each tensor; None, or no entry, where it is not known.
        inputs: tensors that are there from the start.
        outputs: tensors that stay to the end.

    Returns:
        The peak, or None where a size is not known.

    Example:
        >>> ops = [Op("wide", ("x",), ("y",)), Op("narrow", ("y",), ("z",))]
        >>> peak(ops, {"x": 10, "y": 40, "z": 5}, ["x"], ["z"])
        Peak(bytes=50, op='wide')
    """
    shared = _storage(ops)
    inputs, outputs, end = tuple(inputs), tuple(outputs), max(len(ops) - 1, 0)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    used = [(0, inputs), *((step, (*op.inputs, *op.outputs)) for step, op in enumerate(ops)), (end, outputs)]
    for step, names in used:
        for name in names:
            kept = shared.get(name, name)
            first.setdefault(kept, step)
            last[kept] = step
    known = _known_sizes(shared, sizes)
    bodies = [op.body_bytes for op in ops] or [0]
    if not first.keys() <= known.keys() or None in bodies:
        return None
    change = [0] * (end + 2)
    for name, size in ((name, known[name]) for name in first):
        change[first[name]] += size
        change[last[name] + 1] -= size
    needed = [alive + (body or 0) for alive, body in zip(accumulate(change), bodies, strict=False)]
    highest = max(needed)
    return Peak(highest, ops[needed.index(highest)].name if ops else None)


def fused(
    ops: Sequence[Op], sizes: Mapping[str, int | None], inputs: Iterable[str], outputs: Iterable[str]
) -> tuple[tuple[Op, ...], dict[str, int | None]]:
    """Let quantized ops take and make integers, as runtimes do with an op between DequantizeLinear and QuantizeLinear.

    An op is quantized where all that it takes comes out of a DEQUANTIZE, and where what it makes goes into one
    QUANTIZE and nowhere else, perhaps through CLIPs and MOVEs. Then the real numbers around it are never in memory:
    QUANTIZE and CLIP become aliases, and so does a DEQUANTIZE that only quantized ops read, or a QUANTIZE to another
    grid; what a MOVE takes or makes between them is integers.

    Args:
        ops: in the order in which they run.
        sizes: bytes of each tensor, as for `peak`.
        inputs: of the graph.
        outputs: of the graph.

    Returns:
        The same ops, some of them with the role `ALIAS`, and the sizes, some of them less.
    """
    wiring = _Wiring(ops, frozenset((*inputs, *outputs)))
    found = dict(sizes)
    aliases: set[int] = set()
    quantized = {step for step, op in enumerate(ops) if op.role is Role.QUANTIZE}
    for step in sorted(quantized):
        way = wiring.to_a_quantized_op(step)
        quantized.update(way[1:])
        aliases.update(each for each in way[:-1] if ops[each].role is not Role.MOVE)
        for moving in way[1:-1]:
            if ops[moving].role is Role.MOVE:
                like = ops[step].outputs[0], ops[step].inputs[0]
                found[ops[moving].inputs[0]] = _scaled(sizes, ops[moving].inputs[0], *like)
    for step in reversed(range(len(ops))):
        op = ops[step]
        if not op.outputs or not wiring.only_read_by(quantized, op.outputs[0]):
            continue
        if op.role is Role.DEQUANTIZE:
            aliases.add(step)
        elif op.role is Role.MOVE and step not in quantized and all(map(wiring.dequantized, op.inputs)):
            quantized.add(step)
            source = ops[wiring.dequantizer(op.inputs[0])]
            found[op.outputs[0]] = _scaled(sizes, op.outputs[0], source.inputs[0], source.outputs[0])
    return tuple(
        replace(op, role=Role.ALIAS) if step in aliases else op for step, op in enumerate(ops)
    ), found


@dataclass(slots=True)
class _Wiring:
    """Which op makes and which ops take the bytes of each tensor, aliases left out."""

    ops: Sequence[Op]
    ends: frozenset[str]
    shared: dict[str, str] = field(default_factory=dict)
    makers: dict[str, int] = field(default_factory=dict)
    takers: dict[str, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shared = _storage(self.ops)
        self.ends = frozenset(map(self.bytes_of, self.ends))
        for step, op in enumerate(self.ops):
            if op.role is Role.ALIAS:
                continue
            self.makers.update((self.bytes_of(name), step) for name in op.outputs)
            for name in op.inputs:
                self.takers.setdefault(self.bytes_of(name), set()).add(step)

    def bytes_of(self, name: str) -> str:
        return self.shared.get(name, name)

    def dequantizer(self, name: str) -> int:
        """Give the DEQUANTIZE that this comes out of, perhaps through MOVEs; -1 where it does not."""
        step = self.makers.get(self.bytes_of(name), -1)
        while step >= 0 and self.ops[step].role is Role.MOVE:
            step = self.makers.get(self.bytes_of(self.ops[step].inputs[0]), -1)
        return step if step >= 0 and self.ops[step].role is Role.DEQUANTIZE else -1

    def dequantized(self, name: str) -> bool:
        return self.dequantizer(name) >= 0

    def only_read_by(self, steps: set[int], name: str) -> bool:
        kept = self.bytes_of(name)
        return kept not in self.ends and self.takers.get(kept, set()) <= steps

    def before(self, step: int) -> int | None:
        """Give the op whose only output this op alone takes."""
        taken = self.ops[step].inputs[0]
        maker = self.makers.get(self.bytes_of(taken))
        alone = self.only_read_by({step}, taken)
        return maker if alone and maker is not None and len(self.ops[maker].outputs) == 1 else None

    def to_a_quantized_op(self, step: int) -> tuple[int, ...]:
        """Give a QUANTIZE, the CLIPs before it and the op that they make a quantized one; empty if they do not."""
        way = [step]
        while (found := self.before(way[-1])) is not None:
            way.append(found)
            op = self.ops[found]
            if op.role not in {Role.PLAIN, Role.CLIP, Role.MOVE}:
                break
            if op.inputs and all(map(self.dequantized, op.inputs)):
                return tuple(way)
            if op.role is Role.PLAIN:
                break
        return ()


def _storage(ops: Sequence[Op]) -> dict[str, str]:
    """Map each tensor that shares its bytes with an earlier one to the first that does."""
    shared: dict[str, str] = {}
    for op in ops:
        if op.role is Role.ALIAS:
            shared[op.outputs[0]] = shared.get(op.inputs[0], op.inputs[0])
    return shared


def _known_sizes(shared: Mapping[str, str], sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Give the bytes that each tensor holds: of integers and the real numbers that they stand for, the fewer."""
    known: dict[str, int] = {}
    for name, size in sizes.items():
        if size is not None:
            kept = shared.get(name, name)
            known[kept] = min(size, known.get(kept, size))
    return known


def _scaled(sizes: Mapping[str, int | None], name: str, part: str, whole: str) -> int | None:
    """Give the bytes of a tensor with elements as wide as those of `part`, if it had such as `whole` has."""
    size, wide, wider = sizes.get(name), sizes.get(part), sizes.get(whole)
    return None if size is None or wide is None or not wider else size * wide // wider
