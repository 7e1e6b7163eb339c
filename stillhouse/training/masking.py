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

from stillhouse.training.transfer import sent

STAYS, NOT_CHOSEN = -1, -2  # in the place of a token id


def maskable(ids: Tensor, attention_mask: Tensor, special_ids: list[int]) -> Tensor:
    """Which tokens may be masked: not padding, not special. (B, L) bool."""
    allowed = attention_mask.bool()
    for special in special_ids:  # one by one: a tensor of them would have to be copied to the device at every step
        allowed = allowed & (ids != special)
    return allowed


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
    random = torch.randint(vocabulary, ids.shape, generator=generator)
    instead = torch.where(kind < 0.8, mask_id, torch.where(kind < 0.9, random, STAYS))
    # All in one, for one copy to the device.
    instead = sent(torch.where(draw < probability, instead, NOT_CHOSEN), ids.device)
    chosen = (instead != NOT_CHOSEN) & allowed
    return torch.where(chosen & (instead != STAYS), instead, ids), chosen


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


def places(chosen: Tensor) -> tuple[Tensor, ...]:
    """The indices, (M,) along each axis, of what a mask chooses: for whoever reads several tensors by one mask.

    Each reading by the mask itself, and each gradient of it, has Python wait for the device to count what is chosen.
    """
    return chosen.nonzero(as_tuple=True)


def logits_at(model: nn.Module, batch: Mapping[str, Tensor], where: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Vocabulary logits of a masked LM at some positions only.

    Args:
        model: any `...ForMaskedLM` whose head works on each position by itself, wrapped in DDP or not.
        batch: its inputs, without labels.
        where: (B, L) bool, or what `places` gives of it.

    Returns:
        (M, V), in row-major order of the positions.
    """
    bare = getattr(model, "module", model)
    assert isinstance(bare, PreTrainedModel)

    def keep_chosen(_module, _inputs, output):
        output.last_hidden_state = output.last_hidden_state[where][None]  # (B, L, H) -> (1, M, H)
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
    where = places(chosen)
    logits = logits_at(model, batch, where)  # (M, V)
    return F.cross_entropy(logits.float(), ids[where], reduction="sum") / max(len(logits), 1)
