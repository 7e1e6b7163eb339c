"""The config of a compressed encoder: its family's own, and what surgery has made of the shape.

The families' config classes themselves cannot be imported while transformers imports its table of them, which is when
this file is; so their common fields stand here.
"""

from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import AutoConfig

from stillhouse.models.family import COMPACT


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


def _of_family(name: str, family: str) -> type[CompactConfig]:
    text = f"The config of a compressed {family} encoder."
    made: Any = type(name, (CompactConfig,), {"model_type": COMPACT + family, "__module__": __name__, "__doc__": text})
    AutoConfig.register(made.model_type, made)
    return made


CompactBertConfig = _of_family("CompactBertConfig", "bert")
CompactRobertaConfig = _of_family("CompactRobertaConfig", "roberta")
CompactXLMRobertaConfig = _of_family("CompactXLMRobertaConfig", "xlm-roberta")
CompactCamembertConfig = _of_family("CompactCamembertConfig", "camembert")
