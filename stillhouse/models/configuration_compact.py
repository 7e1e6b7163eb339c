"""The shape of a compressed encoder: transformers' own config of its family, and what surgery has made of it.

A field that is None is as the family has it. `config.json` says all of it, so a checkpoint needs nothing beside it.
"""

from typing import Any

from transformers import BertConfig, CamembertConfig, PreTrainedConfig, RobertaConfig, XLMRobertaConfig
from transformers.models.auto.configuration_auto import AutoConfig

from stillhouse.models.family import COMPACT


class _Shape:
    """The fields that every family's compact config has.

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

    embedding_size: int | None = None
    head_size: int | None = None
    layer_heads: list[int] | None = None
    layer_intermediate_sizes: list[int] | None = None
    attention_of: list[int] | None = None
    ffn_of: list[int] | None = None
    ranks: dict[str, int] | None = None
    pooled_size: int | None = None
    quantization: dict[str, Any] | None = None


FIELDS = tuple(_Shape.__annotations__)


def _compact(plain: Any) -> type[PreTrainedConfig]:
    """The compact config class of a family."""
    name = f"Compact{plain.__name__}"
    fields: dict[str, Any] = dict.fromkeys(FIELDS)
    made: Any = type(
        name,
        (plain,),
        {
            **fields,
            "__annotations__": dict(_Shape.__annotations__),
            "__doc__": f"{plain.__name__}, and the fields of a compressed shape.",
            "__module__": __name__,
            "model_type": COMPACT + plain.model_type,
        },
    )
    AutoConfig.register(made.model_type, made)
    return made


# Each family's own config class, and its compact one.
CONFIGS = {plain: _compact(plain) for plain in (BertConfig, RobertaConfig, XLMRobertaConfig, CamembertConfig)}
globals().update({made.__name__: made for made in CONFIGS.values()})
