"""What a command printed."""

from __future__ import annotations


def told(capsys):
    """What was printed, and the one line of the error."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) <= 1, captured.err
    return captured.out, (lines or [""])[0]
