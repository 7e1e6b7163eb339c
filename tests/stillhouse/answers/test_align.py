"""A teacher's starts and ends at a student's tokens: nothing is lost, nothing lands on another word."""

import numpy as np
import pytest

from stillhouse.answers.align import align
from stillhouse.answers.windows import OUTSIDE, cut_windows
from stillhouse.text.wordpiece import train_wordpiece
from stillhouse.training.losses import NO_OUTCOME
from tests import tiny

# "[CLS] q [SEP]" and the context "good films", cut into words by the one, into pieces by the other.
WORDS = ([OUTSIDE, OUTSIDE, OUTSIDE, 0, 5, OUTSIDE], [OUTSIDE, OUTSIDE, OUTSIDE, 4, 10, OUTSIDE])
PIECES = ([OUTSIDE, OUTSIDE, OUTSIDE, 0, 2, 5, 9, OUTSIDE], [OUTSIDE, OUTSIDE, OUTSIDE, 2, 4, 9, 10, OUTSIDE])


def probabilities(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def test_a_start_goes_to_the_piece_that_begins_the_word_and_an_end_to_the_one_that_ends_it():
    said = np.arange(12, dtype=np.float32).reshape(2, 6)
    got = align(said, WORDS, PIECES)
    assert got.shape == (2, 8)
    assert got[0, [0, 3, 5]].tolist() == [0, 3, 4], "[CLS], good, films"
    assert got[1, [0, 4, 6]].tolist() == [6, 9, 10]
    assert (got[0, [1, 2, 4, 6, 7]] == np.float32(NO_OUTCOME)).all()
    assert (got[1, [1, 2, 3, 5, 7]] == np.float32(NO_OUTCOME)).all()


def test_what_several_of_the_teachers_tokens_say_is_added_at_the_students():
    said = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    got = align(said, PIECES, WORDS)
    assert np.exp(got[0, 3]) == pytest.approx(np.exp(said[0, 3]) + np.exp(said[0, 4]), rel=1e-6)
    assert np.exp(got[1, 4]) == pytest.approx(np.exp(said[1, 5]) + np.exp(said[1, 6]), rel=1e-6)


def test_the_same_tokens_give_the_same_distribution_over_answers():
    said = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    got = align(said, WORDS, WORDS)
    assert np.allclose(got[:, [0, 3, 4]], said[:, [0, 3, 4]])


def test_a_student_with_its_own_vocabulary_keeps_all_that_the_teacher_says_of_the_context():
    rows = tiny.questions(12)
    teacher = tiny.tokenizer()
    student = train_wordpiece([row["context"] for row in rows], teacher, 44)
    cut = {"max_length": 150, "overlap": 4, "question_length": 8}
    for row in rows:
        theirs, ours = (cut_windows([row["question"]], [row["context"]], each, **cut) for each in (teacher, student))
        places = [(each["starts"][0], each["ends"][0]) for each in (theirs, ours)]
        assert len(places[0][0]) != len(places[1][0]), "the two cut alike: the test shows nothing"
        said = np.random.default_rng(2).normal(size=(2, len(places[0][0]))).astype(np.float32)
        got = align(said, *places)
        context = np.array(places[0][0]) != OUTSIDE
        context[0] = True
        total = np.exp(said[:, context].astype(float)).sum(axis=1)
        assert np.exp(got.astype(float)).sum(axis=1) == pytest.approx(total, rel=1e-5)
        # The likeliest start is the same character of the context.
        start, wanted = (np.argmax(np.where(np.array(at[0]) != OUTSIDE, each[0], -np.inf)) for each, at in
                         ((got, places[1]), (said, places[0])))  # fmt: skip
        assert places[1][0][start] == places[0][0][wanted]
