"""The report: what is on the front, what the tables say, and a picture whose labels can be read."""

import json
import random
from pathlib import Path

import pytest
from matplotlib import image
from matplotlib.text import Text

from stillhouse.errors import InputError
from tasks import report
from tasks.reports import picture
from tasks.reports.comparison import read_reports, with_finished, with_links
from tasks.reports.page import page
from tasks.reports.pareto import pareto
from tests.tasks.reports.written import MODELS, write, write_finished


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")


def run(monkeypatch, folders: list[Path], out: Path, *words: object) -> str:
    monkeypatch.setattr("sys.argv", ["report", *map(str, [*folders, "--out", out, *words])])
    report.main()
    return (out / "report.md").read_text()


def test_the_front_is_what_no_other_beats_in_cost_and_value():
    costs, values = [438, 267, 58, 438, 12, 58], [0.912, 0.897, 0.901, 0.880, 0.86, 0.899]
    assert pareto(costs, values) == [4, 2, 0]


def test_equal_models_are_both_on_the_front():
    assert pareto([1, 1, 2], [0.5, 0.5, 0.5]) == [0, 1]


def test_latencies_are_compared_as_if_all_had_been_timed_together(tmp_path):
    comparison = read_reports(write(tmp_path))
    times = [comparison.latency_ms(model) for model in comparison.models]
    ratios = [times[0] / time for time in times]
    assert ratios == pytest.approx([40 / p50 for _, _, p50, _ in MODELS.values()])


def test_the_page_names_what_is_slower_than_the_teacher_and_nothing_else(tmp_path, monkeypatch):
    folders = write(tmp_path, MODELS | {"int8": (0.91, 110.0, 80.0, 0.0)})
    text = run(monkeypatch, folders, tmp_path / "out")
    said = [line for line in text.splitlines() if "slower than the teacher" in line]
    assert said == [
        f"- **int8 is slower than the teacher** on this hardware at batch size {size}: 0.50×." for size in (1, 32)
    ]


def test_the_page_names_what_is_smaller_and_not_faster_and_nothing_else(tmp_path):
    text = page(read_reports(write(tmp_path, MODELS | {"albert": (0.88, 100.0, 40.4, 0.0)})), "A title")
    assert [line for line in text.splitlines() if "not faster" in line] == [
        "- **albert is smaller than the teacher, but not faster**: 4.38× smaller, 1.01× the FLOPs, "
        "0.99× as fast at batch size 1, 0.99× as fast at batch size 32."
    ]


def test_the_page_says_what_was_won_and_lost(tmp_path, monkeypatch):
    text = run(monkeypatch, write(tmp_path), tmp_path / "out")
    row = next(line for line in text.splitlines() if line.startswith("| tinybert"))
    assert [cell in row for cell in (" 0.9010 ", " 98.8% ", " 58.0 MB ", " 7.55× ", " 10.00× ")] == [True] * 5
    assert "| prune-recover | 0.8800 | 96.5% | 109.50 M | 70% | 438.0 MB | 438.0 MB | 1.00× |" in text
    assert "a processor, 2 cores, 2 threads, a runtime" in text
    assert "![metric against size and latency](report.png)" in text


