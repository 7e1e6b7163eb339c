"""The answers that logits give: each against a slow computation that cannot be wrong."""

import itertools

import numpy as np
import pytest
import torch

from stillhouse.answers.spans import (
    OUTPUTS,
    Answer,
    Span,
    best_spans,
    find_answers,
    span_logits,
    span_logits_onnx,
)
from stillhouse.answers.windows import OUTSIDE, cut_windows
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import open_session
from tests import tiny

TOKENIZER = tiny.tokenizer()


def brute_force(start, end, context, longest) -> dict[tuple[int, int], float]:
    pairs = itertools.product(range(len(start)), repeat=2)
    return {
        (i, j): start[i] + end[j] for i, j in pairs if context[i] and context[j] and i <= j and j - i + 1 <= longest
    }


@pytest.mark.parametrize("longest", [1, 3, 20])
def test_the_best_spans_are_those_of_all_spans(longest: int) -> None:
    draw = np.random.default_rng(0)
    for length in (4, 9, 16):
        start, end = draw.normal(size=(2, length))
        context = np.zeros(length, dtype=bool)
        context[2:-1] = True
        every = brute_force(start, end, context, longest)
        wanted = sorted(every.items(), key=lambda entry: -entry[1])[:5]
        given = best_spans(start, end, context, 5, longest)
        assert [(i, j) for i, j, _ in given] == [place for place, _ in wanted]
        assert [score for *_, score in given] == pytest.approx([score for _, score in wanted])


def two_windows() -> tuple[dict, list[np.ndarray]]:
    """One question: two windows of three words each (ten characters a word), which share the middle one of five."""
    edge = [OUTSIDE, OUTSIDE]
    starts = [[*edge, 0, 10, 20, OUTSIDE], [*edge, 20, 30, 40, OUTSIDE]]
    ends = [[*edge, 9, 19, 29, OUTSIDE], [*edge, 29, 39, 49, OUTSIDE]]
    logits = [np.full((2, 6), -5.0), np.full((2, 6), -5.0)]
    return {"example": [0, 0], "starts": starts, "ends": ends}, logits


def test_no_answer_scores_as_in_the_window_where_it_scores_lowest() -> None:
    windows, logits = two_windows()
    logits[0][:, 0] = [3.0, 2.0]
    logits[1][:, 0] = [1.0, -1.5]
    (answer,) = find_answers(windows, logits, 1, n_best=3, max_answer_length=4)
    assert answer.null_score == pytest.approx(-0.5)


def test_the_best_span_of_all_windows_wins_and_a_shared_one_counts_once() -> None:
    windows, logits = two_windows()
    logits[0][0, 4], logits[0][1, 4] = 2.0, 2.0  # the shared word, by the first window
    logits[1][0, 2], logits[1][1, 2] = 1.0, 1.0  # by the second
    logits[1][1, 3] = 3.5  # and on to the next word
    (answer,) = find_answers(windows, logits, 1, n_best=3, max_answer_length=4)
    assert [(span.start, span.end) for span in answer.spans[:2]] == [(20, 39), (20, 29)]
    assert [span.score for span in answer.spans[:2]] == pytest.approx([4.5, 4.0])
    assert len({(span.start, span.end) for span in answer.spans}) == len(answer.spans) == 3


def test_question_and_special_tokens_answer_nothing() -> None:
    windows, logits = two_windows()
    for each in logits:
        each[:, [0, 1, 5]] = 9.0
    (answer,) = find_answers(windows, logits, 1, n_best=50, max_answer_length=6)
    assert answer.null_score == 18.0
    assert max(span.score for span in answer.spans) == -10.0
    assert {span.start for span in answer.spans} == {0, 10, 20, 30, 40}


def test_an_answer_is_given_unless_none_is_better_by_more_than_the_threshold() -> None:
    answer = Answer((Span(4, 8, 3.0), Span(0, 3, 1.0)), null_score=4.0)
    assert answer.null_odds == 1.0
    assert answer.text("the plot", 1.0) == "plot"
    assert answer.text("the plot", 0.9) == ""
    assert answer.best("the plot") == "plot"


def test_logits_of_windows_do_not_depend_on_the_batch_and_onnx_gives_the_same(tmp_path) -> None:
    model = tiny.answerer()
    rows = tiny.questions(9)
    cut = cut_windows(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        TOKENIZER,
        max_length=14,
        overlap=4,
        question_length=5,
    )
    names = ("input_ids", "token_type_ids")
    windows = [{name: cut[name][i] for name in names} for i in range(len(cut["example"]))]
    one = span_logits(model, windows, TOKENIZER, batch_size=1)
    many = span_logits(model, windows, TOKENIZER, batch_size=7)
    export_onnx(model, TOKENIZER, tmp_path / "model.onnx", outputs=OUTPUTS, per_token=True)
    onnx = span_logits_onnx(open_session(tmp_path / "model.onnx", 1), windows, TOKENIZER, batch_size=7)
    for window, *given in zip(windows, one, many, onnx, strict=True):
        assert {each.shape for each in given} == {(2, len(window["input_ids"]))}
        np.testing.assert_allclose(given[0], given[1], atol=1e-5)
        np.testing.assert_allclose(given[0], given[2], atol=1e-5)
    with torch.no_grad():
        raw = model(**{name: torch.tensor([windows[0][name]]) for name in names})
    np.testing.assert_allclose(one[0], torch.stack([raw.start_logits[0], raw.end_logits[0]]).numpy(), atol=1e-5)
