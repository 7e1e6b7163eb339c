"""Questions from SQuAD's files, from the hub's columns and from docstrings: one schema, checked before it is there."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.data.schema import kind_of
from tasks.sources.blocks import DataParams
from tasks.sources.make_questions import prepare_questions
from tasks.stage.params import PARAMS, read_yaml

ROOT = Path(__file__).parents[3]
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Stills",
            "paragraphs": [
                {
                    "context": " The still is of copper.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "What is it of? ",
                            "answers": [{"text": "copper", "answer_start": 17}],
                            "is_impossible": False,
                        },
                        {"id": "q2", "question": "Who made it?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
FIRST = {
    "id": "q1",
    "question": "What is it of?",
    "context": " The still is of copper.",
    "answers": {"text": ["copper"], "answer_start": [17]},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def data_params(**changes: Any) -> DataParams:
    """The project's own `data` block as of answers, with changes to some of its keys."""
    block = read_yaml(ROOT / PARAMS)["data"] | {"kind": "answers"}
    block["docstrings"] |= {"max_words": 120}
    changed = {key: block[key] | value if isinstance(value, dict) else value for key, value in changes.items()}
    return DataParams.model_validate(block | changed)


def split(folder: Path, name: str = "train") -> Dataset:
    return load_split(folder / f"{name}.parquet")


def numpy_alone(**counts: Any) -> DataParams:
    small = {"libraries": ["numpy"], "train_per_library": 30, "validation_per_library": 10}
    return data_params(docstrings=small | counts)


def files(folder: Path, train: object, validation: object | None = None) -> DataParams:
    """Parameters of two files in SQuAD's layout, which it writes; other ids in the second."""
    other = json.dumps(SQUAD).replace('"id": "q', '"id": "r').replace("What is it", "What was it")
    other = other.replace("made it", "made that")
    for name, content in (("train", train), ("dev", other if validation is None else validation)):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return data_params(source="files", files={"folder": str(folder), "layout": "squad"})


def changed(**changes: Any) -> dict:
    """SQUAD with another first question."""
    tree = copy.deepcopy(SQUAD)
    tree["data"][0]["paragraphs"][0]["qas"][0] |= changes
    return tree


def hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha1(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_squads_questions_have_their_spans_and_unanswerable_ones_none(tmp_path: Path) -> None:
    assert prepare_questions(files(tmp_path, SQUAD), tmp_path / "qa") == {"train_rows": 2, "validation_rows": 2}
    train = split(tmp_path / "qa")
    assert train[0] == FIRST
    assert train[1]["answers"] == {"text": [], "answer_start": []}
    assert kind_of(tmp_path / "qa/train.parquet") == "answers"


def test_the_hubs_columns_give_the_same_rows(tmp_path: Path) -> None:
    for split, id_ in (("train", "q1"), ("validation", "r1")):
        rows = [{**FIRST, "id": id_, "title": "Stills", "question": f"What is {split} of?"}]
        Dataset.from_list(rows).to_parquet(tmp_path / "data" / f"{split}.parquet")
    prepare_questions(data_params(source="hub", hub={"name": str(tmp_path / "data")}), tmp_path / "qa")
    wanted = FIRST | {"question": "What is train of?"}
    assert load_split(tmp_path / "qa/train.parquet")[:] == {name: [value] for name, value in wanted.items()}


def test_a_row_of_the_hub_is_checked_as_a_file_is(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        rows = [{**FIRST, "id": split, "answers": {"text": ["oak"], "answer_start": [17]}}]
        Dataset.from_list(rows).to_parquet(tmp_path / "data" / f"{split}.parquet")
    with pytest.raises(InputError, match=r"split 'train', row 0: answer 'oak' is not at 17 in its context"):
        prepare_questions(data_params(source="hub", hub={"name": str(tmp_path / "data")}), tmp_path / "qa")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "train.json: not in SQuAD's layout"),
        ({"data": [{"title": "x"}]}, "not in SQuAD's layout .*paragraphs"),
        ('{"data":\n oops', "line 2: not valid JSON"),
        ({"data": []}, r"train\.json: no rows"),
        (changed(answers=[{"text": "copper", "answer_start": 3}]), r"question 1: answer 'copper' is not at 3"),
        (changed(answers=[{"text": "copper", "answer_start": -7}]), r"question 1: answer 'copper' is not at -7"),
        (changed(answers=[{"text": " ", "answer_start": 4}]), r"question 1: an answer has no text"),
        (changed(answers=[{"text": 4, "answer_start": 4}]), r"question 1: an answer has no text"),
        (
            changed(answers=[{"text": "still", "answer_start": "5"}]),
            r"question 1: 'answer_start' is '5': a whole number",
        ),
        (changed(answers=None), r"train.json: question 'q1': 'answers' is null: an empty list says that there is none"),
        (changed(question="half \ud83d"), r"question 1: column 'question' holds half of a surrogate pair"),
        (changed(question=" "), r"question 1: column 'question' has no text"),
        (changed(id="q2"), r"question 2: id 'q2' is that of .*train\.json, question 1 too"),
        (changed(id="r2"), r"dev\.json, question 2: id 'r2' is that of .*train\.json, question 1 too"),
    ],
)
def test_bad_questions_get_one_line_and_leave_nothing_behind(tmp_path: Path, train: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        prepare_questions(files(tmp_path, train), tmp_path / "out" / "qa")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "hub"}, r"data\.hub\.name = null"),
        ({"labels": ["yes", "no"]}, r"data\.labels = \['yes', 'no'\]: answers have no labels: set it to null"),
        ({"source": "files"}, r"data\.files\.folder = None, data\.files\.layout = None: answers are read"),
        ({"source": "files", "files": {"folder": "nowhere", "layout": "squad"}}, "no such folder"),
        ({"docstrings": {"libraries": ["nope"]}}, "library 'nope' is not installed"),
        ({"docstrings": {"libraries": ["iniconfig"]}}, r"train_per_library: 'iniconfig' has \d+ questions with"),
    ],
)
def test_parameters_that_do_not_fit_are_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare_questions(data_params(**changes), tmp_path / "qa")


