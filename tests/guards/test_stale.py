"""What an edit makes stale: the stages that run what it changed, and those after them, no others."""

import shutil
import subprocess
from pathlib import Path

import pytest

from flows.dag.graph import Stage, load_graph, stale
from tasks.stage.modules import modules_of
from tasks.stage.outside import stage_outputs
from tasks.stage.params import read_yaml
from tests.guards.test_pipeline import ROOT, runs_recipe, stages, words


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which every stage is up to date, though none has run: DVC took what was there for its output."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("stillhouse", "tasks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml", "constraints.txt", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false", "dvc config cache.type symlink"):
        subprocess.run(command.split(), cwd=root, check=True)
    for _, path in stage_outputs(read_yaml(root / "dvc.yaml"), read_yaml(root / "params.yaml")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if "." in Path(path).name:
            (root / path).write_text(path)
        elif path != "code":
            (root / path).mkdir(exist_ok=True)
            (root / path / "file").write_text(path)
    for rows in ("data/task/train.parquet", "data/augmented/train.parquet", "data/bilstm-augmented/train.parquet"):
        (root / rows).write_text(rows)
    subprocess.run(["python", "-m", "tasks.code", "--out", "code"], cwd=root, check=True, env=environment(root))
    subprocess.run(["dvc", "commit", "--force", "--quiet"], cwd=root, check=True)
    return root


def environment(root: Path) -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(root)}


@pytest.fixture
def clone(made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(made)
    monkeypatch.setenv("PYTHONPATH", str(made))
    before: dict[Path, str] = {}

    def edit(file: str, old: str, new: str) -> None:
        text = before.setdefault(made / file, (made / file).read_text(encoding="utf-8"))
        assert old in text
        (made / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    edit.root = made  # type: ignore[attr-defined]
    yield edit
    for file, text in before.items():
        file.write_text(text, encoding="utf-8")


def expected(graph: tuple[Stage, ...], file: str) -> set[str]:
    """By the imports: who runs this file, and all that comes after."""
    bodies, found = stages(), set()
    for stage in graph:
        if stage.name == "code":
            continue
        body = bodies[stage.name.partition("@")[0]]
        recipe = runs_recipe(body)
        modules = modules_of(ROOT, words(body)[0])
        modules += modules_of(ROOT, f"tasks.recipes.{recipe.replace('-', '_')}") if recipe else []
        if Path(file) in modules or found.intersection(stage.needs):
            found.add(stage.name)
    return found


@pytest.mark.slow
def test_an_edit_makes_just_those_stages_stale_that_run_what_it_changed(clone):
    graph = load_graph(clone.root)
    assert stale(clone.root, graph) == set()

    clone("stillhouse/methods/theseus.py", '"""BERT-of-Theseus', '"""Replaced: BERT-of-Theseus')
    assert stale(clone.root, graph) == set(), "a docstring"
    clone("stillhouse/training/loop.py", "\nimport ", "\n# A comment.\nimport ")
    assert stale(clone.root, graph) == set(), "a comment"

    clone("stillhouse/methods/theseus.py", "\nimport ", "\nEDITED = True\nimport ")
    found = stale(clone.root, graph)
    assert found == expected(graph, "stillhouse/methods/theseus.py")
    assert {name for name in found if "theseus" not in name} == {"compare"}

    clone("stillhouse/training/loop.py", "\nimport ", "\nEDITED = True\nimport ")
    found = stale(clone.root, graph)
    assert found == expected(graph, "stillhouse/training/loop.py")
    assert {"teacher", "hinton", "compare"} <= found and not {"prepare", "corpus", "code"} & found
