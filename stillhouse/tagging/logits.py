"""A tagger's logits of each word that counts, and those of a sentence from those of its windows.

B windows in a batch, L tokens, W words that count in a window, C labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.onnx.sessions import feed
from stillhouse.tagging.windows import NO_WORD
from stillhouse.training.losses import NO_OUTCOME
from stillhouse.training.predict import rows_in_batches
from stillhouse.training.ragged import Ragged


def word_logits(model: PreTrainedModel, data: Any, tokenizer: PreTrainedTokenizerBase, *, batch_size: int) -> Ragged:
    """Logits of each window's words, (W, C) float32; W is the window's own.

    Args:
        model: stays where it is; its train/eval mode is given back as it was.
        data: a `datasets.Dataset` of windows with `input_ids` and `words`.
        batch_size: windows a forward pass.
    """

    def forward(batch: dict[str, torch.Tensor]) -> np.ndarray:
        outputs = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        return outputs.logits.float().cpu().numpy()

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return rows_in_batches(forward, data, tokenizer, batch_size, _of_words, ["words"])
    finally:
        model.train(training)


def word_logits_onnx(session: Any, data: Any, tokenizer: PreTrainedTokenizerBase, *, batch_size: int) -> Ragged:
    """`word_logits` of an exported model."""

    def forward(batch: dict[str, torch.Tensor]) -> np.ndarray:
        return session.run(["logits"], feed(session, {name: tensor.numpy() for name, tensor in batch.items()}))[0]

    return rows_in_batches(forward, data, tokenizer, batch_size, _of_words, ["words"])


def regrouped(
    logits: Sequence[np.ndarray],
    theirs: tuple[Sequence[int], Sequence[Sequence[int]]],
    ours: tuple[Sequence[int], Sequence[Sequence[int]]],
) -> list[np.ndarray]:
    """Logits of words, (W, C) of each of their windows, as (W, C) of each of our windows on the same sentences.

    A word of which their tokenizer makes no piece has no outcome.

    Args:
        theirs, ours: of each window its sentence, and the words that count at its tokens.
    """
    known = {
        (sentence, word): row
        for said, sentence, words in zip(logits, *theirs, strict=True)
        for row, word in zip(said, _counted(words), strict=True)
    }
    nothing = np.full(logits[0].shape[1], NO_OUTCOME, dtype=np.float32)
    return [
        np.stack([known.get((sentence, word), nothing) for word in _counted(words)])
        for sentence, words in zip(*ours, strict=True)
    ]


def _of_words(values: np.ndarray, row: Mapping[str, Any]) -> np.ndarray:
    """(W, C) of a window's (L, C)."""
    return values[np.asarray(row["words"]) != NO_WORD]


def _counted(words: Sequence[int]) -> list[int]:
    return [word for word in words if word != NO_WORD]
