"""ModernBERT (Warner et al. 2024, arXiv 2412.13663): rotary positions, gated FFNs, and layers that look only nearby.

LayerNorm comes before attention and FFN, in the first layer before the FFN alone, and once more after the last layer.
Queries, keys and values are one matrix, FFN units and their gates another. Every third layer attends to all tokens, the
others to `local_attention` around each; which does what stays with the layers when some of them are taken, and the
first of those has its LayerNorm still. The scores of a layer that looks nearby are 0 for pairs that it does not see.

B sentences, L tokens, d width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from stillhouse.families.contract import PROJECTIONS, Axes, Family, Keep, Matrix

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

NEARBY = "sliding_attention"


@dataclass(frozen=True)
class ModernBert(Family):
    """Its layers are of two kinds, and the first is another one."""

    def resize(self, config: Any, source: Sequence[int] | None, layers: int) -> None:
        """Each layer is of the kind of its source, or of the teacher's layer in its place."""
        super().resize(config, source, layers)
        kinds = config.layer_types
        config.layer_types = [kinds[number % len(kinds)] for number in (range(layers) if source is None else source)]

    def cut(self, model: "PreTrainedModel", count: int) -> None:
        """What is left are states between layers, which no LayerNorm follows."""
        whole = count == model.config.num_hidden_layers
        super().cut(model, count)
        config: Any = model.config
        config.layer_types = config.layer_types[:count]
        if not whole:
            from torch.nn import Identity

            base: Any = model.base_model
            base.final_norm = Identity()

    def cut_below(self, model: "PreTrainedModel", count: int) -> None:
        """Kinds go with their layers."""
        super().cut_below(model, count)
        config: Any = model.config
        config.layer_types = config.layer_types[count:]

    def copy_layers(self, teacher: "PreTrainedModel", student: "PreTrainedModel", source: Sequence[int]) -> None:
        """The student's first layer has no LayerNorm before its attention: the embeddings' own is right before it."""
        theirs, ours = self.layers(teacher), self.layers(student)
        for layer, number in zip(ours, source, strict=True):
            given = theirs[number].state_dict()
            known = layer.state_dict().keys()
            layer.load_state_dict({name: value for name, value in given.items() if name in known}, strict=False)

    def kind(self, layer: "nn.Module") -> str:
        """Whether it attends to all tokens or to those nearby."""
        sort: Any = layer.attention_type
        return sort

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """(N, d) to (N, V)."""
        parts: Any = model
        return parts.decoder(parts.head(hidden))

    def watch_projections(self, model: "PreTrainedModel", layers: Sequence[int], keep: Keep) -> None:
        """The three parts of one matrix's output, before they are turned by positions."""
        for index in layers:
            layer = self.layers(model)[index]
            matrix = layer.get_submodule(self.attention[0].name)
            matrix.register_forward_hook(partial(_give_three, keep, index))

    def window(self, model: "PreTrainedModel", layer: int) -> int | None:
        """Half of `local_attention`."""
        config: Any = model.config
        return config.sliding_window if config.layer_types[layer] == NEARBY else None

    def extra(self, config: Any) -> dict[str, Any]:
        """The kind of each layer; whether the first has a LayerNorm before its attention."""
        return {"layer_types": list(config.layer_types), "first_norm": getattr(config, "first_norm", None)}

    def plain(self, extra: Mapping[str, Any]) -> bool:
        """The first layer has none."""
        return not extra["first_norm"]

    def kept_layers(self, extra: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
        """Their kinds, and the LayerNorm of what is now the first."""
        norm = True if keep[0] > 0 else extra["first_norm"]
        return {"layer_types": [extra["layer_types"][layer] for layer in keep], "first_norm": norm}

    def said(self, extra: Mapping[str, Any], pooled_size: int) -> dict[str, Any]:
        """The kinds."""
        return {"layer_types": list(extra["layer_types"])}

    def build(self, model: "PreTrainedModel", extra: Mapping[str, Any], heads: Sequence[int]) -> None:
        """A LayerNorm for the first layer, where it has one."""
        if extra["first_norm"]:
            from torch.nn import LayerNorm

            first: Any = self.layers(model)[0]
            norm = first.mlp_norm
            first.attn_norm = LayerNorm(norm.normalized_shape, eps=norm.eps, bias=norm.bias is not None)


def _give_three(keep: Keep, index: int, module: Any, given: Any, output: "Tensor") -> None:
    for name, part in zip(PROJECTIONS, output.chunk(3, dim=-1), strict=True):
        keep(index, name, part)


LINEAR: dict[str, Axes] = {
    r"tok_embeddings\.project": ("width", None),
    r"head\.dense": ("width", "width"),
    r"decoder": (None, "width"),
    r"classifier": (None, "width"),
}

FAMILY = ModernBert(
    "modernbert",
    "ModernBert",
    config={"sliding_window": property(lambda config: config.local_attention // 2)},  # to either side
    stack="layers",
    words="embeddings.tok_embeddings",
    attention=(Matrix("attn.Wqkv", "qkv", "width"), Matrix("attn.Wo", "width", "heads")),
    ffn=(Matrix("mlp.Wi", "glu", "width"), Matrix("mlp.Wo", "width", "units")),
    heads="attn",
    # Not the LayerNorms: the first layer has one less to share.
    parts={"attention": ("attn",), "ffn": ("mlp",)},
    weights={
        r"(?:\w+_)?norm\.(?:weight|bias)": ("width",),
        r"tok_embeddings\.weight": (None, "width"),
        r"tok_embeddings\.table\.weight": (None, None),
    },
    linear=LINEAR,
    poolers=(),
    decoder="decoder",
    decoder_bias=None,
    head_size="head_dim",
    types_ignored=True,
    pooled=False,
    starts_parts=True,
    extra_fields=("first_norm",),
)
