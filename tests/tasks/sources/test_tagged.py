"""Rows whose words have labels: each way to write them gives one schema, and what cannot be read is one line."""

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
from tasks.sources.make_tokens import prepare_tokens
from tests.tasks.sources.test_make_task import data_params

TRAIN = [("Ada Lovelace wrote to Babbage .", "B-PER I-PER O O B-PER O"), ("London 😂", "B-LOC O")]
NAMES = ["B-LOC", "B-PER", "I-PER", "O"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def keys(folder: Path, end: str, layout: str = "table", **changes: Any) -> dict[str, Any]:
    files = {"folder": str(folder), "train": f"a.{end}", "validation": f"b.{end}", "test": None, "layout": layout}
    columns = {"text": "words", "text_pair": None, "label": "tags"} if layout == "table" else {}
    return {"kind": "tokens", "source": "files", "files": files, "columns": columns or None, "labels": None} | changes


def prepare(folder: Path, **changes: Any) -> None:
    changes = {name: value for name, value in changes.items() if value is not None or name == "labels"}
    prepare_tokens(data_params(**changes), folder / "task")


def written(folder: Path, split: str = "train") -> list[tuple[str, str]]:
    data = load_split(folder / "task" / f"{split}.parquet")
    assert kind_of(folder / "task" / f"{split}.parquet") == "tokens"
    names = data.features["label"].feature.names
    return [(row["text"], " ".join(names[place] for place in row["label"])) for row in data]


def conll(rows: list[tuple[str, str]], between: str, more: str = "") -> str:
    sentences = [
        "".join(f"{word}{between}{more}{tag}\n" for word, tag in zip(text.split(), tags.split(), strict=True))
        for text, tags in rows
    ]
    return "\n".join(sentences)


@pytest.mark.parametrize(
    "written_so",
    [
        lambda rows: conll(rows, "\t"),
        lambda rows: conll(rows, " ", "NN B-NP "),
        lambda rows: "-DOCSTART- -X- O O\n\n" + conll(rows, "  "),
        lambda rows: "# a remark\n" + conll(rows, "\t").replace("\n\n", "\n\t\n# id = 2\n"),
        lambda rows: "\ufeff" + conll(rows, "\t").replace("\n", "\r\n"),
        lambda rows: conll(rows, "\t") + "\n\n\n",
    ],
    ids=["tabs", "spaces and more columns", "documents", "remarks", "a byte-order mark and CRLF", "empty lines"],
)
def test_conll_files_are_read(tmp_path: Path, written_so: Any) -> None:
    for name, text in (("a", TRAIN), ("b", [(f"{words} x", f"{tags} O") for words, tags in TRAIN])):
        (tmp_path / f"{name}.conll").write_text(written_so(text), encoding="utf-8", newline="")
    prepare(tmp_path, **keys(tmp_path, "conll", "conll"))
    assert written(tmp_path) == TRAIN


def test_a_number_sign_is_a_word_where_no_tab_stands(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.conll").write_text(f"# O\n1{name} B-NUM\n")
    prepare(tmp_path, **keys(tmp_path, "conll", "conll"))
    assert written(tmp_path) == [("# 1a", "O B-NUM")]


def test_a_column_of_a_conll_file_is_named_by_its_place(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.conll").write_text(f"1\tThe{name}\tDET\tO\n2\tcat\tNOUN\tO\n")
    columns = {"text": 2, "text_pair": None, "label": 3}
    prepare(tmp_path, **keys(tmp_path, "conll", "conll", columns=columns))
    assert written(tmp_path) == [("Thea cat", "DET NOUN")]


def spans_of(text: str, tags: str) -> list[dict]:
    found: list[dict] = []
    at = 0
    for word, tag in zip(text.split(), tags.split(), strict=True):
        if tag.startswith("B-"):
            found.append({"start": at, "end": at + len(word), "label": tag[2:]})
        elif tag.startswith("I-"):
            found[-1]["end"] = at + len(word)
        at += len(word) + 1
    return found


WAYS: dict[str, Any] = {
    "lists": lambda text, tags: {"words": text.split(), "tags": tags.split()},
    "spans": lambda text, tags: {"words": text, "tags": spans_of(text, tags)},
    "triples": lambda text, tags: {
        "words": text,
        "tags": [[each["start"], each["end"], each["label"]] for each in spans_of(text, tags)],
    },
    "text": lambda text, tags: {"words": text, "tags": tags},
    "places": lambda text, tags: {"words": text.split(), "tags": [NAMES.index(tag) for tag in tags.split()]},
}


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
@pytest.mark.parametrize("way", WAYS)
def test_tables_are_read(tmp_path: Path, way: str, end: str) -> None:
    for name, more in (("a", ""), ("b", " x")):
        rows = [WAYS[way](text + more, tags + (" O" if more else "")) for text, tags in TRAIN]
        if way == "triples" and end == "parquet":
            rows = [{**row, "tags": json.dumps(row["tags"])} for row in rows]  # Parquet has no lists of mixed kinds
            rows = [
                {**row, "tags": [{"start": s, "end": e, "type": k} for s, e, k in json.loads(row["tags"])]}
                for row in rows
            ]
        if end == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        else:
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(tmp_path, **keys(tmp_path, end, labels=NAMES if way == "places" else None))
    assert written(tmp_path) == TRAIN


def test_a_hub_dataset_is_read(tmp_path: Path) -> None:
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=NAMES[::-1]))})
    for split, more in (("train", ""), ("validation", "!")):
        columns = {
            "tokens": [[*text.split()[:-1], text.split()[-1] + more] for text, _ in TRAIN],
            "ner_tags": [[NAMES[::-1].index(tag) for tag in tags.split()] for _, tags in TRAIN],
        }
        (tmp_path / "set").mkdir(exist_ok=True)
        Dataset.from_dict(columns, features).to_parquet(tmp_path / "set" / f"{split}.parquet")
    hub = {"name": str(tmp_path / "set"), "config": None, "revision": None}
    hub |= {"train_split": "train", "validation_split": "validation", "test_split": None}
    columns = {"text": "tokens", "text_pair": None, "label": "ner_tags"}
    prepare(tmp_path, kind="tokens", source="hub", hub=hub, columns=columns, labels=None)
    assert written(tmp_path) == TRAIN
    assert load_split(tmp_path / "task/train.parquet").features["label"].feature.names == NAMES[::-1]