def test_the_same_reports_give_the_same_bytes(tmp_path, monkeypatch):
    folders = write(tmp_path)
    for out in ("one", "other"):
        run(monkeypatch, folders, tmp_path / out)
    for name in ("report.md", "report.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_curve_gets_a_table_and_a_panel(tmp_path, monkeypatch):
    folders = write(tmp_path)
    run(monkeypatch, folders, tmp_path / "plain")
    (tmp_path / "prune-recover/curve.csv").write_text("share,before,after\n0.3,0.9,0.911\n0.7,0.62,0.88\n")
    text = run(monkeypatch, folders, tmp_path / "curve")
    assert "| 70% | 0.6200 | 0.8800 | 96.5% |" in text
    without, with_curve = (image.imread(tmp_path / name / "report.png").shape for name in ("plain", "curve"))
    assert with_curve[0] > without[0]
    assert with_curve[1] == without[1]


def test_labels_of_a_crowded_picture_do_not_overlap(tmp_path, monkeypatch):
    draw = random.Random(0)
    crowd = {f"recipe-{i}": (0.9 + draw.uniform(0, 0.004), draw.uniform(200, 300), 20 + i, 0.0) for i in range(9)}
    comparison = read_reports(write(tmp_path, MODELS | crowd))
    panels = []
    place = picture._label

    def keep(axis, comparison, costs):
        place(axis, comparison, costs)
        for note in axis.texts:
            note.update_positions(axis.figure.canvas.get_renderer())
        panels.append([Text.get_window_extent(note) for note in axis.texts])

    monkeypatch.setattr(picture, "_label", keep)
    picture.draw(comparison, tmp_path / "report.png")
    assert [len(boxes) for boxes in panels] == [13, 13]
    for boxes in panels:
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_the_page_shows_plain_and_finished_of_the_recipes_that_have_both(tmp_path, monkeypatch):
    folders = write(tmp_path)
    finished = {
        "hinton": (0.895, 40.0, 15.0, 0.0),
        "tinybert": (0.88, 9.0, 3.0, 0.0),
        "prune-recover": (0.5, 1, 1, 0.7),
    }
    write_finished(tmp_path, finished)
    trim = {"floor": 1, "first": 0}
    own = {"hinton": {}, "tinybert": {"trim": None}}
    links = {"trim": trim, "corpus": "data/task", "factorize": None, "int8": None, "of": own}
    (tmp_path / "params.yaml").write_text(json.dumps({"finish": links}))
    text = run(monkeypatch, folders, tmp_path / "out", "--params", tmp_path / "params.yaml")
    table = [line.split(" | ")[0] for line in text.partition("![")[0].splitlines() if line.startswith("| ")]
    assert table == [
        *("| recipe", "| teacher", "| hinton", "| hinton finished", "| tinybert", "| tinybert finished"),
        "| prune-recover",
    ], "prune-recover's lies there from before it was taken out of finish.of"
    assert "| hinton finished | 0.8950 | 98.1% | 10.00 M | 0% | 40.0 MB | 40.0 MB | 10.95× |" in text
    assert "- **Finished** is a recipe's student after the links of `finish`" in text
    comparison = read_reports(with_finished(folders, ["hinton", "tinybert"]))
    assert comparison.pairs() == [(1, 2), (3, 4)]


def test_in_the_picture_a_recipe_is_named_once_or_where_it_is_on_the_front(tmp_path, monkeypatch):
    folders = write(tmp_path)
    write_finished(tmp_path, {"hinton": (0.5, 200.0, 15.0, 0.0), "tinybert": (0.88, 9.0, 3.0, 0.0)})
    comparison = read_reports(with_finished(folders, ["hinton", "tinybert"]))
    names, marks = [], []
    place = picture._label

    def keep(axis, comparison, costs):
        place(axis, comparison, costs)
        names.append([note.get_text() for note in axis.texts])
        marks.append(sum(line.get_gid() == picture.PAIR for line in axis.lines))

    monkeypatch.setattr(picture, "_label", keep)
    picture.draw(comparison, tmp_path / "report.png")
    assert names == [["teacher", "hinton", "tinybert", "tinybert", "prune-recover"]] * 2
    assert marks == [2, 2], "a line joins the two forms"


def test_of_one_recipe_the_models_on_its_chains_way_are_shown_largest_first_and_joined(tmp_path, monkeypatch):
    folders = write(tmp_path, {"teacher": MODELS["teacher"], "smallest": (0.90, 9.0, 3.0, 0.0)})
    links = {"smallest-retrain": (0.89, 40.0, 4.0, 0.0), "smallest-student": (0.905, 90.0, 9.0, 0.0)}
    write(tmp_path / "smallest/links", links)
    text = run(monkeypatch, folders, tmp_path / "out")
    table = [line.split(" | ")[0] for line in text.partition("![")[0].splitlines() if line.startswith("| ")]
    assert table == ["| recipe", "| teacher", "| smallest-student", "| smallest-retrain", "| smallest"]
    assert "- **On the way**: smallest-student, smallest-retrain are what" in text
    comparison = read_reports(with_links(folders))
    assert comparison.way() == [0, 1, 2, 3]
    assert read_reports(folders).way() == []
    # Of all recipes each is shown as it ends.
    (tmp_path / "all").mkdir()
    everyone = run(monkeypatch, [], tmp_path / "all", "--all", str(tmp_path))
    assert "smallest-student" not in everyone and "| smallest |" in everyone


def test_reports_without_the_teacher_are_refused(tmp_path):
    with pytest.raises(InputError, match="0 of the reports are the teacher's: give reports/evaluated/teacher once"):
        read_reports(write(tmp_path, {"hinton": MODELS["hinton"]}))


def test_reports_of_different_tasks_are_not_compared(tmp_path):
    one = write(tmp_path / "one", {"teacher": MODELS["teacher"]})
    other = write(tmp_path / "other", {"hinton": MODELS["hinton"]}, task_metric="f1")
    with pytest.raises(InputError, match=r"differ in 'task_metric' \(.*'hinton': 'f1'.*evaluate all of them again"):
        read_reports(one + other)


def test_reports_of_different_kinds_of_task_are_not_compared_though_their_metric_has_one_name(tmp_path):
    one = write(tmp_path / "one", {"teacher": MODELS["teacher"]}, task_metric="f1")
    other = write(tmp_path / "other", {"hinton": MODELS["hinton"]}, task_metric="f1", kind="answers")
    with pytest.raises(InputError, match=r"differ in 'kind' \(.*'hinton': 'answers'"):
        read_reports(one + other)


def test_a_score_of_test_is_never_compared_with_one_of_validation(tmp_path):
    one = write(tmp_path / "one", {"teacher": MODELS["teacher"]}, split="test")
    other = write(tmp_path / "other", {"hinton": MODELS["hinton"]})
    with pytest.raises(InputError, match=r"differ in 'split' \(.*'teacher': 'test', 'hinton': 'validation'"):
        read_reports(one + other)


def test_the_page_speaks_of_the_split_and_shows_validation_beside_test(tmp_path):
    validation = {"value": 0.7, "examples": 80, "metrics": {"accuracy": 0.7, "f1": 0.65}}
    text = page(read_reports(write(tmp_path / "one", split="test", validation=validation)), "All")
    assert "**accuracy** over 872 examples of test" in text
    assert "## All metrics of test" in text
    assert "## All metrics of validation\n\n| recipe | accuracy | f1 |" in text
    assert "| hinton | 0.7000 | 0.6500 |" in text
    assert "of test" not in page(read_reports(write(tmp_path / "other")), "All")


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), ("{", "is damaged")])
def test_a_missing_or_damaged_file_is_named(content, message, tmp_path):
    folders = write(tmp_path)
    file = tmp_path / "hinton/latency.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError, match=rf"hinton/latency.json' {message}"):
        read_reports(folders)
