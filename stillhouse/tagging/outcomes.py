"""What a tagger says of a batch, as distributions: one over the labels for each word that counts.

A batch of B windows of L tokens has N words that count, in the order of the batch: each is a token whose `words` is one
(see `stillhouse.tagging.windows`). Everything else, the other pieces of words and padding, is no part of any loss.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stillhouse.tagging.windows import NO_WORD
from stillhouse.training.batches import Batch
from stillhouse.training.outcomes import Outcomes


class WordOutcomes(Outcomes):
    """A label of each word."""

    def predicted(self, outputs: Any, batch: Batch) -> Tensor:
        """(N, C), of logits (B, L, C)."""
        words = batch["words"]
        # Rows of tokens are as long as a matrix library likes them, which is longer than the longest at times.
        words = F.pad(words, (0, outputs.logits.shape[1] - words.shape[1]), value=NO_WORD)
        return outputs.logits[words != NO_WORD]

    def labels(self, batch: Batch) -> Tensor:
        """(N,) from the batch's column (B, W): labels of the words that count, and -1 up to the longest."""
        return batch["labels"][batch["labels"] >= 0]

    def taught(self, batch: Batch) -> Tensor:
        """(N, C), or (N, K, C), from `teacher_logits`, (B, W, C) or (B, W, K, C)."""
        theirs = batch["teacher_logits"]
        counts = (batch["words"] != NO_WORD).sum(1)  # (B,)
        return theirs[torch.arange(theirs.shape[1], device=counts.device) < counts[:, None]]


WORDS = WordOutcomes()
