"""TFMOT's pruning, in the process that is TFMOT's own; nothing that a user's process imports may import this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from slimedge.compress.fitting.goals import Goal
from slimedge.compress.fitting.settings import FitSettings
from slimedge.compress.tfmot.student import Student, told_by
from slimedge.errors import InputError


def run(
    folder: str,
    settings: Mapping[str, Any],
    goals: Sequence[Mapping[str, Any]],
    layers: Sequence[str],
    schedule: Mapping[str, Any],
    m_by_n: Sequence[int] | None,
) -> dict[str, Any]:
    """Rebuild, prune and train what lies in a folder, and write the weights there.

    Args:
        folder: as `slimedge.compress.tfmot.student.Student` reads it.
        settings: arguments of `FitSettings`.
        goals: arguments of a `Goal` for each output.
        layers: names of those to prune.
        schedule: arguments of TFMOT's `PolynomialDecay`, or of `ConstantSparsity`.
        m_by_n: how many of how many are 0; None prunes anywhere.

    Returns:
        The mean `losses` of each epoch, and the names of the weights that are `pruned`, by layer. In the folder is
        `trained.npz` then, with the weights as they came.

    Raises:
        InputError: the model cannot be rebuilt, or TFMOT does not take a layer.
        CheckError: the loss became NaN or infinite.
    """
    at = Path(folder)
    tf_keras.utils.set_random_seed(settings["seed"])
    student = Student(at)
    wrapped = _wrapped(student, layers, schedule, m_by_n)
    stepping = tfmot.sparsity.keras.UpdatePruningStep()
    stepping.set_model(wrapped)
    stepping.on_train_begin()
    try:
        losses = student.fit(
            wrapped,
            FitSettings(**settings),
            [Goal(**goal) for goal in goals],
            after_epoch=lambda: stepping.on_epoch_end(batch=-1),
        )
    except ValueError as error:
        raise _refusal(student.description["name"], told_by(error)) from error
    inner = {_inner(layer).name: _inner(layer) for layer in wrapped.layers}
    trained: dict[str, Any] = {
        f"{number}/{index}": array
        for number, told in enumerate(student.description["layers"])
        for index, array in enumerate(inner[told["config"]["name"]].get_weights())
    }
    np.savez(at / "trained.npz", **trained)
    pruned = {
        layer.layer.name: [_name(weight) for weight, _, _ in layer.pruning_vars]
        for layer in wrapped.layers
        if hasattr(layer, "pruning_vars")
    }
    return {"losses": losses, "pruned": pruned}


def _wrapped(
    student: Student, layers: Sequence[str], schedule: Mapping[str, Any], m_by_n: Sequence[int] | None
) -> Any:
    schedules = tfmot.sparsity.keras
    made = schedules.PolynomialDecay if "final_sparsity" in schedule else schedules.ConstantSparsity
    how: dict[str, Any] = {"pruning_schedule": made(**schedule)}
    if m_by_n is not None:
        how["sparsity_m_by_n"] = tuple(m_by_n)

    def wrap(layer: Any) -> Any:
        if layer.name not in layers:
            return layer
        try:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, **how)
        except ValueError as error:
            kind = type(layer).__name__
            reason = (
                f"layer '{layer.name}' ({kind}) is not supported"
                if "supported" in str(error)
                else told_by(error)
            )
            raise _refusal(student.description["name"], reason) from error

    return tf_keras.models.clone_model(student.rebuilt(), clone_function=wrap)


def _refusal(name: str, reason: str) -> InputError:
    return InputError(
        f"TFMOT does not prune model '{name}' so ({reason}); prune it with engine='keras', or leave such layers dense "
        "with exclude."
    )


def _inner(layer: Any) -> Any:
    return layer.layer if hasattr(layer, "pruning_vars") else layer


def _name(weight: Any) -> str:
    """Give the weight's own name, without those of its layers."""
    return str(weight.name).split("/")[-1].partition(":")[0]
