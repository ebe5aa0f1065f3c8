"""The package that users install: what is in it, what importing it costs, what it depends on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOMES = {
    "slimedge": "src/slimedge",
    "slimedge/benchmarks": "benchmarks",
    "slimedge/compress": "compress",
    "slimedge/export": "export",
    "slimedge/runtime": "runtime",
}
REQUIRED = {
    "onnx",
    "onnxruntime",
    "tensorflow",
    "tf2onnx",
    "tensorflow-model-optimization",
    "numpy",
}
HELP = """
import slimedge.cli
sys.argv = ["slimedge", "--help"]
try:
    slimedge.cli.main()
except SystemExit as done:
    assert not done.code, done.code
"""


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def files_of_the_tree():
    return {
        f"{home}/{path.relative_to(ROOT / folder).as_posix()}": path
        for home, folder in HOMES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def modules_loaded_by(statement):
    code = f"import sys\n{statement}\nimport json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tree, so that nothing an earlier build left gets in."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in HOMES.values():
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "out", "."],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (copy / "out").glob("*.whl")
    return built


def test_the_wheel_holds_exactly_the_tree(wheel):
    tree = files_of_the_tree()
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert packed - set(tree) == set(), "in the wheel and not in the tree"
        assert set(tree) - packed == set(), "in the tree and not in the wheel"
        changed = [name for name, path in tree.items() if archive.read(name) != path.read_bytes()]
    assert changed == []


def test_the_wheel_carries_licence_command_and_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "slimedge = slimedge.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "slimedge/py.typed" in names


def test_the_version_is_said_once(project, wheel):
    import slimedge

    assert slimedge.__version__ == project["project"]["version"] == wheel.name.split("-")[1]


def test_every_dependency_has_a_lower_bound_and_a_locked_version_that_meets_it(project):
    requirements = pytest.importorskip("packaging.requirements")
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    names = set()
    for line in wanted:
        requirement = requirements.Requirement(line)
        names.add(normalized(requirement.name))
        assert requirement.specifier.contains(locked[normalized(requirement.name)]), line
        if not requirement.name.startswith("types-"):
            assert [bound.operator for bound in requirement.specifier] == [">="], line
    assert names >= REQUIRED


def test_the_lock_names_versions_and_nothing_of_where_they_came_from():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    names = [line.split("==")[0] for line in pins]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line)] == []
    assert names == sorted(names)


@pytest.mark.parametrize(
    "statement",
    [
        "import slimedge",
        "import slimedge; slimedge.Artifact, slimedge.errors, dir(slimedge)",
        HELP,
    ],
    ids=["import slimedge", "the vocabulary", "slimedge --help"],
)
def test_no_heavy_library_is_imported_before_it_is_needed(statement):
    heavy = {"tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "tf2onnx", "scipy", "plotly"}
    assert modules_loaded_by(statement) & heavy == set()


def test_every_public_name_is_there():
    import slimedge

    assert set(slimedge.__all__) <= set(dir(slimedge))
    for name in slimedge.__all__:
        assert getattr(slimedge, name) is not None


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    import slimedge

    with pytest.raises(AttributeError, match=r"no attribute 'quantise'.*quantize"):
        slimedge.quantise  # noqa: B018 - looking it up is the test


def test_a_users_own_folders_do_not_shadow_ours(tmp_path):
    for folder in ("export", "runtime", "compress", "benchmarks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("raise RuntimeError('shadowed')\n")
    code = "import slimedge.export, slimedge.runtime, slimedge.compress, slimedge.benchmarks"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
