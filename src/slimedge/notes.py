"""What a model file says about itself: the steps that led to it, and its names in Keras order.

Every format keeps one JSON text under the key `slimedge`: a `.keras` file in its metadata.json, ONNX in
metadata_props, TFLite in a metadata buffer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimedge import lineage as lineages
from slimedge.artifact import Step

KEY = "slimedge"


@dataclass(frozen=True, slots=True)
class Notes:
    """What slimedge wrote into a model file.

    Attributes:
        lineage: the steps, oldest first.
        inputs: names in Keras order; empty where the file does not say.
        outputs: names in Keras order; empty where the file does not say.
        more: other facts, by name (calibration, for instance).
    """

    lineage: tuple[Step, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def to_dict(
    lineage: Sequence[Step], *, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """Give what is kept in the file, as JSON values.

    Args:
        lineage: the steps, oldest first; their settings hold JSON values only.
        inputs: names in Keras order.
        outputs: names in Keras order.
        more: other JSON values, by name.
    """
    return {"lineage": lineages.to_json(lineage), "inputs": list(inputs), "outputs": list(outputs), **more}


def to_json(
    lineage: Sequence[Step], *, inputs: Sequence[str] = (), outputs: Sequence[str] = (), **more: Any
) -> str:
    """Give the text that is kept in the file; see `to_dict`.

    Example:
        >>> to_json([Step("prune", {"sparsity": 0.5})], outputs=["logits"])
        '{"lineage": [{"name": "prune", "settings": {"sparsity": 0.5}}], "inputs": [], "outputs": ["logits"]}'
    """
    return json.dumps(to_dict(lineage, inputs=inputs, outputs=outputs, **more))


def from_json(text: str | bytes | None) -> Notes:
    """Read the notes of a file; what is not there, or is not ours, is left empty.

    Args:
        text: what `to_json` gave, None where the file has no notes.

    Example:
        >>> from_json(to_json([Step("prune", {"sparsity": 0.5})])).lineage
        (Step(name='prune', settings={'sparsity': 0.5}),)
    """
    try:
        return from_dict(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        return Notes()


def from_dict(kept: Any) -> Notes:
    """Read notes out of parsed JSON of any kind; see `from_json`."""
    if not isinstance(kept, dict):
        return Notes()
    more = {name: value for name, value in kept.items() if name not in ("lineage", "inputs", "outputs")}
    return Notes(
        lineage=lineages.from_json(kept.get("lineage")),
        inputs=_names(kept.get("inputs")),
        outputs=_names(kept.get("outputs")),
        more=more,
    )


def _names(names: Any) -> tuple[str, ...]:
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()
