"""Layers that integers may slow down on some runtimes, by kind: candidates for staying float."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimedge.compress.placement import place
from slimedge.compress.rules import Role, role_of
from slimedge.compress.settings import EXCLUDED, Settings
from slimedge.compress.static import simplify
from slimedge.graph_reading import from_model

if TYPE_CHECKING:
    import keras


def exclusions(model: keras.Model, settings: Settings) -> dict[str, tuple[str, ...]]:
    """Give sets of the user's layers to leave float, by what they are.

    Depthwise convolutions, which have few products for each conversion; and what is computed between kernels: products,
    sums, activations other than ReLU.

    Args:
        model: float, canonical.
        settings: of static quantization.

    Returns:
        Names of layers that are on integers now; sets that are empty or leave no kernel are not in it.
    """
    graph = simplify(from_model(model))[0]
    placement = place(graph, exclude=dict.fromkeys(settings.exclude, EXCLUDED))
    depthwise, between = set(), set()
    for node in graph.nodes:
        if node.source in placement.left_float:
            continue
        if node.layer in placement.kernels:
            if node.layer.kind.startswith("Depthwise"):
                depthwise.add(node.source)
        elif role_of(node) in (Role.ARITHMETIC, Role.FIXED):
            between.add(node.source)
    kernels = {node.source for node in graph.nodes if node.layer in placement.kernels}
    between -= kernels
    found = {
        "depthwise convolutions float": depthwise,
        "arithmetic between kernels float": between,
        "both float": depthwise | between if depthwise and between else set(),
    }
    return {name: tuple(sorted(layers)) for name, layers in found.items() if layers and kernels - layers}
