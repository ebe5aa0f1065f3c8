"""What the result of a step follows from, as one hash: who has the same has the same result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from slimedge import __version__

# What takes part in making models and files. Another version may give other numbers.
PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "onnx",
    "onnxruntime",
    "tf2onnx",
    "ai-edge-litert",
    "tensorflow-model-optimization",
)


def key_of(name: str, **facts: Any) -> str:
    """Give the key of a step.

    Args:
        name: of the step.
        facts: all else that its result follows from, as JSON values: settings, hashes of what it takes.

    Returns:
        A SHA-256 in hexadecimal, in which the versions of all packages have a part.

    Example:
        >>> key_of("prune", sparsity=0.5) == key_of("prune", sparsity=0.5)
        True
        >>> key_of("prune", sparsity=0.5) == key_of("prune", sparsity=0.6)
        False
    """
    told = {"step": name, "versions": dict(versions()), **facts}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@cache
def versions() -> Mapping[str, str]:
    """Give the versions of slimedge and of the packages that take part; those that are not installed are left out."""
    found = {"slimedge": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
