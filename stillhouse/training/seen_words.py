"""Word vectors of words that the data never has take no part in training.

The gradient of a vocabulary of 30,522 words is as large as the vocabulary, whatever the batch holds: zeroing it, its
norm, clipping and AdamW then move more memory than all layers of a small student do. In training, a model's word
vectors are those of the words that its rows have; they get the gradients and updates that they would have had. The
others stay as they were: weight decay, all that AdamW would have given them, does not reach them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel


class SeenWords(nn.Module):
    """The part of a word embedding that training reads.

    Args:
        whole: the embedding, (V, d).
        ids: (U,) the words that stay, in order.
    """

    place: Tensor  # (V,) where each word now is, −1 for those that are not

    def __init__(self, whole: nn.Embedding, ids: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(whole.weight.detach()[ids].clone())  # (U, d)
        place = torch.full((whole.num_embeddings,), -1)
        place[ids] = torch.arange(len(ids))
        self.register_buffer("place", place, persistent=False)
        self.padding = None if whole.padding_idx is None else int(place[whole.padding_idx])

    def forward(self, input_ids: Tensor) -> Tensor:
        """(B, L) → (B, L, d); a word that was not announced is our error, which torch reports as an index of −1."""
        return F.embedding(self.place[input_ids], self.weight, self.padding)


def words_of(data: Any, others: Iterable[int] = ()) -> list[int]:
    """The token ids that stand in the column `input_ids` of tokenized rows, and `others`, in order."""
    seen = set(others)
    for row in data["input_ids"]:
        seen.update(row)
    return sorted(seen)


@contextmanager
def only_seen_words(model: nn.Module, words: Iterable[int]) -> Iterator[None]:
    """Within it, the model's trained word embeddings hold these words' vectors alone; after it, all of them again.

    Embeddings that are frozen, or whose weights something else uses too (a masked-LM head), stay whole.
    """
    ids = set(words)
    replaced: list[tuple[nn.Embedding, SeenWords, Tensor]] = []
    for whole in _trained_alone(model):
        padding = [] if whole.padding_idx is None else [whole.padding_idx]
        kept = torch.tensor(sorted({*ids, *padding}))
        part = SeenWords(whole, kept)
        replaced.append((whole, part, kept))
        _swap(model, whole, part)
    try:
        yield
    finally:
        for whole, part, kept in replaced:
            whole.to(part.weight.device)  # where the rest of the model was moved meanwhile
            whole.weight.data[kept.to(whole.weight.device)] = part.weight.detach().to(whole.weight)
            _swap(model, part, whole)


def _trained_alone(model: nn.Module) -> list[nn.Embedding]:
    """Word embeddings that are trained and whose weights no other module has."""
    embeddings: list[nn.Embedding] = []
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            words = module.get_input_embeddings()
            if type(words) is nn.Embedding and words.weight.requires_grad and words not in embeddings:
                embeddings.append(words)
    owners = [parameter for module in model.modules() for parameter in module._parameters.values()]
    return [words for words in embeddings if sum(parameter is words.weight for parameter in owners) == 1]


def _swap(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `old` is a part of the model."""
    for module in list(model.modules()):
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new
