"""Answers from the logits of an extractive model: the best span over all windows of a question, or none.

The score of a span is the logit of its first token as a start plus that of its last as an end; the score of no answer
is the same sum at [CLS], in the window where it is lowest. Where that is more than a threshold above the best span's,
the question has no answer (Devlin 2019, section 4.3).

L tokens in a window, m the longest answer in tokens.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.answers.windows import CLS, OUTSIDE
from stillhouse.onnx.sessions import feed
from stillhouse.training.predict import rows_in_batches
from stillhouse.training.ragged import Ragged

NO_SPAN = 1e9  # how much better no answer is where a context has no word that could be one; finite, as JSON's numbers
OUTPUTS = ("start_logits", "end_logits")


@dataclass(frozen=True)
class Span:
    """Part of a context, by its characters: from `start` to before `end`."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Answer:
    """What a model finds for one question."""

    spans: tuple[Span, ...]  # the best first, none twice
    null_score: float

    @property
    def null_odds(self) -> float:
        """How much better no answer is than the best span."""
        return self.null_score - self.spans[0].score if self.spans else NO_SPAN

    def best(self, context: str) -> str:
        """The text of the best span, whatever the score of no answer."""
        return context[self.spans[0].start : self.spans[0].end] if self.spans else ""

    def text(self, context: str, threshold: float) -> str:
        """The answer: "" where no answer is better by more than `threshold`."""
        return "" if self.null_odds > threshold else self.best(context)


def span_logits(model: PreTrainedModel, data: Any, tokenizer: PreTrainedTokenizerBase, *, batch_size: int) -> Ragged:
    """Start and end logits of each window, (2, L) float32; L is the window's own.

    Args:
        model: stays where it is; its train/eval mode is given back as it was.
        data: windows with `input_ids` and maybe `token_type_ids`: a list of dicts, or a `datasets.Dataset`.
        batch_size: windows a forward pass.
    """

    def forward(batch: dict[str, torch.Tensor]) -> np.ndarray:
        outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        return np.stack([getattr(outputs, name).float().cpu().numpy() for name in OUTPUTS], axis=-1)

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return rows_in_batches(forward, data, tokenizer, batch_size, _starts_and_ends)
    finally:
        model.train(training)


def span_logits_onnx(session: Any, data: Any, tokenizer: PreTrainedTokenizerBase, *, batch_size: int) -> Ragged:
    """`span_logits` of an exported model."""

    def forward(batch: dict[str, torch.Tensor]) -> np.ndarray:
        inputs = feed(session, {name: tensor.numpy() for name, tensor in batch.items()})
        return np.stack(session.run(list(OUTPUTS), inputs), axis=-1)

    return rows_in_batches(forward, data, tokenizer, batch_size, _starts_and_ends)


def find_answers(
    windows: Mapping[str, Sequence[Any]],
    logits: Sequence[np.ndarray],
    questions: int,
    *,
    n_best: int,
    max_answer_length: int,
) -> list[Answer]:
    """The answer to each question, in order.

    Args:
        windows: columns `example`, `starts` and `ends`, from `stillhouse.answers.windows.cut_windows`.
        logits: (2, L) of each window.
        questions: how many there are.
        n_best: spans kept of a question.
        max_answer_length: tokens of an answer at most.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in range(questions)]
    null = np.full(questions, np.inf)
    columns = (windows[name] for name in ("example", "starts", "ends"))
    for example, starts, ends, (first, last) in zip(*columns, logits, strict=True):
        null[example] = min(null[example], float(first[CLS]) + float(last[CLS]))
        context = np.asarray(starts) != OUTSIDE
        for start, end, score in best_spans(first, last, context, n_best, max_answer_length):
            # Two windows may hold the same words.
            place = (starts[start], ends[end])
            found[example][place] = max(score, found[example].get(place, -np.inf))
    return [
        Answer(tuple(_best(spans, n_best)), float(score)) for spans, score in zip(found, null.tolist(), strict=True)
    ]


def best_spans(
    start: np.ndarray, end: np.ndarray, context: np.ndarray, n_best: int, max_answer_length: int
) -> list[tuple[int, int, float]]:
    """The `n_best` spans of one window, the best first: first token, last token (the same or later), score.

    Every span of up to `max_answer_length` tokens is looked at, not just those of the best starts and ends.

    Args:
        start, end: (L,) logits.
        context: (L,) bool, the tokens that an answer may be of: one stretch.
    """
    ends = np.full(len(end) + max_answer_length - 1, -np.inf)
    ends[: len(end)] = np.where(context, end, -np.inf)
    scores = np.where(context, start, -np.inf)[:, None] + np.lib.stride_tricks.sliding_window_view(
        ends, max_answer_length
    )  # (L, m): of the span from i to i + j
    best = np.argsort(-scores, axis=None, kind="stable")[:n_best]
    places = zip(*np.unravel_index(best, scores.shape), strict=True)
    return [(int(i), int(i + j), float(scores[i, j])) for i, j in places if scores[i, j] > -np.inf]


def _best(spans: Mapping[tuple[int, int], float], count: int) -> Iterable[Span]:
    ranked = sorted(spans.items(), key=lambda entry: (-entry[1], entry[0]))
    return (Span(start, end, score) for (start, end), score in ranked[:count])


def _starts_and_ends(values: np.ndarray, _: Mapping[str, Any]) -> np.ndarray:
    """(2, L) of a window's (L, 2)."""
    return values.T
