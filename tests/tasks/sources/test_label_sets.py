"""Rows of several labels: each way to write them gives one schema, and what cannot be read is one line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.data.schema import kind_of
from tasks.sources.builtin.functions import ASKED, functions_of
from tasks.sources.make_label_sets import prepare_label_sets
from tests.tasks.sources.test_make_task import data_params

TRAIN = [("a fine film", "joy,love"), ("it is over", ""), ("how sad", "grief"), ("so it is", "love")]
NAMES = ["grief", "joy", "love"]
WANTED = [["joy", "love"], [], ["grief"], ["love"]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def table(folder: Path, train: list[dict], end: str = "jsonl", **changes: Any) -> dict[str, Any]:
    """Keys of `data` for two files of these rows, which it writes; the second has other texts."""
    for name, more in (("a", ""), ("b", " too")):
        rows = [{**row, "said": row["said"] + more} for row in train]
        if end == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
        else:
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"folder": str(folder), "train": f"a.{end}", "validation": f"b.{end}", "test": None, "layout": "table"}
    columns = {"text": "said", "text_pair": None, "label": "felt"}
    return {"kind": "multi-label", "source": "files", "files": files, "columns": columns, "labels": None} | changes


def written(folder: Path, split: str = "train") -> tuple[list[str], list[list[str]]]:
    """The names, and each row's labels by name."""
    data = load_split(folder / f"{split}.parquet")
    assert kind_of(folder / f"{split}.parquet") == "multi-label"
    names = data.features["label"].feature.names
    return names, [[names[place] for place in row] for row in data["label"][:]]


def as_list(text: str) -> list[str]:
    return text.split(",") if text else []


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ([{"said": text, "felt": felt} for text, felt in TRAIN], {}),
        ([{"said": text, "felt": felt.replace(",", " | ")} for text, felt in TRAIN], {"label_separator": "|"}),
        ([{"said": text, "felt": as_list(felt)} for text, felt in TRAIN], {"end": "parquet"}),
        ([{"said": text, "felt": as_list(felt)[::-1]} for text, felt in TRAIN], {}),
        (
            [{"said": text, **{name: int(name in felt) for name in NAMES}} for text, felt in TRAIN],
            {"columns": {"text": "said", "text_pair": None, "label": NAMES}},
        ),
        (
            [{"said": text, "felt": [NAMES.index(name) for name in as_list(felt)]} for text, felt in TRAIN],
            {"labels": NAMES},
        ),
    ],
    ids=["text", "another separator", "a list column", "a JSON list", "columns of 0 and 1", "places"],
)
def test_each_way_to_write_several_labels_is_read(tmp_path: Path, rows: list[dict], changes: dict) -> None:
    prepare_label_sets(data_params(**table(tmp_path, rows, **changes)), tmp_path / "task")
    assert written(tmp_path / "task") == (NAMES, WANTED)


