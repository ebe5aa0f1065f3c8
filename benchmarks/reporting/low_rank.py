"""What low-rank factorization did, in lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimedge.benchmarks.reporting import figures

# Layers that are named one by one; the JSON has all.
SHOWN = 20


def lines(settings: Mapping[str, Any]) -> list[str]:
    """Say which layers were split, into which ranks, and what that keeps and saves.

    Args:
        settings: of the step `factorize` of a lineage.

    Example:
        >>> told = {"way": "svd", "ranks": [4], "kept_energy": 0.912, "macs_before": 256, "macs_after": 128}
        >>> lines({"layers": {"dense": told}, "left": {"end": "it is grouped"}})
        ['split 1 of 2 layers', '  dense: svd, rank 4, keeps 91.20 %, MACs 256 to 128']
    """
    split: Mapping[str, Mapping[str, Any]] = settings["layers"]
    text = [f"split {len(split)} of {len(split) + len(settings['left'])} layers"]
    for name, told in list(split.items())[:SHOWN]:
        ranks = ", ".join(map(str, told["ranks"]))
        text.append(
            f"  {name}: {told['way']}, rank{'s' if len(told['ranks']) > 1 else ''} {ranks}, keeps "
            f"{figures.percent(told['kept_energy'])}, MACs {figures.quantity(told['macs_before'])} to "
            f"{figures.quantity(told['macs_after'])}"
        )
    if len(split) > SHOWN:
        text.append(f"  … and {len(split) - SHOWN} more")
    return text
