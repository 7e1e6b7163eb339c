"""Pairs of sentences that follow each other: from paragraphs of docstrings and of text, never over a gap."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.sources.builtin.docstrings import is_held_out
from tasks.sources.make_corpus import CorpusParams
from tasks.sources.make_pairs import prepare_pairs
from tasks.sources.neighbours import neighbours, pairs_of_docstrings, pairs_of_lines
from tasks.stage.params import PARAMS, read_yaml

ROOT = Path(__file__).parents[3]
WORDS = (3, 8)


def params(**changes: Any) -> CorpusParams:
    return CorpusParams.model_validate(read_yaml(ROOT / PARAMS)["corpus"] | changes)


def rows(folder: Path) -> list[dict[str, str]]:
    return pq.read_table(folder / "corpus.parquet").to_pylist()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose docstrings have 60 paragraphs of two sentences each."""
    folder = tmp_path / "distil_pairs"
    folder.mkdir()
    text = "\n\n".join(
        f"The copper still of row {number} stands in the yard. It is warm, and distil_pairs counts it as {number}."
        for number in range(60)
    )
    (folder / "__init__.py").write_text(f'"""{text}"""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder.name


def test_each_sentence_is_in_one_pair_at_most_and_none_goes_over_a_gap() -> None:
    assert list(neighbours("abcde")) == [("a", "b"), ("c", "d")]
    assert list(neighbours(["a", None, "b", "c", None, None, "d", "e"])) == [("b", "c"), ("d", "e")]
    assert list(neighbours(["a", None, "b", None])) == []


def test_a_line_is_a_paragraph() -> None:
    lines = [
        " = One heading here = ",
        "Here is one. Here is two. Here is three.",
        "",
        "Alone in its line.",
        "Too short. Here is four. No. Here is five.",
        "one two three four five six seven eight nine ten eleven",
    ]
    assert list(pairs_of_lines(lines, WORDS)) == [
        ("Here is one.", "Here is two."),
        ("one two three four five six seven eight", "nine ten eleven"),
    ]


def test_pairs_of_docstrings_stay_in_a_paragraph_and_hold_no_validation_sentence(library: str) -> None:
    found = list(pairs_of_docstrings([library], 1000, (4, 40)))
    assert 20 < len(found) < 60  # a pair goes with either of its sentences
    for first, second in found:
        number = first.split()[5]
        assert second == f"It is warm, and library counts it as {number}."
        assert not is_held_out(first) and not is_held_out(second)


def test_the_program_writes_as_many_pairs_as_make_the_corpus_and_twice_the_same(library: str, tmp_path: Path) -> None:
    for name in "ab":
        counts = prepare_pairs(params(libraries=[library], sentences=20), tmp_path / name)
    assert counts == {"pairs": 10}
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    data = load_split(tmp_path / "a" / "corpus.parquet")
    assert data.column_names == ["text", "text_pair"] and len(set(data["text"])) == 10


def test_text_in_files_gives_pairs_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("".join(f"Row {i} comes first. Row {i} comes second.\n" for i in range(30)))
    given = params(source="files", folder=str(tmp_path / "in"), min_words=3, sentences=None)
    assert prepare_pairs(given, tmp_path / "all") == {"pairs": 30}
    assert rows(tmp_path / "all")[7] == {"text": "Row 7 comes first.", "text_pair": "Row 7 comes second."}
    assert prepare_pairs(given.model_copy(update={"sentences": 9}), tmp_path / "some") == {"pairs": 4}
    assert all(row in rows(tmp_path / "all") for row in rows(tmp_path / "some"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": None}, r"corpus\.folder = null"),
        ({"folder": "nowhere"}, "no such folder"),
        ({"folder": "single"}, "no two sentences of 3 words or more follow each other: give text with several"),
        ({"source": "hub"}, r"corpus\.hub\.name = null"),
        ({"source": "docstrings", "libraries": ["nope"]}, "library 'nope' is not installed"),
    ],
)
def test_text_without_pairs_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("single").mkdir()
    Path("single/a.txt").write_text("One sentence a line.\nAnother sentence a line.\n")
    with pytest.raises(InputError, match=message) as caught:
        prepare_pairs(params(**{"source": "files", "min_words": 3} | changes), tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
