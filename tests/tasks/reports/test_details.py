"""What a page shows of each model by itself, for every kind of task."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import precision_recall_fscore_support

from stillhouse.errors import InputError
from tasks.code import kinds
from tasks.reports.by_class import confusion, of_classes, of_label_sets
from tasks.reports.by_kind import BY_KIND
from tasks.reports.mistakes import cut, mistakes
from tasks.reports.said import answers, read_said, scores, words

ROOT = Path(__file__).parents[3]


def folder_of(root: Path, *pairs: tuple[str, str]) -> Path:
    root.mkdir(exist_ok=True)
    (root / "predictions.csv").write_text("\n".join(["actual,predicted", *map(",".join, pairs)]) + "\n")
    return root


def test_every_kind_of_task_is_read():
    assert set(BY_KIND) == set(kinds(ROOT))


def test_scores_of_classes_are_those_of_scikit_learn():
    draw = np.random.default_rng(0)
    pairs = [("abc"[right], "abcd"[given]) for right, given in zip(*draw.integers(0, 3, (2, 200)), strict=True)]
    found = of_classes(Path(), [*pairs, ("a", "d")], [])
    truth, given = zip(*pairs, ("a", "d"), strict=True)
    theirs = precision_recall_fscore_support(truth, given, labels=list("abcd"), zero_division=0)
    ours = [[getattr(found[name], what) for name in "abcd"] for what in ("precision", "recall", "f1", "there")]
    assert np.allclose(ours, theirs)


def test_many_classes_are_confused_in_a_list_and_few_in_a_matrix():
    few = confusion([("a", "b"), ("a", "a"), ("b", "b"), ("a", "b")])
    assert few.names == ["a", "b"] and few.counts == [[1, 2], [0, 1]]
    many = confusion([*((f"c{i}", f"c{i}") for i in range(30)), ("c1", "c2"), ("c3", "c4"), ("c3", "c4")])
    assert not many.names and many.most == [("c3", "c4", 2), ("c1", "c2", 1)]


def test_of_words_the_wrong_ones_are_told_and_the_worst_row_stands_first(tmp_path):
    rows = pa.table({"text": ["in Rome", "Ada Lovelace", "so"], "label": [[0, 1], [2, 3], [0]]})
    truth = ["O", "LOC", "PER", "PER", "O"]
    teacher = folder_of(tmp_path / "teacher", *zip(truth, truth, strict=True))
    model = folder_of(tmp_path / "model", *zip(truth, ["O", "PER", "LOC", "LOC", "O"], strict=True))
    said = [read_said(words, folder, rows) for folder in (model, teacher)]
    found = mistakes(said[0], said[1], rows, shown=5, characters=50)
    assert [(row.row, row.right, row.teacher, row.given) for row in found.shown] == [
        (2, "Ada PER · Lovelace PER", "all right", "Ada LOC · Lovelace LOC"),
        (1, "Rome LOC", "all right", "Rome PER"),
    ]
    fewer = mistakes(said[0], said[1], rows, shown=1, characters=50)
    assert (len(fewer.shown), fewer.lost) == (1, 2)
    with pytest.raises(InputError, match="says something of 5 words, the task has 2: evaluate that model again"):
        read_said(words, teacher, rows.slice(0, 1))


def test_of_scores_it_counts_by_how_much_an_error_is_larger(tmp_path):
    rows = pa.table({"text": ["a", "b", "c"], "text_pair": ["d", "e", "f"], "label": [1.0, 2.0, 3.0]})
    teacher = folder_of(tmp_path / "teacher", ("1.0", "1.1"), ("2.0", "2.5"), ("3.0", "3.0"))
    model = folder_of(tmp_path / "model", ("1.0", "1.3"), ("2.0", "2.1"), ("3.0", "5.0"))
    said = [read_said(scores, folder, rows) for folder in (model, teacher)]
    found = mistakes(said[0], said[1], rows, shown=5, characters=50)
    assert found.scores and (found.lost, found.won) == (2, 1)
    assert [(row.row, list(row.texts), row.given) for row in found.shown] == [
        (3, ["c", "f"], "5.0"),
        (1, ["a", "d"], "1.3"),
    ]


def test_of_answers_the_context_is_shown_around_what_is_right(tmp_path):
    context = "x " * 200 + "It was Paris." + " y" * 200
    rows = pa.table(
        {
            "id": ["q1", "q2"],
            "question": ["where?", "who?"],
            "context": [context, context],
            "answers": [{"text": ["Paris"], "answer_start": [407]}, {"text": [], "answer_start": []}],
        }
    )
    for name, given, exact in (("teacher", ["Paris", ""], [1, 1]), ("model", ["x", "y"], [0, 0])):
        folder = folder_of(tmp_path / name, ("answer", "answer"), ("no answer", "answer"))
        (folder / "details").mkdir()
        (folder / "details/answers.json").write_text(json.dumps(dict(zip(["q1", "q2"], given, strict=True))))
        (folder / "details/rows.csv").write_text("\n".join(["exact", *map(str, exact)]) + "\n")
    said = [read_said(answers, tmp_path / name, rows) for name in ("model", "teacher")]
    found = mistakes(said[0], said[1], rows, shown=5, characters=30).shown
    assert [(row.right, row.teacher, row.given) for row in found] == [
        ("Paris", "Paris", "x"),
        ("(no answer)", "(no answer)", "y"),
    ]
    assert "Paris" in found[0].texts[1] and found[0].texts[1].startswith("…")


def test_scores_of_several_labels_are_counted_by_their_names(tmp_path):
    (tmp_path / "details").mkdir()
    (tmp_path / "details/rows.csv").write_text("label_0,label_1,given_0,given_1\n1,0,1,1\n1,1,0,1\n")
    found = of_label_sets(tmp_path, [], ["good", "long"])
    assert (found["good"].precision, found["good"].recall, found["good"].there) == (1.0, 0.5, 2)
    assert (found["long"].precision, found["long"].recall, found["long"].there) == (0.5, 1.0, 1)


def test_a_text_is_cut_to_its_length_with_a_sign_of_it():
    assert cut("short", 10) == "short"
    assert cut("0123456789", 4) == "0123…"
    assert cut("0123456789", 4, "8") == "…6789"
