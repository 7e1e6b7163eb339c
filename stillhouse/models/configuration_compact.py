"""The config of a compressed encoder: its family's own, and what surgery has made of the shape.

The families' config classes themselves cannot be imported while transformers imports its table of them, which is when
this file is; so what families like BERT have in common stands here. Of the others a config says all itself: it is
written from a whole one.
"""

from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import AutoConfig

from stillhouse.families.contract import Family
from stillhouse.families.find import COMPACT_FAMILIES
from stillhouse.families.names import COMPACT


class CompactConfig(PreTrainedConfig):
    """Fields of BERT's and RoBERTa's configs, and those of a compressed shape, which are None where it is not.

    embedding_size: E, width of the word vectors; under `hidden_size` they are factorized, V×E and E×d.
    head_size: width of an attention head.
    layer_heads: attention heads of each layer.
    layer_intermediate_sizes: FFN units of each layer.
    attention_of, ffn_of: the layer (from 0) whose attention, or FFN, each layer uses; a layer that uses its own has its
        own number.
    ranks: rank of each factorized matrix, by its name in the encoder, such as "0.attention.self.query".
    pooled_size: outputs of the dense layer between the encoder and a classifier.
    quantization: how weights and activations are rounded, as {"weights": "int8" | "float8", "embeddings": true | false,
        "activations": "dynamic" | "static" | null}.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    use_cache: bool = True
    classifier_dropout: float | int | None = None
    is_decoder: bool = False
    add_cross_attention: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True

    embedding_size: int | None = None
    head_size: int | None = None
    layer_heads: list[int] | None = None
    layer_intermediate_sizes: list[int] | None = None
    attention_of: list[int] | None = None
    ffn_of: list[int] | None = None
    ranks: dict[str, int] | None = None
    pooled_size: int | None = None
    quantization: dict[str, Any] | None = None


FIELDS = (
    "embedding_size",
    "head_size",
    "layer_heads",
    "layer_intermediate_sizes",
    "attention_of",
    "ffn_of",
    "ranks",
    "pooled_size",
    "quantization",
)


def field_names(family: Family) -> dict[str, str]:
    """What a family's compressed config calls each of `FIELDS`."""
    return dict(zip(FIELDS, FIELDS, strict=True)) | {"embedding_size": family.word_size, "head_size": family.head_size}


def _of_family(family: Family) -> type[PreTrainedConfig]:
    body: dict[str, Any] = {
        "model_type": COMPACT + family.name,
        "__module__": __name__,
        "__doc__": f"The config of a compressed {family.name} encoder.",
    }
    if family.config is None:
        made: Any = type(f"Compact{family.prefix}Config", (CompactConfig,), body)
    else:
        ours = [*field_names(family).values(), *family.extra_fields]
        body |= {"__annotations__": dict.fromkeys(ours, Any)} | dict.fromkeys(ours) | dict(family.config)
        made = type(f"Compact{family.prefix}Config", (PreTrainedConfig,), body)
    AutoConfig.register(made.model_type, made)
    return made


# By family. Each is an attribute of this module too: transformers finds it there.
COMPACT_CONFIGS = {name: _of_family(family) for name, family in COMPACT_FAMILIES.items()}
globals().update({made.__name__: made for made in COMPACT_CONFIGS.values()})
