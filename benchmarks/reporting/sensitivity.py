"""What each layer's rounding costs, as text, as JSON and as a page with a picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.layer_sensitivity import Measured
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.page import template
from slimedge.benchmarks.reporting.printing import put
from slimedge.compress.rehearsal import Effect
from slimedge.compress.sensitivity import LayerSensitivity

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "slimedge/sensitivity/1"
# The end of the bars of what is gained: two bits of each value.
LONGEST_GAIN_DB = 12.0


def show(measured: Measured, console: Console) -> None:
    """Print a line for each layer, the most sensitive first, and what rounding all of them costs."""
    put(console, *(Text(f"note: {notice}") for notice in measured.notices))
    for bits in _bits(measured):
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
        table.add_column(f"{bits}-bit weights", overflow="fold")
        for name in ("weights", "alone dB", "alone", "spared dB", "spared"):
            table.add_column(name, justify="right", no_wrap=True)
        for layer in ranked(measured, bits):
            alone, spared = layer.alone[bits], layer.spared[bits]
            table.add_row(
                Text(layer.layer),
                f"{layer.weights:,}",
                decibels(alone),
                points(alone),
                decibels(spared),
                points(spared),
            )
        put(console, table)
        put(console, Text(f"all layers: {_effect(measured.found.everything[bits])}"), Text())
    put(console, Text(about(measured)))


def as_json(measured: Measured) -> str:
    """Write the same as JSON."""
    found = measured.found
    document = {
        "schema": SCHEMA,
        "model": measured.model,
        "examples": measured.examples,
        "metric": measured.metric,
        "observer": measured.observer,
        "calibration_examples": measured.calibration_examples,
        "notices": list(measured.notices),
        "layers": [
            {
                "layer": layer.layer,
                "weights": layer.weights,
                "alone": {str(bits): _numbers(effect) for bits, effect in layer.alone.items()},
                "spared": {str(bits): _numbers(effect) for bits, effect in layer.spared.items()},
            }
            for layer in found.layers
        ],
        "everything": {str(bits): _numbers(effect) for bits, effect in found.everything.items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(frozen=True, slots=True)
class Bar:
    """One layer in the picture; widths in percent of the longest bar."""

    layer: str
    alone: str
    alone_points: str
    alone_width: float
    spared: str
    spared_points: str
    gained_width: float
    least: bool


def render(measured: Measured, title: str | None = None) -> str:
    """Write a page that opens without a network: bars of SQNR for each layer, in the order of the graph."""
    return template("sensitivity.html.j2").render(
        title=title or f"{measured.model}, what each layer's rounding costs",
        about=about(measured),
        metric=measured.metric,
        charts=[
            {
                "bits": bits,
                "all": _effect(measured.found.everything[bits]),
                "first": ranked(measured, bits)[0].layer,
                "bars": _bars(measured, bits),
            }
            for bits in _bits(measured)
        ],
    )


def ranked(measured: Measured, bits: int) -> list[LayerSensitivity]:
    """Give the layers, the one whose rounding alone makes most noise first."""
    return sorted(measured.found.layers, key=lambda layer: -layer.alone[bits].noise)


def about(measured: Measured) -> str:
    """Say what the figures are."""
    lost = {
        "accuracy": ", and the change of accuracy in points",
        "agreement": ", and the examples whose class changes, in points",
        None: "",
    }[measured.metric]
    return (
        f"SQNR of the outputs against the float model{lost}, on {measured.examples:,} examples. Alone: only this "
        f"layer is rounded; spared: all others are. Activations have 8 bits, ranges by {measured.observer} over "
        f"{measured.calibration_examples:,} examples."
    )


def decibels(effect: Effect) -> str:
    """Give the SQNR as text; without noise there is none."""
    return "no noise" if math.isinf(effect.sqnr_db) else f"{effect.sqnr_db:.1f}"


def points(effect: Effect) -> str:
    """Give what is lost as text, in points."""
    return figures.NOT_MEASURED if effect.drop is None else figures.points(-effect.drop)


def _bits(measured: Measured) -> list[int]:
    return sorted(measured.found.everything)


def _effect(effect: Effect) -> str:
    lost = "" if effect.drop is None else f", {points(effect)} points"
    return f"{decibels(effect)} dB{lost}"


def _numbers(effect: Effect) -> dict[str, Any]:
    level = None if math.isinf(effect.sqnr_db) else round(effect.sqnr_db, 3)
    return {"sqnr_db": level, "drop": effect.drop}


def _bars(measured: Measured, bits: int) -> list[Bar]:
    whole = measured.found.everything[bits].sqnr_db

    def alone(layer: LayerSensitivity) -> float:
        return layer.alone[bits].sqnr_db

    levels = [alone(layer) for layer in measured.found.layers]
    least, longest = min(levels), max([1.0, *filter(math.isfinite, levels)])
    return [
        Bar(
            layer=layer.layer,
            alone=decibels(layer.alone[bits]),
            alone_points=points(layer.alone[bits]),
            alone_width=_width(alone(layer), longest),
            spared=decibels(layer.spared[bits]),
            spared_points=points(layer.spared[bits]),
            gained_width=_width(max(0.0, layer.spared[bits].sqnr_db - whole), LONGEST_GAIN_DB),
            least=alone(layer) == least,
        )
        for layer in measured.found.layers
    ]


def _width(level: float, longest: float) -> float:
    return round(min(100.0, max(0.0, 100.0 * level / longest)), 1)
