"""The reference: Keras itself on TensorFlow's CPU kernels runs `.keras`, compiled as one function.

Unlike the other backends it needs slimedge where it runs, whose checks a Keras file passes before it is opened.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar

import numpy as np

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session


class Reference:
    """The backend `reference`; option: `trust`, for a `.h5` file."""

    name: ClassVar[str] = "reference"
    formats: ClassVar[tuple[str, ...]] = ("keras",)
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "numpy")

    def missing(self) -> str | None:
        """Give why this cannot run here, or None."""
        for package in ("tensorflow", "keras"):
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed; pip install {package}"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras  # noqa: F401

    def providers(self) -> dict[str, str | None]:
        """Give what this build runs on, in the agent."""
        return {"cpu": None}

    def load(
        self,
        path: str,
        _format: str,
        *,
        threads: int,
        provider: str = "cpu",
        trust: bool = False,
        **_options: Any,
    ) -> ReferenceModel:
        """Load a model, in the agent."""
        if provider != "cpu":
            raise ValueError(f"the reference runs on the cpu, not on '{provider}'.")
        return ReferenceModel(path, threads, trust)


class ReferenceModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`."""

    def __init__(self, path: str, threads: int, trust: bool) -> None:
        import keras
        import tensorflow as tf

        from slimedge import keras_file
        from slimedge.canonical import canonical
        from slimedge.errors import SlimedgeError

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        try:
            model = canonical(keras_file.load_model(Path(path), trust=trust))
        except SlimedgeError as error:
            raise ValueError(str(error)) from error
        self.inputs = [_spec(spec) for spec in keras_file.input_specs(model)]
        self.outputs = [_spec(spec) for spec in keras_file.output_specs(model)]
        self.provider = "cpu"

        # By position: Keras flattens a structure of inputs (a list, a dict) in this very order.
        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def call(*tensors: Any) -> Any:
            inputs = tensors[0] if len(tensors) == 1 else list(tensors)
            return keras.tree.flatten(model(inputs, training=False))

        self._call, self._constant = call, tf.constant

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """Give the outputs by name."""
        values = self.bind(feeds)()
        return {spec["name"]: value for spec, value in zip(self.outputs, values, strict=True)}

    def bind(self, feeds: dict[str, Any]) -> Callable[[], Any]:
        """Give a call that hands the inputs over, runs once and reads every output."""
        arrays = [np.asarray(feeds[spec["name"]]) for spec in self.inputs]
        call, constant = self._call, self._constant
        return lambda: [value.numpy() for value in call(*[constant(array) for array in arrays])]

    def bind_resident(self, _feeds: dict[str, Any]) -> Callable[[], Any] | None:
        """There is no device that inputs would be copied to."""
        return None

    def ops(self, _feeds: dict[str, Any]) -> dict[str, Any]:
        """Keras computes in floats, fake-quantized or not; its ops are not counted."""
        return {"integer": None, "total": None, "heavy": [], "providers": {self.provider: None}}


def _spec(spec: Any) -> dict[str, Any]:
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": None,
        "zero_point": None,
    }


BACKEND = Reference()
