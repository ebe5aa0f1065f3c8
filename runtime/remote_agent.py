"""An agent on another machine: the files that requests name go over, and what it writes comes back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from slimedge.errors import InputError, RunError, SlimedgeError
from slimedge.files import atomic_path
from slimedge.runtime.agent import PIECE
from slimedge.runtime.agent_process import AgentProcess
from slimedge.runtime.facts import versions

_GIVEN = ("model", "inputs")  # files that requests name
_TAKEN = "outputs"


class RemoteAgent(AgentProcess):
    """A conversation whose requests name files here; the device gets copies and gives back what is written there.

    Args:
        command: that runs `agent.py` there, in a folder of its own, and talks on stdin and stdout.
        name: of the runtime.
        place: the device, for messages.
        limit_s: longest time for one request.
        depot: the agent whose folder holds the files, for as long as it runs; None for this one's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        place: str,
        limit_s: float,
        depot: RemoteAgent | None = None,
    ) -> None:
        super().__init__(command, name=name, limit_s=limit_s)
        self._place = place
        self._depot = depot or self
        self._carried: dict[tuple[Path, int, int], str] = {}
        self._awaited: Path | None = None
        self._versions: dict[str, str] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not at once: what runs there shall hear that nobody asks any more, and remove its folder.
        self._end(at_once=False)

    def send(self, do: str, /, **fields: Any) -> None:
        """Send a request, after the files that it names."""
        there = {
            key: self._depot.carry(Path(fields[key])) for key in _GIVEN if isinstance(fields.get(key), str)
        }
        if isinstance(fields.get(_TAKEN), str):
            self._awaited = Path(fields[_TAKEN])
            there[_TAKEN] = self._awaited.name
        super().send(do, **{**fields, **there})

    def receive(self) -> dict[str, Any]:
        """Wait for the answer, and fetch the file that the request had written."""
        awaited, self._awaited = self._awaited, None
        try:
            answer = super().receive()
        except SlimedgeError as error:
            raise self._explained(error) from error
        if "facts" in answer:
            self._versions = answer["facts"]["versions"]
        if awaited is not None:
            self._fetch(awaited)
        return answer

    def carry(self, path: Path) -> str:
        """Copy a file over, unless it is there already, and give its path there."""
        state = path.stat()
        key = (path, state.st_mtime_ns, state.st_size)
        if key not in self._carried:
            name = f"{len(self._carried)}-{path.name}"  # files of several folders may have one name
            with path.open("rb") as file:
                more = False
                while (piece := file.read(PIECE)) or not more:
                    data = base64.b64encode(piece).decode()
                    answer = self._ask_plainly("put", name=name, data=data, more=more)
                    more = True
            self._carried[key] = answer["path"]
        return self._carried[key]

    def _fetch(self, path: Path) -> None:
        with atomic_path(path) as whole, whole.open("wb") as file:
            more, offset = True, 0
            while more:
                answer = self._ask_plainly("get", path=path.name, offset=offset)
                offset += file.write(base64.b64decode(answer["data"]))
                more = answer["more"]

    def _ask_plainly(self, do: str, /, **fields: Any) -> dict[str, Any]:
        AgentProcess.send(self, do, **fields)
        try:
            return AgentProcess.receive(self)
        except SlimedgeError as error:
            raise self._explained(error) from error

    def _explained(self, error: SlimedgeError) -> SlimedgeError:
        """Say on which device it happened, and where its runtime is of another version than the one here."""
        told = f"on {self._place}: {error}"
        if isinstance(error, (InputError, RunError)):
            here = versions(tuple(self._versions))
            other = [
                f"{package} {version} (here {here[package]})"
                for package, version in self._versions.items()
                if package not in ("python", "numpy") and here.get(package, version) != version
            ]
            if other:
                told = f"{told.rstrip('.')}; it has {', '.join(other)}: install the same version on both."
        return type(error)(told)
