"""Attention scores before the softmax, from any encoder that goes through transformers' AttentionInterface.

`output_attentions=True` gives probabilities, and under SDPA nothing at all. Here a model is switched to an attention
function that keeps the raw scores of the layers that were asked for, and runs SDPA in all the others.

Shapes: B sentences, h heads, L tokens, d_h width of a head.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from stillhouse.architecture import encoder_layers
from stillhouse.dropout import dropout as cheap

NAME = "stillhouse_scores"


class ScoreCapture:
    """Keeps the attention scores of some layers of a model, anew at each forward pass.

    Args:
        model: switched to the capturing attention for good; its outputs stay the same.
        layers: indices of the layers whose scores are kept, from 0.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self.scores: dict[int, Tensor] = {}  # layer: (B, h, L, L), with QKᵀ/√d_h, padding not masked
        model.set_attn_implementation(NAME)
        stack = encoder_layers(model)
        for index in layers:
            for module in stack[index].modules():
                # Whichever submodule the family passes to the attention function finds its sink.
                object.__setattr__(module, "_score_sink", (self.scores, index))

    def release(self) -> None:
        """Forget the scores of the last pass, so that they do not outlive the step that read them."""
        self.scores.clear()


def _capturing_attention(
    module: nn.Module,
    query: Tensor,  # (B, h, L, d_h)
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # (B, 1, L, L), True where attended
    scaling: float | None = None,
    dropout: float = 0.0,
    **rest: Any,
) -> tuple[Tensor, Tensor | None]:
    sink = getattr(module, "_score_sink", None)
    if sink is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    scores = torch.matmul(query, key.transpose(2, 3)) * scale  # (B, h, L, L)
    kept, index = sink
    kept[index] = scores
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = cheap(scores.softmax(-1), dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _capturing_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
