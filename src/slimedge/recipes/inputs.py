"""The model and the data of a recipe, or what was given instead: found, with absolute paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.errors import InputError
from slimedge.recipes.contents import DataSettings
from slimedge.recipes.document import Document, Place
from slimedge.recipes.problems import Problem, refuse

if TYPE_CHECKING:
    from pydantic import BaseModel


def found_data(
    parsed: Any, given: DataSettings | Mapping[str, Any] | None, here: Path, problems: list[Problem]
) -> DataSettings:
    """Give where the examples are, and note where there are none."""
    if isinstance(given, DataSettings):
        return _found(given, Path.cwd())
    if given:
        return _found(*_overridden(parsed, given, here))
    if parsed is None:
        problems.append(
            Problem((), "there is no data; name some, as data: {source: examples.npz, scale: 1/255}.")
        )
        return DataSettings("")
    settings: DataSettings = as_dataclass(DataSettings, parsed)
    try:
        return _found(settings, here)
    except InputError as error:
        problems.append(Problem(("data", "source"), str(error)))
        return settings


def _overridden(parsed: Any, given: Mapping[str, Any], here: Path) -> tuple[DataSettings, Path]:
    """Give the data of a recipe with some of it replaced, checked as the recipe itself, and what it is relative to."""
    from pydantic import ValidationError

    from slimedge.recipes.models import DataSection, hyphened
    from slimedge.recipes.sentences import problems_of

    before = {} if parsed is None else {hyphened(k): getattr(parsed, k) for k in parsed.model_fields_set}
    replaced = {hyphened(key): value for key, value in given.items() if value is not None}
    document = Document("the given data", {**_spelled(before), **_spelled(replaced)})
    try:
        section = DataSection.model_validate(document.value)
    except ValidationError as error:
        refuse(document, problems_of(error, document, DataSection))
        raise
    return as_dataclass(DataSettings, section), Path.cwd() if "source" in replaced else here


def _spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give settings with values as YAML has them."""
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return {key: str(value) if isinstance(value, Path) else value for key, value in lists.items()}


def _found(settings: DataSettings, here: Path) -> DataSettings:
    """Give the settings with an absolute path; raises InputError where nothing is there."""
    from slimedge.readers import ALLOWED
    from slimedge.readers.function import FunctionReader

    source = here / Path(settings.source).expanduser()
    if source.exists():
        return replace(settings, source=str(source.absolute()))
    if not FunctionReader().knows(settings.source):
        allowed = ALLOWED.partition(", or in Python")[0]
        raise InputError(f"there is no {source}; give {allowed}.")
    return settings


def found_model(named: str | None, given: Path | str | None, here: Path, problems: list[Problem]) -> Path:
    """Give the path of the model, and note where there is none."""
    if named is None and given is None:
        problems.append(Problem((), "there is no model; name one, as model: net.keras."))
        return Path()
    path = Path(given).absolute() if given is not None else here / Path(str(named)).expanduser()
    if not path.is_file():
        what = f"{path} is a folder" if path.is_dir() else f"there is no {path}"
        sentence = f"{what}; name a trained .keras file."
        if given is not None:
            raise InputError(sentence)
        problems.append(Problem(("model",), sentence))
    return path


def found_teachers(
    names: Sequence[str], here: Path, place: Place, problems: list[Problem]
) -> tuple[str, ...]:
    """Give the teachers of a stage with absolute paths, and note which are not there.

    Args:
        names: `parent`, `self`, or paths.
        here: the folder that paths are relative to.
        place: of the setting in the recipe.
        problems: added to.
    """
    from slimedge.compress.distillation import PARENT, SELF

    found = []
    for index, name in enumerate(names):
        path = here / Path(name).expanduser()
        if name not in {PARENT, SELF} and not path.is_file():
            sentence = f"there is no {path}; name a trained .keras file, '{PARENT}' or '{SELF}'."
            problems.append(Problem((*place, index), sentence))
        found.append(name if name in {PARENT, SELF} else str(path.absolute()))
    return tuple(found)


def as_dataclass(kind: type, section: BaseModel) -> Any:
    """Give a dataclass with the values of a section, tuples for its lists."""
    values = {field.name: getattr(section, field.name) for field in fields(kind)}
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    )
