"""The table of recipes, kinds and families says what a session's tests did, no more and no less."""

import re
from pathlib import Path
from types import SimpleNamespace

from tests import table

ROOT = Path(__file__).parents[2]


def report(*said: dict) -> SimpleNamespace:
    return SimpleNamespace(user_properties=[(table.PROPERTY, each) for each in said])


def test_a_cell_is_what_became_of_its_test() -> None:
    pkd, hinton, int8, trim = ({"recipe": name, "kind": "classes", "family": "bert"} for name in ("a", "b", "c", "d"))
    stats = {
        "passed": [
            report(pkd),
            report(hinton, hinton | {"refused": "error: hinton is\n not for it"}),
            report(trim),
            report(*({**cell, "left": "too many"} for cell in (trim, {**trim, "family": "mpnet"}))),
        ],
        "failed": [report(int8)],
        "skipped": [report({**pkd, "family": "roberta"})],
    }
    outcomes = table.collected(stats)
    assert {place[1:]: (each.mark, each.why) for place, each in outcomes.items()} == {
        ("a", "classes", "bert"): ("yes", ""),
        ("b", "classes", "bert"): ("no", "hinton is not for it"),
        ("c", "classes", "bert"): ("FAILED", ""),
        ("d", "classes", "bert"): ("yes", ""),
        ("d", "classes", "mpnet"): ("·", "too many"),
    }
    said = "\n".join(table.lines(outcomes))
    assert "recipe × family (kind classes): 2 ran, 1 refused by the code, 1 left out, 1 FAILED; of 8 cells" in said
    assert "  no b × bert: hinton is not for it" in said and "  · 1 cells: too many" in said
    assert "of 8 cells\n  3 cells have no test here" in said


def test_a_session_without_cells_has_no_table() -> None:
    assert list(table.lines(table.collected({"passed": [SimpleNamespace(user_properties=[])]}))) == []


def test_the_command_runs_every_file_that_has_cells() -> None:
    calls = re.compile(r"^ +cell\(", re.MULTILINE)
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if calls.search(file.read_text(encoding="utf-8"))]
    assert sorted(file.relative_to(ROOT).as_posix() for file in files) == sorted(table.FILES)
