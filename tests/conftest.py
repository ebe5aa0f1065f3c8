"""Fixtures that several files of tests share."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_keras import two_ended_model
from tiny_onnx import linear

GENERATOR = np.random.default_rng(3)
KERNEL = GENERATOR.normal(size=(6, 3)).astype(np.float32)
X = GENERATOR.random((300, 6)).astype(np.float32)


@pytest.fixture(scope="session")
def two_ended():
    """A model with two inputs and two outputs, in an order that is not that of their names."""
    return two_ended_model()


@pytest.fixture
def linear_folder(tmp_path, monkeypatch):
    """A folder to work in, with two models of one kind and data for them."""
    monkeypatch.chdir(tmp_path)
    linear(tmp_path / "before.onnx", KERNEL, padding_bytes=5000)
    linear(tmp_path / "after.onnx", KERNEL + 0.01)
    np.savez(tmp_path / "data.npz", x=X, y=np.argmax(X @ KERNEL, axis=1))
    np.savez(tmp_path / "unlabelled.npz", x=X)
    return tmp_path
