"""Probabilities that rows state: each way to write them, and what cannot be read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.sources.make_label_sets import prepare_label_sets
from tasks.sources.make_task import prepare_task
from tests.tasks.sources.test_make_task import data_params

NAMES = ["bad", "good"]
TRAIN = [("a dull film", [0.9, 0.1]), ("a fine film", [0.25, 0.75])]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def table(folder: Path, rows: list[dict], end: str = "jsonl", others: list[dict] | None = None, **changes: Any):
    """Parameters of two files: these rows, and others or the same with other texts."""
    for name, each in (("a", rows), ("b", others or [{**row, "said": f"{row['said']} too"} for row in rows])):
        if end == "parquet":
            pq.write_table(pa.Table.from_pylist(each), folder / f"{name}.parquet")
        else:
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in each))
    files = {"folder": str(folder), "train": f"a.{end}", "validation": f"b.{end}", "test": None, "layout": "table"}
    columns = {"text": "said", "label": None, "probabilities": "shares"}
    return data_params(**{"source": "files", "files": files, "columns": columns, "labels": NAMES} | changes)


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("written", "changes"),
    [
        (lambda shares: {"shares": shares}, {}),
        (lambda shares: {"shares": dict(zip(NAMES, shares, strict=True))}, {"labels": None}),
        (
            lambda shares: dict(zip(NAMES, map(str, shares), strict=True)),
            {"labels": None, "columns": {"text": "said", "label": None, "probabilities": NAMES}},
        ),
    ],
    ids=["a list", "a mapping", "columns"],
)
def test_a_row_has_its_probabilities_and_the_likeliest_label(tmp_path, written, changes, end) -> None:
    rows = [{"said": text, **written(shares)} for text, shares in TRAIN]
    prepare_task(table(tmp_path, rows, end, **changes), tmp_path / "task", scores=False)
    data = load_split(tmp_path / "task/train.parquet")
    assert data["probabilities"][:] == [pytest.approx(shares) for _, shares in TRAIN]
    assert data.features["label"].names == NAMES and data["label"][:] == [0, 1]


def test_rows_that_have_labels_keep_them_and_only_train_needs_probabilities(tmp_path: Path) -> None:
    rows = [{"said": text, "mood": "bad", "shares": shares} for text, shares in TRAIN]
    rows[0]["mood"] = "good"  # others may err
    held_out = [{"said": "so so", "mood": "bad"}, {"said": "well", "mood": "good"}]
    columns = {"text": "said", "label": "mood", "probabilities": "shares"}
    prepare_task(table(tmp_path, rows, others=held_out, columns=columns), tmp_path / "task", scores=False)
    assert load_split(tmp_path / "task/train.parquet")["label"][:] == [1, 0]
    assert load_split(tmp_path / "task/validation.parquet")["probabilities"][:] == [None, None]


def test_several_labels_need_not_add_up(tmp_path: Path) -> None:
    rows = [{"said": "a", "shares": [0.9, 0.8]}, {"said": "b", "shares": [0.1, 0.2]}, {"said": "c", "shares": [0, 1]}]
    prepare_label_sets(table(tmp_path, rows, kind="multi-label"), tmp_path / "task")
    data = load_split(tmp_path / "task/train.parquet")
    assert data["label"][:] == [[0, 1], [], [1]]
    assert data["probabilities"][0] == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize(
    ("cell", "changes", "said"),
    [
        ([0.5, 0.6], {}, "line 2: the probabilities add up to 1.1, not to 1"),
        ([0.5], {}, "line 2: 1 probabilities for 2 labels: give each one"),
        ([1.5, -0.5], {}, "line 2: the probability of 'bad' is 1.5: a number from 0 to 1 is expected"),
        ([10**400, 0], {}, "line 2: the probability of 'bad' is 10{39}: a number from 0 to 1"),
        (["x", 0.5], {}, "line 2: the probability of 'bad' is 'x': a number from 0 to 1"),
        ([float("nan"), 0.5], {}, "line 2: the probability of 'bad' is nan"),
        ("0.5", {}, "line 2: the probabilities are '0.5': a list of numbers is expected"),
        (None, {}, "line 2: the probabilities are None: a list of numbers is expected"),
        ({"bad": 1.0, "fine": 0.0}, {}, "line 2: probabilities of 'fine': the labels are bad, good"),
        ([0.5, 0.5], {"labels": None}, "is a list, and data.labels = null: name the labels in the list's order"),
        ([0.5, 0.5], {"labels": {"0": "bad", "1": "good"}}, "have none: set it to null, or let labels be the names"),
    ],
)
def test_what_is_no_probability_is_one_line(tmp_path: Path, cell: Any, changes: dict, said: str) -> None:
    rows = [{"said": "a", "shares": [0.5, 0.5]}, {"said": "b", "shares": cell}]
    with pytest.raises(InputError, match=said):
        prepare_task(table(tmp_path, rows, **changes), tmp_path / "task", scores=False)


def test_scores_have_none(tmp_path: Path) -> None:
    rows = [{"said": "a", "shares": [0.5, 0.5]}]
    with pytest.raises(InputError, match="scores with labels = None have none: set it to null"):
        prepare_task(table(tmp_path, rows, kind="scores", labels=None), tmp_path / "task", scores=True)
