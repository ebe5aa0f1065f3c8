"""Recipes that cannot be used, each with the line and the field that its message must name, and what it must say."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = "model: net.keras\ndata: data.npz\n"


@dataclass(frozen=True)
class Bad:
    """A recipe that is refused.

    Attributes:
        text: of the file; as text below a model and data that are there, as bytes alone.
        line: that the message names; None where the file as a whole is meant.
        field: that it names; None where the file cannot be read so far.
        said: parts of the message: what is wrong, what is allowed.
        shape: whether the JSON Schema refuses it, too.
    """

    text: str | bytes
    line: int | None
    field: str | None
    said: tuple[str, ...]
    shape: bool = False

    @property
    def content(self) -> bytes:
        return self.text if isinstance(self.text, bytes) else (HEAD + self.text).encode()


def refused_by_schema(text, line, field, *said):
    return Bad(text, line, field, said, shape=True)


def refused(text, line, field, *said):
    return Bad(text, line, field, said)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)

BAD_RECIPES: dict[str, Bad] = {
    # What is no YAML, or no recipe.
    "empty file": refused(b"", None, None, "is empty", "stages: [train]"),
    "only a comment": refused(b"# later\n\n", None, None, "is empty"),
    "list instead of mapping": refused(
        b"- prune\n- train\n", 1, None, "keys with values", "model, data, stages"
    ),
    "one word": refused(b"train", 1, None, "keys with values"),
    "syntax": refused("stages: [train\nseed: 1\n", 4, None, "no YAML", "flow sequence from line 3"),
    "bad indent": refused("stages:\n  - train\n - prune\n", 5, None, "no YAML", "look at indents"),
    "tab": refused("stages:\n\t- train\n", 4, None, "a tab", "indent with spaces"),
    "duplicate key": refused(
        "stages:\n  - prune:\n      epochs: 1\n      epochs: 2\n",
        6,
        None,
        "'epochs' stands there twice",
        "line 5",
    ),
    "alias bomb": refused(BOMB + "stages: [train]\n", 3, None, "more than 20,000 values", "write out"),
    "alias of itself": refused("a: &a [*a]\nstages: [train]\n", 3, None, "aliases stand for more"),
    "deep nesting": refused(f"x: {'[' * 5000}", 3, None, "more than 32 deep"),
    "not UTF-8": refused(
        b"model: net.keras\nstages: [tr\xe4in]\n", 2, None, "no UTF-8 text", "save it in UTF-8"
    ),
    "binary": refused(b"PK\x03\x04\x14\0\0\0", 1, None, "a character that no text has (U+0003)"),
    "too large": refused(b"# " + b"x" * 1_000_000, None, None, "larger than 1 MB"),
    "code in a tag": refused(
        "stages: !!python/object/apply:os.system [ls]\n", 3, None, "the tag '!!python/object/apply:os.system'"
    ),
    "two documents": refused("stages: [train]\n---\nstages: [prune]\n", 4, None, "a second document"),
    "list as key": refused("? [a]\n: b\n", 3, None, "no key"),
    # Names and types.
    "no stages": refused_by_schema("seed: 1\n", 1, None, "'stages' is missing"),
    "empty stages": refused_by_schema("stages: []\n", 3, "stages", "give at least one"),
    "stages without a value": refused_by_schema("stages:\n", 3, "stages", "nothing here", "give a list"),
    "unknown key": refused_by_schema(
        "stages: [train]\nthread: 2\n", 4, "thread", "no key 'thread'", "did you mean 'threads'", "effort"
    ),
    "a student of what was pruned": refused(
        "stages: [prune, {student: {width: 0.5}}]\n",
        3,
        "stages[1].student",
        "what prune did to the weights is lost",
        "first",
    ),
    "quantized for a target and then once more": refused(
        "stages: [quantize-for, quantize]\n", 3, "stages[1]", "quantized by quantize-for already", "leave"
    ),
    "unknown stage": refused_by_schema(
        "stages:\n  - train\n  - prun\n", 5, "stages[1]", "no stage 'prun'", "did you mean 'prune'", "distill"
    ),
    "unknown setting": refused_by_schema(
        "stages:\n  - prune:\n      sparsty: 0.5\n",
        5,
        "stages[0].prune.sparsty",
        "no setting 'sparsty'",
        "did you mean 'sparsity'",
        "the settings of prune are",
        "learning-rate",
    ),
    "unknown goal": refused_by_schema(
        "stages: [train]\ngoals:\n  speedup: 2\n", 5, "goals.speedup", "no setting 'speedup'", "min-speedup"
    ),
    "stage with two names": refused_by_schema(
        "stages:\n  - prune:\n    sparsity: 0.5\n", 4, "stages[0]", "one name", "prune, sparsity", "indented"
    ),
    "stage that is a list": refused_by_schema("stages: [[train]]\n", 3, "stages[0]", "settings by name"),
    "settings that are a number": refused_by_schema(
        "stages:\n  - train: 3\n", 4, "stages[0].train", "3 is not allowed", "settings by name"
    ),
    "one key in two spellings": refused_by_schema(
        "stages: [train]\ngoals:\n  max-bytes: 1\n  max_bytes: 2\n", 6, "goals.max_bytes", "are the same"
    ),
    "text for a number": refused_by_schema(
        "stages:\n  - train:\n      epochs: '2'\n", 5, "stages[0].train.epochs", "'2'", "a whole number"
    ),
    "fraction of an epoch": refused_by_schema(
        "stages:\n  - train: {epochs: 1.5}\n", 4, "stages[0].train.epochs", "1.5", "a whole number"
    ),
    "yes for true": refused_by_schema(
        "stages:\n  - cluster: {fold: yes}\n", 4, "stages[0].cluster.fold", "'yes'", "true or false"
    ),
    "true for a number": refused_by_schema(
        "stages: [train]\nthreads: true\n", 4, "threads", "true", "whole number"
    ),
    "number for a pattern": refused_by_schema(
        "stages:\n  - prune: {layers: [3]}\n", 4, "stages[0].prune.layers[0]", "3", "text"
    ),
    "function as loss": refused_by_schema(
        "stages:\n  - prune: {loss: mse}\n", 4, "stages[0].prune.loss", "'mse'", "'distillation' or 'labels'"
    ),
    "unknown scheme": refused_by_schema(
        "stages:\n  - quantize: {scheme: static_wi8_a8}\n",
        4,
        "stages[0].quantize.scheme",
        "did you mean 'static_wi8_ai8'",
        "fp16",
    ),
    "unknown method": refused_by_schema(
        "stages:\n  - quantize:\n      methods:\n        - gptq\n        - adaroud\n",
        7,
        "stages[0].quantize.methods[1]",
        "did you mean 'adaround'",
    ),
    "unknown observer": refused_by_schema(
        "stages:\n  - train: {observer: percentil:99}\n", 4, "stages[0].train.observer", "give minmax"
    ),
    "bits that are a list": refused_by_schema(
        "stages:\n  - quantize: {bits: {conv: [2]}}\n",
        4,
        "stages[0].quantize.bits.conv",
        "a whole number or text",
    ),
    "bits that no layer has": refused(
        "stages:\n  - quantize: {bits: {conv_*: 1}}\n", 4, "stages[0].quantize.bits", "2 to 8"
    ),
    # Values.
    "sparsity beyond all": refused(
        "stages:\n  - prune:\n      epochs: 1\n      sparsity: 1.5\n",
        6,
        "stages[0].prune.sparsity",
        "to below 1",
    ),
    "negative epochs": refused(
        "stages:\n  - cluster: {epochs: -1}\n", 4, "stages[0].cluster.epochs", "epochs=-1", "0 or more"
    ),
    "zero epochs of training": refused(
        "stages:\n  - train:\n      epochs: 0\n", 5, "stages[0].train.epochs", "epochs=0", "1 or more"
    ),
    "zero epochs of distilling": refused(
        "stages:\n  - distill:\n      epochs: 0\n", 5, "stages[0].distill.epochs", "1 or more"
    ),
    "no target for the channels": refused(
        "stages:\n  - prune-channels\n", 4, "stages[0]", "give one of ratio, macs, parameters"
    ),
    "two targets for the channels": refused(
        "stages:\n  - prune-channels:\n      macs: 0.5\n      ratio: 0.5\n",
        5,
        "stages[0].prune-channels.macs",
        "give one of ratio, macs, parameters",
    ),
    "blocks of a scheme without": refused(
        "stages:\n  - quantize:\n      block-size: 32\n",
        5,
        "stages[0].quantize.block-size",
        "leave the block size out",
    ),
    "negative seed": refused_by_schema("stages: [train]\nseed: -1\n", 4, "seed", "-1", "0 or more"),
    "no threads": refused_by_schema("stages: [train]\nthreads: 0\n", 4, "threads", "1 or more"),
    "unknown effort": refused_by_schema(
        "stages: [train]\neffort: fast\n", 4, "effort", "quick, default or thorough"
    ),
    "share of the data above all": Bad(
        b"model: net.keras\ndata:\n  source: data.npz\n  calibration: 1.5\nstages: [train]\n",
        4,
        "data.calibration",
        ("1.5", "a share as 0.2"),
        shape=True,
    ),
    "nothing to judge on": Bad(
        b"model: net.keras\ndata:\n  source: data.npz\n  evaluation: 0\nstages: [train]\n",
        4,
        "data.evaluation",
        ("0 examples are too few",),
        shape=True,
    ),
    "scale of nothing": refused(
        b"model: net.keras\ndata: {source: data.npz, scale: 1/0}\nstages: [train]\n", 2, "data.scale", "1/255"
    ),
    "size of images": Bad(
        b"model: net.keras\ndata: {source: data.npz, image-size: 224}\nstages: [train]\n",
        2,
        "data.image-size",
        ("224 is no size", "224x224"),
        shape=True,
    ),
    "nothing to train on": refused(
        b"model: net.keras\ndata: {source: data.npz, training: 0}\nstages: [prune]\n",
        2,
        "data.training",
        "stage 1, prune, trains",
    ),
    # Files.
    "no model": refused(b"data: data.npz\nstages: [train]\n", 1, None, "no model", "model: net.keras"),
    "no data": refused(b"model: net.keras\nstages: [train]\n", 1, None, "no data"),
    "missing model": refused(
        b"data: data.npz\nstages: [train]\nmodel: other.keras\n", 3, "model", "there is no", "other.keras"
    ),
    "model that is a folder": refused(
        b"model: .\ndata: data.npz\nstages: [train]\n", 1, "model", "is a folder", ".keras file"
    ),
    "missing data": refused(
        b"model: net.keras\nstages: [train]\ndata:\n  scale: 1/255\n  source: other.npz\n",
        5,
        "data.source",
        "there is no",
        "other.npz",
        "module:function",
    ),
    # Order.
    "pruning after quantizing": refused(
        "stages:\n  - quantize\n  - prune\n",
        5,
        "stages[1]",
        "prune cannot come after quantize",
        "grid of integers",
    ),
    "distilling after training": refused(
        "stages: [train, distill]\n", 3, "stages[1]", "distill cannot come after train", "put train last"
    ),
    "channels after zeros": refused(
        "stages:\n  - prune\n  - train: {keep-zeros: true}\n  - prune-channels: {macs: 0.5}\n",
        6,
        "stages[2].prune-channels",
        "cannot come after prune",
        "put it before prune",
    ),
    "pruning after clustering": refused(
        "stages: [cluster, prune]\n", 3, "stages[1]", "put it before cluster", "keeps zeros"
    ),
    "quantizing before training": refused(
        "stages: [quantize, train]\n", 3, "stages[1]", "train quantizes the float model itself"
    ),
    "quantizing twice": refused(
        "stages: [quantize, quantize]\n", 3, "stages[1]", "is quantized already", "leave one of them out"
    ),
    "training that fills zeros": refused(
        "stages: [prune, {train: {keep-zeros: false}}]\n",
        3,
        "stages[1].train",
        "give up what prune made",
        "keep-zeros out",
    ),
    "training that parts clusters": refused(
        "stages: [cluster, {train: {keep-clusters: false}}]\n",
        3,
        "stages[1].train",
        "give up what cluster made",
        "leave",
    ),
    # Exports, targets and goals.
    "unknown format": refused_by_schema(
        "stages: [train]\nexports: [onnx, tflit]\n",
        4,
        "exports[1]",
        "did you mean 'tflite'",
        "onnx or tflite",
    ),
    "no format": refused_by_schema("stages: [train]\nexports: []\n", 4, "exports", "at least one"),
    "format twice": refused("stages: [train]\nexports: [onnx, onnx]\n", 4, "exports", "'onnx'", "once"),
    "setting of another format": refused(
        "stages: [train]\nexports:\n  to: onnx\n  dense: true\n", 6, "exports.dense", "for tflite"
    ),
    "integer inputs of a float model": refused(
        "stages: [prune]\nexports:\n  io: int8\n", 5, "exports.io", "no stage quantizes", "io: float32"
    ),
    "integer inputs of a width that is not there": refused(
        "stages: [train]\nexports: {io: int16}\n", 4, "exports.io", "activations of 8 bits", "static_wi8_ai16"
    ),
    "float16 inside of a file that is not made": refused(
        "stages: [prune]\nexports: {to: tflite, compute: float16}\n", 4, "exports.compute", "for onnx"
    ),
    "float16 inside of a model on integers": refused(
        "stages: [train]\nexports: {compute: float16}\n", 4, "exports.compute", "train", "scheme fp16"
    ),
    "unknown type to compute in": refused_by_schema(
        "stages: [prune]\nexports: {compute: float61}\n", 4, "exports.compute", "did you mean 'float16'"
    ),
    "unknown target": refused(
        "stages: [train]\ntargets: [ort, litertt]\n", 4, "targets[1]", "'litertt'", "litert"
    ),
    "target without its export": refused(
        "stages: [train]\nexports: onnx\ntargets: litert\n",
        5,
        "targets",
        "runs .tflite",
        "exported are .onnx",
    ),
    "two targets of one format": refused(
        "stages: [train]\ntargets: [ort, litert, ort:cuda]\n",
        4,
        "targets[2]",
        "'ort' and 'ort:cuda'",
        "one for each",
    ),
    "bytes in an unknown unit": refused_by_schema(
        "stages: [train]\ngoals: {max-bytes: 40 kb}\n", 4, "goals.max-bytes", "did you mean 'kB'", "MiB"
    ),
    "bytes that are no number": refused_by_schema(
        "stages: [train]\ngoals: {max-bytes: small}\n", 4, "goals.max-bytes", "'small'", "40 kB"
    ),
    "no bytes at all": refused_by_schema(
        "stages: [train]\ngoals: {max-bytes: 0}\n", 4, "goals.max-bytes", "above 0"
    ),
    "speedup of nothing": refused_by_schema(
        "stages: [train]\ngoals: {min-speedup: 0}\n", 4, "goals.min-speedup", "more than 0"
    ),
    "drop beyond all": refused_by_schema(
        "stages: [train]\ngoals: {max-accuracy-drop: 101}\n", 4, "goals.max-accuracy-drop", "at most 100"
    ),
    "negative drop": refused_by_schema(
        "stages: [train]\ngoals: {max-accuracy-drop: -1}\n", 4, "goals.max-accuracy-drop", "0 or more"
    ),
    "arena without a TFLite file": refused(
        "stages: [train]\nexports: [onnx]\ngoals:\n  max-arena-bytes: 64 kB\n",
        6,
        "goals.max-arena-bytes",
        "not exported",
        "add tflite",
    ),
}
