"""Names to code that is imported when it is asked for: a new entry is one file and one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from slimedge.errors import InputError


class Registry(Mapping[str, Any]):
    """A mapping from a name to what `"module:attribute"` points at, imported on first use.

    Args:
        kind: what the entries are, for messages ("backend").
        entries: name to `"module:attribute"`.

    Raises:
        InputError: on looking up a name that is not there; it lists the names that are.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def check(self, name: str) -> None:
        """Raise InputError for a name that is not there, without importing anything."""
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"; did you mean '{close[0]}'" if close else ""
            raise InputError(
                f"there is no {self.kind} '{name}'{hint}; the {self.kind}s are {', '.join(self._entries)}."
            )

    def __getitem__(self, name: str) -> Any:
        self.check(name)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self._entries)})"
