"""Training on several devices and machines: the same losses as on one, and one sentence where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from fitting_nets import net, table
from strategy_functions import STEPS, losses_of

from slimedge.benchmarks.two_workers import free_ports, run_together
from slimedge.compress.distillation import distill
from slimedge.compress.fitting import strategies
from slimedge.compress.fitting.settings import DeviceSettings
from slimedge.errors import ConversionError, InputError, RunError
from slimedge.isolation import run_isolated

LIMIT_S = 240.0


def on_two_devices(name, **given):
    return run_isolated(
        "strategy_functions:two_devices", {"name": name, **given}, label=name, time_limit_s=LIMIT_S
    ).result


@pytest.fixture(scope="module")
def cases():
    return on_two_devices("all_cases")


@pytest.mark.parametrize("name", ["norm", "table", "clipped", "pruned", "clustered"])
def test_two_devices_tell_the_losses_of_one(name, cases):
    one, two = cases[name]
    assert len(one["losses"]) == STEPS
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5, atol=1e-7)
    for own, other in zip(two["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)


def test_what_is_pruned_or_clustered_is_so_on_two_devices(cases):
    kernels = [np.array(weight) for weight in cases["pruned"][1]["weights"]]
    assert [int(np.sum(kernels[place] == 0)) for place in (0, 5)] == [24, 32]
    kernels = [np.array(weight) for weight in cases["clustered"][1]["weights"]]
    assert [len(np.unique(kernels[place])) for place in (0, 5)] == [4, 4]


def test_hints_and_the_best_epoch_are_those_of_one_device(cases):
    one, two = cases["hints"]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(two["held_out"], one["held_out"], rtol=1e-4)
    assert two["best"] == one["best"] == int(np.argmin(one["held_out"])) + 1
    assert two["layers"] == one["layers"] == ["x", "first", "norm", "relu", "second", "y"]


def test_scaled_losses_train_on_two_devices(cases):
    one, two = cases["float16"]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=0.02)


def test_a_training_on_two_devices_goes_on_where_it_was_stopped(tmp_path):
    whole, again = on_two_devices("stopped", folder=str(tmp_path))
    assert len(whole["losses"]) == 16
    assert whole == again


def test_what_two_devices_cannot_share_and_machines_that_come_late_are_refused():
    found = on_two_devices("refusals")
    assert found["uneven"] == (
        "a batch of 9 examples cannot be shared evenly among 2 devices; give a batch_size that is a multiple of 2."
    )
    assert found["late"].startswith(
        "the strategy multi-worker has to be started before TensorFlow computes anything; call "
    )


def test_two_machines_tell_the_losses_of_one_and_go_on_where_they_were_stopped(tmp_path):
    one = losses_of(net(), None, validation=0.2)
    found = run_together(
        "strategy_functions:worker",
        [{"folder": str(tmp_path / place)} for place in ("first", "second")],
        time_limit_s=LIMIT_S,
    )
    first, second = found
    assert len(one["losses"]) == 16
    np.testing.assert_allclose(first["whole"]["losses"], one["losses"], rtol=1e-3)
    np.testing.assert_allclose(first["whole"]["held_out"], one["held_out"], rtol=1e-3)
    assert first["whole"] == second["whole"]
    # The first one wrote and told the other, which has no file.
    assert (first["files"], second["files"]) == (["training-1.npz"], [])
    assert (first["chief"], second["chief"]) == (True, False)
    assert first["rest"] == second["rest"] == 16 - 9
    assert first["again"] == second["again"] == first["whole"]


def test_a_machine_that_is_gone_ends_the_training_of_the_other_in_one_sentence():
    left, gone = run_together(
        "strategy_functions:dying_worker", [{"dies": False}, {"dies": True}], time_limit_s=LIMIT_S
    )
    assert isinstance(gone, ConversionError)
    assert isinstance(left, RunError)
    assert str(left) == (
        "another machine of the strategy multi-worker is gone, so nothing was kept; look at what it said last, and "
        "start the training again on all of them."
    )


@pytest.mark.parametrize(
    "config",
    [
        "",
        "one:5000",
        "{}",
        "[]",
        '{"cluster": {}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "one:5000"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["one:5000"]}}',
        '{"cluster": {"worker": ["one:5000"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["one:5000"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["one:5000"], "ps": ["two:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_machines_that_are_not_named_are_refused(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(
        InputError, match="takes the machines from the variable TF_CONFIG, which names none; set it"
    ):
        distill(net(), table(), teachers=net(2), strategy="multi-worker")


def test_without_tf_config_there_are_no_machines(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="TF_CONFIG"):
        strategies.start("multi-worker")


def test_a_strategy_that_is_not_known_is_refused():
    with pytest.raises(InputError, match="there is no strategy 'mirror'; did you mean 'mirrored'"):
        DeviceSettings(strategy="mirror")


def test_ports_are_free_and_differ():
    assert len(set(free_ports(8))) == 8