def test_docstrings_give_as_many_questions_of_each_kind_as_asked_for(tmp_path: Path) -> None:
    counts = prepare_questions(numpy_alone(unanswerable=0.3), tmp_path / "qa")
    assert counts == {"train_rows": 30, "validation_rows": 10}
    for name, without in (("train", 9), ("validation", 3)):
        assert sum(not answers["text"] for answers in split(tmp_path / "qa", name)["answers"]) == without


def test_no_context_is_in_both_splits_whatever_is_drawn(tmp_path: Path) -> None:
    prepare_questions(numpy_alone(train_per_library=400, validation_per_library=100), tmp_path / "one")
    prepare_questions(numpy_alone(train_per_library=100, validation_per_library=300), tmp_path / "other")
    train, validation = (
        {text for name in ("one", "other") for text in split(tmp_path / name, which)["context"]}
        for which in ("train", "validation")
    )
    assert train and validation and not train & validation


def test_the_same_parameters_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    params = numpy_alone()
    for name, each in (("a", params), ("b", params), ("c", params.model_copy(update={"seed": 8}))):
        prepare_questions(each, tmp_path / name)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert not set(hashes(tmp_path / "a").values()) & set(hashes(tmp_path / "c").values())


def test_a_limit_keeps_so_many_questions(tmp_path: Path) -> None:
    limited = files(tmp_path, SQUAD).model_copy(update={"train_limit": 1})
    assert prepare_questions(limited, tmp_path / "qa") == {"train_rows": 1, "validation_rows": 2}


def test_a_third_file_is_the_test_split(tmp_path: Path) -> None:
    params = files(tmp_path, SQUAD)
    third = json.dumps(SQUAD).replace('"id": "q', '"id": "s').replace("The still", "A still")
    (tmp_path / "held.json").write_text(third.replace('"answer_start": 17', '"answer_start": 15'))
    params = params.model_copy(update={"files": params.files.model_copy(update={"test": "held.json"})})
    counts = prepare_questions(params, tmp_path / "qa")
    assert counts == {"train_rows": 2, "validation_rows": 2, "test_rows": 2}
    assert split(tmp_path / "qa", "test")["id"] == ["s1", "s2"]
    assert kind_of(tmp_path / "qa/test.parquet") == "answers"


def test_questions_of_one_context_are_never_cut_apart(tmp_path: Path) -> None:
    prepare_questions(numpy_alone().model_copy(update={"test_share": 0.3}), tmp_path / "qa")
    found = {name: set(split(tmp_path / "qa", name)["context"]) for name in ("train", "validation", "test")}
    assert all(found.values())
    assert not found["train"] & found["test"] and not found["validation"] & found["test"]
