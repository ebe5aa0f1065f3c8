"""A baseline against its variants, with intervals and verdicts; the fields are those of the JSON report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from slimedge.measurement import Environment

SCHEMA = "slimedge/comparison/1"


class Verdict(StrEnum):
    """How a variant stands against the baseline, beyond what noise explains."""

    BETTER = "better"
    WORSE = "worse"
    TRADE_OFF = "trade-off"
    NO_DIFFERENCE = "no difference"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right classes in 0…1 with its Wilson 95 % interval over `n` examples."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class AccuracyDelta:
    """Variant minus baseline on the same examples, with a 95 % interval and McNemar's p-value."""

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Share of `n` examples on which variant and baseline give the same class."""

    value: float
    n: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of `n` samples in seconds; p99 is None under 1,000 samples, and p90 where a tool keeps no samples.

    `turns` are the medians of the turns in which the samples were taken, launch by launch: what tells the noise, and
    what a later run is held against.
    """

    p50: float
    p90: float | None
    p99: float | None
    n: int
    turns: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Speedup:
    """Baseline's median latency over the variant's, with a bootstrap 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LayerSqnr:
    """SQNR in dB of one layer's output in the quantized Keras graph against the float one."""

    layer: str
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class Variant:
    """One file on one runtime. A field that was not measured is None, never 0.

    Attributes:
        name: unique in the comparison.
        format: `keras`, `onnx` or `tflite`.
        runtime: backend that ran it (`reference`, `ort`, `litert`).
        provider: execution provider or delegate that really ran it.
        integer_ops: ops that the runtime executes on integers, after its own optimization.
        total_ops: all ops that the runtime executes.
        file_bytes: size of the file (external weights included).
        gzip_bytes: the same after gzip level 9.
        parameters: numbers in the weights.
        nonzero_parameters: those that are not zero.
        macs: multiply-accumulates for one example.
        activation_bytes: the largest sum of tensors that are alive at the same time, for one example.
        accuracy: None without labels.
        accuracy_delta: None for the baseline and without labels.
        agreement: with the baseline's classes; None for the baseline and where there are no classes.
        sqnr_db: of the outputs against the baseline's.
        load_s: from bytes to a session, in a fresh process.
        first_run_s: the first inference after that.
        latency_s: warm.
        speedup: None for the baseline.
        peak_rss_bytes: of the process that ran it.
        verdict: None for the baseline.
        notes: what the reader should know, one sentence each.
        layer_sqnr: per layer, where the variant is a quantized Keras graph or carries its own.
    """

    name: str
    format: str
    runtime: str
    provider: str
    integer_ops: int | None = None
    total_ops: int | None = None
    file_bytes: int | None = None
    gzip_bytes: int | None = None
    parameters: int | None = None
    nonzero_parameters: int | None = None
    macs: int | None = None
    activation_bytes: int | None = None
    accuracy: Accuracy | None = None
    accuracy_delta: AccuracyDelta | None = None
    agreement: Agreement | None = None
    sqnr_db: float | None = None
    load_s: float | None = None
    first_run_s: float | None = None
    latency_s: Latency | None = None
    speedup: Speedup | None = None
    peak_rss_bytes: int | None = None
    verdict: Verdict | None = None
    notes: tuple[str, ...] = ()
    layer_sqnr: tuple[LayerSqnr, ...] = ()

    @property
    def sparsity(self) -> float | None:
        """Share of the weights that are zero; None where they were not counted, and without weights."""
        if self.nonzero_parameters is None or not self.parameters:
            return None
        return 1.0 - self.nonzero_parameters / self.parameters


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The examples that models were scored on, and the class that each of them answered.

    Attributes:
        fingerprint: SHA-256 of the data, as `slimedge.data.Data.fingerprint` gives it.
        n: examples.
        truth: the right classes, in the data's order; None without labels.
        answers: by a model's name its classes, likewise; -1 where its numbers were not finite.
    """

    fingerprint: str
    n: int
    truth: tuple[int, ...] | None
    answers: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Baseline and variants measured in one interleaved run on one machine.

    `evaluation` is None without data and where answers are not classes.
    """

    baseline: Variant
    variants: tuple[Variant, ...]
    environment: Environment
    schema: str = SCHEMA
    evaluation: Evaluation | None = None
