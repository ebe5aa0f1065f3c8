"""The documentation says what is so: its commands and code run, its links lead somewhere, its lists are complete.

A block runs where `<!-- tested -->` stands above it. All of them share one folder, in the order of the documents; a
command that two documents have runs once.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import slimedge
from slimedge import artifact_file, comparison, integers, measurement, readers
from slimedge.artifact import Artifact
from slimedge.benchmarks.judging import GoalOutcome
from slimedge.benchmarks.outcomes import Axis, Change, Outcome
from slimedge.cli.app import command
from slimedge.compress import pruning, quantization, rules
from slimedge.compress.channels.criteria import CRITERIA
from slimedge.compress.clusters import INITIALIZATIONS
from slimedge.compress.low_rank.ways import WAYS
from slimedge.compress.methods import METHODS
from slimedge.compress.observers import OBSERVERS
from slimedge.export import verify
from slimedge.runtime.backends import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = [README, ROOT / "docs/tutorial.md"]
REFERENCE = (ROOT / "docs/reference.md").read_text()
FOLDERS = ("benchmarks", "compress", "export", "runtime", "src", "tests", "docs")


def commands(shell):
    """Give the commands of a shell block, continued lines joined."""
    lines = (" ".join(line.split()) for line in shell.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def snippets():
    """Give language and code of everything that is marked, each once, in the order of the documents."""
    found = {}
    for document in RUNNABLE:
        for language, code in re.findall(
            r"^<!-- tested -->\n```(\w+)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL
        ):
            for piece in [code] if language == "python" else commands(code):
                found.setdefault((language, piece), document.name)
    return [
        pytest.param(language, code, id=f"{name}: {code.split(chr(10))[0][:50]}")
        for (language, code), name in found.items()
    ]


class Reader:
    """Works through the marked blocks in their order, each once.

    A test asks for its block and gets those before it as well, where another process has had their tests.
    """

    def __init__(self, folder):
        self.folder = folder
        self.ahead = [param.values for param in snippets()]

    def works_through(self, language, code):
        while (language, code) in self.ahead:
            self.runs(*self.ahead.pop(0))

    def runs(self, language, code):
        program = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*program, code],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader in a folder where the bundled demo lies as it does in a clone."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks/demo").symlink_to(ROOT / "benchmarks/demo")
    return Reader(folder)


@pytest.mark.parametrize(("language", "code"), snippets())
def test_a_marked_block_runs(language, code, reader):
    reader.works_through(language, code)


def workflows():
    """Give the documents of all YAML blocks that are GitHub workflows."""
    found = []
    for document in DOCUMENTS:
        blocks = re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
        found += [loaded for block in blocks if "jobs" in (loaded := yaml.safe_load(block))]
    return found


def test_the_commands_of_every_workflow_parse():
    known = command().commands
    seen = []
    for workflow in workflows():
        assert workflow[True] == "pull_request"  # YAML 1.1 reads the key `on` so
        for job in workflow["jobs"].values():
            steps = job["steps"]
            assert all(("uses" in step) != ("run" in step) for step in steps)
            for line in [line for step in steps for line in commands(step.get("run", ""))]:
                program, *arguments = shlex.split(line)
                name, *given = arguments
                if program != "slimedge" or (name == "run" and name not in known):
                    continue
                known[name].make_context(name, given)  # refuses what the command does not take
                seen.append(name)
    assert "check" in seen


def anchors(text):
    """Give the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document):
    text = document.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = document.parent / target if target else document
        assert path.exists(), f"{document.name} links to {link}"
        if anchor:
            assert anchor in anchors(path.read_text()), f"{document.name} links to {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_of_the_repository_that_is_named_is_there(document):
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`", document.read_text())
    made = [path for path in named if "NAME" not in path]
    assert [path for path in made if not (ROOT / path).exists()] == []


def section(title):
    """Give what the reference has under a heading, up to the next one."""
    (found,) = re.findall(rf"^##+ {title}\n(.*?)(?=^##|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    return found


def test_the_reference_has_every_command_and_every_option():
    for name, found in command().commands.items():
        text = section(rf"`slimedge {name}(?![\w-])[^\n]*")
        described = text + section("Commands")
        if "options of the data" in text:
            described += section("Options of the data")
        options = [option for each in found.params for option in each.opts if option.startswith("--")]
        assert [option for option in options if not re.search(rf"`{option}\b", described)] == [], name


@pytest.mark.parametrize(
    "described",
    [
        comparison.Comparison,
        comparison.Variant,
        comparison.Accuracy,
        comparison.AccuracyDelta,
        comparison.Latency,
        comparison.Evaluation,
        measurement.Environment,
        GoalOutcome,
        Outcome,
        Artifact,
    ],
)
def test_the_reference_has_every_field_of_the_json(described):
    assert [field.name for field in fields(described) if f"`{field.name}`" not in REFERENCE] == []


@pytest.mark.parametrize(
    "name", [name for name in slimedge.__all__ if inspect.isfunction(getattr(slimedge, name))]
)
def test_the_reference_has_every_parameter_of_a_function(name):
    (signature,) = re.findall(rf"^{name}\((.*?)\) ->", REFERENCE, re.MULTILINE | re.DOTALL)
    parameters = inspect.signature(getattr(slimedge, name)).parameters.values()
    listed = re.findall(r"(\w+)(?==|,|$)", signature)
    assert [
        each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name not in listed
    ] == []


def test_the_reference_has_every_axis_and_change_of_the_check():
    text = REFERENCE.partition("| `check` |")[2].partition("\n")[0]
    assert [name for name in (*Axis, *Change) if f"`{name}`" not in text] == []


def test_the_reference_has_every_registered_name():
    names = [
        *OBSERVERS,
        *METHODS,
        *CRITERIA,
        *INITIALIZATIONS,
        *WAYS,
        *quantization.SCHEMES,
        *pruning.ENGINES,
        *BACKENDS,
        *integers.INTEGERS,
        *artifact_file.READERS,
    ]
    assert [name for name in names if f"`{name}" not in REFERENCE and f"`.{name}" not in REFERENCE] == []
    assert len(readers.READERS) == 7  # the rows of the reference's table of data


def test_the_reference_and_the_readme_have_every_kind_of_layer():
    kinds = [*rules.KERNEL_AXES, *rules.ARITHMETIC, *rules.SAME_SCALE, *rules.FIXED_RANGES]
    assert [
        kind for kind in kinds if not re.search(rf"\b{kind}\b", REFERENCE.partition("## Layers on")[2])
    ] == []
    assert [kind for kind in rules.KERNEL_AXES if kind not in README.read_text()] == []


def test_the_explanation_has_the_tolerances_of_an_export():
    text = (ROOT / "docs/explanation.md").read_text()
    assert f"within {verify.QUANTIZED_STEPS:g} steps" in text
    assert f"Keras is {verify.QUANTIZED_SQNR_DB:g} dB or more" in text
    assert verify.FLOAT_TOLERANCE == 1e-3  # "a thousandth"
