"""The peers: what quantizes a float model to a file of its own, in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FORMATS = ("onnx", "tflite")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to make one file.

    Attributes:
        name: unique; its files are called so.
        title: for a table.
        recipe: a script in `recipes/`, where it is said what it is given; listed in `RECIPES`.
        settings: for the recipe, plain JSON.
    """

    name: str
    title: str
    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """Of its files."""
        return RECIPES[self.recipe][0]

    @property
    def package(self) -> str:
        """What it is part of; its environment is called so."""
        return RECIPES[self.recipe][1]

    @property
    def source(self) -> str | None:
        """File that its own depends on, beside it; None for the Keras model."""
        return RECIPES[self.recipe][2]

    @property
    def script(self) -> Path:
        """What makes its files."""
        return HERE / "recipes" / f"{self.recipe}.py"

    @property
    def requirements(self) -> Path:
        """What its environment holds."""
        return HERE / f"requirements-{self.package}.txt"

    @property
    def version(self) -> str:
        """Of the package, as it is pinned."""
        pins = dict(line.split("==") for line in self.requirements.read_text().split() if "==" in line)
        return pins[self.package]


# Of each recipe, the format of what it writes, the package that it is about (pinned in `requirements-PACKAGE.txt`), and
# the file that it starts from; None for the Keras model itself, which its SavedModel is made of.
RECIPES: Mapping[str, tuple[str, str, str | None]] = {
    "onnxruntime_static": ("onnx", "onnxruntime", "float.onnx"),
    "onnxruntime_dynamic": ("onnx", "onnxruntime", "float.onnx"),
    "nncf_static": ("onnx", "nncf", "float.onnx"),
    "tflite_converter": ("tflite", "tensorflow", None),
    "litert_recipes": ("tflite", "litert-quantizer", "float.tflite"),
    "tfmot_qat": ("tflite", "tensorflow-model-optimization", None),
}
# As ONNX Runtime's documentation advises for x86 with VNNI: uint8 activations, int8 weights. Without VNNI these may
# saturate, against which it advises weights of 7 bits, or uint8 ones.
U8S8 = {"prepare": True, "per_channel": True, "activation_type": "QUInt8", "weight_type": "QInt8"}
# As slimedge's own training in `slimedge.benchmarks.qat`.
EPOCH = {"epochs": 1, "batch_size": 128, "learning_rate": 2e-3, "warm_up": 0.05, "seed": 0}

PEERS = (
    Peer("ort_static", "`quantize_static`, defaults", "onnxruntime_static"),
    Peer("ort_u8s8", "`quantize_static`, pre-processed, per channel, U8S8", "onnxruntime_static", U8S8),
    Peer(
        "ort_u8s7",
        "`quantize_static`, the same, `reduce_range`",
        "onnxruntime_static",
        {**U8S8, "reduce_range": True},
    ),
    Peer(
        "ort_u8u8",
        "`quantize_static`, the same, U8U8",
        "onnxruntime_static",
        {**U8S8, "weight_type": "QUInt8"},
    ),
    Peer(
        "ort_percentile",
        "`quantize_static`, U8S8, percentile",
        "onnxruntime_static",
        {**U8S8, "calibrate_method": "Percentile"},
    ),
    Peer(
        "ort_entropy",
        "`quantize_static`, U8S8, entropy",
        "onnxruntime_static",
        {**U8S8, "calibrate_method": "Entropy"},
    ),
    Peer("ort_dynamic", "`quantize_dynamic`", "onnxruntime_dynamic"),
    Peer("nncf", "NNCF, mixed preset", "nncf_static", {"preset": "MIXED"}),
    Peer("tflite_converter", "TFLiteConverter, full int8", "tflite_converter"),
    *(
        Peer(f"litert_{recipe}", f"litert-quantizer, {recipe}", "litert_recipes", {"recipe": recipe})
        for recipe in ("static_wi8_ai8", "dynamic_wi8_afp32", "dynamic_wi4_afp32")
    ),
    Peer("tfmot_qat", "TFMOT, trained for an epoch", "tfmot_qat", EPOCH),
)
