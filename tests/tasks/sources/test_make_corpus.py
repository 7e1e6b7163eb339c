"""The corpus: what is drawn of each source, and that it shares no sentence with the task's validation split."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.sources.make_corpus import CorpusParams, prepare_corpus
from tasks.sources.make_task import DataParams, prepare_task
from tasks.stage.params import PARAMS, load, read_yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))


def corpus_params(**changes: Any) -> CorpusParams:
    """The project's own `corpus` block, with other values at some of its keys."""
    return CorpusParams.model_validate(read_yaml(ROOT / PARAMS)["corpus"] | changes)


def texts(file: Path) -> list[str]:
    return pq.read_table(file)["text"].to_pylist()


def test_the_shipped_parameters_are_valid() -> None:
    assert load("corpus", CorpusParams, ROOT / PARAMS).seed >= 0


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        prepare_corpus(corpus_params(libraries=["numpy", "scipy"], sentences=50), tmp_path / name)
    assert (tmp_path / "a" / "corpus.parquet").read_bytes() == (tmp_path / "b" / "corpus.parquet").read_bytes()


def test_the_corpus_has_no_sentence_of_the_validation_split(tmp_path: Path) -> None:
    block = read_yaml(ROOT / PARAMS)["data"] | {"source": "docstrings"}
    counts = {"libraries": ["numpy", "scipy"], "train_per_library": 12, "validation_per_library": 4}
    task = DataParams.model_validate(block | {"docstrings": block["docstrings"] | counts})
    prepare_task(task, tmp_path / "task", scores=False)
    prepare_corpus(corpus_params(libraries=["scipy", "numpy"], sentences=1000), tmp_path / "corpus")
    corpus = load_split(tmp_path / "corpus" / "corpus.parquet")
    assert corpus.column_names == ["text"]
    assert len(corpus) == len(set(corpus["text"])) == 1000
    assert not set(corpus["text"]) & set(texts(tmp_path / "task" / "validation.parquet"))


def test_a_folder_of_text_is_a_corpus_of_passages(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.txt").write_text("\n = A heading = \n One two three . Four five six seven .\n\nToo short.\n")
    (tmp_path / "in" / "a.txt").write_text("one two three four five six seven eight nine ten eleven\n")
    params = corpus_params(source="files", folder=str(tmp_path / "in"), sentences=None, min_words=3, max_words=4)
    assert prepare_corpus(params, tmp_path / "corpus") == {"sentences": 5}
    assert texts(tmp_path / "corpus" / "corpus.parquet") == [
        "one two three four",
        "five six seven eight",
        "nine ten eleven",
        "One two three .",
        "Four five six seven",
    ]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, r"corpus\.folder = null"),
        ("nowhere", "no such folder"),
        ("empty", r"no \.txt file"),
        ("blank", "no sentence"),
    ],
)
def test_a_corpus_without_text_is_refused(tmp_path: Path, folder: str | None, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.txt").write_text("\n\n= x =\n")
    params = corpus_params(source="files", folder=folder and str(tmp_path / folder))
    with pytest.raises(InputError, match=message):
        prepare_corpus(params, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
