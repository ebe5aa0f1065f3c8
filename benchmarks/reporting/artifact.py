"""A model file described as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from slimedge.artifact import Artifact
from slimedge.lineage import to_json


def as_dict(artifact: Artifact) -> dict[str, Any]:
    """Give path, format, content hash, inputs, outputs and lineage."""
    return {
        "path": str(artifact.path),
        "format": str(artifact.format),
        "sha256": artifact.sha256,
        "inputs": [asdict(spec) for spec in artifact.inputs],
        "outputs": [asdict(spec) for spec in artifact.outputs],
        "lineage": to_json(artifact.lineage),
    }
