"""The head of a masked LM: whether a checkpoint brought a trained one, a good start for one that did not, its logits.

N tokens, H width, V vocabulary.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.families.find import family_of


def has_mlm_head(source: str | Path) -> bool:
    """Whether the weights of a masked LM's head are in its checkpoint.

    Args:
        source: the checkpoint.
    """
    _, report = AutoModelForMaskedLM.from_pretrained(
        source, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    return not report["missing_keys"]


@torch.no_grad()
def start_head(model: PreTrainedModel, counts: Tensor) -> None:
    """Let a new head begin close to the tied embeddings, and with the tokens' own frequencies.

    Its square layers become the identity, for an encoder's output lies near the embedding of what it read; the output
    bias becomes log p(token), which random heads spend their first steps learning.

    Args:
        model: a masked LM, changed in place.
        counts: (V,) how often each token stands in the text.
    """
    encoder = set(model.base_model.modules())
    output = model.get_output_embeddings()
    bias = family_of(model).vocabulary_bias(model)
    for module in model.modules():
        if not isinstance(module, nn.Linear) or module in encoder or module is output:
            continue
        if module.in_features == module.out_features:
            nn.init.eye_(module.weight)  # (H, H)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if bias is not None:
        smoothed = counts + 0.1  # a token that the text lacks is rare, not impossible
        bias[: len(counts)] = (smoothed / smoothed.sum()).log()


def vocabulary_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """The head of a masked LM on some outputs of its encoder, (N, H) to (N, V).

    Raises:
        InputError: the model is no masked LM of a known family.
    """
    if model.get_output_embeddings() is None:
        raise InputError(f"{type(model).__name__} has no masked-LM head: give a masked LM (--mlm models/mlm)")
    return family_of(model).vocabulary_logits(model, hidden)
