"""What a model of answers says of a batch, as distributions: first where each answer begins, then where each one ends.

A batch of B windows of L tokens is 2B distributions over L places, of which padding is none. The mean of a loss over
them is what BERT's question answering has, ½ (starts + ends) (Devlin 2019, section 4.2; there padding takes part).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stillhouse.training.batches import Batch
from stillhouse.training.losses import NO_OUTCOME
from stillhouse.training.outcomes import Outcomes


class SpanOutcomes(Outcomes):
    """Starts and ends of answers."""

    def predicted(self, outputs: Any, batch: Batch) -> Tensor:
        """(2B, L)."""
        return self._without_padding(torch.cat([outputs.start_logits, outputs.end_logits]).float(), batch)

    def labels(self, batch: Batch) -> Tensor:
        """(2B,) places of the answers' first tokens, then of their last; of [CLS] where there is no answer."""
        return torch.cat([batch["start"], batch["end"]])

    def taught(self, batch: Batch) -> Tensor:
        """(2B, L), or (2B, K, L), from `teacher_logits`, (B, 2, W) or (B, 2, K, W); W ≤ L is the longest row's."""
        theirs = batch["teacher_logits"].transpose(0, 1).flatten(0, 1)
        missing = batch["attention_mask"].shape[1] - theirs.shape[-1]
        return self._without_padding(F.pad(theirs.float(), (0, missing)), batch)

    @staticmethod
    def _without_padding(logits: Tensor, batch: Batch) -> Tensor:
        """Logits (2B, …, L) with NO_OUTCOME at padding."""
        padding = torch.cat([batch["attention_mask"]] * 2) == 0  # (2B, L)
        between = [1] * (logits.dim() - 2)
        return logits.masked_fill(padding.view(len(padding), *between, -1), NO_OUTCOME)


SPANS = SpanOutcomes()
