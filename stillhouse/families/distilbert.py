"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT with no token types and no pooler, under names of its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillhouse.families.contract import HEADS, TABLES, Family, Matrix

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class DistilBert(Family):
    """The head of its masked LM is no module of its own."""

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """(N, d) to (N, V)."""
        parts: Any = model
        return parts.vocab_projector(parts.vocab_layer_norm(parts.activation(parts.vocab_transform(hidden))))


FAMILY = DistilBert(
    "distilbert",
    "DistilBert",
    config={
        "attribute_map": {"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
    },
    stack="transformer.layer",
    attention=(
        Matrix("attention.q_lin", "heads", "width"),
        Matrix("attention.k_lin", "heads", "width"),
        Matrix("attention.v_lin", "heads", "width"),
        Matrix("attention.out_lin", "width", "heads"),
    ),
    ffn=(Matrix("ffn.lin1", "units", "width"), Matrix("ffn.lin2", "width", "units")),
    heads="attention",
    parts={"attention": ("attention", "sa_layer_norm"), "ffn": ("ffn", "output_layer_norm")},
    weights={r"(?:LayerNorm|\w+_layer_norm)\.(?:weight|bias)": ("width",), **TABLES},
    linear={
        r"vocab_transform": ("width", "width"),
        r"vocab_projector": (None, "width"),
        r"pre_classifier": (None, "width"),
        **HEADS,
    },
    poolers=("pre_classifier",),
    decoder="vocab_projector",
    decoder_bias=None,
    units="hidden_dim",
    types_ignored=True,
)
