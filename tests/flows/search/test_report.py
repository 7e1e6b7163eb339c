"""The table and the picture of all trials."""

from pathlib import Path

from flows.search.budget import Budget
from flows.search.report import Point, as_table, draw

POINTS = [
    Point(0, "hinton (layers 1)", False, 0.90, 0.93, 3_000_000, 1.0),
    Point(3, "hinton (layers 2)", True, 0.88, 0.91, 4_000_000, 2.0),
    Point(4, "hinton (layers 3)", True, 0.95, 0.98, 5_000_000, 3.0),
]


def test_the_table_has_every_trial_those_with_all_passes_first_and_the_best_at_the_top():
    lines = as_table(POINTS, "accuracy").splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["4", "3", "0"]
    assert lines[2] == "| 4 | 0.9500 | 98.0% | 5.00 | 3.00 | all | hinton (layers 3) |"


def test_the_picture_is_the_same_on_every_run(tmp_path: Path):
    for name in ("one", "two"):
        draw(POINTS, 0.97, "accuracy", Budget(5_000_000, 2.5, 0.95), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes().startswith(b"\x89PNG")
