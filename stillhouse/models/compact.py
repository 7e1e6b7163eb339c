"""Compressed encoders, as transformers' own models with other parts in them.

`config.json` states the shape (`stillhouse.models.shape`); a model builds itself from it, so
`AutoModel….from_pretrained` gives back whatever surgery made. The forward pass stays transformers': attention
implementations, hidden states and export work as they do there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from stillhouse.families.contract import Family
from stillhouse.families.find import COMPACT_FAMILIES, family_of
from stillhouse.models.compact_modules import FactorizedDecoder, FactorizedEmbedding, LowRankLinear, Shared
from stillhouse.models.configuration_compact import COMPACT_CONFIGS, CompactConfig
from stillhouse.models.modeling_compact import HEADS
from stillhouse.models.quantized_modules import QuantizedEmbedding, QuantizedLinear
from stillhouse.models.quantizing import build_quantized
from stillhouse.models.shape import Shape

# transformers' classes: each family's encoder, and with each head.
PLAIN: dict[type[PreTrainedModel], Family] = {
    getattr(transformers, f"{family.prefix}{head}"): family for family in COMPACT_FAMILIES.values() for head in HEADS
}


OURS = (QuantizedLinear, QuantizedEmbedding, LowRankLinear, FactorizedEmbedding, FactorizedDecoder)


class _Compact:
    """What makes one of transformers' classes compact: mixed in before it."""

    def __init__(self, config: PreTrainedConfig, **options: Any) -> None:
        with _dividing_heads(config):
            super().__init__(config, **options)  # type: ignore[call-arg]
        _build(self)  # type: ignore[arg-type]
        self.post_init()  # type: ignore[attr-defined]

    def _init_weights(self, module: nn.Module) -> None:
        if family_of(self).starts_parts and any(isinstance(part, OURS) for part in module.children()):  # type: ignore[arg-type]
            # The family's own start is for parts that are not there any more.
            PreTrainedModel._init_weights(self, module)  # type: ignore[arg-type]
        else:
            super()._init_weights(module)  # type: ignore[misc]


@contextmanager
def _dividing_heads(config: Any) -> Iterator[None]:
    """Within it, the config has one head where transformers would mind that heads do not divide the width."""
    heads = config.num_attention_heads
    # BERT's classes do not where there is an `embedding_size`, and draw random weights by the heads' number.
    minds = config.hidden_size % heads and not isinstance(config, CompactConfig)
    config.num_attention_heads = 1 if minds else heads
    try:
        yield
    finally:
        config.num_attention_heads = heads


def _build(model: PreTrainedModel) -> None:
    """Put the parts that the shape asks for in the place of transformers' own."""
    shape, family = Shape.of(model.config), family_of(model)
    own = family.own_layers(shape.layers)
    if own == tuple(range(shape.layers)):
        layers = list(family.layers(model))
        for index, layer in enumerate(layers):
            _build_layer(layer, index, shape, family)
        family.build(model, shape.extra, shape.heads)
        for index, layer in enumerate(layers):
            for part, used in (("attention", shape.attention_of), ("ffn", shape.ffn_of)):
                for name in family.parts[part] if used[index] != index else ():
                    setattr(layer, name, Shared(getattr(layers[used[index]], name)))
    else:  # one layer, computed many times
        for layer in family.blocks(model):
            _build_layer(layer, 0, shape, family)
    if shape.pooled_size != shape.hidden_size:
        _build_head(model, shape, family)
    if shape.embedding_size != shape.hidden_size:
        _build_words(model, shape, family)
    if shape.quantization is not None:
        build_quantized(model, shape.quantization)


def _build_layer(layer: Any, index: int, shape: Shape, family: Family) -> None:
    _tell_heads(layer.get_submodule(family.heads), shape.heads[index], shape.head_size)
    for name, matrix in family.matrices.items():
        inputs, outputs = shape.size(matrix.inputs, index), shape.size(matrix.outputs, index)
        rank = shape.ranks.get(f"{index}.{name}")
        whole, _, last = name.rpartition(".")
        place = layer.get_submodule(whole)
        plain = getattr(place, last, None)
        if plain is None:
            continue  # some models of the family do without
        bias = plain.bias is not None
        new = nn.Linear(inputs, outputs, bias) if rank is None else LowRankLinear(inputs, outputs, rank, bias)
        setattr(place, last, new)


def _tell_heads(attention: Any, heads: int, head_size: int) -> None:
    """Write the number and width of its heads wherever an attention module keeps them."""
    known = {
        **dict.fromkeys(("num_attention_heads", "n_heads"), heads),
        **dict.fromkeys(("attention_head_size", "head_dim"), head_size),
        "all_head_size": heads * head_size,
        "scaling": head_size**-0.5,
    }
    for name, value in known.items():
        if hasattr(attention, name):
            setattr(attention, name, value)


def _build_head(model: Any, shape: Shape, family: Family) -> None:
    """The dense layer between the encoder and a classifier keeps its own width when the encoder gets narrower.

    A classifier of tokens has no such layer: it reads the encoder itself.
    """
    d, pooled, pools = shape.hidden_size, shape.pooled_size, False
    for place in dict.fromkeys((model.base_model, model)):  # one where the model is an encoder
        for path in family.poolers:
            whole, _, last = path.rpartition(".")
            part = _submodule(place, whole)
            if part is not None and isinstance(getattr(part, last, None), nn.Linear):
                setattr(part, last, nn.Linear(d, pooled))
                pools = True
    classifier = getattr(model, "classifier", None)
    if isinstance(classifier, nn.Linear):
        model.classifier = nn.Linear(pooled if pools else d, classifier.out_features)
    elif classifier is not None:  # RoBERTa's pools within the head
        classifier.out_proj = nn.Linear(pooled, classifier.out_proj.out_features)


def _submodule(model: nn.Module, path: str) -> nn.Module | None:
    """A part by its path; None where the model has none."""
    for name in path.split(".") if path else ():
        found = getattr(model, name, None)
        if not isinstance(found, nn.Module):
            return None
        model = found
    return model


def _build_words(model: Any, shape: Shape, family: Family) -> None:
    """Word vectors of two factors, and a masked-LM head that reads its words from them."""
    words = model.base_model.get_submodule(family.words)
    factorized = FactorizedEmbedding(words.num_embeddings, shape.embedding_size, shape.hidden_size, words.padding_idx)
    model.base_model.set_submodule(family.words, factorized)
    if model.get_output_embeddings() is None:
        return
    model.set_submodule(family.decoder, FactorizedDecoder(factorized))
    # The table is the decoder's own: of transformers' two ties, one is left.
    tied = family.decoder_bias
    model._tied_weights_keys = {f"{family.decoder}.bias": tied} if tied else {}


def _compact(plain: type[PreTrainedModel]) -> type[PreTrainedModel]:
    name = f"Compact{plain.__name__}"
    kind = COMPACT_CONFIGS[PLAIN[plain].name]
    text = f"`{plain.__name__}` of any shape that {kind.__name__} states."
    return type(name, (_Compact, plain), {"config_class": kind, "__module__": __name__, "__doc__": text})


# Each of transformers' classes, and its compact one. `stillhouse.models.modeling_compact` tells the Auto classes.
COMPACT = {plain: _compact(plain) for plain in PLAIN}
globals().update({made.__name__: made for made in COMPACT.values()})
