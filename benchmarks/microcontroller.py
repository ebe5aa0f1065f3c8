"""The bundled nets on a microcontroller, as far as that is known without one: `make microcontroller`.

ResNet-8 and the depthwise-separable net, quantized on 1,000 bundled training images, with int8 inputs and outputs. For
each: the arena that TFLite Micro tells beside the smallest in which the file runs, found by search; its answers beside
those of LiteRT's reference kernels and of its default ones on the 2,000 bundled test images; and what Vela estimates
for every Ethos-U. Exits 1 where the arena that is told is more than 2 % off, a class differs from that of the reference
kernels, or an output does by more than 5 of its 256 steps.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimedge.artifact import Artifact
from slimedge.benchmarks.bundled import CALIBRATION, NETS, conclude
from slimedge.benchmarks.demo import FOLDER
from slimedge.runtime.backends import BACKENDS
from slimedge.runtime.microcontroller.arena import smallest_arena_bytes
from slimedge.runtime.microcontroller.describing import describe
from slimedge.runtime.vela.compiling import LABEL, Estimate, estimate
from slimedge.runtime.vela.configurations import CONFIGURATIONS

LARGEST_ARENA_ERROR = 0.02
# Of the 256 that an int8 output has: a step of a logit, through a steep softmax.
LARGEST_DIFFERENCE_STEPS = 5


def int8_file(name: str, folder: Path) -> Artifact:
    """Quantize a bundled net on bundled training images and export it with int8 inputs and outputs."""
    import slimedge
    from slimedge.keras_file import input_specs

    model = slimedge.load_model(FOLDER / f"{name}.keras")
    images = sample()[0][:CALIBRATION]
    quantized = slimedge.quantize(model, slimedge.Data.load({input_specs(model)[0].name: images}))
    return slimedge.export_model(quantized, to="tflite", folder=folder, name=name, io="int8")[0]


def sample() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Give the bundled training images, test images and classes of these; pixels in 0…1."""
    with np.load(FOLDER / "fashion_mnist_sample.npz") as arrays:
        scaled = [np.asarray(arrays[f"image_{part}"] / 255, np.float32) for part in ("train", "test")]
        return scaled[0], scaled[1], np.asarray(arrays["y_test"], np.int64)


def steps_of(backend: str, artifact: Artifact, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Give the first output of a file as the steps of its grid."""
    (given,), made = artifact.inputs, artifact.outputs[0]
    with BACKENDS[backend].open(artifact, threads=1) as session:
        floats = session.predict({given.name: images})[made.name]
    steps: NDArray[np.int64] = np.rint(floats / np.float32(made.scale or 1)).astype(np.int64)
    return steps


def reference_steps(artifact: Artifact, images: NDArray[np.float32]) -> NDArray[np.int64]:
    """Give the same by LiteRT's reference kernels, which compute as the papers say and not as is fastest."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = Interpreter(str(artifact.path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    model.allocate_tensors()
    (given,), (made,) = model.get_input_details(), model.get_output_details()
    scale, zero_point = given["quantization"]
    found = []
    for image in images:
        steps = np.clip(np.rint(image / np.float32(scale)) + zero_point, -128, 127)
        model.set_tensor(given["index"], steps.astype(np.int8)[None])
        model.invoke()
        found.append(model.get_tensor(made["index"])[0].astype(np.int64) - made["quantization"][1])
    return np.stack(found)


def apart(found: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, Any]:
    """Tell how far two answers are apart, in steps of the output's grid."""
    difference = np.abs(found - other)
    return {
        "examples": len(found),
        "examples_that_differ": int(np.count_nonzero(difference.max(axis=1))),
        "largest_difference_steps": int(difference.max()),
        "same_class": float(np.mean(found.argmax(axis=1) == other.argmax(axis=1))),
    }


def measure(artifact: Artifact, folder: Path) -> dict[str, Any]:
    """Measure one file."""
    _, images, classes = sample()
    answers = {
        "tflite_micro": steps_of("mcu", artifact, images),
        "litert_reference": reference_steps(artifact, images),
        "litert": steps_of("litert", artifact, images),
    }
    found = answers["tflite_micro"]
    described = describe(artifact.path)
    return {
        **asdict(described),
        "arena_bytes": None if described.arena is None else described.arena.total_bytes,
        "smallest_arena_bytes": smallest_arena_bytes(artifact.path),
        "accuracy": {name: float(np.mean(each.argmax(axis=1) == classes)) for name, each in answers.items()},
        "against": {name: apart(found, each) for name, each in answers.items() if each is not found},
        "vela": {name: _row(estimate(artifact.path, name, folder=folder)) for name in CONFIGURATIONS},
    }


def _row(made: Estimate) -> dict[str, Any]:
    return {
        "label": LABEL,
        **asdict(made.summary),
        "latency_s": made.latency_s,
        "npu_share": made.npu_share,
        "cpu_operators": dict(made.cpu_operators),
        "compiled_bytes": made.compiled_bytes,
    }


def missed(nets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Give a sentence for each bar that a net misses."""
    bars = []
    for name, net in nets.items():
        told, smallest = net["arena_bytes"], net["smallest_arena_bytes"]
        if abs(told / smallest - 1) > LARGEST_ARENA_ERROR:
            bars.append(f"{name} is told to need {told} bytes and runs in {smallest}")
        reference = net["against"]["litert_reference"]
        if reference["same_class"] < 1:
            bars.append(
                f"{name} gives the class of LiteRT's reference kernels in {reference['same_class']:.2%}"
            )
        if reference["largest_difference_steps"] > LARGEST_DIFFERENCE_STEPS:
            bars.append(
                f"{name} is {reference['largest_difference_steps']} steps from LiteRT's reference kernels"
            )
    return bars


def main() -> int:
    """Measure both nets, write what was found, and give the exit status."""
    nets = {}
    with tempfile.TemporaryDirectory(prefix="slimedge-") as folder:
        for name in NETS:
            nets[name] = measure(int8_file(name, Path(folder)), Path(folder))
            net = nets[name]
            sys.stdout.write(
                f"{name}: arena {net['arena_bytes']} bytes told, {net['smallest_arena_bytes']} found by "
                f"search; against LiteRT {net['against']}\n"
            )
    return conclude("microcontroller", {"versions": _versions(), "nets": nets}, missed(nets))


def _versions() -> dict[str, str]:
    from importlib import metadata

    return {name: metadata.version(name) for name in ("tflite-micro", "ethos-u-vela", "ai-edge-litert")}


if __name__ == "__main__":
    sys.exit(main())
