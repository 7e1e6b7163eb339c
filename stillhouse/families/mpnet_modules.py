"""MPNet's attention with a bias of relative positions of its own.

transformers' encoder looks the bias up once, in a table with a column a head, and hands it to every layer. Here it
hands on which row each pair of tokens reads, and a layer looks it up in a table of its own heads.

B sentences, h heads, L tokens, R rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention


def give_bias(model: PreTrainedModel, heads: int) -> None:
    """Give the encoder one table for all layers, of so many heads, in place."""
    encoder: Any = model.base_model.encoder
    encoder.relative_attention_bias = nn.Embedding(encoder.relative_attention_bias.num_embeddings, heads)


def give_own_bias(model: PreTrainedModel, layers: Iterable[nn.Module], heads: Sequence[int]) -> None:
    """Give each layer's attention a table of its heads, in place; random weights, as `post_init` will set them.

    Args:
        layers: of the model, none shared yet.
        heads: of each layer.
    """
    encoder: Any = model.base_model.encoder
    rows = encoder.relative_attention_bias.num_embeddings
    encoder.relative_attention_bias = _Rows()
    for layer, count in zip(layers, heads, strict=True):
        attention: Any = layer.attention
        attention.attn.__class__ = OwnBiasAttention
        attention.attn.relative_attention_bias = nn.Embedding(rows, count)


class _Rows(nn.Module):
    """Stands where the table was."""

    def forward(self, rows: Tensor) -> Tensor:
        """(L, L) to (L, L, 1): as if there was one head, whose bias is the row's number."""
        return rows[..., None]


class OwnBiasAttention(MPNetSelfAttention):
    """Reads its own table."""

    def bias(self, rows: Tensor) -> Tensor:
        """Row numbers (B, 1, L, L), the same for all sentences, to biases (1, h, L, L)."""
        table: Any = self.relative_attention_bias
        return table(rows[0, 0]).permute(2, 0, 1)[None]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Any = None,
        position_bias: Any = None,
        output_attentions: bool = False,
        **named: Any,
    ) -> Any:
        """transformers' own, with this layer's bias; `position_bias` has row numbers (B, 1, L, L)."""
        bias = self.bias(position_bias)
        return super().forward(hidden_states, attention_mask, bias, output_attentions, **named)
