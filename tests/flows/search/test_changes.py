"""Values by their dotted names: laid over a tree, and written as a profile that params.yaml takes."""

import shutil
from pathlib import Path

import pytest

from flows.search.changes import changed, refuse_own, write_profile
from stillhouse.errors import InputError
from tasks.profile import apply, list_profiles, read_profile
from tasks.stage.params import read_yaml

ROOT = Path(__file__).parents[3]
VALUES = {
    "smallest.student.student.layers": 1,
    "smallest.factorize.source": "models/smallest-trim",
    "smallest.retrain.phase.learning_rate": 0.00001,
    "hinton.distill.student.heads": None,
}


def test_a_change_leaves_the_tree_as_it_was_and_what_is_merged_elsewhere():
    student = {"layers": 3}
    tree = {"a": {"student": student}, "b": {"student": student}}
    assert changed(tree, {"a.student.layers": 1}) == {"a": {"student": {"layers": 1}}, "b": {"student": {"layers": 3}}}
    assert student == {"layers": 3}


def test_the_profile_of_a_winner_changes_its_values_and_no_others(tmp_path):
    params = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", params)
    before = read_yaml(params)
    write_profile(tmp_path / "found.yaml", VALUES, "smallest, 97 % kept")
    assert list_profiles(tmp_path)[0] == ("found", "Found by a search: smallest, 97 % kept")
    apply([read_profile("found", tmp_path)], params)
    assert read_yaml(params) == changed(before, VALUES) != before


def test_a_profile_that_no_search_wrote_is_not_written_over(tmp_path):
    file = tmp_path / "found.yaml"
    file.write_text("# mine\ndata: {seed: 1}\n")
    with pytest.raises(InputError, match=r"written by somebody else: choose another name"):
        write_profile(file, VALUES, "x")
    assert file.read_text().startswith("# mine")
    file.unlink()
    write_profile(file, VALUES, "x")
    write_profile(file, VALUES | {"smallest.student.student.layers": 2}, "y")
    assert "Found by a search: y" in file.read_text()
    with pytest.raises(InputError, match="there is no folder"):
        refuse_own(tmp_path / "none" / "found.yaml")
