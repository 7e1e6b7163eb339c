"""The parts of a compressed encoder that transformers does not have.

B sentences, L tokens, V vocabulary, d width, E width of the word vectors, r rank, m and n sizes of a matrix.
"""

from typing import Any

import torch
from torch import Tensor, nn


class FactorizedEmbedding(nn.Module):
    """Word vectors of width E, brought to width d: V×E + E×d weights for V×d (ALBERT, Lan et al. 2020, section 3.1)."""

    def __init__(self, vocabulary: int, embedding_size: int, hidden_size: int, padding: int | None) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, embedding_size, padding_idx=padding)
        self.project = nn.Linear(embedding_size, hidden_size, bias=False)

    @property
    def num_embeddings(self) -> int:
        """V."""
        return self.table.num_embeddings

    @property
    def embedding_dim(self) -> int:
        """d, the width of what it gives."""
        return self.project.out_features

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) ids to (B, L, d)."""
        return self.project(self.table(ids))


class FactorizedDecoder(nn.Module):
    """The masked-LM decoder that is tied to a `FactorizedEmbedding`: logits h·P·Tᵀ + b, of the same two matrices."""

    def __init__(self, embedding: FactorizedEmbedding) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(embedding.num_embeddings))
        _refer(self, "embedding", embedding)

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, d) to (…, V)."""
        embedding: Any = self.embedding
        return nn.functional.linear(hidden @ embedding.project.weight, embedding.table.weight, self.bias)


class LowRankLinear(nn.Module):
    """A linear layer n → m through r: r·(m + n) weights for m·n."""

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, n) to (…, m)."""
        return self.up(self.down(x))


class Shared(nn.Module):
    """Stands where a layer uses another layer's part. It has no weights: they are saved, and counted, once."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        _refer(self, "part", part)

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the other layer's part gives."""
        part: Any = self.part
        return part(*given, **named)


def _refer(module: nn.Module, name: str, other: nn.Module) -> None:
    """Set an attribute without making `other` a submodule: its weights stay where they are."""
    module.__dict__[name] = other
