"""Fixtures that several files of tests share."""

from __future__ import annotations

import pytest
from hand_made_keras import two_ended_model


@pytest.fixture(scope="session")
def two_ended():
    """A model with two inputs and two outputs, in an order that is not that of their names."""
    return two_ended_model()
