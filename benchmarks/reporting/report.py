"""What a report is made from, and the sentences that stand above its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from slimedge.artifact import Step
from slimedge.benchmarks.details.details import Details
from slimedge.benchmarks.judging import Direction, GoalOutcome, Judgement, judge
from slimedge.benchmarks.reporting import figures
from slimedge.comparison import Comparison, Speedup, Variant, Verdict


@dataclass(frozen=True, slots=True)
class Chapter:
    """One stage of a recipe, for the story of how the models came about.

    Attributes:
        title: of the stage (`prune-channels`), plain text.
        settings: of the stage, in words, plain text.
        variants: names of the variants that show the model after this stage, one a comparison at most.
        seconds: that the stage took; None where that was not measured.
        reused: whether its result was taken from an earlier run.
    """

    title: str
    settings: str
    variants: tuple[str, ...]
    seconds: float | None = None
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Comparisons that are read together.

    Attributes:
        title: plain text.
        comparisons: at least one; the models of one runtime stand together, baseline first.
        goals: what the user asked for, with outcomes.
        lineage: name of a variant to the steps that led to its file.
        details: what lies behind the figures, by the name of the variant; only the page draws it.
        stages: of the recipe that made the variants, in their order; every baseline is the untouched model.
    """

    title: str
    comparisons: tuple[Comparison, ...]
    goals: tuple[GoalOutcome, ...] = ()
    lineage: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    details: Mapping[str, Details] = field(default_factory=dict)
    stages: tuple[Chapter, ...] = ()


class Tone(StrEnum):
    """How a headline is to be taken."""

    GOOD = "good"
    BAD = "bad"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence of plain text."""

    text: str
    tone: Tone


_TONES = {
    Verdict.BETTER: Tone.GOOD,
    Verdict.WORSE: Tone.BAD,
    Verdict.TRADE_OFF: Tone.PLAIN,
    Verdict.NO_DIFFERENCE: Tone.PLAIN,
}


def headlines(report: Report) -> tuple[Headline, ...]:
    """Say what was found, bad news first: variants slower than their baseline, missed goals, then each verdict."""
    slower, verdicts = [], []
    for comparison in report.comparisons:
        for variant in comparison.variants:
            judgement = judge(variant, comparison.baseline)
            if variant.speedup is not None and judgement.latency is Direction.WORSE:
                slower.append(_slower(variant, comparison.baseline, variant.speedup))
            verdicts.append(_verdict(variant, comparison.baseline, judgement))
    missed = [Headline(f"Goal {o.goal}: {o.sentence}", Tone.BAD) for o in report.goals if not o.met]
    met = [Headline(f"Goal {o.goal}: {o.sentence}", Tone.GOOD) for o in report.goals if o.met]
    return (*slower, *missed, *verdicts, *met)


def _slower(variant: Variant, baseline: Variant, speedup: Speedup) -> Headline:
    text = (
        f"{variant.name} is slower than {baseline.name}: it takes {1 / speedup.value:.2f} times as long "
        f"({1 / speedup.high:.2f} to {1 / speedup.low:.2f})."
    )
    return Headline(text, Tone.BAD)


def _verdict(variant: Variant, baseline: Variant, judgement: Judgement) -> Headline:
    parts = []
    if variant.speedup is not None:
        low, high = f"{variant.speedup.low:.2f}", f"{variant.speedup.high:.2f}"
        interval = low if low == high else f"{low} to {high}"
        same = ", within noise" if judgement.latency is Direction.SAME else ""
        parts.append(f"{variant.speedup.value:.2f}× the speed ({interval}{same})")
    if variant.file_bytes is not None and baseline.file_bytes:
        parts.append(f"{variant.file_bytes / baseline.file_bytes:.2f}× the bytes")
    if variant.accuracy_delta is not None:
        same = ", within noise" if judgement.answers is Direction.SAME else ""
        delta = variant.accuracy_delta
        parts.append(
            f"accuracy {figures.points(delta.value)} points "
            f"({figures.points(delta.low)} to {figures.points(delta.high)}{same})"
        )
    elif variant.agreement is not None:
        parts.append(
            f"the same class on {figures.percent(variant.agreement.value)} of {variant.agreement.n:,}"
        )
    elif variant.sqnr_db is not None:
        parts.append(f"SQNR {variant.sqnr_db:.1f} dB")
    measured = ", ".join(parts) or "nothing was measured"
    text = f"{variant.name} against {baseline.name}: {judgement.verdict}; {measured}."
    return Headline(text, _TONES[judgement.verdict])
