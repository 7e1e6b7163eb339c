"""The program of the BiLSTM's augmentation: its file is the task's own with copies, the same each time."""

import hashlib
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from tasks import augment_words
from tasks.data import augmented_rows, part_of_speech
from tasks.stage import program
from tests import tiny
from tests.tasks import project


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    project.params(tmp_path, **{"bilstm-augment.rounds": 6})
    tiny.save(tiny.bert().bert, tmp_path / "start")
    return tmp_path


def run(out: str = "out") -> list[dict]:
    sys.argv = ["program", "bilstm", "--data", "data/task", "--out", out]
    augment_words.main()
    return pq.read_table(f"{out}/train.parquet").to_pylist()


def write(*texts: str, pairs: tuple[str, ...] = ()) -> Path:
    """data/task whose label is the row's number."""
    folder = Path("data/task")
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict = {"text": texts} | ({"text_pair": pairs} if pairs else {})
    features: dict = {name: Value("string") for name in columns}
    features["label"] = ClassLabel(num_classes=len(texts))
    Dataset.from_dict(columns | {"label": range(len(texts))}, Features(features)).to_parquet(folder / "train.parquet")
    tiny.state_kind(folder / "train.parquet", "classes")
    return folder / "train.parquet"


def test_the_same_copy_of_a_question_on_another_context_is_another_row(clone):
    """Of answers the question changes alone: two rows with one question have copies of their own."""
    rows = tiny.questions(40)
    alike = [row | {"question": "the film is very good and quite dull"} for row in rows]
    counts = []
    for contexts in ([rows[0]["context"]] * 40, [row["context"] for row in rows]):
        none = {"text": [], "answer_start": []}
        made = [row | {"context": context, "answers": none} for row, context in zip(alike, contexts, strict=True)]
        Dataset.from_list(made).to_parquet("data/task/train.parquet")
        tiny.state_kind(Path("data/task/train.parquet"), "answers")
        project.params(clone)
        written = run()
        copies = {(row["question"], row["context"]) for row in written}
        assert len(copies) == len({(row["question"], row["context"]) for row in made}) + len(written) - 40
        counts.append(len(written))
    assert counts[1] > counts[0]


def test_every_row_stands_before_its_copies_which_keep_its_label_and_schema(clone):
    before = project.write_task(clone) / "train.parquet"
    rows, originals = run(), pq.read_table(before).to_pylist()
    assert pq.read_schema("out/train.parquet").equals(pq.read_schema(before), check_metadata=True)
    kept = {row["text"] for row in originals}
    order = [row for row in rows if row["text"] in kept]
    assert order == originals
    assert len(rows) > 2 * len(originals)
    assert any("[MASK]" in row["text"] for row in rows)


def test_labels_are_those_of_the_row_that_the_copies_follow(clone):
    write("the film is good and the plot is fine", "a dull story with a poor actor")
    rows = run()
    assert [row["label"] for row in rows] == sorted(row["label"] for row in rows)


def test_no_text_stands_twice_but_where_the_task_itself_has_it_twice(clone):
    write("good film", "bad film", "good film", "good film is bad", "film")
    project.params(clone, **{"bilstm-augment.rounds": 40, "bilstm-augment.ngram": 1.0})
    texts = [row["text"] for row in run()]
    assert texts.count("good film") == 2
    assert len(set(texts)) == len(texts) - 1
    assert len(texts) > 5


def test_a_copy_of_a_pair_has_at_least_one_word_of_its_rows_two_sides(clone):
    # Each row has its own words, and no class is shared, so that only masks and n-grams alter.
    write(*(f"row{i} first{i}" for i in range(20)), pairs=tuple(f"other{i} second{i}" for i in range(20)))
    project.params(clone, **{"bilstm-augment.same_class": 0.0, "bilstm-augment.rounds": 6})
    rows = run()
    assert len(rows) > 40
    for row in rows:
        for side in ("text", "text_pair"):
            numbers = {word.lstrip("abcdefghijklmnopqrstuvwxyz") for word in row[side].split() if word != "[MASK]"}
            assert numbers <= {str(row["label"])}


def test_the_same_seed_gives_the_same_file_whatever_the_batches_and_another_seed_another(clone, monkeypatch):
    project.write_task(clone, pair=True)

    def digest(out: str) -> str:
        rows = run(out)
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    first = digest("one")
    assert first == digest("two")
    assert Path("one/train.parquet").read_bytes() == Path("two/train.parquet").read_bytes()
    monkeypatch.setattr(augmented_rows, "BATCH", 11)
    assert digest("three") == first
    project.params(clone, **{"bilstm-augment.rounds": 6, "bilstm-augment.seed": 2})
    assert digest("four") != first


def test_without_rounds_the_output_is_the_input(clone):
    file = write("good film", "bad film")
    project.params(clone, **{"bilstm-augment.rounds": 0})
    assert run() == pq.read_table(file).to_pylist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": 0.6, "same_class": 0.6}, "bilstm-augment: mask (0.6) + same_class (0.6) is more than 1"),
        ({"ngram": 1.5}, "bilstm-augment.ngram = 1.5"),
        ({"longest": 0}, "bilstm-augment.longest = 0"),
    ],
)
def test_bad_numbers_are_refused_in_one_line_and_nothing_is_written(clone, capsys, changes, message):
    write("good film")
    project.params(clone, **{f"bilstm-augment.{name}": value for name, value in changes.items()})
    sys.argv = ["program", "bilstm", "--data", "data/task", "--out", "out"]
    with pytest.raises(SystemExit) as left:
        program.run(augment_words.main)
    assert left.value.code == program.EXIT_INPUT
    line = capsys.readouterr().err
    assert message in line and line.count("\n") == 1
    assert not Path("out").exists()


def test_the_tagger_gives_each_word_a_class_by_lexicon_capitals_digits_and_suffix():
    words = ["The", "quick", "actor", "Zyxwv", "quietly", "found", "42", "frobnications", ",", "wasn't", "it", "?"]
    tags = dict(zip(words, part_of_speech.tag(words), strict=True))
    assert tags["The"] == "DT" and tags["quick"] == "JJ" and tags["actor"] == "NN"
    assert tags["Zyxwv"] == "NNP" and tags["42"] == "CD" and tags["quietly"] == "RB" and tags["it"] == "PRP"
    assert tags["frobnications"] == "NNS"
    assert part_of_speech.tag([]) == []
