"""OpenVINO: runs `.onnx` and `.tflite` on the CPU, or on a GPU or NPU of Intel.

Travels with the agent: standard library, numpy and openvino only, from Python 3.8 on; ai-edge-litert's schema for the
names in a `.tflite`.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, List, Optional, Tuple

import numpy as np

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from slimedge.artifact import Artifact
    from slimedge.runtime.protocols import Session

# Our names of devices to what to do where one is not there.
DEVICES = {
    "cpu": "pip install openvino on an x86-64 or Arm CPU",
    "gpu": "it needs a GPU of Intel and its compute runtime (apt-get install intel-opencl-icd)",
    "npu": "it needs an NPU of Intel and its driver (linux-npu-driver)",
}
INTEGERS = {"i4", "u4", "i8", "u8"}
# No arithmetic of the model's own, or at the border between floats and integers.
NO_OPS = {"Const", "Input", "Output"}
BORDER_OPS = {"Convert", "FakeQuantize"}
HEAVY_OPS = {
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "GroupConvolution",
    "LSTMCell",
    "LSTMSequence",
    "MatMul",
    "RNNSeq",
}


class OpenVINO:
    """The backend `openvino`; options: `provider` (`cpu`, `gpu`, `npu`), `allow_fallback` and `provider_options`.

    On x86 without VNNI its kernels add pairs of 8-bit products in 16 bits, which saturate where both are large.
    Options are properties of OpenVINO such as `INFERENCE_PRECISION_HINT`, which is `f32` where nobody says (NPUs have
    no such numbers and take their own).
    """

    name: ClassVar[str] = "openvino"
    formats: ClassVar[Tuple[str, ...]] = ("onnx", "tflite")
    packages: ClassVar[Tuple[str, ...]] = ("openvino", "numpy")

    def missing(self) -> Optional[str]:
        """Give why this cannot run here, or None."""
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed; pip install 'slimedge[openvino]'"
        return None

    def open(self, artifact: Artifact, /, *, threads: int, **options: Any) -> AbstractContextManager[Session]:
        """Open a model in a process of its own."""
        from slimedge.runtime.sessions import open_session

        return open_session(self.name, artifact, threads=threads, options=options)

    def prepare(self) -> None:
        """Import the runtime, in the agent."""
        import openvino  # noqa: F401

    def providers(self) -> Dict[str, Optional[str]]:
        """Give the kinds of devices, with the reason where there is none, in the agent."""
        import openvino

        core = openvino.Core()
        return {name: None if _found(core, name) else "OpenVINO finds no {}; {}.".format(name.upper(), remedy)
                for name, remedy in DEVICES.items()}  # fmt: skip

    def devices(self) -> Dict[str, str]:
        """Give the names of devices by provider, in the agent."""
        import openvino

        core = openvino.Core()
        return {name: _full_name(core, name) for name in DEVICES if _found(core, name)}

    def load(
        self,
        path: str,
        format: str,  # noqa: A002 - the protocol's name
        *,
        threads: int,
        provider: str = "cpu",
        allow_fallback: bool = False,
        provider_options: Optional[Dict[str, str]] = None,
        **_options: Any,
    ) -> OpenVINOModel:
        """Load a model, in the agent; a device of its own compiles it meanwhile."""
        if provider.partition(".")[0] not in DEVICES:
            raise ValueError(
                "OpenVINO has no device '{}'; it has {} (and gpu.1 for the second).".format(
                    provider, ", ".join(DEVICES)
                )
            )
        settings = provider_options or {}
        try:
            return OpenVINOModel(path, format, threads, provider, settings)
        except ImportError:
            if not allow_fallback:
                raise
            return OpenVINOModel(path, format, threads, "cpu", {})


class OpenVINOModel:
    """A loaded model; see `slimedge.runtime.protocols.LoadedModel`.

    Raises:
        ValueError: a file or an option that cannot be used.
        ImportError: the device is not here.
    """

    def __init__(self, path: str, kind: str, threads: int, provider: str, settings: Dict[str, str]) -> None:
        import openvino

        core = openvino.Core()
        if not _found(core, provider):
            raise ImportError(
                "OpenVINO finds no {}; {}, or use --allow-fallback.".format(
                    provider.upper(), DEVICES[provider.partition(".")[0]]
                )
            )
        chosen: Dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if provider == "cpu":
            chosen.update(INFERENCE_NUM_THREADS=threads, NUM_STREAMS=1)
        if provider != "npu":
            chosen.update(INFERENCE_PRECISION_HINT="f32")
        try:
            model = core.read_model(path)
            names = _names(path) if kind == "tflite" else {}
            compiled = core.compile_model(model, provider.upper(), {**chosen, **settings})
        except ImportError:
            raise
        except Exception as error:  # whatever it throws
            reason = _reason(error)
            hint = (
                "the options are {}".format(settings)
                if settings
                else "export the model again, or check that the file is whole"
            )
            raise ValueError(
                "OpenVINO cannot load {}: {}; {}.".format(os.path.basename(path), reason, hint)
            ) from error
        self._compiled, self._tensor = compiled, openvino.Tensor
        self._request = compiled.create_infer_request()
        self.provider, self.device = provider, _full_name(core, provider)
        self.inputs = [_spec(port, names) for port in compiled.inputs]
        self.outputs = [_spec(port, names) for port in compiled.outputs]

    def run(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Give the outputs by name as the file has them."""
        return dict(zip([spec["name"] for spec in self.outputs], self.bind(feeds)()))

    def bind(self, feeds: Dict[str, Any]) -> Callable[[], List[Any]]:
        """Give a call that runs once and reads every output; inputs are read where they lie, by a GPU copied."""
        request = self._request
        for index, spec in enumerate(self.inputs):
            array = np.ascontiguousarray(feeds[spec["name"]])
            request.set_input_tensor(index, self._tensor(array, shared_memory=True))
        infer, read = request.infer, request.get_output_tensor
        indices = range(len(self.outputs))

        def run() -> List[Any]:
            infer()
            return [read(index).data.copy() for index in indices]

        return run

    def bind_resident(self, _feeds: Dict[str, Any]) -> None:
        """Give None: OpenVINO's Python tensors lie in the host's memory."""

    def ops(self, _feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Count the ops of the graph that was compiled, after OpenVINO's own optimization.

        A convolution, dense layer or matmul counts as integer where it takes 8-bit (or 4-bit) integers; any other op
        where it also gives them. What converts between floats and integers does not.
        """
        heavy: List[Tuple[str, str, bool]] = []
        integer = total = 0
        for op in self._compiled.get_runtime_model().get_ordered_ops():
            facts = op.get_rt_info()
            kind, takes = _text(facts, "layerType"), _text(facts, "runtimePrecision")
            if kind in NO_OPS:
                continue
            gives = set(_text(facts, "outputPrecisions").split(","))
            is_heavy = kind in HEAVY_OPS
            is_integer = kind not in BORDER_OPS and takes in INTEGERS and (is_heavy or gives <= INTEGERS)
            total += 1
            integer += is_integer
            if is_heavy:
                origin = _text(facts, "originalLayersNames").partition(",")[0]
                heavy.append((origin or op.get_friendly_name(), kind, is_integer))
        return {"integer": integer, "total": total, "heavy": heavy, "providers": {self.provider: total}}


def _found(core: Any, provider: str) -> bool:
    wanted = provider.upper()
    return any(name in {wanted, wanted + ".0"} for name in core.available_devices)


def _full_name(core: Any, provider: str) -> str:
    return str(core.get_property(provider.upper(), "FULL_DEVICE_NAME")).strip()


def _spec(port: Any, names: Dict[str, str]) -> Dict[str, Any]:
    """Describe an input or output; `names` gives those of the signature by those of the tensors."""
    own = sorted(port.get_names())
    name = next((names[each] for each in own if each in names), own[0])
    shape = port.get_partial_shape()
    return {
        "name": name,
        "shape": [size.get_length() if size.is_static else None for size in shape],
        "dtype": np.dtype(port.get_element_type().to_dtype()).name,
        "scale": None,
        "zero_point": None,
    }


def _names(path: str) -> Dict[str, str]:
    """Give the names in a `.tflite`'s signature by the names of its tensors; OpenVINO has only these."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise ImportError(
            "OpenVINO reads the names in a .tflite with ai-edge-litert; pip install ai-edge-litert"
        ) from error
    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read(), 0)
    tensors = model.subgraphs[0].tensors
    signatures = [each for each in model.signatureDefs or [] if each.subgraphIndex == 0]
    signatures.sort(key=lambda each: each.signatureKey != b"serving_default")
    return {
        tensors[entry.tensorIndex].name.decode(): entry.name.decode()
        for each in signatures[:1]
        for entry in [*each.inputs, *each.outputs]
    }


def _text(facts: Any, name: str) -> str:
    return str(facts[name].astype(str)) if name in facts else ""


def _reason(error: Exception) -> str:
    """Give what matters of OpenVINO's message: its last line that is no place in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [
        line
        for line in lines
        if line and not line.startswith(("Exception from", "Check '", "While validating"))
    ]
    return (told or lines or [type(error).__name__])[-1].partition(" Please check")[0].rstrip(".")


BACKEND = OpenVINO()
