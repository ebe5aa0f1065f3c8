"""What the tests of training on several devices and machines run in processes of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 20
HOW: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2}


def two_devices(name: str, **given: Any) -> Any:
    """Give what a case finds on two logical CPUs, which have to be set before TensorFlow computes."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return getattr(sys.modules[__name__], name)(**given)


def all_cases() -> dict[str, Any]:
    """Give the losses of each case on one device and on two."""
    return {
        name: [case(None), case("mirrored")]
        for name, case in {
            "norm": lambda strategy: losses_of(_net(), strategy),
            "table": lambda strategy: losses_of(_with_table(), strategy),
            "clipped": _clipped,
            "pruned": _pruned,
            "clustered": _clustered,
            "hints": _hints,
            "float16": _float16,
        }.items()
    }


def losses_of(
    network: Any,
    strategy: str | None,
    *,
    keepers_of: Any = lambda _: (),
    progress: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train towards a net with other weights."""
    from fitting_nets import table
    from small_models import examples

    from slimedge.compress.fitting.fine_tuning import fine_tuned
    from slimedge.compress.fitting.settings import DeviceSettings
    from slimedge.data import Data
    from slimedge.keras_file import input_specs

    teacher = _shaken(network)
    data = table(80) if network.name == "net" else Data.load(examples(network, 80))
    found = fine_tuned(
        network,
        teacher,
        data.bind(input_specs(network)),
        DeviceSettings(epochs=2, strategy=strategy, **{**HOW, **settings}),
        keepers_of=keepers_of,
        **({} if progress is None else {"progress": progress}),
    )
    return {
        "losses": list(found.fitted.step_losses),
        "held_out": list(found.fitted.held_out_losses),
        "best": found.fitted.best_epoch,
        "weights": [np.ravel(weight).tolist() for weight in found.model.get_weights()],
    }


def _net() -> Any:
    from fitting_nets import net

    return net()


def _shaken(network: Any) -> Any:
    import keras

    copy = keras.models.clone_model(network)
    generator = np.random.default_rng(5)
    copy.set_weights([weight + generator.normal(0, 0.3, weight.shape) for weight in network.get_weights()])
    for layer in copy.layers:
        if hasattr(layer, "moving_variance"):
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape))
    return copy


def _with_table() -> Any:
    """A net whose gradient of a table comes as the rows in use."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    inputs = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(10, 4, name="table")(inputs)
    x = layers.Conv1D(4, 3, use_bias=False, name="conv")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="y")(x), name="with_table")


def _clipped(strategy: str | None) -> Any:
    import keras

    return losses_of(_net(), strategy, optimizer=keras.optimizers.SGD(0.5, global_clipnorm=0.05))


def _pruned(strategy: str | None) -> Any:
    from slimedge.compress.sparsity.masks import MaskKeeper
    from slimedge.compress.sparsity.places import places_of
    from slimedge.compress.sparsity.plan import Plan

    network = _net()
    plan = Plan(sparsity=0.5)
    places = places_of(network, plan.weights(network)[0])
    keeper = MaskKeeper(
        lambda made: plan.masks([place.within(made) for place in places]), plan.schedule_for, plan.final
    )
    return losses_of(network, strategy, keepers_of=lambda _: (keeper,))


def _clustered(strategy: str | None) -> Any:
    from slimedge.compress.clustering import cluster
    from slimedge.compress.fitting.constraints import ConstraintKeeper, KeepClusters

    network = cluster(_net(), None, clusters=4, fold=False, epochs=0)
    return losses_of(network, strategy, keepers_of=lambda _: (ConstraintKeeper([KeepClusters(4)]),))


def _hints(strategy: str | None) -> Any:
    from fitting_nets import net, table

    from slimedge.compress.distillation import distill
    from slimedge.lineage import lineage_of

    found = distill(
        net(units=4),
        table(80),
        teachers=net(2, units=8),
        hints={"second": "second"},
        strategy=strategy,
        epochs=3,
        validation=0.2,
        **HOW,
    )
    told = lineage_of(found)[-1].settings
    return {
        "losses": told["epoch_losses"],
        "held_out": told["held_out_losses"],
        "best": told["best_epoch"],
        "weights": [np.ravel(weight).tolist() for weight in found.get_weights()],
        "layers": [layer.name for layer in found.layers],
    }


def _float16(strategy: str | None) -> Any:
    return losses_of(_net(), strategy, precision="mixed_float16")


def refusals() -> dict[str, str]:
    """Give what is said of a batch that two devices cannot share, and of machines that come too late."""
    from slimedge.compress.fitting import strategies
    from slimedge.errors import InputError

    found = {}
    try:
        losses_of(_net(), "mirrored", batch_size=9)
    except InputError as error:
        found["uneven"] = str(error)
    os.environ["TF_CONFIG"] = strategies.EXAMPLE
    try:
        strategies.start("multi-worker")
    except InputError as error:
        found["late"] = str(error)
    return found


def stopped(folder: str) -> list[Any]:
    """Give a training on two devices that was not stopped, and one that was and went on."""
    from fitting_nets import StoppedError, stopping_after

    from slimedge.compress.fitting.checkpoints import kept_in

    whole = losses_of(_net(), "mirrored", validation=0.2)
    try:
        with kept_in(Path(folder), every_s=0):
            losses_of(_net(), "mirrored", validation=0.2, progress=stopping_after(10))
    except StoppedError:
        pass
    with kept_in(Path(folder), every_s=0):
        return [whole, losses_of(_net(), "mirrored", validation=0.2)]


def worker(folder: str) -> dict[str, Any]:
    """Train as one of several machines: through, and stopped in the middle, with files of the first one only."""
    from slimedge.compress.fitting import strategies

    strategies.start("multi-worker")
    from fitting_nets import Counting, StoppedError, stopping_after

    from slimedge.compress.fitting.checkpoints import kept_in

    kept = Path(folder)
    whole = losses_of(_net(), "multi-worker", validation=0.2)
    try:
        with kept_in(kept, every_s=0):
            losses_of(_net(), "multi-worker", validation=0.2, progress=stopping_after(10))
    except StoppedError:
        pass
    files = sorted(path.name for path in kept.iterdir()) if kept.exists() else []
    rest = Counting()
    with kept_in(kept, every_s=0):
        again = losses_of(_net(), "multi-worker", validation=0.2, progress=rest)
    return {
        "whole": whole,
        "again": again,
        "rest": rest.steps,
        "files": files,
        "chief": strategies.is_chief("multi-worker"),
    }


def dying_worker(dies: bool) -> Any:
    """Train as one of several machines; one of them is gone after five steps."""
    from slimedge.compress.fitting import strategies

    strategies.start("multi-worker")
    from fitting_nets import StoppedError, stopping_after

    try:
        return losses_of(_net(), "multi-worker", progress=stopping_after(5 if dies else 1000))
    except StoppedError:
        os._exit(3)
