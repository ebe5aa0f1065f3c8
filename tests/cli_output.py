"""What a command printed."""

from __future__ import annotations


def in_one_line(capsys) -> tuple[str, str]:
    """Output and errors, with single spaces instead of line breaks."""
    out, error = capsys.readouterr()
    return " ".join(out.split()), " ".join(error.split())


def told(capsys):
    """What was printed, and the one line of the error."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) <= 1, captured.err
    return captured.out, (lines or [""])[0]
