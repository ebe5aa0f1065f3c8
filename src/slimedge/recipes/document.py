"""A YAML file as plain values, with the line on which each of them stands.

Values are those of YAML 1.2: `2:4` and `yes` are text, and `1e-3` is a number, where PyYAML's own loader follows 1.1.
Nothing in a file is run, and what a file stands for is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slimedge.errors import InputError

MOST_BYTES = 1_000_000
# Of lists and mappings in each other; a recipe needs five.
DEEPEST = 32
# With each alias counted as what it stands for.
MOST_VALUES = 20_000

Place = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _TEXT = (f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str"))
# YAML 1.2, section 10.3.2: the core schema.
_SCALARS = (
    (_NULL, r"~|null|Null|NULL|", "~nN\0"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        _FLOAT,
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        name: of the file, for messages.
        value: mappings with text as keys, lists, text, numbers, booleans and None.
        lines: the line of each value, counted from 1, by its place: keys and positions from the outermost on.
    """

    name: str
    value: Any
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """Give the line of a place, or of the innermost one around it that there is."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def placed(self, location: Sequence[str | int]) -> Place:
        """Give the place that is meant: keys as they are spelled there, and without what was left out.

        Example:
            >>> Document("a.yaml", {"data": {"image_size": 3}}).placed(("data", "image-size", "text"))
            ('data', 'image_size')
        """
        place: Place = ()
        value = self.value
        for step in location:
            for spelled in (step, str(step).replace("-", "_"), str(step).replace("_", "-")):
                if _holds(value, spelled):
                    place, value = (*place, spelled), value[spelled]
                    break
        return place

    def at(self, place: Place) -> Any:
        """Give the value of a place."""
        value = self.value
        for step in place:
            value = value[step]
        return value


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: there is no such file, it is too large, no UTF-8 text, no YAML, or holds what a recipe has no use
            for: a key twice, tags, more than one document, aliases that stand for too much.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else (error.strerror or str(error)).lower()
        raise InputError(f"{path} cannot be read: {reason}; name a YAML file.") from error
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path} is larger than {MOST_BYTES // 10**6} MB, which no recipe is; name a YAML file."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: this is no UTF-8 text; name a YAML file, and save it in UTF-8."
        ) from error
    return document_of(text, str(path))


def document_of(text: str, name: str) -> Document:
    r"""Read YAML text.

    Args:
        text: one YAML document.
        name: of the file, for messages.

    Raises:
        InputError: as `read_document`.

    Example:
        >>> document_of("stages:\n  - prune: {pattern: 2:4}", "a.yaml").value
        {'stages': [{'prune': {'pattern': '2:4'}}]}
    """
    try:
        loader = _Loader(text)
        loader.name = name
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InputError(
            f"{name}, line {line}: there is a character that no text has (U+{error.character:04X}); name a YAML file."
        ) from error
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{name}, {_sentence(error)}") from error
    if node is None:
        raise InputError(f"{name} is empty; a recipe names at least its stages, as stages: [train].")
    building = _Building(name)
    value = building.value(node, ())
    return Document(name, value, building.lines)


class _Loader(yaml.SafeLoader):
    """Composes nodes, typed as in YAML 1.2, and refuses depths that Python cannot walk."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as in its base
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and what lies in it."""
        self.depth += 1
        if self.depth > DEEPEST:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line + 1
            raise InputError(
                f"{self.name}, line {line}: lists and mappings lie more than {DEEPEST} deep in each other; a recipe "
                "needs five."
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _tag, _form, _starts in _SCALARS:
    _Loader.add_implicit_resolver(
        _tag, re.compile(f"(?:{_form})$"), [start.replace("\0", "") for start in _starts]
    )


class _Building:
    """Values made of nodes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Place, int] = {}
        self._values = 0

    def value(self, node: yaml.Node, place: Place) -> Any:
        """Give the value of a node, and note its line where that of its key is not noted yet."""
        self._values += 1
        if self._values > MOST_VALUES or len(place) > DEEPEST:
            raise self._refused(
                node, f"its aliases stand for more than {MOST_VALUES:,} values; write out what is meant"
            )
        self.lines.setdefault(place, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(each, (*place, index)) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in {_NULL, _BOOL, _INT, _FLOAT, _TEXT}:
            return self._scalar(node)
        tag = node.tag.replace(_TAG, "!!")
        raise self._refused(node, f"the tag '{tag}' is not allowed; leave it out")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refused(key, "a list or mapping is no key; give a name")
            inner = (*place, key.value)
            if key.value in found:
                raise self._refused(
                    key,
                    f"'{key.value}' stands there twice, first on line {self.lines[inner]}; leave one of them out",
                )
            self.lines[inner] = _line(key)
            found[key.value] = self.value(value, inner)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        try:
            if node.tag == _INT:
                return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
            if node.tag == _FLOAT:
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise self._refused(node, "this is no number that can be read; write it as 0.5 or 20") from None
        if node.tag == _BOOL:
            return text.lower() == "true"
        return None if node.tag == _NULL else text

    def _refused(self, node: yaml.Node, sentence: str) -> InputError:
        return InputError(f"{self.name}, line {_line(node)}: {sentence}.")


def _holds(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


def _sentence(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    problem = " ".join((error.problem or "something is missing").split())
    if r"'\t'" in problem:
        return f"line {line}: a tab stands where YAML takes spaces only; indent with spaces."
    if problem == "but found another document":
        return f"line {line}: a second document begins here; write one recipe in a file."
    start = error.context_mark
    within = f" {error.context} from line {start.line + 1} on" if error.context and start else ""
    return f"line {line}: this is no YAML, {problem}{within}; look at indents, colons, brackets and quotes."
