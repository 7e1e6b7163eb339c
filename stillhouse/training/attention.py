"""Attention for training: its scores in sight where a loss reads them, and quick on CPUs.

transformers' models take it through their AttentionInterface, and SDPA wherever that is the better one. On a CPU it is
not: with dropout it takes from a fifth longer to twice as long as the plain products do, in bf16 with a gradient up to
twenty times. And a CPU's softmax takes sixteen numbers at a time and what is left over one by one: 14 scores take it
eleven times as long as 16. So rows shorter than that get keys that no token attends to, up to sixteen.

Shapes: B sentences, h heads, L tokens, d_h width of a head.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from stillhouse.training.dropout import dropout as cheap

NAME = "stillhouse"
LANES = 16


def attention(
    query: Tensor,  # (B, h, L, d_h)
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,  # (B, 1, L, L), True where attended
    scale: float,
    dropout: float = 0.0,
    training: bool = False,
) -> tuple[Tensor, Tensor]:
    """softmax(scores)·V as (B, L, h, d_h), and the scores QKᵀ·scale, (B, h, L, L), with padding not masked."""
    length = key.size(2)
    added = LANES - length if length < LANES and key.device.type == "cpu" else 0
    if added:
        key, value = F.pad(key, (0, 0, 0, added)), F.pad(value, (0, 0, 0, added))
    scores = torch.matmul(query, key.transpose(2, 3)) * scale  # (B, h, L, L + added)
    weights = (scores + _bias(mask, length, added, scores.device)).softmax(-1)  # in fp32
    weights = cheap(weights.to(value.dtype), dropout, training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), scores[..., :length]


def _bias(mask: Tensor | None, length: int, added: int, device: torch.device) -> Tensor:
    """0 for keys that are attended to, −∞ for added ones; a row's own padding stays finite, so that none is all −∞."""
    if mask is None:
        bias = torch.zeros(length, device=device)
    else:
        bias = torch.zeros(mask.shape, device=device).masked_fill_(~mask, torch.finfo(torch.float).min)
    return F.pad(bias, (0, added), value=-torch.inf) if added else bias


@contextmanager
def quick_attention(model: nn.Module) -> Iterator[None]:
    """Within it, models that would use SDPA use the attention of this file, which is SDPA where that is quicker."""
    changed = [
        module
        for module in model.modules()
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa"
    ]
    for module in changed:
        module.set_attn_implementation(NAME)
    try:
        yield
    finally:
        for module in changed:
            module.set_attn_implementation("sdpa")


def _attention_function(
    module: nn.Module,
    query: Tensor,  # (B, h, L, d_h)
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # (B, 1, L, L), True where attended
    scaling: float | None = None,
    dropout: float = 0.0,
    **rest: Any,
) -> tuple[Tensor, Tensor | None]:
    sink = getattr(module, "_score_sink", None)  # of ScoreCapture
    if sink is None and not _plain_is_quicker(query, dropout):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    output, scores = attention(query, key, value, attention_mask, scale, dropout, module.training)
    if sink is not None:
        kept, index, window = sink
        kept[index] = scores if window is None else _within(scores, window)
    return output, None


def _within(scores: Tensor, window: int) -> Tensor:
    """Scores (B, h, L, L) of pairs of tokens that are at most so far apart; 0 for the others, which no softmax sees."""
    place = torch.arange(scores.size(-1), device=scores.device)
    return scores.masked_fill((place[:, None] - place).abs() > window, 0.0)


def _plain_is_quicker(query: Tensor, dropout: float) -> bool:
    """As measured, with rows of 10 to 256 tokens."""
    if query.device.type != "cpu":
        return False
    if torch.is_grad_enabled() and query.requires_grad:
        return dropout > 0 or query.dtype != torch.float32
    return query.size(2) < LANES


def _mask(*, device: torch.device | str = "cpu", **options: Any) -> Tensor | None:
    """(B, 1, L, L), True where attended; None on a CPU where all is.

    On other devices it is made without a look at what it masks, for Python would wait for the device at every pass.
    """
    if torch.device(device).type != "cpu":
        options["allow_is_bidirectional_skip"] = False
    return sdpa_mask(device=device, **options)


AttentionInterface.register(NAME, _attention_function)
AttentionMaskInterface.register(NAME, _mask)
