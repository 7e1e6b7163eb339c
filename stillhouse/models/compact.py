"""Compressed encoders of the BERT and RoBERTa families, as transformers' own models with other parts in them.

`config.json` states the shape (`stillhouse.models.shape`); a model builds itself from it, so
`AutoModel….from_pretrained` gives back whatever surgery made. The forward pass stays transformers': attention
implementations, hidden states and export work as they do there."""

from typing import Any

from torch import nn
from transformers import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    CamembertForMaskedLM,
    CamembertForQuestionAnswering,
    CamembertForSequenceClassification,
    CamembertForTokenClassification,
    CamembertModel,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    XLMRobertaForMaskedLM,
    XLMRobertaForQuestionAnswering,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

from stillhouse.models.compact_modules import FactorizedDecoder, FactorizedEmbedding, LowRankLinear, Shared
from stillhouse.models.quantized_modules import QuantizedEmbedding, QuantizedLinear
from stillhouse.models.shape import CONFIGS, Quantization, Shape

PLAIN: tuple[type[PreTrainedModel], ...] = (
    *(BertModel, BertForSequenceClassification, BertForTokenClassification),
    *(BertForQuestionAnswering, BertForMaskedLM),
    *(RobertaModel, RobertaForSequenceClassification, RobertaForTokenClassification),
    *(RobertaForQuestionAnswering, RobertaForMaskedLM),
    *(XLMRobertaModel, XLMRobertaForSequenceClassification, XLMRobertaForTokenClassification),
    *(XLMRobertaForQuestionAnswering, XLMRobertaForMaskedLM),
    *(CamembertModel, CamembertForSequenceClassification, CamembertForTokenClassification),
    *(CamembertForQuestionAnswering, CamembertForMaskedLM),
)


class _Compact:
    """What makes one of transformers' classes compact: mixed in before it."""

    def __init__(self, config: PreTrainedConfig, **options: Any) -> None:
        super().__init__(config, **options)  # type: ignore[call-arg]
        _build(self)  # type: ignore[arg-type]
        self.post_init()  # type: ignore[attr-defined]


def _build(model: PreTrainedModel) -> None:
    """Put the parts that the shape asks for in the place of transformers' own."""
    shape, base = Shape.of(model.config), model.base_model
    parts: Any = base
    for index, layer in enumerate(parts.encoder.layer):
        _build_layer(layer, index, shape)
    for index, layer in enumerate(parts.encoder.layer):
        if shape.attention_of[index] != index:
            layer.attention = Shared(parts.encoder.layer[shape.attention_of[index]].attention)
        if shape.ffn_of[index] != index:
            source = parts.encoder.layer[shape.ffn_of[index]]
            layer.intermediate, layer.output = Shared(source.intermediate), Shared(source.output)
    if shape.pooled_size != shape.hidden_size:
        _build_head(model, shape)
    if shape.embedding_size != shape.hidden_size:
        words = parts.embeddings.word_embeddings
        factorized = FactorizedEmbedding(
            words.num_embeddings, shape.embedding_size, shape.hidden_size, words.padding_idx
        )
        parts.embeddings.word_embeddings = factorized
        _tie_decoder(model, factorized)
    if shape.quantization is not None:
        _build_quantized(model, shape.quantization)


def _build_layer(layer: Any, index: int, shape: Shape) -> None:
    attention, d = layer.attention.self, shape.hidden_size
    heads, units = shape.heads[index], shape.intermediate[index]
    attention.num_attention_heads = heads
    attention.attention_head_size = shape.head_size
    attention.all_head_size = width = heads * shape.head_size
    attention.scaling = shape.head_size**-0.5

    def linear(name: str, inputs: int, outputs: int) -> nn.Module:
        rank = shape.ranks.get(f"{index}.{name}")
        return nn.Linear(inputs, outputs) if rank is None else LowRankLinear(inputs, outputs, rank)

    for name in ("query", "key", "value"):
        setattr(attention, name, linear(f"attention.self.{name}", d, width))
    layer.attention.output.dense = linear("attention.output.dense", width, d)
    layer.intermediate.dense = linear("intermediate.dense", d, units)
    layer.output.dense = linear("output.dense", units, d)


def _build_head(model: Any, shape: Shape) -> None:
    """The dense layer between the encoder and a classifier keeps its own width when the encoder gets narrower.

    A classifier of tokens has no such layer: it reads the encoder itself.
    """
    d, pooled = shape.hidden_size, shape.pooled_size
    pools = getattr(model.base_model, "pooler", None) is not None
    if pools:
        model.base_model.pooler.dense = nn.Linear(d, pooled)
    classifier = getattr(model, "classifier", None)
    if isinstance(classifier, nn.Linear):
        model.classifier = nn.Linear(pooled if pools else d, classifier.out_features)
    elif classifier is not None:  # RoBERTa's pools within the head
        classifier.dense = nn.Linear(d, pooled)
        classifier.out_proj = nn.Linear(pooled, classifier.out_proj.out_features)


def _tie_decoder(model: Any, embedding: FactorizedEmbedding) -> None:
    """A masked-LM head reads its words from the factorized table."""
    if model.get_output_embeddings() is None:
        return
    decoder = FactorizedDecoder(embedding)
    head = model.cls.predictions if hasattr(model, "cls") else model.lm_head
    head.decoder = decoder
    name = "cls.predictions" if hasattr(model, "cls") else "lm_head"
    # The table is the decoder's own: of transformers' two ties, one is left.
    model._tied_weights_keys = {f"{name}.decoder.bias": f"{name}.bias"}


def _build_quantized(model: PreTrainedModel, quantization: Quantization) -> None:
    """Every linear layer, and the word vectors, with weights in eight bits."""
    for name in quantized_names(model, quantization.embeddings):
        part: Any = model.get_submodule(name)
        new: nn.Module
        if isinstance(part, nn.Embedding):
            new = QuantizedEmbedding(part.num_embeddings, part.embedding_dim, quantization.weights, part.padding_idx)
        else:
            bias = part.bias is not None
            new = QuantizedLinear(
                part.in_features, part.out_features, quantization.weights, quantization.activations, bias
            )
        model.set_submodule(name, new)


def quantized_names(model: PreTrainedModel, embeddings: bool) -> list[str]:
    """The modules of a model in full precision that quantization is about, by name: linear layers, and word vectors."""
    words: Any = model.get_input_embeddings()
    table = words.table if isinstance(words, FactorizedEmbedding) else words
    return [
        name for name, part in model.named_modules() if isinstance(part, nn.Linear) or (embeddings and part is table)
    ]


def _compact(plain: type[PreTrainedModel]) -> type[PreTrainedModel]:
    name = f"Compact{plain.__name__}"
    kind = CONFIGS[plain.config_class]  # type: ignore[index]
    text = f"`{plain.__name__}` of any shape that {kind.__name__} states."
    return type(name, (_Compact, plain), {"config_class": kind, "__module__": __name__, "__doc__": text})


# Each of transformers' classes, and its compact one. `stillhouse.models.modeling_compact` tells the Auto classes.
COMPACT = {plain: _compact(plain) for plain in PLAIN}
globals().update({made.__name__: made for made in COMPACT.values()})
