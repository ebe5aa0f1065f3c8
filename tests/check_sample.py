"""Reports for the tests of the check: 1,000 examples, of which a model answers those wrong that a test names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from report_sample import HERE

from slimedge.benchmarks.judging import GoalOutcome
from slimedge.benchmarks.outcomes import Axis, Outcome, Tolerances
from slimedge.benchmarks.regression import check
from slimedge.benchmarks.reporting.report import Report
from slimedge.benchmarks.statistics import wilson
from slimedge.comparison import Accuracy, Agreement, Comparison, Evaluation, Latency, Speedup, Variant

N = 1000
TRUTH = tuple(index % 10 for index in range(N))
FLOAT, INT8 = "float.onnx", "int8.onnx"


def answering(wrong: Iterable[int]) -> tuple[int, ...]:
    """Classes of which these positions are wrong."""
    amiss = set(wrong)
    return tuple((each + 1) % 10 if index in amiss else each for index, each in enumerate(TRUTH))


def launches(median_s: float, count: int = 6) -> tuple[tuple[float, ...], ...]:
    """Turns of launches that differ by 0.4 % (one standard deviation), as processes do."""
    spread = 1.0 + 0.004 * np.linspace(-1.3, 1.3, count)
    return tuple(
        tuple(median_s * factor * (1.0 + 0.001 * turn) for turn in range(-2, 3)) for factor in spread
    )


def latency(median_s: float) -> Latency:
    return Latency(median_s, 1.1 * median_s, None, 900, launches(median_s))


def share(wrong: Iterable[int]) -> Accuracy:
    right = N - len(set(wrong))
    return Accuracy(right / N, *wilson(right, N), N)


def report(
    *,
    wrong: Iterable[int] = range(50),
    float_wrong: Iterable[int] = range(40),
    labelled: bool = True,
    kept: bool = True,
    fingerprint: str = "a" * 64,
    float_bytes: int = 40_000,
    environment=HERE,
    goals: tuple[GoalOutcome, ...] = (),
    others: tuple[Variant, ...] = (),
    **fields,
) -> Report:
    """A float file and an int8 file; `fields` are those of the int8 one.

    Args:
        wrong: positions that the int8 file answers wrongly.
        float_wrong: likewise of the float file.
        labelled: whether the right classes are known.
        kept: whether the answers are in the report.
        fingerprint: of the examples.
        float_bytes: size of the float file.
        environment: where.
        goals: with their outcomes.
        others: further variants.
        fields: of the int8 variant.
    """
    answers = {FLOAT: answering(float_wrong), INT8: answering(wrong)}
    agreement = Agreement(float(np.mean(np.equal(answers[FLOAT], answers[INT8]))), N)
    plain = Variant(
        FLOAT,
        "onnx",
        "ort",
        "cpu",
        file_bytes=float_bytes,
        macs=1000,
        accuracy=share(float_wrong) if labelled else None,
        latency_s=latency(150e-6),
    )
    small = Variant(
        INT8,
        "onnx",
        "ort",
        "cpu",
        file_bytes=10_000,
        macs=1000,
        accuracy=share(wrong) if labelled else None,
        agreement=agreement,
        latency_s=latency(100e-6),
        speedup=Speedup(1.50, 1.48, 1.52),
    )
    evaluation = Evaluation(fingerprint, N, TRUTH if labelled else None, answers) if kept else None
    variants = (replace(small, **fields), *others)
    return Report("checked", (Comparison(plain, variants, environment, evaluation=evaluation),), goals)


def found(now: Report, before: Report, axis: Axis, name: str = INT8, **tolerances) -> Outcome:
    """What a check says of one axis of one model."""
    (outcome,) = [
        each
        for each in check(now, before, Tolerances(**tolerances))
        if (each.axis, each.variant) == (axis, name)
    ]
    return outcome


def accuracy(now: Report, before: Report | None = None, **tolerances) -> Outcome:
    return found(now, before or report(), Axis.ACCURACY, **tolerances)


def timed(now: Report, before: Report | None = None, **tolerances) -> Outcome:
    return found(now, before or report(), Axis.LATENCY, **tolerances)
