"""Which modules a program runs, and what changes their digests."""

from pathlib import Path

import pytest

from tasks.code import write_code
from tasks.stage.modules import digest, modules_of
from tests.tasks.project import ROOT


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        file = root / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def names(found: list[Path]) -> list[str]:
    return [str(file) for file in found]


def test_modules_are_found_through_each_other_inside_functions_and_by_name_of_a_package(tmp_path):
    root = write(
        tmp_path,
        tasks__program="from tasks.room import inner\nimport numpy\n",
        tasks__room__inner="def late():\n    from stillhouse.loss import value\n",
        tasks__room__other="",
        tasks__unused="x = 1\n",
        stillhouse__loss="value = 1\n",
    )
    (root / "tasks/room/__init__.py").write_text("ready = True\n")
    found = names(modules_of(root, "tasks.program"))
    assert found == ["stillhouse/loss.py", "tasks/program.py", "tasks/room/__init__.py", "tasks/room/inner.py"]


def test_what_only_a_type_checker_imports_is_not_run_and_empty_files_decide_nothing(tmp_path):
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tasks.other import Thing\nimport tasks.empty\n"
    )
    root = write(tmp_path, tasks__program=text, tasks__other="class Thing: pass\n", tasks__empty="")
    assert names(modules_of(root, "tasks.program")) == ["tasks/program.py"]


def test_a_program_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no module 'tasks\.nothing'"):
        modules_of(tmp_path, "tasks.nothing")


SOURCE = '"""What it does."""\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x\n'


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("What it does", "What it really does", True),
        ("Twice", "Two times", True),
        ('    """Twice."""\n', "", True),
        ("    return", "    # Why.\n    return", True),
        ("\n\n\ndef", "\n\ndef", True),
        ("2 * x", "3 * x", False),
        ("2 * x", "2 * x + 0", False),
        ("def double(x)", "def double(y)", False),
    ],
)
def test_a_digest_changes_with_the_code_alone(tmp_path, old, new, same):
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text(SOURCE.replace(old, new))
    assert (digest(tmp_path / "a.py") == digest(tmp_path / "b.py")) is same


def test_a_text_that_is_no_docstring_counts(tmp_path):
    (tmp_path / "a.py").write_text('name = "one"\n')
    (tmp_path / "b.py").write_text('name = "two"\n')
    assert digest(tmp_path / "a.py") != digest(tmp_path / "b.py")


def test_every_program_and_every_recipe_of_the_project_gets_a_file(tmp_path):
    write_code(ROOT, tmp_path / "code")
    assert len(list((tmp_path / "code/recipes").iterdir())) == 21
    assert sorted(file.name for file in (tmp_path / "code/kinds").iterdir()) == [
        "answers",
        "classes",
        "multi-label",
        "scores",
        "tokens",
    ]
    assert "tasks/kinds/find.py" not in (tmp_path / "code/kinds/scores").read_text()
    trained = (tmp_path / "code/finetune").read_text()
    assert "stillhouse/training/loop.py " in trained and "stillhouse/methods" not in trained
    assert "stillhouse/methods/theseus.py " in (tmp_path / "code/recipes/theseus").read_text()
