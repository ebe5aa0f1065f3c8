"""Progress is shown to people, and to nobody else."""

from __future__ import annotations

import sys


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    from slimedge.progress import on_terminal, silent

    with on_terminal() as progress:
        assert progress is silent
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with on_terminal(quiet=True) as progress:
        assert progress is silent
    with on_terminal() as progress:
        assert progress is not silent
        progress("calibrating", 0.5)
        progress("exporting")
