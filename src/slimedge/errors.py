"""Every error that slimedge raises on purpose, with the exit status that the command line gives it."""

from __future__ import annotations

from typing import ClassVar


class SlimedgeError(Exception):
    """One sentence: what was given, what is allowed, what to do."""

    exit_code: ClassVar[int] = 2


class InputError(SlimedgeError):
    """A file, an argument or data that cannot be used; nothing was written."""


class OutOfReachError(InputError):
    """A target beyond what can be taken from a model; says how far it can go."""


class UnavailableError(SlimedgeError):
    """A runtime, provider, device or extra that is not on this machine; says how to get it."""


class ConversionError(SlimedgeError):
    """A conversion that failed, ran out of time or memory, or died in native code."""


class RunError(SlimedgeError):
    """A model that would not run: out of time or memory, refused by its runtime, or ended in native code."""


class CheckError(SlimedgeError):
    """A result that did not pass its own check (an export beyond tolerance); it was not kept."""

    exit_code: ClassVar[int] = 1


class GoalError(SlimedgeError):
    """A goal of the user's (`--max-accuracy-drop`, `--min-speedup`) that was not met."""

    exit_code: ClassVar[int] = 1


class RegressionError(GoalError):
    """A model that is worse than it was in an earlier report (`slimedge check`)."""
