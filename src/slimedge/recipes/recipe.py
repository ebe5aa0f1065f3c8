"""A recipe, read and checked: nothing that can be known to be wrong is left for when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.errors import InputError
from slimedge.recipes import consistency
from slimedge.recipes.contents import DataSettings, Exports, Goals, RecipeFile
from slimedge.recipes.document import read_document
from slimedge.recipes.inputs import as_dataclass, found_data, found_model, found_teachers
from slimedge.recipes.order import order_problems
from slimedge.recipes.presets import preset_path, presets
from slimedge.recipes.problems import Problem, refuse, suggestion
from slimedge.recipes.settings import from_yaml
from slimedge.recipes.stages import NamedStage, culprits, made

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["DataSettings", "Exports", "Goals", "NamedStage", "RecipeFile", "read_recipe"]


def read_recipe(
    path: Path | str,
    *,
    model: Path | str | None = None,
    data: DataSettings | Mapping[str, Any] | None = None,
) -> RecipeFile:
    """Read a recipe and check all that can be checked without running it.

    Args:
        path: of a YAML file, or the name of a preset; a file of that name comes first.
        model: instead of the one that the recipe names; relative to the current folder. A preset needs one.
        data: instead of what the recipe has; a mapping with the keys of its `data` replaces only these. Likewise.

    Raises:
        InputError: the file cannot be read, or something in it cannot be used; it names the file, line and field of
            each thing that is wrong, a line of text each.
    """
    from pydantic import ValidationError

    from slimedge.recipes.models import recipe_model
    from slimedge.recipes.sentences import problems_of

    preset = str(path) in presets() and not Path(path).is_file()
    file = preset_path(str(path)) if preset else _existing(Path(path))
    if preset and (model is None or not data):
        raise InputError(
            f"the preset {path} names no model and no data; give both with it, or add them to a copy of {file}."
        )
    document = read_document(file)
    if not isinstance(document.value, dict):
        keys = ", ".join(recipe_model().model_fields)
        raise InputError(
            f"{document.name}, line 1: a recipe has keys with values, as stages: [train]; give {keys}."
        )
    try:
        parsed: Any = recipe_model().model_validate(document.value)
    except ValidationError as error:
        refuse(document, problems_of(error, document, recipe_model()))
        raise
    here = Path.cwd() if preset else file.absolute().parent
    problems: list[Problem] = []
    stages = _stages(parsed, here, problems)
    examples = found_data(parsed.data, data, here, problems)
    network = found_model(parsed.model, model, here, problems)
    rest = _rest(parsed, stages, examples, problems)
    refuse(document, problems)
    return RecipeFile(
        path=None if preset else file,
        name=file.stem,
        model=network,
        data=examples,
        stages=stages,
        **rest,
    )


def _existing(path: Path) -> Path:
    if not path.exists():
        near = suggestion(str(path), presets())
        raise InputError(
            f"there is no recipe {path}{near}; name a YAML file, or one of the presets {', '.join(presets())}."
        )
    return path


def _stages(parsed: Any, here: Path, problems: list[Problem]) -> tuple[NamedStage, ...]:
    """Make the stages, and note what is wrong with them and with their order."""
    found = []
    named = []
    for index, item in enumerate(parsed.stages):
        (field,) = item.model_fields_set
        name, section = field.replace("_", "-"), getattr(item, field)
        settings = _given(section, parsed.seed)
        if "teachers" in settings:
            place = ("stages", index, name, "teachers")
            settings["teachers"] = found_teachers(settings["teachers"], here, place, problems)
        named.append((name, settings))
        wrong = culprits(name, settings)
        for key, sentence in wrong.items():
            problems.append(Problem(("stages", index, name, *([key] if key else [])), sentence))
        if not wrong:
            found.append(made(name, settings))
    problems.extend(order_problems(named))
    return tuple(found)


def _given(section: BaseModel, seed: int) -> dict[str, Any]:
    """Give what a recipe says of a stage, by field, with the recipe's own seed where the stage has none."""
    told = section.model_fields_set
    found = {key: from_yaml(key, getattr(section, key)) for key in type(section).model_fields if key in told}
    return {"seed": seed, **found} if "seed" in type(section).model_fields else found


def _rest(
    parsed: Any, stages: tuple[NamedStage, ...], data: DataSettings, problems: list[Problem]
) -> dict[str, Any]:
    """Give what is left of the recipe, and note what does not go together."""
    from slimedge.recipes.models import FORMATS

    exports = Exports(FORMATS) if parsed.exports is None else as_dataclass(Exports, parsed.exports)
    goals = Goals() if parsed.goals is None else as_dataclass(Goals, parsed.goals)
    targets, wrong = consistency.targets_for(parsed.targets or (), exports)
    problems += wrong
    if len(stages) == len(parsed.stages):
        problems += consistency.export_problems(exports, stages)
    problems += consistency.goal_problems(goals, exports)
    problems += consistency.training_problems(data, stages)
    same = {name: getattr(parsed, name) for name in ("effort", "threads", "seed")}
    return {"exports": exports, "targets": targets, "goals": goals, **same}