def test_a_file_has_the_names_of_places(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("grief\njoy\nlove\n")
    rows = [{"said": text, "felt": ",".join(str(NAMES.index(name)) for name in as_list(felt))} for text, felt in TRAIN]
    prepare_label_sets(data_params(**table(tmp_path, rows, labels="labels.txt")), tmp_path / "task")
    assert written(tmp_path / "task") == (NAMES, WANTED)
    (tmp_path / "labels.txt").write_text("grief\njoy\njoy\n")
    with pytest.raises(InputError, match=r"labels.txt, line 3: 'joy' is no name of its own"):
        prepare_label_sets(data_params(**table(tmp_path, rows, labels="labels.txt")), tmp_path / "task")


def test_a_file_of_names_in_other_letters_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("grief\nfiert\u00e9\n".encode("latin-1"))
    keys = table(tmp_path, [{"said": "a", "felt": "0"}], labels="labels.txt")
    with pytest.raises(InputError, match=r"labels\.txt: not UTF-8 text \(byte 0xe9\): convert it first"):
        prepare_label_sets(data_params(**keys), tmp_path / "task")


def test_goemotions_layout_is_read_with_its_names(tmp_path: Path) -> None:
    lines = [f"text {number}\t{number},27\tid{number}\n" for number in range(28)]
    for name, more in (("train", ""), ("dev", "more ")):
        (tmp_path / f"{name}.tsv").write_text("".join(more + line for line in lines))
    files = {"folder": str(tmp_path), "train": None, "validation": None, "test": None, "layout": "goemotions"}
    prepare_label_sets(data_params(kind="multi-label", source="files", files=files, labels=None), tmp_path / "task")
    names, rows = written(tmp_path / "task")
    assert len(names) == 28 and rows[0] == ["admiration", "neutral"] and rows[27] == ["neutral"]


def test_a_hub_column_of_several_classes_is_read(tmp_path: Path) -> None:
    features = Features({"said": Value("string"), "felt": List(ClassLabel(names=NAMES))})
    places = [[NAMES.index(name) for name in as_list(felt)] for _, felt in TRAIN]
    for split, more in (("train", ""), ("validation", " too")):
        columns = {"said": [text + more for text, _ in TRAIN], "felt": places}
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        Dataset.from_dict(columns, features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    hub = {"name": str(tmp_path / "set"), "config": None, "test_split": None}
    keys = table(tmp_path, [{"said": "a", "felt": ""}], source="hub", hub=hub)
    prepare_label_sets(data_params(**keys), tmp_path / "task")
    assert written(tmp_path / "task") == (NAMES, WANTED)


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            [{"said": "a", "felt": "joy,rage"}],
            {"labels": ["joy", "love"]},
            "line 1: unknown label 'rage': known",
        ),
        (
            [{"said": "a", "felt": "joy"}],
            {"labels": ["joy", "love"]},
            "no row has the label 'love' .1 of 2 labels",
        ),
        ([{"said": "a", "felt": ""}], {}, "no row has a label: check data.columns.label"),
        ([{"said": "a", "felt": None}], {}, "line 1: the labels are missing: a row without any has an empty list"),
        ([{"said": "a", "felt": "joy,,love"}], {}, "line 1: labels 'joy,,love' have an empty one among them"),
        ([{"said": "a", "felt": ["joy", None]}], {}, "line 1: labels .* have an empty one among them"),
        ([{"said": "a", "felt": [["joy"], "love"]}], {}, "line 1: a label is .'joy'.: a list of names is expected"),
        ([{"said": "a", "felt": ["joy \ud83d"]}], {}, "line 1: label .joy .* holds half of a surrogate pair"),
        (
            [{"said": "a", "joy": 2}],
            {"columns": {"text": "said", "text_pair": None, "label": ["joy"]}},
            "line 1: column 'joy' is '2': 1 says that a row has the label",
        ),
        (
            [{"said": "a", "joy": 1}],
            {"columns": {"text": "said", "text_pair": None, "label": ["joy", "love"]}},
            "line 1: no column 'love': it has said, joy",
        ),
        ([{"said": "a", "felt": "joy"}], {"labels": {1: "joy"}}, "data.labels is a mapping"),
        ([{"said": "a", "felt": "joy"}], {"labels": "names.txt"}, "names.txt' is missing: the folder has a.jsonl"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, rows: list[dict], changes: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        prepare_label_sets(data_params(**table(tmp_path, rows, **changes)), tmp_path / "task")
    assert "\n" not in str(error.value) and not (tmp_path / "task").exists()


def test_the_built_in_task_asks_which_parameters_a_function_takes(tmp_path: Path) -> None:
    counts = {"libraries": ["numpy", "scipy"], "train_per_library": 40, "validation_per_library": 8}
    data = {"kind": "multi-label", "source": "docstrings", "docstrings": counts, "labels": None}
    assert prepare_label_sets(data_params(**data), tmp_path / "task")["train_rows"] == 80
    names, rows = written(tmp_path / "task")
    assert set(names) <= set(ASKED) and "axis" in names and max(map(len, rows)) > 1
    assert {name for row in rows for name in row} == set(names)


def test_a_function_has_its_first_sentence_and_its_own_parameters(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        'def f():\n    """Sum over an axis. Then more.\n\n    Parameters\n    ----------\n    axis, out : int\n'
        '        Which.\n\n    Returns\n    -------\n    dtype : x\n    """\n\n\ndef g():\n    """No section."""\n'
    )
    assert list(functions_of(file)) == [("Sum over an axis.", {"axis", "out"})]
