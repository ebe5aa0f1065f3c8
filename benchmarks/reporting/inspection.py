"""What is in a model, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from slimedge.artifact import TensorSpec
from slimedge.benchmarks.inspecting import Inspection, LayerFacts
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.printing import put
from slimedge.lineage import to_json
from slimedge.weight_facts import MOST_VALUES, WeightFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

# Rounding to 4 bits makes some 20 % of normally distributed weights zero.
_MANY_ZEROS = 0.25


def show(found: Inspection, console: Console) -> None:
    """Print a summary, then the layers or the ops."""
    parts: list[RenderableType] = [Text(f"{found.name} ({found.format})", style="bold"), _summary(found)]
    if found.layers:
        parts += [Text(), _layers(found)]
    if told := [weight for weight in found.weights if _is_told(weight)]:
        parts += [Text(), _weights(told)]
    if found.ops:
        parts += [Text(), Text("ops: " + ", ".join(f"{count} {name}" for name, count in found.ops.items()))]
    put(console, *parts, *(Text(f"note: {note}") for note in found.notes))


def as_json(found: Inspection) -> str:
    """Write the same as JSON."""
    document = {**asdict(found), "sparsity": found.sparsity, "lineage": to_json(found.lineage)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _summary(found: Inspection) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black")
    table.add_column()
    for what, specs in (("input", found.inputs), ("output", found.outputs)):
        for spec in specs:
            table.add_row(what, Text(_spec(spec)))
    table.add_row("parameters", Text(_parameters(found)))
    table.add_row("MACs", Text(figures.quantity(found.macs)))
    table.add_row("activations", Text(_activations(found)))
    if found.file_bytes is not None:
        table.add_row(
            "size", Text(f"{figures.size(found.file_bytes)}, {figures.size(found.gzip_bytes)} after gzip")
        )
    if found.weight_types:
        counts = (f"{figures.quantity(count)} {name}" for name, count in found.weight_types.items() if count)
        table.add_row("constants", Text(", ".join(counts)))
    if found.total_ops is not None:
        table.add_row("executes", Text(f"{found.total_ops} ops, {found.integer_ops} of them on integers"))
    for step in found.lineage:
        table.add_row("made by", Text(figures.step(step)))
    return table


def _parameters(found: Inspection) -> str:
    if found.sparsity is None:
        return "0"
    return f"{found.parameters:,}, {found.nonzero_parameters:,} of them not zero ({100 * found.sparsity:.1f} % zeros)"


def _activations(found: Inspection) -> str:
    if found.activation_bytes is None:
        return figures.NOT_MEASURED
    at = f" at {found.activation_peak}" if found.activation_peak else ""
    return f"{figures.size(found.activation_bytes)}{at}"


def _spec(spec: TensorSpec) -> str:
    text = f"{spec.name} {shape(spec.shape)} {spec.dtype}"
    return text if spec.scale is None else f"{text}, scale {spec.scale:.6g}, zero point {spec.zero_point}"


def shape(sizes: tuple[int | None, ...]) -> str:
    """Give a shape as people write it: `any×28×28×1`."""
    return "×".join("any" if size is None else str(size) for size in sizes) or "one number"


def _layers(found: Inspection) -> Table:
    values = any(layer.distinct_values for layer in found.layers)
    table = _table("layer", "kind", "output", "parameters", "zeros", *(("values",) if values else ()), "MACs")
    for layer in found.layers:
        macs = figures.quantity(layer.macs) if layer.macs != 0 else ""
        table.add_row(
            Text(layer.name),
            layer.kind,
            shape(layer.output_shape[1:]),
            f"{layer.parameters:,}" if layer.parameters else "",
            _zeros(layer),
            *((str(layer.distinct_values or ""),) if values else ()),
            macs,
        )
    return table


def _weights(weights: Sequence[WeightFacts]) -> Table:
    table = _table("weight", "type", "shape", "parameters", "zeros", "values", "stored")
    for weight in weights:
        table.add_row(
            Text(weight.name),
            weight.dtype,
            shape(weight.shape),
            f"{weight.parameters:,}",
            _zeros(weight),
            str(weight.distinct_values or ""),
            "sparsely" if weight.sparse else "",
        )
    return table


def _is_told(weight: WeightFacts) -> bool:
    """Tell whether there is more to say about a weight than its numbers, of which a file can have hundreds."""
    zeros = weight.parameters - weight.nonzero_parameters
    many = weight.parameters > MOST_VALUES and zeros > _MANY_ZEROS * weight.parameters
    return many or weight.sparse or weight.pattern is not None or weight.distinct_values is not None


def _zeros(facts: LayerFacts | WeightFacts) -> str:
    zeros = facts.parameters - facts.nonzero_parameters
    if not zeros:
        return ""
    share = f"{100 * zeros / facts.parameters:.1f} %"
    return f"{share} ({facts.pattern})" if facts.pattern else share


def _table(first: str, second: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    table.add_column(first, overflow="fold")
    table.add_column(second)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
