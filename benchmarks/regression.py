"""Is anything worse than in an earlier report, beyond noise? Every model against its namesake; pure.

A model is looked at along accuracy (`accuracy_change`), latency (`latency_change`) and size: larger by more than 1 %.
A model that is gone fails, and a goal that was met and is missed now; a new model or goal is told and passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from slimedge.benchmarks.accuracy_change import accuracy_outcome
from slimedge.benchmarks.judging import SIZE_MARGIN, GoalOutcome
from slimedge.benchmarks.latency_change import latency_outcome
from slimedge.benchmarks.outcomes import Axis, Change, Outcome, Placed, Tolerances, outcome
from slimedge.benchmarks.reporting.report import Report

_Key = tuple[str, int]


def check(report: Report, baseline: Report, tolerances: Tolerances | None = None) -> tuple[Outcome, ...]:
    """Hold every model of a report against the one of its name in an earlier report.

    Args:
        report: the later one.
        baseline: the earlier one.
        tolerances: None for those of `Tolerances()`.

    Returns:
        The outcomes: model by model in the order of the report, then models that are gone, then goals.
    """
    tolerances = tolerances or Tolerances()
    before, now = _models(baseline), _models(report)
    outcomes: list[Outcome] = []
    for key, model in now.items():
        if key not in before:
            sentence = "new: the earlier report has no model of this name."
            outcomes.append(outcome(model, Axis.MODEL, Change.REFUSED, sentence))
            continue
        found = (
            accuracy_outcome(before[key], model, tolerances.max_accuracy_drop),
            size_outcome(before[key], model),
            latency_outcome(before[key], model, tolerances),
        )
        outcomes += [each for each in found if each is not None]
    gone = "gone: the earlier report has it, and this one does not."
    outcomes += [
        outcome(model, Axis.MODEL, Change.WORSE, gone) for key, model in before.items() if key not in now
    ]
    return (*outcomes, *_goals(report.goals, baseline.goals))


def size_outcome(before: Placed, now: Placed) -> Outcome | None:
    """Compare the files' sizes.

    Args:
        before: in the earlier report.
        now: in the later one.

    Returns:
        None where neither was weighed.
    """
    size, earlier = now.variant.file_bytes, before.variant.file_bytes
    if earlier is None:
        if size is None:
            return None
        return outcome(now, Axis.SIZE, Change.REFUSED, "not compared: the earlier report has no size of it.")
    if size is None:
        sentence = "not compared: the size was measured then and is not now."
        return outcome(now, Axis.SIZE, Change.REFUSED, sentence, failed=True)
    growth, margin = size - earlier, SIZE_MARGIN * earlier
    change = Change.WORSE if growth > margin else Change.BETTER if growth < -margin else Change.SAME
    how = f"{100 * abs(growth) / earlier:.1f} % {'larger' if growth > 0 else 'smaller'}"
    limit = f"{'within' if change is Change.SAME else 'more than'} {100 * SIZE_MARGIN:g} %"
    verdict = f"{how}, {limit}" if growth else "as before"
    sentence = f"{size:,} bytes, was {earlier:,}: {verdict}."
    return outcome(now, Axis.SIZE, change, sentence)


def _models(report: Report) -> dict[_Key, Placed]:
    """Give every model by its name; where several comparisons have one of a name, by which of them it is."""
    seen: Counter[str] = Counter()
    found = {}
    for comparison in report.comparisons:
        for variant in (comparison.baseline, *comparison.variants):
            found[variant.name, seen[variant.name]] = Placed(variant, comparison)
            seen[variant.name] += 1
    return found


def _goals(now: tuple[GoalOutcome, ...], before: tuple[GoalOutcome, ...]) -> Iterator[Outcome]:
    """Compare what was asked of the models, goal by goal."""
    earlier = {(goal.variant, goal.goal): goal for goal in before}
    for goal in now:
        was = earlier.pop((goal.variant, goal.goal), None)
        if was is None:
            change, told = Change.REFUSED, "not asked in the earlier report"
        elif was.met == goal.met:
            change, told = Change.SAME, "as before"
        else:
            change = Change.BETTER if goal.met else Change.WORSE
            told = "met before" if was.met else "missed before"
        sentence = f"{goal.goal}, {told}: {goal.sentence.removeprefix(f'{goal.variant}: ')}"
        yield Outcome(goal.variant, Axis.GOAL, change, change is Change.WORSE, sentence)
    for goal in earlier.values():
        sentence = f"{goal.goal}: no longer asked."
        yield Outcome(goal.variant, Axis.GOAL, Change.REFUSED, failed=False, sentence=sentence)