def test_an_entity_that_begins_inside_is_mended_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.conll").write_text("Ada\tI-PER\nL\tI-PER\n.\tO\nRome\tB-LOC\nx\tI-ORG\n")
    (tmp_path / "b.conll").write_text("Eve\tI-PER\nof\tO\n")
    prepare(tmp_path, **keys(tmp_path, "conll", "conll"))
    assert written(tmp_path) == [("Ada L . Rome x", "B-PER I-PER O B-LOC B-ORG")]
    said = capsys.readouterr().out
    assert "train: 2 entities began with a label of those inside one: now with B-" in said
    assert "validation: 1 entities began with" in said


def test_io_stays_as_it_is(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.conll").write_text(f"Ada{name}\tI-PER\nof\tO\nRome\tI-LOC\n")
    prepare(tmp_path, **keys(tmp_path, "conll", "conll"))
    assert written(tmp_path) == [("Adaa of Rome", "I-PER O I-LOC")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ada\n.\tO\n", r"a.conll, line 1: 1 columns \('Ada'\), the label is expected in the 2th"),
        ("Ada\tB-PER\n\nL\n", r"a.conll, line 3: 1 columns"),
        ("Ada\tB-PER\nof\t\n", r"a.conll, line 2: 1 columns \('of'\)"),
        ("A b\tO\n", r"a.conll, line 1: word 1 is 'A b': text without white space is expected"),
        ("Ada\tB-PER\nof\tO\nRome\tX-LOC\n", r"a.conll: label 'X-LOC' is of no scheme"),
        ("Ada\tO\nof\tO\n", r"a.conll: every word has the label 'O': two or more are needed"),
        ("", r"a.conll: no rows"),
    ],
)
def test_a_damaged_conll_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.conll").write_text(text)
    (tmp_path / "b.conll").write_text("Eve\tB-PER\n.\tO\n")
    with pytest.raises(InputError, match=said):
        prepare(tmp_path, **keys(tmp_path, "conll", "conll"))


