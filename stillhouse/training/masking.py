"""Masked language modelling: BERT's dynamic 80/10/10 masking, and vocabulary logits only where they are asked for.

Devlin et al. 2019, section 3.1; masks are drawn anew for every batch, as in RoBERTa (Liu et al. 2019).
A vocabulary is tens of thousands wide and six of seven positions are never predicted, so the head runs on the
chosen positions alone: the same numbers for a seventh of the work, and of the memory.

B sentences, L tokens, H width, V vocabulary, M chosen positions.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel


def maskable(ids: Tensor, attention_mask: Tensor, special_ids: list[int]) -> Tensor:
    """Which tokens may be masked: not padding, not special. (B, L) bool."""
    return attention_mask.bool() & ~torch.isin(ids, torch.tensor(special_ids, device=ids.device))


def mask_tokens(
    ids: Tensor,
    allowed: Tensor,
    *,
    probability: float,
    mask_id: int,
    vocabulary: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose tokens and hide them: 80 % become [MASK], 10 % a random token, 10 % stay.

    Args:
        ids: (B, L) token ids; not changed.
        allowed: (B, L) bool, see `maskable`.
        generator: a CPU generator, so that every device draws the same masks; None for torch's own.

    Returns:
        The altered ids, and which positions were chosen, (B, L) bool.
    """
    draw, kind = torch.rand(2, *ids.shape, generator=generator)
    chosen = (draw < probability).to(ids.device) & allowed
    random = torch.randint(vocabulary, ids.shape, generator=generator).to(ids.device)
    kind = kind.to(ids.device)
    altered = torch.where(kind < 0.8, mask_id, torch.where(kind < 0.9, random, ids))
    return torch.where(chosen, altered, ids), chosen


def hide_tokens(
    inputs: Mapping[str, Tensor], *, probability: float, mask_id: int, special_ids: list[int], vocabulary: int
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Draw new masks for a batch, from torch's own generator.

    Args:
        inputs: of the model, with `input_ids` and `attention_mask` (B, L).
        probability: share of the tokens that are predicted.
        mask_id, special_ids, vocabulary: the tokenizer's.

    Returns:
        The inputs with altered ids, the ids as they were (B, L), and which positions were chosen (B, L).
    """
    ids = inputs["input_ids"]
    allowed = maskable(ids, inputs["attention_mask"], special_ids)
    altered, chosen = mask_tokens(ids, allowed, probability=probability, mask_id=mask_id, vocabulary=vocabulary)
    return {**inputs, "input_ids": altered}, ids, chosen


def logits_at(model: nn.Module, batch: Mapping[str, Tensor], positions: Tensor) -> Tensor:
    """Vocabulary logits of a masked LM at some positions only.

    Args:
        model: any `...ForMaskedLM` whose head works on each position by itself, wrapped in DDP or not.
        batch: its inputs, without labels.
        positions: (B, L) bool.

    Returns:
        (M, V), in row-major order of `positions`.
    """
    bare = getattr(model, "module", model)
    assert isinstance(bare, PreTrainedModel)

    def keep_chosen(_module, _inputs, output):
        output.last_hidden_state = output.last_hidden_state[positions][None]  # (B, L, H) -> (1, M, H)
        return output

    # A hook between encoder and head, because every architecture names its head's parts differently.
    hook = bare.base_model.register_forward_hook(keep_chosen)
    try:
        return model(**batch).logits[0]
    finally:
        hook.remove()


def masked_lm_loss(model: nn.Module, batch: Mapping[str, Tensor], ids: Tensor, chosen: Tensor) -> Tensor:
    """Mean cross-entropy at the chosen positions; zero where none was chosen.

    Args:
        batch: the model's inputs, with the altered `input_ids`.
        ids: (B, L) the tokens as they were.
        chosen: (B, L) bool, from `mask_tokens`.
    """
    logits = logits_at(model, batch, chosen)  # (M, V)
    return F.cross_entropy(logits.float(), ids[chosen], reduction="sum") / max(len(logits), 1)
