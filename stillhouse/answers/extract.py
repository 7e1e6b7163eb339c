"""The step of plain training for extractive question answering: where the answer begins, and where it ends."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stillhouse.training.batches import Batch, model_inputs


def extract(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of both places, `start` and `end` (B,); a step for `stillhouse.training.loop.fit`."""
    outputs = model(**model_inputs(batch))
    return span_loss(outputs.start_logits, outputs.end_logits, batch["start"], batch["end"], batch["attention_mask"])


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor, end: Tensor, mask: Tensor) -> Tensor:
    """−½ (log p_start(s) + log p_end(e)), the mean over a batch, each p a softmax over the tokens that are no padding.

    Devlin 2019, section 4.2, where the padding takes part in the softmax too.

    Args:
        start_logits, end_logits: (B, L)
        start, end: (B,) places of the answer's first and last token; of [CLS] for no answer.
        mask: (B, L) 1 at tokens, 0 at padding.
    """
    padding = mask == 0
    losses = [
        F.cross_entropy(logits.float().masked_fill(padding, -torch.inf), place)
        for logits, place in ((start_logits, start), (end_logits, end))
    ]
    return (losses[0] + losses[1]) / 2
