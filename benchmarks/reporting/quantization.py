"""What quantizing gave, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from slimedge.benchmarks.fastest import Contest
from slimedge.benchmarks.quantizing import Quantized
from slimedge.benchmarks.reporting import figures
from slimedge.benchmarks.reporting.artifact import as_dict
from slimedge.benchmarks.reporting.printing import put
from slimedge.benchmarks.reporting.scores import accuracy_line
from slimedge.lineage import quantization_of
from slimedge.weight_rounding import WEIGHT_ONLY_BITS

if TYPE_CHECKING:
    from rich.console import Console

_LOWEST = 5


def show(done: Quantized, console: Console) -> None:
    """Print which layers are integer, which stayed float and why, where noise is largest, and the accuracy."""
    put(console, *map(Text, lines(done)))


def lines(done: Quantized) -> list[str]:
    """Give the same as lines of text."""
    settings = quantization_of(done.artifact.lineage) or {}
    text = [f"note: {notice}" for notice in done.notices]
    if "chosen_because" in settings:
        text.append(f"scheme {settings['scheme']}: {settings['chosen_because']}")
    count = _count(len(done.integer_layers), "layer")
    if "observer" in settings:
        others = "".join(f", of {each} by {name}" for each, name in settings.get("observers", {}).items())
        text.append(
            f"{count} quantized to {settings['scheme']}, ranges by {settings['observer']}{others} over "
            f"{settings['calibration_examples']:,} examples"
        )
    else:
        text.append(f"weights of {count} rounded to {_form(settings)}; nothing had to be calibrated")
    text += [
        f"  {name} has a scale for each channel: {reason}"
        for name, reason in settings.get("layers_without_blocks", {}).items()
    ]
    text += _choice(done)
    text += contest_lines(done.contest)
    text += [
        f"trained on {step.settings['training_examples']:,} examples, {_count(step.settings['epochs'], 'epoch')}, by "
        f"{step.settings['loss']}{'' if step.settings['engine'] == 'keras' else ', with ' + step.settings['engine']}"
        for step in done.artifact.lineage
        if step.name == "train"
    ]
    if done.float_layers:
        text.append(f"{_count(len(done.float_layers), 'layer')} stayed float:")
        text += [f"  {name}: {reason}" for name, reason in done.float_layers.items()]
    if done.layer_sqnr:
        lowest = sorted(done.layer_sqnr, key=lambda layer: layer.sqnr_db)[:_LOWEST]
        text.append(f"lowest SQNR: {', '.join(f'{layer.layer} {layer.sqnr_db:.1f} dB' for layer in lowest)}")
    text.append(accuracy_line(done.before, done.after))
    if done.goal is not None:
        text.append(f"{done.goal.goal}: {done.goal.sentence}")
    text += [f"note: {note}" for note in done.after.notes]
    text.append(f"wrote {done.artifact.path} ({figures.size(done.artifact.path.stat().st_size)})")
    return text


def as_json(done: Quantized) -> str:
    """Write the same as JSON."""
    settings = quantization_of(done.artifact.lineage) or {}
    document = {
        "artifact": as_dict(done.artifact),
        "scheme": settings["scheme"],
        "chosen_because": settings.get("chosen_because"),
        "integer_layers": list(done.integer_layers),
        "float_layers": dict(done.float_layers),
        "layer_sqnr": [asdict(layer) for layer in done.layer_sqnr],
        "before": asdict(done.before),
        "after": asdict(done.after),
        "notices": list(done.notices),
        "layer_bits": settings.get("layer_bits", {}),
        "choice": None if done.choice is None else asdict(done.choice),
        "contest": None if done.contest is None else asdict(done.contest),
        "goal": None if done.goal is None else asdict(done.goal),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def contest_lines(contest: Contest | None) -> list[str]:
    """Give what was tried for a target as lines of text."""
    if contest is None:
        return []
    text = [f"tried on {contest.target}, float takes {figures.seconds(contest.float_latency_s)}:"]
    for one in contest.contenders:
        if one.speedup is None:
            text.append(f"  {one.name}: {one.failure or 'not timed'}")
            continue
        lost = "" if one.drop is None else f", may lose {100 * max(0.0, one.drop):.2f} points"
        speed = f"{one.speedup.value:.2f}× ({one.speedup.low:.2f} to {one.speedup.high:.2f})"
        text.append(f"  {one.name}: {speed}, {figures.size(one.file_bytes)}{lost}")
    return [*text, contest.reason]


def _choice(done: Quantized) -> list[str]:
    """What was chosen under a budget of accuracy, and why."""
    choice = done.choice
    if choice is None:
        return []
    widths: dict[str, int] = {}
    for bits in choice.bits.values():
        said = bits if isinstance(bits, str) else f"{bits}-bit"
        widths[said] = widths.get(said, 0) + 1
    layers = ", ".join(f"{_count(number, 'layer')} {said}" for said, number in sorted(widths.items()))
    text = [f"bits chosen for at most {choice.max_accuracy_drop:g} points: {layers}"]
    text.append(
        f"  {choice.mean_bits:.2f} bits a weight in the mean; {_count(len(choice.tried), 'choice')} tried on "
        f"{choice.examples:,} {'labelled ' if choice.labelled else ''}examples"
    )
    if not choice.held_out:
        text.append("note: those examples calibrated, too, since the data has no others")
    if choice.wider:
        text.append(f"{_count(len(choice.wider), 'layer')} stayed wider:")
        text += [f"  {name} ({_bits(choice.bits[name])}): {reason}" for name, reason in choice.wider.items()]
    if any(isinstance(bits, int) and bits < 8 for bits in choice.bits.values()):
        text.append(
            "  (weights of fewer than 8 bits lie in int8 where a format or runtime has no kernel for them)"
        )
    return text


def _bits(bits: int | str) -> str:
    return bits if isinstance(bits, str) else f"{bits} bits"


def _form(settings: Mapping[str, Any]) -> str:
    bits = WEIGHT_ONLY_BITS.get(settings["scheme"], 8)
    if bits == 16:
        return "float16"
    return f"{bits} bits" + (f" in blocks of {settings['block_size']}" if "block_size" in settings else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
