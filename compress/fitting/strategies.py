"""Training on several devices or machines, by TensorFlow's names for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from slimedge.compress.fitting import machines
from slimedge.errors import InputError, RunError
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
        RunError: they did not come together.
    """
    import tensorflow as tf

    if not _names_machines(os.environ.get(TF_CONFIG, "")):
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
    except tf.errors.OpError as error:
        raise RunError(
            f"the machines that {TF_CONFIG} names did not all come together; start the same program on each of them, "
            "and look whether they reach each other."
        ) from error


def _names_machines(text: str) -> bool:
    """Whether TF_CONFIG lists machines that train, and which of them this one is."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        members, place = cluster[task["type"]], int(task["index"])
        listed = all(
            isinstance(one, list) and all(isinstance(each, str) for each in one) for one in cluster.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return listed and set(cluster) <= {"chief", "worker"} and 0 <= place < len(members)


def is_chief(name: str | None) -> bool:
    """Whether this process writes what was trained: the only one, or the first of several machines."""
    return name is None or machines.is_first(start(name))


@contextmanager
def within(strategy: tf.distribute.Strategy | None) -> Iterator[None]:
    """Make a model's variables on all devices of a strategy while the block runs; without one, as always.

    Those that a layer moves while it computes, as BatchNorm its statistics, take the mean of what the devices say.
    """
    if strategy is None:
        yield
        return
    import tensorflow as tf

    def averaged(make: Any, **given: Any) -> Any:
        made_so = given.get("aggregation") in (None, tf.VariableAggregation.NONE)
        if made_so and tf.as_dtype(given.get("dtype") or tf.float32).is_floating:
            given["aggregation"] = tf.VariableAggregation.MEAN
        return make(**given)

    with machines.watched(strategy), strategy.scope(), tf.variable_creator_scope(averaged):
        yield


def scope(strategy: tf.distribute.Strategy | None) -> AbstractContextManager[Any]:
    """Make an optimizer's variables on all devices of a strategy; it moves them alike on each."""
    return nullcontext() if strategy is None else strategy.scope()
