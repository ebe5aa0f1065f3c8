"""Training on several devices or machines, by TensorFlow's names for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slimedge.errors import InputError
from slimedge.registry import Registry

if TYPE_CHECKING:
    import tensorflow as tf

    from slimedge.compress.fitting.settings import FitSettings

STRATEGIES = Registry(
    "strategy",
    {
        "mirrored": "slimedge.compress.fitting.strategies:mirrored",
        "multi-worker": "slimedge.compress.fitting.strategies:multi_worker",
    },
)
TF_CONFIG = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["one:5000", "other:5000"]}, "task": {"type": "worker", "index": 0}}'
_STARTED: dict[str, Any] = {}


def start(name: str) -> tf.distribute.Strategy:
    """Give a strategy; it is made once a process.

    Args:
        name: in `STRATEGIES`. `multi-worker` is to be started before TensorFlow has computed anything, as
            `slimedge distill` does.

    Raises:
        InputError: no such strategy, TF_CONFIG names no workers, or TensorFlow has computed something already.
    """
    if name not in _STARTED:
        _STARTED[name] = STRATEGIES[name]()
    return _STARTED[name]


def for_settings(settings: FitSettings) -> tf.distribute.Strategy | None:
    """Give the strategy that settings name; None for one device."""
    from slimedge.compress.fitting.settings import strategy_name_of

    name = strategy_name_of(settings)
    return None if name is None else start(name)


def mirrored() -> tf.distribute.Strategy:
    """Give all GPUs of this machine, or all logical CPUs where it has none; each has a part of every batch."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices(kind)])


def multi_worker() -> tf.distribute.Strategy:
    """Give the machines that TF_CONFIG names; each runs the same program with the same data.

    Raises:
        InputError: TF_CONFIG names no workers, or TensorFlow has computed something already.
    """
    import tensorflow as tf

    try:
        config = json.loads(os.environ.get(TF_CONFIG, ""))
        workers, task = config["cluster"]["worker"], config["task"]
        fits = bool(workers) and 0 <= int(task["index"]) < len(workers)
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise InputError(
            f"the strategy multi-worker takes the machines from the variable {TF_CONFIG}, which names none; set it on "
            f"each, as {EXAMPLE}."
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            "the strategy multi-worker has to be started before TensorFlow computes anything; call "
            "slimedge.compress.fitting.strategies.start('multi-worker') first."
        ) from error


def is_chief(name: str | None) -> bool:
    """Whether this process writes what was trained: the only one, or the first of several machines."""
    if name != "multi-worker":
        return True
    resolver = start(name).cluster_resolver
    return resolver.task_type in (None, "chief", "worker") and not resolver.task_id


@contextmanager
def within(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Make variables on all devices of a strategy while the block runs; without one, as always.

    Those that a layer moves while it computes, as BatchNorm its statistics, take the mean of what the devices say.
    """
    if strategy is None:
        yield
        return
    import tensorflow as tf

    def averaged(make: Any, **given: Any) -> Any:
        if given.get("aggregation") in (None, tf.VariableAggregation.NONE):
            given["aggregation"] = tf.VariableAggregation.MEAN
        return make(**given)

    with strategy.scope(), tf.variable_creator_scope(averaged):
        yield
