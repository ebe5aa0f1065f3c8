"""A recipe run step by step: each is done once, kept under what it was made from, and goes on where it was stopped."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimedge.files import sha256_of
from slimedge.progress import Progress, silent
from slimedge.recipes.examples import examples_for
from slimedge.recipes.keys import key_of
from slimedge.recipes.run_folder import Done, RunFolder
from slimedge.recipes.wording import in_words

if TYPE_CHECKING:
    import keras

    from slimedge.artifact import Artifact
    from slimedge.recipes.contents import RecipeFile
    from slimedge.recipes.stages import NamedStage
    from slimedge.splitting import Splits
    from slimedge.stage import Stage

MODEL = "model.keras"
BEFORE = "original"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """The model after a stage, and its files.

    Attributes:
        title: of the stage; `original` for the model that the recipe starts from.
        settings: that are not the stage's defaults, in words.
        model: the `.keras` file.
        files: by format.
        seconds: that the stage took; None for the original.
        reused: whether it was there before.
    """

    title: str
    settings: str
    model: Path
    files: dict[str, Artifact]
    seconds: float | None
    reused: bool


@dataclass(slots=True)
class Runner:
    """Runs one recipe.

    Attributes:
        recipe: read and checked.
        folder: of the run, locked.
        say: told what was done, line by line.
        progress: told what is being done.
    """

    recipe: RecipeFile
    folder: RunFolder
    say: Say = field(default=lambda _: None)
    progress: Progress = silent
    _start: Done | None = field(default=None, init=False)

    def original_model(self) -> keras.Model:
        """Give the model that the recipe starts from, in canonical form."""
        from slimedge.keras_file import load_model

        return load_model(self._original().folder / MODEL, compiled=False)

    def models(self, parts: Splits) -> list[Made]:
        """Make the model of every stage, and its files.

        Args:
            parts: of the data, bound to the model.

        Returns:
            The original and then one a stage.

        Raises:
            SlimedgeError: whatever a stage or an export finds wrong; what was finished before is kept.
        """
        done = self._original()
        found = [self._made(0, BEFORE, "", done, final=False)]
        for index, stage in enumerate(self.recipe.stages, start=1):
            done = self._stage(index, stage, found[0].model, found[-1].model, parts)
            final = index == len(self.recipe.stages)
            found.append(self._made(index, stage.name, in_words(stage), done, final=final))
        return found

    def _original(self) -> Done:
        """Keep the model as it is given, in canonical form; once a run."""
        if self._start is not None:
            return self._start
        key = key_of(BEFORE, model=sha256_of(self.recipe.model))
        found = self.folder.done(BEFORE, key)
        if found is None:
            from slimedge.canonical import canonical
            from slimedge.keras_file import load_model, save_model

            work = self.folder.making(key)
            self.progress("loading the model")
            save_model(canonical(load_model(self.recipe.model, compiled=False)), work.out / MODEL)
            found = self.folder.keep(BEFORE, key)
        self._start = found
        return found

    def _stage(self, index: int, named: NamedStage, parent: Path, before: Path, parts: Splits) -> Done:
        data = examples_for(named.name, parts)
        takes_parent = bool(getattr(named.stage, "takes_parent", False))
        key = key_of(
            named.name,
            settings=_settings(named),
            model=sha256_of(before),
            parent=sha256_of(parent) if takes_parent else None,
            data=data.fingerprint,
            machine=_machine() if getattr(named.stage, "on_this_machine", False) else None,
            seed=self.recipe.seed,
        )
        what = f"stage {index} of {len(self.recipe.stages)}, {named.name}"
        found = self.folder.done(named.name, key)
        if found is not None:
            self.say(f"{what}: as before")
            return found

        def told(doing: str, share: float | None = None, /) -> None:
            self.progress(f"{what}: {doing}", share)

        from slimedge.compress.fitting.checkpoints import kept_in
        from slimedge.keras_file import load_model, save_model

        _fresh(self.recipe.seed)
        started = time.monotonic()
        work = self.folder.making(key)
        given: dict[str, Any] = {"progress": told} if _takes_progress(named.stage) else {}
        if takes_parent:
            given["parent"] = load_model(parent, compiled=False)
        with kept_in(work.checkpoints) as checkpoints:
            made: keras.Model = named.stage(load_model(before, compiled=False), data, **given)
        save_model(made, work.out / MODEL)
        saved_s = checkpoints.saved_s
        seconds = time.monotonic() - started + saved_s
        gone_on = f", of which {saved_s:.0f} s were done before it was stopped" if checkpoints.resumed else ""
        self.say(f"{what}: {seconds:.0f} s{gone_on}")
        facts = {"settings": dict(named.settings), "seconds": seconds, "resumed": checkpoints.resumed}
        return self.folder.keep(named.name, key, **facts, saved_s=saved_s)

    def _made(self, index: int, title: str, words: str, done: Done, *, final: bool) -> Made:
        model = done.folder / MODEL
        files = self._exported(index, title, model, final=final)
        return Made(title, words, model, files, None if index == 0 else done.seconds, done.reused)

    def _exported(self, index: int, title: str, model: Path, *, final: bool) -> dict[str, Artifact]:
        """Export a model to every format; the last one as the recipe wants it, the others to be compared with it."""
        from slimedge.artifact_file import read_artifact
        from slimedge.integers import isa_here

        exports = self.recipe.exports
        settings: dict[str, Any] = {
            "to": list(exports.to),
            "io": exports.io if final else "float32",
            "compute": exports.compute if final else "float32",
            "batch": exports.batch,
            "integers": exports.integers,
            "dense": exports.dense,
            "name": final_name(self.recipe) if final else f"{index}-{title}" if index else title,
        }
        key = key_of("export", settings=settings, model=sha256_of(model), isa=list(isa_here()))
        found = self.folder.done("export", key)
        if found is None:
            from slimedge.export.exporting import export_model

            work = self.folder.making(key)
            export_model(
                model,
                folder=work.out,
                progress=lambda file: self.progress(f"exporting {file}"),
                **settings,
            )
            found = self.folder.keep("export", key)
        return {each: read_artifact(found.folder / f"{settings['name']}.{each}") for each in exports.to}


def final_name(recipe: RecipeFile) -> str:
    """Give the name of the files that a recipe ends with, without ending."""
    stem = recipe.model.stem
    return f"{stem}_{recipe.name}" if recipe.name != stem else f"{stem}_compressed"


def _fresh(seed: int) -> None:
    """Let a stage give the same whatever ran before it in this process: Keras counts the names that it gives."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)


def _machine() -> dict[str, Any]:
    """Give what a stage that times files depends on."""
    from slimedge.runtime.jobs import environment_here

    found = environment_here(1, ())
    return {"cpu": found.cpu, "isa": list(found.isa)}


def _takes_progress(stage: Stage) -> bool:
    return "progress" in inspect.signature(type(stage).__call__).parameters


def _settings(named: NamedStage) -> dict[str, Any]:
    """Give the settings of a stage with the hashes of its teachers' files in the place of their names."""
    told = dict(named.settings)
    if "teachers" in told:
        told["teachers"] = [
            sha256_of(Path(name)) if Path(name).is_file() else name for name in told["teachers"]
        ]
    return told
