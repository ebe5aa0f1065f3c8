"""What became of models since an earlier report, as text, Markdown and JSON; what failed stands first."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from slimedge.benchmarks.outcomes import Change, Outcome
from slimedge.benchmarks.reporting import markup
from slimedge.benchmarks.reporting.printing import put

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "slimedge/check/1"
# GitHub's runner obeys `::name::` at the beginning of a line, wrapped or not, and `##[name]` anywhere.
_COMMAND = re.compile(r":(?=:)|##(?=\[)")
_WORDS = {Change.SAME: "the same", Change.REFUSED: "not compared"}
_STYLES = {Change.BETTER: "green", Change.WORSE: "yellow", Change.REFUSED: "bright_black"}


def plain(text: str) -> str:
    r"""Give text in one line, without what a terminal or the log of a CI job would take for a command.

    Example:
        >>> plain("a\n::error::b \x1b[31mc")
        'a : :error: :b �[31mc'
    """
    shown = "".join(sign if sign.isprintable() else "�" for sign in " ".join(text.split()))
    return _COMMAND.sub(r"\g<0> ", shown)


def summary(outcomes: Sequence[Outcome], against: str) -> str:
    """Say in one sentence how the check ended.

    Args:
        outcomes: all of them.
        against: name of the earlier report.
    """
    failed = sum(each.failed for each in outcomes)
    if failed:
        return f"{failed} of {len(outcomes)} checks failed against {plain(against)}."
    counts = Counter(each.change for each in outcomes)
    parts = [f"{counts[change]} {_WORDS.get(change, change)}" for change in Change if counts[change]]
    return f"Nothing is worse than in {plain(against)}: {', '.join(parts)}."


def failure(outcomes: Sequence[Outcome], against: str) -> str | None:
    """Give the message of a failed check with the first thing that failed; None where it passed."""
    first = next((each for each in outcomes if each.failed), None)
    if first is None:
        return None
    what = f"{plain(first.variant)}, {first.axis}: {plain(first.sentence)}"
    return f"{summary(outcomes, against).removesuffix('.')}: {what}"


def show(outcomes: Sequence[Outcome], against: str, console: Console) -> None:
    """Print one line an outcome.

    Args:
        outcomes: all of them.
        against: name of the earlier report.
        console: where to.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    # First, so that no line begins with text of whoever named the models, which a CI might take for a command.
    table.add_column("result", no_wrap=True)
    table.add_column("model", overflow="fold", min_width=12)
    table.add_column("axis", no_wrap=True)
    table.add_column("found")
    for each in _failures_first(outcomes):
        style = "bold red" if each.failed else _STYLES.get(each.change, "default")
        table.add_row(
            Text(_result(each), style=style),
            Text(plain(each.variant)),
            Text(each.axis),
            Text(plain(each.sentence)),
        )
    failed = any(each.failed for each in outcomes)
    put(console, Text(summary(outcomes, against), style="bold red" if failed else "green"), Text(), table)


def as_markdown(outcomes: Sequence[Outcome], against: str) -> str:
    """Write the same in Markdown, for a comment on a pull request or the summary of a job."""
    heading = "failed" if any(each.failed for each in outcomes) else "passed"
    rows = [
        (_result(each), plain(each.variant), each.axis, plain(each.sentence))
        for each in _failures_first(outcomes)
    ]
    lines = [f"## slimedge check: {heading}", "", markup.text(summary(outcomes, against)), ""]
    return "\n".join([*lines, *markup.table(("result", "model", "axis", "found"), rows)]) + "\n"


def as_json(outcomes: Sequence[Outcome], against: str) -> str:
    """Write the same as JSON, in the order of the report."""
    document = {
        "schema": SCHEMA,
        "baseline": against,
        "passed": not any(each.failed for each in outcomes),
        "outcomes": [asdict(each) for each in outcomes],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _failures_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda each: not each.failed)


def _result(each: Outcome) -> str:
    return f"failed: {each.change}" if each.failed else str(each.change)
