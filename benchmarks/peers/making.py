"""Makes the files: the float ones, slimedge's, and every peer's in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np

from slimedge.benchmarks.bundled import full_set_for
from slimedge.benchmarks.demo import FOLDER as DEMO
from slimedge.benchmarks.models import AUTOENCODERS
from slimedge.benchmarks.peers.registry import EPOCH, FORMATS, Peer
from slimedge.benchmarks.peers.rows import FLOAT, OURS, SEVEN, TRAINED
from slimedge.integers import NEVER_SATURATES_BITS

if TYPE_CHECKING:
    from slimedge.data import Data

CACHE = Path("build/peers")
CALIBRATION = 512
# In TFLite int8 products never saturate.
SEVEN_FORMAT = "onnx"
# As that of the peer that trains.
LEARNING_RATE: float = EPOCH["learning_rate"]
LIMIT_S = 3_600
_LONGEST_REASON = 250


def file_of(net: str, maker: str, format_: str) -> Path:
    """Give where the file of a maker lies: `float`, `slimedge`, or a peer."""
    return CACHE / "files" / net / f"{maker}.{format_}"


def reason_of(net: str, maker: str) -> Path:
    """Give where it is written why a maker's file could not be made."""
    return CACHE / "files" / net / f"{maker}.failed"


def make_own(net: str, data: Data) -> None:
    """Write the float files, slimedge's files, and what the peers start from.

    Args:
        net: a model in the demo folder.
        data: all of Fashion-MNIST.
    """
    import keras

    from slimedge.compress.quantization import STATIC_INT8, quantize
    from slimedge.compress.training import train
    from slimedge.export.exporting import export_model
    from slimedge.keras_file import input_specs, load_model, save_model

    folder = file_of(net, FLOAT, "onnx").parent
    folder.mkdir(parents=True, exist_ok=True)
    model = load_model(DEMO / f"{net}.keras")
    parts = data.bind(input_specs(model)).split(calibration=CALIBRATION)
    export_model(DEMO / f"{net}.keras", to=FORMATS, folder=folder, name=FLOAT)
    quantized = quantize(model, parts.calibration, scheme=STATIC_INT8)
    seven = quantize(model, parts.calibration, scheme=STATIC_INT8, bits={"*": NEVER_SATURATES_BITS})
    # The same examples, an autoencoder's with the pictures as what it should give, as the peer that trains has them.
    wanted = parts.training
    if net in AUTOENCODERS:
        wanted = full_set_for(net).bind(input_specs(model)).split(calibration=CALIBRATION).training
    trained = train(quantized, wanted, loss="labels", learning_rate=LEARNING_RATE)
    for name, made, formats in (
        (OURS, quantized, FORMATS),
        (SEVEN, seven, SEVEN_FORMAT),
        (TRAINED, trained, FORMATS),
    ):
        save_model(made, folder / f"{name}.keras")
        export_model(folder / f"{name}.keras", to=formats, folder=folder, name=name)
    signature = [
        keras.InputSpec(shape=(1, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]
    model.export(folder / "saved_model", format="tf_saved_model", input_signature=signature, verbose=False)
    for name, part in (("calibration", parts.calibration), ("training", parts.training)):
        arrays, labels = part.arrays()
        named: dict[str, Any] = {**arrays, "y": np.asarray(labels)}
        np.savez(CACHE / f"{name}.npz", **named)


def make_peer(net: str, peer: Peer, *, remake: bool = False) -> str | None:
    """Let a peer make its file of a net, unless it lies there, made of the same by the same.

    Args:
        net: a model in the demo folder, whose own files are made.
        peer: in the registry.
        remake: whether what lies there is made again.

    Returns:
        Why there is no file; None where there is one.
    """
    out, failed = file_of(net, peer.name, peer.format), reason_of(net, peer.name)
    job, asked = out.with_suffix(".json"), json.dumps(_job(net, peer), indent=1)
    known = job.exists() and job.read_text() == asked
    if remake or not known or not out.exists():
        for path in (out, failed):
            path.unlink(missing_ok=True)
        job.write_text(asked)
        reason = run_recipe(CACHE / "env" / peer.package / "bin" / "python", peer.script, job, out)
        if reason:
            out.unlink(missing_ok=True)
            failed.write_text(reason)
    return failed.read_text() if failed.exists() else None


def run_recipe(python: Path, script: Path, job: Path, out: Path, *, limit_s: float = LIMIT_S) -> str | None:
    """Run a recipe in its environment.

    Args:
        python: interpreter of the environment.
        script: the recipe.
        job: its JSON file.
        out: what it has to write.
        limit_s: longest time.

    Returns:
        Why it failed, one sentence; None where it wrote its file.
    """
    if not python.exists():
        return f"there is no environment {python.parent.parent}: `make peers` makes it."
    log = job.with_suffix(".log")
    # By absolute paths, but not resolved: an environment's interpreter is a link.
    command = [str(python.absolute()), "-I", str(script.resolve()), str(job.absolute())]
    with log.open("w") as told:
        try:
            status = subprocess.run(
                command,
                stdout=told,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                check=False,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            ).returncode
        except subprocess.TimeoutExpired:
            return f"it was not done after {limit_s:.0f} s."
    if status == 0 and out.exists():
        return None
    return last_word(log.read_text(errors="replace").splitlines(), status)


def last_word(lines: Sequence[str], status: int) -> str:
    """Give the reason for a failure from what a recipe printed.

    Example:
        >>> last_word(["Traceback (most recent call last):", "  …", "ValueError: no such layer", ""], 1)
        'ValueError: no such layer.'
        >>> last_word([], -11)
        'it ended with status -11 and wrote no file.'
    """
    starts = [index for index, line in enumerate(lines) if line.startswith("Traceback ")]
    # The exception stands first behind its traceback, and its message may go on.
    told = [line for line in lines[starts[-1] + 1 if starts else 0 :] if line.strip() and line[0] != " "]
    if status <= 0 or not told:
        return f"it ended with status {status} and wrote no file."
    text = " ".join(told[0 if starts else -1].split())
    return f"{shorten(text, _LONGEST_REASON, placeholder=' …').rstrip('.')}."


def _job(net: str, peer: Peer) -> dict[str, Any]:
    """Give what a recipe is told; equal jobs give equal files."""
    folder = file_of(net, FLOAT, "onnx").parent.absolute()
    model = DEMO / f"{net}.keras"
    source = folder / peer.source if peer.source else model
    made_of: Mapping[str, Path] = {"model": source, "recipe": peer.script, "requirements": peer.requirements}
    return {
        "settings": dict(peer.settings),
        "keras": str(model),
        "onnx": str(folder / f"{FLOAT}.onnx"),
        "tflite": str(folder / f"{FLOAT}.tflite"),
        "saved_model": str(folder / "saved_model"),
        "calibration": str((CACHE / "calibration.npz").absolute()),
        "training": str((CACHE / "training.npz").absolute()),
        "autoencoder": net in AUTOENCODERS,
        "out": str(folder / f"{peer.name}.{peer.format}"),
        "sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in made_of.items()},
    }
