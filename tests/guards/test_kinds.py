"""Nothing but its own file knows a kind of task: no recipe, phase or flow asks which one it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tasks.kinds.find import kind_names

ROOT = Path(__file__).parents[2]
# Rooms that know kinds: the kinds themselves, where their rows come from, what serves them, and keys of before.
KNOW = ("tasks/kinds/", "tasks/sources/", "flows/serving/", "stillhouse/answers/")
HEADS = ("ForQuestionAnswering", "ForSequenceClassification", "ForTokenClassification")


def modules(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if not name.startswith(KNOW):
                yield name, ast.parse(file.read_text(encoding="utf-8"))


def asked(tree: ast.Module) -> list[str]:
    """Kinds, and the heads of their models, that a module compares something with."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.Match):
            found += [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "endswith":
            found += [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
    return [word for word in found if word in kind_names() or (isinstance(word, str) and word.endswith(HEADS))]


def test_nobody_asks_which_kind_a_task_is():
    assert len(kind_names()) >= 3
    seen = 0
    for name, tree in modules("tasks", "flows", "stillhouse"):
        assert not asked(tree), name
        seen += 1
    assert seen > 150


def test_no_recipe_and_no_phase_names_a_kinds_class():
    seen = 0
    for name, tree in modules("tasks", "flows"):
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        kinds = {f"tasks.kinds.{kind.replace('-', '_')}" for kind in kind_names()}
        assert not kinds & set(imported), name
        seen += 1
    assert seen > 80


def test_only_an_evaluation_reads_the_test_split():
    readers = {
        name
        for name, tree in modules("tasks", "flows")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "test" and ast.unparse(node.value).endswith("task")
    }
    assert readers == set()
    judging = ast.parse((ROOT / "tasks/kinds/judging.py").read_text(encoding="utf-8"))
    assert "task.test" in {ast.unparse(node) for node in ast.walk(judging) if isinstance(node, ast.Attribute)}
