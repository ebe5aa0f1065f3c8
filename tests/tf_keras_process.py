"""What the tests of TFMOT run in a process of its own, since tf-keras may be imported nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def rebuild(folders: Sequence[str]) -> dict[str, object]:
    """Rebuild the models that `sending.write` left in folders; give the largest error of each, or its refusal."""
    from slimedge.compress.qat.tfmot import worker
    from slimedge.compress.tfmot.tf_keras_model import check_same, rebuilt
    from slimedge.errors import InputError

    found: dict[str, object] = {}
    for name in folders:
        folder = Path(name)
        description = json.loads((folder / "description.json").read_text())
        try:
            with np.load(folder / "weights.npz") as arrays:
                network = rebuilt(description, arrays)
        except InputError as error:
            found[folder.name] = str(error)
            continue
        inputs = [np.load(folder / f"few_{index}.npy") for index in range(len(network.inputs))]
        made = network(inputs, training=False)
        pairs = zip(
            made if isinstance(made, list) else [made], sorted(folder.glob("expected_*.npy")), strict=True
        )
        found[folder.name] = max(
            float(np.abs(np.asarray(one) - np.load(path)).max() / np.ptp(np.load(path)))
            for one, path in pairs
        )
        if folder.name == "dense_chain":
            found["checked"] = _refused(check_same, description, [np.asarray(made)], [made + 0.1])
        found[f"{folder.name} quantized"] = _refused(worker._quantized, network, description["name"], [])
        if folder.name == "float_island":
            found["excluded"] = _refused(worker._quantized, network, description["name"], ["normed"])
    return found


def _refused(function, *arguments) -> str:
    from slimedge.errors import InputError

    try:
        function(*arguments)
    except InputError as error:
        return str(error)
    return ""


def say_how_far() -> str:
    """Tell more than once."""
    import time

    from slimedge.isolation import tell

    for share in (0.25, 1.0):
        tell("working", share)
        time.sleep(0.5)
    return "done"


def pruned(
    folders: Sequence[str],
    sparsities: Sequence[float],
    polynomials: Sequence[Sequence[float]],
    steps: Sequence[int],
) -> list[list[float]]:
    """Write TFMOT's masks of the models that `sending.write` left in folders; give its schedules' values by step."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    from slimedge.compress.tfmot.tf_keras_model import rebuilt

    prune, schedules = tfmot.sparsity.keras.prune_low_magnitude, tfmot.sparsity.keras
    for name in folders:
        folder = Path(name)
        with np.load(folder / "weights.npz") as arrays:
            network = rebuilt(json.loads((folder / "description.json").read_text()), arrays)
        found = {}
        for sparsity in sparsities:
            wrapped = prune(network, pruning_schedule=schedules.ConstantSparsity(sparsity, 0))
            found |= {f"{layer}@{sparsity}": mask for layer, mask in _masks(wrapped)}
        found |= {f"{layer}@2:4": mask for layer, mask in _masks(prune(network, sparsity_m_by_n=(2, 4)))}
        np.savez(folder / "masks.npz", **found)
    return [
        [float(schedules.PolynomialDecay(*given[:4], power=given[4])(tf.constant(step))[1]) for step in steps]
        for given in polynomials
    ]


def _masks(wrapped):
    for layer in wrapped.layers:
        for weight, _, _ in getattr(layer, "pruning_vars", ()):
            _, mask = layer.pruning_obj._maybe_update_block_mask(weight)
            yield layer.layer.name, np.asarray(mask) != 0
