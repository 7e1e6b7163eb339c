"""Which rows a claim is judged on: none that stands in a sentence that is trained on."""

import pytest

from benchmarks.held_out import hold_out, read_task, sentences_of


def test_a_phrase_belongs_to_the_longest_texts_that_it_stands_in():
    texts = ["the film is good", "film is", "is", "it is dull", "good film", "film is"]
    assert sentences_of(texts) == [[0], [0], [0, 3], [3], [4], [0]]


def test_equal_sentences_are_one():
    assert sentences_of(["a film", "a  film", "film"]) == [[0], [0], [0]]


def phrases(count: int) -> list[str]:
    """Sentences of four words, two phrases of each, and a phrase that all have in common."""
    return [text for i in range(count) for text in (f"w{i} x{i} y{i} end", f"w{i} x{i}", f"y{i} end", "end")]


def test_no_judged_row_stands_in_a_sentence_that_is_trained_on():
    texts = phrases(50)
    left, judged, sentences = hold_out(texts, 60)
    assert 60 <= len(judged) <= 62 and len(judged) == len(sentences)
    assert not set(left) & set(judged)
    trained = [f" {texts[row]} " for row in left]
    assert not [row for row in judged if any(f" {texts[row]} " in text for text in trained)]
    assert "end" not in {texts[row] for row in judged}  # it stands in sentences of both sides
    assert sum(texts[row] == "end" for row in left) == 50


def test_judged_rows_know_their_sentence_and_stand_there_once():
    texts = [*phrases(50), *phrases(50)]
    _, judged, sentences = hold_out(texts, 60)
    assert all(texts[row] in texts[sentence] for row, sentence in zip(judged, sentences, strict=True))
    assert len({texts[row] for row in judged}) == len(judged)
    assert len(set(sentences)) == 20


def test_the_same_rows_are_held_out_again():
    assert hold_out(phrases(50), 60) == hold_out(phrases(50), 60)


def test_more_than_half_of_the_rows_are_not_held_out():
    with pytest.raises(SystemExit, match="--test 60 is more than half of 80 rows"):
        hold_out(phrases(20), 60)


def test_a_task_is_judged_on_rows_of_its_training_split_or_on_its_validation_split(tmp_path):
    lines = [f"{text}\t{row % 2}" for row, text in enumerate(phrases(50))]
    (tmp_path / "train.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    (tmp_path / "dev.tsv").write_text('sentence\tlabel\na "film\t1\n')
    held, dev = read_task(tmp_path, 60), read_task(tmp_path, 0)
    assert held.split == "60 rows of train.tsv, of 20 sentences that are not trained on"
    assert len(held.texts) == len(held.labels) == 140
    assert (dev.judged, dev.truth, dev.sentences, dev.split) == (['a "film'], [1], [0], "1 rows of dev.tsv")
    assert len(dev.texts) == 200
    assert read_task(tmp_path, 60) == held
