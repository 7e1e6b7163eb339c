"""MPNet (Song et al. 2020, arXiv 2004.09297): BERT's layers with one bias of relative positions for all of them.

Positions are numbered from 2 on, whatever the padding token. Scores are QKᵀ/√d_h + bias; a head's bias is a column of
one table that all layers read, so head i of each layer is bound to head i of the others. Where heads of different
layers go, each layer gets a table of its own heads.

B sentences, h heads, L tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stillhouse.families.contract import HEADS, NORMS, TABLES, Family, Matrix, Scores, State

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

OWN = "attention.attn.relative_attention_bias"  # a layer's own table
SHARED = "encoder.relative_attention_bias.weight"


@dataclass(frozen=True)
class MPNet(Family):
    """It computes attention by itself, and its layers return tuples."""

    def states(self, output: Any) -> "Tensor":
        """(B, L, d)."""
        return output[0]

    def output(self, states: "Tensor") -> tuple:
        """As a layer without attentions has it."""
        return (states,)

    def watch_scores(self, model: "PreTrainedModel", layers: Sequence[int], scores: Scores) -> None:
        """The scores computed once more, from the queries and keys that the layer computed."""
        stack = self.layers(model)
        for index in layers:
            attention: Any = stack[index].get_submodule(self.heads)
            seen: dict[str, Any] = {}
            for name in ("q", "k"):
                getattr(attention, name).register_forward_hook(partial(_see, seen, name))
            attention.register_forward_hook(partial(_score, seen, scores, index))

    def extra(self, config: Any) -> dict[str, Any]:
        """Whether layers have tables of their own."""
        return {"own_position_bias": True} if getattr(config, "own_position_bias", None) else {}

    def plain(self, extra: Mapping[str, Any]) -> bool:
        """One table for all."""
        return not extra

    def heads_apart(self, state: State, extra: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
        """The table of all, given to each layer that has an attention of its own."""
        if extra:
            return state, dict(extra)
        name = next(name for name in state if name.endswith(SHARED))
        table = state.pop(name)
        found = [self.in_layer.match(key) for key in state]
        places = {f"{match[1]}{match[2]}" for match in found if match and match[3].startswith("attention.")}
        return state | {f"{place}.{OWN}.weight": table.clone() for place in places}, {"own_position_bias": True}

    def build(self, model: "PreTrainedModel", extra: Mapping[str, Any], heads: Sequence[int]) -> None:
        """A table a layer, or one for all."""
        from stillhouse.families.mpnet_modules import give_bias, give_own_bias

        if extra:
            give_own_bias(model, self.layers(model), heads)
        else:
            give_bias(model, heads[0])


def _see(seen: dict[str, Any], name: str, module: Any, given: Any, output: "Tensor") -> None:
    seen[name] = output


def _score(seen: dict[str, Any], scores: Scores, index: int, module: Any, given: tuple, output: Any) -> None:
    size = module.attention_head_size
    q, k = (seen.pop(name).unflatten(-1, (-1, size)).transpose(1, 2) for name in ("q", "k"))  # (B, h, L, d_h)
    bias = module.bias(given[2]) if hasattr(module, "bias") else given[2]
    scores[index] = q @ k.transpose(-1, -2) / size**0.5 + bias


FAMILY = MPNet(
    "mpnet",
    "MPNet",
    config={},
    attention=(
        Matrix("attention.attn.q", "heads", "width"),
        Matrix("attention.attn.k", "heads", "width"),
        Matrix("attention.attn.v", "heads", "width"),
        Matrix("attention.attn.o", "width", "heads"),
    ),
    heads="attention.attn",
    weights={
        rf"layer\.\d+\.{OWN}\.weight": (None, "head"),
        r"encoder\.relative_attention_bias\.weight": (None, None),
        **NORMS,
        **TABLES,
    },
    linear=HEADS,
    poolers=("pooler.dense", "classifier.dense"),
    decoder="lm_head.decoder",
    decoder_bias="lm_head.bias",
    first_position=2,
    types_ignored=True,
    extra_fields=("own_position_bias",),
)
