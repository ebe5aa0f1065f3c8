"""The bundled nets on all of Fashion-MNIST: accuracy, fidelity, integer ops and size meet their bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimedge.benchmarks.bundled import full_set
from slimedge.benchmarks.full_set import measure
from slimedge.benchmarks.models import FASHION_MNIST
from slimedge.errors import UnavailableError


@pytest.mark.parametrize("name", FASHION_MNIST)
def test_a_bundled_net_meets_its_bars_on_the_full_test_set(name: str, tmp_path: Path) -> None:
    try:
        data = full_set()
    except UnavailableError as error:
        pytest.skip(str(error))
    found = measure(name, data, tmp_path)
    assert found.examples == 10_000
    assert (found.accuracy is None) != (found.squared_error is None)
    assert found.accuracy is None or found.accuracy["float keras"] >= 0.91
    assert found.squared_error is None or found.squared_error["float keras"] <= 0.02
    assert found.missed == ()
