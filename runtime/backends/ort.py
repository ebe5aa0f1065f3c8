"""ONNX Runtime: runs `.onnx` on its CPU kernels or on an execution provider that was asked for.

Travels with the agent, and with its `parts`: standard library, numpy and onnxruntime only, from Python 3.8 on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, Optional, Tuple

import numpy as np

from . import ort_nodes, ort_profile, ort_providers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session

# ONNX Runtime's name of an element type to numpy's.
DTYPES = {"float": "float32", "double": "float64"}
# A model of one op, Abs on four numbers, to see whether a provider runs any.
SMALLEST = (
    b'\x08\x08:2\n\x0b\n\x01x\x12\x01y"\x03Abs\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x04B\x04\n\x00\x10\r"
)


class Ort:
    """The backend `ort`; options: `provider` (`cpu`, `cuda`, …), `allow_fallback` and `provider_options` (texts).

    Options are the provider's own; those that come as plug-ins (webgpu, openvino, qnn) also have `device`: `npu`,
    `gpu` or `cpu`, of which the first that is there is taken otherwise.
    """

    name: ClassVar[str] = "ort"
    formats: ClassVar[Tuple[str, ...]] = ("onnx",)
    packages: ClassVar[Tuple[str, ...]] = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-webgpu", "numpy")
    parts: ClassVar[Tuple[str, ...]] = ("ort_providers.py", "ort_nodes.py", "ort_profile.py")

    def __init__(self) -> None:
        self._found: Optional[Dict[str, Tuple[Optional[str], Optional[str]]]] = None

    def missing(self) -> Optional[str]:
        """Give why this cannot run here, or None."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed; pip install onnxruntime"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        import onnxruntime as ort

        ort.set_default_logger_severity(4)
        if hasattr(ort, "disable_telemetry_events"):
            ort.disable_telemetry_events()

    def providers(self) -> Dict[str, Optional[str]]:
        """Give providers by short name, with the reason where one cannot be used; starts those that are installed."""
        return {name: reason for name, (reason, _) in self._tried().items()}

    def devices(self) -> Dict[str, str]:
        """Give the names of devices by provider, where something tells; starts those that are installed."""
        return {
            name: device
            for name, (reason, device) in self._tried().items()
            if reason is None and device is not None
        }

    def load(
        self,
        path: str,
        _format: str,
        *,
        threads: int,
        provider: str = "cpu",
        allow_fallback: bool = False,
        provider_options: Optional[Dict[str, str]] = None,
        **_options: Any,
    ) -> OrtModel:
        """Load a model, in the agent.

        A provider that builds an engine for the model (TensorRT, OpenVINO, CoreML, QNN) or compiles shaders (WebGPU)
        does so while loading and in the first run, minutes for TensorRT: that is in the figures of these two, and
        before any run that is timed.
        """
        return OrtModel(
            path, os.path.basename(path), threads, provider, allow_fallback, provider_options or {}
        )

    def _tried(self) -> Dict[str, Tuple[Optional[str], Optional[str]]]:
        """Try every provider, once: starting a GPU takes its time."""
        if self._found is None:
            self._found = {name: self._try(name) for name in ort_providers.worth_naming()}
        return self._found

    def _try(self, provider: str) -> Tuple[Optional[str], Optional[str]]:
        """Give why a provider cannot be used, or None and its device."""
        try:
            model = OrtModel(SMALLEST, "a model of one op", 1, provider, False, {})
            model.run({"x": np.ones(4, np.float32)})
        except (ImportError, ValueError) as error:
            return str(error), None
        return None, model.device


class OrtModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`.

    Where a run places its nodes is read from the profile of the first one, unless all that can run is the CPU.

    Args:
        model: path, or content.
        name: of the file, for messages.
        threads: of ONNX Runtime's CPU kernels.
        provider: that was asked for.
        allow_fallback: whether the CPU may take what the provider cannot run, or all where it is not there.
        settings: provider options.

    Raises:
        ValueError: a file or an option that cannot be used.
        ImportError: the provider is not here, or does not run all of the model.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        threads: int,
        provider: str,
        allow_fallback: bool,
        settings: Dict[str, str],
    ) -> None:
        self._given, self._name, self._threads = model, name, threads
        self._counts: Optional[Dict[str, Any]] = None
        self._has_run = False
        self._strict = not allow_fallback and provider != "cpu"
        try:
            self._open_on(provider, settings)
        except ImportError:
            if not allow_fallback:
                raise
            self._open_on("cpu", {})
        self.device = ort_providers.device_name(self._placing)
        self.inputs = [_spec(node) for node in self._session.get_inputs()]
        self.outputs = [_spec(node) for node in self._session.get_outputs()]
        self._names = [spec["name"] for spec in self.outputs]

    @property
    def provider(self) -> str:
        """The providers that ran nodes of the first run; where none has been made, one is, on zeros."""
        if self._on_cpu:
            return "cpu"
        if not self._has_run:
            self.run({s["name"]: np.zeros([n or 1 for n in s["shape"]], s["dtype"]) for s in self.inputs})
        ran = self._placed()["providers"]
        return "+".join(sorted(ran, key=lambda name: (name == "cpu", name)))

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        return dict(zip(self._names, self.bind(feeds)()))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], Any]:
        """Give a call that runs once and reads every output."""
        run, names = self._session.run, self._names
        self._has_run = True
        if self._on_cpu:
            return lambda: run(names, feeds)

        def on_device() -> Any:
            try:
                return run(names, feeds)
            except Exception as error:
                self._refuse(error)
                raise

        return on_device

    def bind_resident(self, feeds: Dict[str, Any]) -> Optional[Callable[[], Any]]:
        """Give a call that runs once on inputs that lie in the device's memory, and waits; outputs stay there.

        That is the time of the kernels and of starting them. None where the provider reads the host's memory, and
        nothing is copied.
        """
        memory = self._placing.provider.memory
        if memory is None:
            return None
        device = int(self._placing.settings.get("device_id", "0"))
        outputs = self.run(feeds)  # their shapes
        binding = self._session.io_binding()
        values = {}
        for name, array in {**feeds, **outputs}.items():
            values[name] = self._reserved(array.shape, array.dtype, memory, device)
        for name, array in feeds.items():
            values[name].update_inplace(array)
            binding.bind_ortvalue_input(name, values[name])
        for name in self._names:
            binding.bind_ortvalue_output(name, values[name])
        # WebGPU's synchronize_outputs returns at once; reading a number behind the run from the same queue waits.
        last = self._reserved((1,), np.dtype(np.float32), memory, device)
        last.update_inplace(np.zeros(1, np.float32))
        run, session = self._session.run_with_iobinding, self._session

        def resident() -> None:
            run(binding)
            binding.synchronize_outputs()
            last.numpy()

        resident.keeps = (session, values)  # type: ignore[attr-defined]  # the binding refers to them
        return resident

    def ops(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops of one profiled run, that is after ONNX Runtime's own optimization, and where each ran.

        An op counts as integer where its kernel computes on 8-bit integers (`QLinear…`, `QGemm`, `…Integer`), or
        where all the data that it takes and gives is int8 or uint8 (a MaxPool, a Reshape). QuantizeLinear and
        DequantizeLinear do not.
        """
        if not self._on_cpu:
            if not self._has_run:
                self.run(feeds)
            return self._placed()
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            session = self._opened(folder)
            session.run(self._names, feeds)
            return _profiled(session)

    def profile(self, feeds: Dict[str, Any], *, warm_runs: int, runs: int) -> Dict[str, Any]:
        """Time the ops after ONNX Runtime's own optimization, in a session of their own."""
        with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
            session = self._opened(folder)
            for _ in range(warm_runs + runs):
                session.run(self._names, feeds)
            with open(session.end_profiling()) as file:
                return dict(
                    ort_profile.told(json.load(file), skip=warm_runs, short_name=ort_providers.short_name)
                )

    def _placed(self) -> Dict[str, Any]:
        """Count the nodes of the first run, and end its profile; raise where a strict provider did not run all."""
        if self._counts is None:
            self._counts = _profiled(self._session)
            if self._folder is not None:
                self._folder.cleanup()
        others = {
            name: nodes for name, nodes in self._counts["providers"].items() if name != self._placing.short
        }
        if self._strict and others:
            raise ImportError(self._falls_back())
        return self._counts

    def _open_on(self, provider: str, settings: Dict[str, str]) -> None:
        self._placing = ort_providers.place(provider, settings)
        self._on_cpu = provider == "cpu"
        self._folder = None if self._on_cpu else tempfile.TemporaryDirectory(prefix="slimedge-")
        self._session = self._opened()

    def _opened(self, folder: Optional[str] = None) -> Any:
        """Open a session, which is profiled where a folder is given or more than the CPU can run nodes."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        # Waiting threads may spin while a run needs them, but not into another process's turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        folder = self._folder.name if folder is None and self._folder is not None else folder
        if folder is not None:
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")
        name = self._placing.provider.name
        try:
            session = ort_providers.open_session(self._given, options, self._placing, strict=self._strict)
        except Exception as error:
            if "fallback to CPU EP has been explicitly disabled" in str(error):
                raise ImportError(self._falls_back()) from error
            reason = ort_providers.reason_of(error)
            if "adapter" in reason:
                raise ImportError(
                    "{} finds no device: {}; {}, or use --allow-fallback.".format(
                        name, reason, self._placing.provider.lacking
                    )
                ) from error
            self._refuse(error)
            if self._placing.settings:
                raise ValueError(
                    "ONNX Runtime cannot load {} on {} with the options {}: {}.".format(
                        self._name, name, self._placing.settings, reason
                    )
                ) from error
            raise ValueError(
                "ONNX Runtime cannot load {}: {}; export the model again, or check that the file is whole.".format(
                    self._name, reason
                )
            ) from error
        if self._strict and session.get_providers()[0] != name:
            raise ImportError(
                "{} was asked for and {} is what ONNX Runtime took: {}; or use --allow-fallback.".format(
                    name, session.get_providers()[0], self._placing.provider.lacking
                )
            )
        return session

    def _refuse(self, error: Exception) -> None:
        """Raise in words of ours where a device lacks what a file needs: numbers of 16 bits, say."""
        reason = ort_providers.reason_of(error)
        if "device does not support" in reason:
            raise ImportError(
                "{} cannot run {} on this device: {}; give it a file that computes in float32, or use the target "
                "'ort:cpu'.".format(self._placing.provider.name, self._name, reason)
            ) from error

    def _reserved(self, shape: Tuple[int, ...], dtype: Any, memory: str, device: int) -> Any:
        """Give a tensor in the memory of a device: a plug-in's belongs to a session."""
        import onnxruntime as ort

        if self._placing.device is not None:
            return self._session.create_ortvalue_from_shape_and_type(shape, dtype, memory, device)
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, memory, device)

    def _falls_back(self) -> str:
        return (
            "{} cannot run all of {}: some of its ops fall back to the CPU; allow that with --allow-fallback, or use "
            "the target 'ort:cpu'.".format(self._placing.provider.name, self._name)
        )


def _profiled(session: Any) -> Dict[str, Any]:
    with open(session.end_profiling()) as file:
        return ort_nodes.count_nodes(json.load(file), ort_providers.short_name)


def _spec(node: Any) -> Dict[str, Any]:
    kind = node.type[len("tensor(") : -1]
    return {
        "name": node.name,
        "shape": [size if isinstance(size, int) else None for size in node.shape],
        "dtype": DTYPES.get(kind, kind),
        "scale": None,
        "zero_point": None,
    }


BACKEND = Ort()
