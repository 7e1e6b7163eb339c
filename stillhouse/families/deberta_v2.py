"""DeBERTa v2 and v3 (He et al. 2021, arXiv 2006.03654 and 2111.09543): BERT's layers with disentangled attention.

Scores are (Q_cK_cᵀ + Q_cK_rᵀ + K_cQ_rᵀ)/√(3·d_h), c of the content, r of vectors of relative positions that all layers
read; v3 projects those with the matrices of the content, v2 with matrices of their own. There are no absolute
positions, nor, in what is published, token types. `config.embedding_size` is DeBERTa's own, so that a compressed one
calls the width of factorized word vectors `word_size`.

B sentences, h heads, L tokens, d width, d_h width of a head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError
from stillhouse.families.contract import HEADS, NORMS, PROJECTIONS, TABLES, Family, Keep, Matrix, Scores

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

NEWER = "lm_predictions"  # the masked LM's head where config.legacy is false


@dataclass(frozen=True)
class Deberta(Family):
    """It computes attention by itself, and its layers return tuples."""

    def check(self, config: Mapping[str, Any]) -> str | None:
        """Word vectors of a width of their own are not known here."""
        words, width = config.get("embedding_size"), config.get("hidden_size")
        if words is None or words == width:
            return None
        return f"embedding_size = {words} is not its hidden_size = {width}: use one whose word vectors are as wide"

    def refused(self, config: Any) -> Mapping[str, str]:
        """The width, where no LayerNorm stands before what reads it; words that a head reads as they are."""
        refused = dict(self.refuses)
        if config.relative_attention and "layer_norm" not in getattr(config, "norm_rel_ebd", "none"):
            refused["dimensions"] = "norm_rel_ebd is no layer_norm, which could mask a dimension: slice heads or units"
        if getattr(config, "conv_groups", 1) != 1 and getattr(config, "conv_kernel_size", 0) > 0:
            refused["dimensions"] = f"conv_groups = {config.conv_groups} part its dimensions: slice heads or units"
        if not config.legacy:
            refused["words"] = "legacy = false has a head that reads whole word vectors: use one of legacy = true"
        return refused

    def resize(self, config: Any, source: Sequence[int] | None, layers: int) -> None:
        """The pooler follows the width."""
        super().resize(config, source, layers)
        config.pooler_hidden_size = config.hidden_size

    def cut_below(self, model: "PreTrainedModel", count: int) -> None:
        """A convolution beside the first layer goes with it."""
        super().cut_below(model, count)
        encoder: Any = model.base_model
        if count:
            encoder.encoder.conv = None

    def states(self, output: Any) -> "Tensor":
        """(B, L, d)."""
        return output[0]

    def output(self, states: "Tensor") -> tuple:
        """As a layer without attentions has it."""
        return states, None

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """(N, d) to (N, V)."""
        parts: Any = model
        if hasattr(model, NEWER):
            return parts.lm_predictions(hidden, model.get_input_embeddings())
        return parts.cls(hidden)

    def vocabulary_bias(self, model: "PreTrainedModel") -> "Tensor":
        """(V,)."""
        parts: Any = model
        return parts.lm_predictions.lm_head.bias if hasattr(model, NEWER) else parts.cls.predictions.decoder.bias

    def watch_scores(self, model: "PreTrainedModel", layers: Sequence[int], scores: Scores) -> None:
        """The content's part computed once more, from its queries and keys; that of positions as the layer had it."""
        stack = self.layers(model)
        for index in layers:
            attention: Any = stack[index].get_submodule(self.heads)
            seen: dict[str, Any] = {}
            attention.register_forward_pre_hook(partial(_forget, seen))
            for name in ("query_proj", "key_proj"):
                getattr(attention, name).register_forward_hook(partial(_see, seen, name))
            attention._seen = seen
            attention.disentangled_attention_bias = MethodType(_watched_bias, attention)
            attention.register_forward_hook(partial(_score, seen, scores, index))

    def watch_projections(self, model: "PreTrainedModel", layers: Sequence[int], keep: Keep) -> None:
        """Those of the content: what v3's matrices make of positions, later in a pass, is not kept."""
        for index in layers:
            layer = self.layers(model)[index]
            attention: Any = layer.get_submodule(self.heads)
            done: set[str] = set()
            attention.register_forward_pre_hook(partial(_forget, done))
            for name, matrix in zip(PROJECTIONS, self.attention, strict=False):
                projection = layer.get_submodule(matrix.name)
                projection.register_forward_hook(partial(_give_first, done, keep, index, name))

    def extra(self, config: Any) -> dict[str, Any]:
        """Whether a convolution stands beside the first layer, as in v2's largest."""
        return {"convolution": True} if getattr(config, "conv_kernel_size", 0) > 0 else {}

    def kept_layers(self, extra: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
        """The convolution stays where it is.

        Raises:
            InputError: its layer goes.
        """
        if extra and keep[0] != 0:
            raise InputError(f"layers {list(keep)}: a convolution stands beside layer 0: keep it")
        return dict(extra)

    def said(self, extra: Mapping[str, Any], pooled_size: int) -> dict[str, Any]:
        """The pooler's width."""
        return {"pooler_hidden_size": pooled_size}


def _forget(seen: dict[str, Any] | set[str], module: Any, given: Any) -> None:
    seen.clear()


def _give_first(done: set[str], keep: Keep, index: int, name: str, module: Any, given: Any, output: "Tensor") -> None:
    if name not in done:
        done.add(name)
        keep(index, name, output)


def _see(seen: dict[str, Any], name: str, module: Any, given: Any, output: "Tensor") -> None:
    seen.setdefault(name, output)  # the first is the content's: v3 projects positions with the same matrix, later


def _watched_bias(attention: Any, *given: Any, **named: Any) -> Any:
    bias = type(attention).disentangled_attention_bias(attention, *given, **named)  # (B·h, L, L)
    attention._seen["bias"] = bias
    return bias


def _score(seen: dict[str, Any], scores: Scores, index: int, module: Any, given: Any, output: Any) -> None:
    size = module.attention_head_size
    q, k = (seen[name].unflatten(-1, (-1, size)).transpose(1, 2) for name in ("query_proj", "key_proj"))
    terms = 1 + sum(term in module.pos_att_type for term in ("c2p", "p2c"))
    found = q @ k.transpose(-1, -2) / (size * terms) ** 0.5  # (B, h, L, L)
    bias = seen.get("bias", 0)
    scores[index] = found + bias.view_as(found) if hasattr(bias, "view_as") else found
    seen.clear()


FAMILY = Deberta(
    "deberta-v2",
    "DebertaV2",
    config={},
    attention=(
        Matrix("attention.self.query_proj", "heads", "width"),
        Matrix("attention.self.key_proj", "heads", "width"),
        Matrix("attention.self.value_proj", "heads", "width"),
        Matrix("attention.self.pos_key_proj", "heads", "width", optional=True),
        Matrix("attention.self.pos_query_proj", "heads", "width", optional=True),
        Matrix("attention.output.dense", "width", "heads"),
    ),
    weights={
        r"rel_embeddings\.weight": (None, "width"),
        r"conv\.conv\.weight": ("width", "width", None),
        r"conv\.conv\.bias": ("width",),
        **NORMS,
        **TABLES,
    },
    linear={r"lm_predictions\.lm_head\.dense": ("width", "width"), **HEADS},
    word_size="word_size",
    one_type=True,
    types_ignored=True,
)