def test_a_label_that_train_has_not_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada\tB-PER\n.\tO\n")
    (tmp_path / "b.conll").write_text("Eve\tB-PER\n\n\nRome\tB-LOC\n")
    with pytest.raises(InputError, match=r"b.conll, line 4: unknown label 'B-LOC': known are B-PER, O; to know more"):
        prepare(tmp_path, **keys(tmp_path, "conll", "conll"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, "line 2: 2 words and 1 labels: each word has one"),
        ({"words": [], "tags": []}, "line 2: no words: leave the row out"),
        ({"words": ["a", ""], "tags": ["O", "O"]}, "line 2: word 2 is '': text without white space"),
        ({"words": ["a"], "tags": [None]}, r"line 2: word 'a' has no label \(None\)"),
        ({"words": ["a"], "tags": ["B-\ud83d"]}, "line 2: label 'B-.*' holds half of a surrogate pair"),
        ({"words": None, "tags": []}, "line 2: the words are None: a list is expected"),
        ({"words": "  ", "tags": []}, "line 2: the text has no text"),
        ({"words": "Ada L", "tags": [{"start": 0, "end": 9, "label": "PER"}]}, "span 0 to 9 is not in its text of 5"),
        (
            {"words": "Ada L", "tags": [{"start": 1, "end": 5, "label": "PER"}]},
            "does not begin and end where words do: the words in it are 0 to 5, 'Ada L'",
        ),
        ({"words": "Ada L", "tags": [{"start": 3, "end": 4, "label": "PER"}]}, "it holds no word"),
        ({"words": "Ada L", "tags": [[0, 3, "PER"], [0, 5, "PER"]]}, "overlaps another"),
        (
            {"words": "Ada L", "tags": [{"start": "0", "end": 3, "label": "PER"}]},
            "start, end .characters, from 0. and label",
        ),
        ({"words": "Ada L", "tags": [{"start": 0, "end": 3}]}, "start, end .characters, from 0. and label"),
        ({"words": "Ada L", "tags": None}, "the spans are None: a list is expected"),
    ],
)
def test_a_damaged_row_is_one_line(tmp_path: Path, row: dict, said: str) -> None:
    good = (
        {"words": "Eve", "tags": [[0, 3, "PER"]]}
        if isinstance(row["words"], str)
        else {"words": ["x"], "tags": ["B-PER"]}
    )
    for name, rows in (("a", [good, row]), ("b", [good])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    with pytest.raises(InputError, match=said):
        prepare(tmp_path, **keys(tmp_path, "jsonl"))


def test_the_built_in_task_marks_names_types_and_defaults(tmp_path: Path) -> None:
    docstrings = {"libraries": ["numpy", "scipy"], "train_per_library": 30, "validation_per_library": 8}
    docstrings |= {"min_words": 4, "max_words": 40, "unanswerable": 0.3}
    prepare(tmp_path, kind="tokens", source="docstrings", docstrings=docstrings, labels=None)
    rows = written(tmp_path)
    assert len(rows) == 60
    found = {tag for _, tags in rows for tag in tags.split()}
    assert {"B-name", "B-type", "I-type", "B-default", "O"} <= found
    assert all(tags.startswith("B-name") for _, tags in rows)


def test_the_built_in_task_knows_its_labels_however_few_rows_it_has(tmp_path: Path) -> None:
    docstrings = {"libraries": ["numpy", "scipy"], "train_per_library": 1, "validation_per_library": 40}
    docstrings |= {"min_words": 4, "max_words": 40, "unanswerable": 0.3}
    prepare(tmp_path, kind="tokens", source="docstrings", docstrings=docstrings, labels=None)
    found = {
        split: {tag for _, tags in written(tmp_path, split) for tag in tags.split()}
        for split in ("train", "validation")
    }
    assert found["validation"] - found["train"], "validation has labels that train has not"
    names = load_split(tmp_path / "task/train.parquet").features["label"].feature.names
    assert names == ["B-default", "B-name", "B-type", "I-default", "I-name", "I-type", "O"]
