"""A report with everything in it, for the tests of the renderers: one variant is better, one slower than its parent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimedge.artifact import Step
from slimedge.benchmarks.details.classes import ClassChange, ClassChanges, Confusion
from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.details.distribution import distributions
from slimedge.benchmarks.details.flips import Flip, Flips, Turn
from slimedge.benchmarks.judging import Goals, check_goals, judge
from slimedge.benchmarks.profiles.times import LayerTime
from slimedge.benchmarks.reporting.report import Chapter, Report
from slimedge.comparison import (
    Accuracy,
    AccuracyDelta,
    Agreement,
    Comparison,
    Latency,
    LayerSqnr,
    Speedup,
    Variant,
)
from slimedge.measurement import Environment

HERE = Environment(
    cpu="AMD EPYC 9575F 64-Core Processor",
    isa=("avx2", "avx512_vnni"),
    cores=2,
    threads=1,
    governor=None,
    memory_bytes=24_000_000_000,
    system="Linux-6.1-x86_64",
    versions={"python": "3.11.7", "onnxruntime": "1.31.1", "ai-edge-litert": "2.3.0"},
)
COMMON = {"parameters": 78_666, "nonzero_parameters": 78_000, "macs": 12_501_632, "activation_bytes": 150_528}
ONNX = Variant(
    "resnet8.onnx",
    "onnx",
    "ort",
    "CPUExecutionProvider",
    integer_ops=0,
    total_ops=14,
    file_bytes=318_144,
    gzip_bytes=291_000,
    accuracy=Accuracy(0.9136, 0.9079, 0.9189, 10_000),
    load_s=0.0123,
    first_run_s=0.0011,
    latency_s=Latency(115e-6, 121e-6, 150e-6, 4000),
    peak_rss_bytes=61_000_000,
    **COMMON,
)
INT8_ONNX = Variant(
    "resnet8.int8.onnx",
    "onnx",
    "ort",
    "CPUExecutionProvider",
    integer_ops=12,
    total_ops=14,
    file_bytes=98_496,
    gzip_bytes=80_123,
    accuracy=Accuracy(0.9128, 0.9071, 0.9182, 10_000),
    accuracy_delta=AccuracyDelta(-0.0008, -0.0021, 0.0005, 0.26),
    agreement=Agreement(0.9961, 10_000),
    sqnr_db=27.2,
    load_s=0.0223,
    first_run_s=0.0013,
    latency_s=Latency(74e-6, 79e-6, 99e-6, 6000),
    speedup=Speedup(1.55, 1.50, 1.60),
    peak_rss_bytes=60_000_000,
    notes=("Activations are uint8, as avx512_vnni likes them.",),
    layer_sqnr=(LayerSqnr("stem_conv", 44.1), LayerSqnr("block3_b_conv", 26.5), LayerSqnr("pool", 31.0)),
    **{**COMMON, "nonzero_parameters": 19_666, "activation_bytes": 37_632},
)
TFLITE = replace(
    ONNX,
    name="resnet8.tflite",
    format="tflite",
    runtime="litert",
    provider="XNNPACK",
    latency_s=Latency(101e-6, 105e-6, None, 900),
)
INT8_TFLITE = replace(
    INT8_ONNX,
    name="resnet8.int8.tflite",
    format="tflite",
    runtime="litert",
    provider="XNNPACK",
    accuracy=Accuracy(0.8928, 0.8871, 0.8982, 10_000),
    accuracy_delta=AccuracyDelta(-0.0208, -0.0241, -0.0175, 1e-9),
    agreement=Agreement(0.9761, 10_000),
    latency_s=Latency(130e-6, 145e-6, None, 900),
    speedup=Speedup(0.77, 0.75, 0.79),
    notes=(),
    layer_sqnr=(),
)


def compared(baseline: Variant, *variants: Variant) -> Comparison:
    judged = tuple(replace(each, verdict=judge(each, baseline).verdict) for each in variants)
    return Comparison(baseline, judged, HERE)


def sample_report() -> Report:
    comparisons = (compared(ONNX, INT8_ONNX), compared(TFLITE, INT8_TFLITE))
    goals = Goals(max_accuracy_drop=1.0, min_speedup=1.5)
    return Report(
        title="ResNet-8 on Fashion-MNIST, before and after int8",
        comparisons=comparisons,
        goals=tuple(outcome for comparison in comparisons for outcome in check_goals(comparison, goals)),
        lineage={
            "resnet8.int8.onnx": (
                Step("quantize", {"scheme": "static_wi8_ai8", "folded": ["stem_bn"], "float_layers": {}}),
                Step("export", {"format": "onnx", "io": "float32"}),
            )
        },
    )


def unmeasured_report() -> Report:
    """Nothing was measured but that there are two files."""
    before, after = Variant("before.onnx", "onnx", "ort", "cpu"), Variant("after.onnx", "onnx", "ort", "cpu")
    return Report("Nothing measured", (compared(before, after),))


# One white pixel.
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJg"
    "gg=="
)


def details_of(name: str, *, picture: str | None = PIXEL, word: str = "Shirt") -> Details:
    """What lies behind the figures of one variant, all of it."""
    samples = {name: [float(value) for value in np.geomspace(70e-6, 140e-6, 500)]}
    shown = tuple(
        Flip(
            turn, number, word, word if turn is Turn.LOST else "Coat", word, 0.61, 0.9 - number / 100, picture
        )
        for number, turn in enumerate([Turn.LOST] * 3 + [Turn.GAINED] + [Turn.WRONG])
    )
    return Details(
        latency=distributions(samples)[name],
        classes=ClassChanges(
            (ClassChange(word, 100, 90, 85), ClassChange("Coat", 100, 80, 81)),
            (Confusion(word, "Coat", 4, 9), Confusion("Coat", word, 7, 6)),
        ),
        flips=Flips({Turn.LOST: 30, Turn.GAINED: 1, Turn.WRONG: 1}, 10_000, shown),
        layer_times=(LayerTime("stem_conv", 30e-6, 0.6), LayerTime(f"{word}_softmax", 20e-6, 0.4)),
        notes=(f"Its {word} could not be timed.",),
    )


def told_report(*, word: str = "Shirt") -> Report:
    """The sample with details and two stages, the second of which made nothing for LiteRT."""
    sample = sample_report()
    pruned = [
        replace(
            found.baseline,
            name=found.baseline.name.replace(".", ".pruned."),
            file_bytes=159_072,
            accuracy=Accuracy(0.9086, 0.9028, 0.9141, 10_000),
            latency_s=Latency(92e-6, 97e-6, None, 900),
            notes=(),
        )
        for found in sample.comparisons
    ]
    comparisons = tuple(
        compared(found.baseline, before, *found.variants)
        for found, before in zip(sample.comparisons, pruned, strict=True)
    )
    names = [each.name for found in comparisons for each in (found.baseline, *found.variants)]
    return replace(
        sample,
        comparisons=comparisons,
        details={name: details_of(name, word=word) for name in names},
        stages=(
            Chapter("prune-channels", f"50 % of the {word}", tuple(each.name for each in pruned), 184.0),
            Chapter("quantize", "static_wi8_ai8", ("resnet8.int8.onnx",), 8.2, reused=True),
        ),
    )
