"""The shape of an encoder, plain or compressed, with nothing left to a default."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import transformers
from transformers import PreTrainedConfig

from stillhouse.errors import InputError
from stillhouse.families.contract import Family
from stillhouse.families.find import COMPACT_FAMILIES
from stillhouse.families.names import family_name
from stillhouse.models.configuration_compact import COMPACT_CONFIGS, field_names
from stillhouse.models.quantization import Quantization


@dataclass(frozen=True)
class Shape:
    """What `config.json` says of a compressed encoder. Layers and units count from 0.

    hidden_size: d, width between the layers.
    embedding_size: E, width of the word vectors; d where they are not factorized.
    head_size: d_h, width of an attention head.
    heads, intermediate: of each layer, attention heads and FFN units.
    attention_of, ffn_of: the layer whose attention, or FFN, each layer uses; its own number where that is its own.
    ranks: of each factorized matrix, by names such as "0.attention.self.query".
    pooled_size: outputs of the dense layer between the encoder and a classifier.
    quantization: None in full precision.
    family: its name.
    extra: what the family alone has, by fields of its config.
    """

    hidden_size: int
    embedding_size: int
    head_size: int
    heads: tuple[int, ...]
    intermediate: tuple[int, ...]
    attention_of: tuple[int, ...]
    ffn_of: tuple[int, ...]
    pooled_size: int
    ranks: Mapping[str, int] = field(default_factory=dict)
    quantization: Quantization | None = None
    family: str = "bert"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """How many there are, shared ones counted each time."""
        return len(self.heads)

    @property
    def plain(self) -> bool:
        """Whether the family's own config can say it all."""
        family = COMPACT_FAMILIES[self.family]
        own = family.own_layers(self.layers)
        return (
            self.embedding_size == self.pooled_size == self.hidden_size
            and len(set(self.heads)) == 1
            and len(set(self.intermediate)) == 1
            and self.heads[0] * self.head_size == self.hidden_size
            and self.attention_of == self.ffn_of == own
            and not self.ranks
            and self.quantization is None
            and family.plain(self.extra)
        )

    def size(self, kind: str, layer: int) -> int:
        """How many of a kind a layer has, as `Matrix` has it: width | heads (d_h a head) | qkv | units | glu."""
        context = self.heads[layer] * self.head_size
        units = self.intermediate[layer]
        return {"width": self.hidden_size, "heads": context, "qkv": 3 * context, "units": units, "glu": 2 * units}[kind]

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "Shape":
        """The shape that a config states.

        Raises:
            InputError: a family that surgery does not know, or fields that contradict each other.
        """
        family = check_family(config)
        given: dict[str, Any] = {name: getattr(config, called, None) for name, called in field_names(family).items()}
        shape: Any = config
        count = shape.num_hidden_layers
        own = family.own_layers(count)
        made = cls(
            hidden_size=shape.hidden_size,
            embedding_size=given["embedding_size"] or shape.hidden_size,
            head_size=given["head_size"] or shape.hidden_size // shape.num_attention_heads,
            heads=tuple(given["layer_heads"] or [shape.num_attention_heads] * count),
            intermediate=tuple(given["layer_intermediate_sizes"] or [getattr(shape, family.units)] * count),
            attention_of=tuple(given["attention_of"] or own),
            ffn_of=tuple(given["ffn_of"] or own),
            pooled_size=given["pooled_size"] or shape.hidden_size,
            ranks=dict(given["ranks"] or {}),
            quantization=Quantization.of(given["quantization"]) if given["quantization"] else None,
            family=family.name,
            extra=family.extra(config),
        )
        made.check(count)
        return made

    def check(self, count: int) -> None:
        """Whether such a model can be built.

        Raises:
            InputError: lists of another length than `count`, an empty layer, or a shared layer that is not there.
        """
        lists = {
            "layer_heads": self.heads,
            "layer_intermediate_sizes": self.intermediate,
            "attention_of": self.attention_of,
            "ffn_of": self.ffn_of,
        }
        for name, values in lists.items():
            if len(values) != count:
                raise InputError(f"{name} {list(values)}: {len(values)} entries for {count} layers: give one a layer")
        for name in ("layer_heads", "layer_intermediate_sizes"):
            if min(lists[name], default=1) < 1:
                raise InputError(f"{name} {list(lists[name])}: leave at least one in each layer, or drop the layer")
        for name, sizes in (("attention_of", self.heads), ("ffn_of", self.intermediate)):
            for layer, source in enumerate(lists[name]):
                if not 0 <= source < count or lists[name][source] != source:
                    raise InputError(f"{name} {list(lists[name])}: layer {layer} must use a layer that has its own")
                if sizes[source] != sizes[layer]:
                    raise InputError(f"{name}: layers {source} and {layer} share weights but not their width")
        known = COMPACT_FAMILIES[self.family].matrices
        for name in self.ranks:
            number, _, matrix = name.partition(".")
            if not number.isdigit() or int(number) >= count or matrix not in known:
                raise InputError(f"ranks['{name}'] names no matrix: use names such as '0.{next(iter(known))}'")
        if self.quantization is not None:
            self.quantization.check()

    def write(self, config: PreTrainedConfig) -> PreTrainedConfig:
        """A config of this shape, like `config` in everything else; of the family's own class if that can say it."""
        family = check_family(config)
        plain, compact = plain_config(family), COMPACT_CONFIGS[family.name]
        fields = field_names(family)
        left = {*fields.values(), *family.extra_fields}
        said = {name: copy.deepcopy(value) for name, value in config.to_dict().items() if name not in left}
        for name in ("model_type", "transformers_version", "architectures"):
            said.pop(name, None)
        sizes = {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden_size,
            "num_attention_heads": max(self.heads),
        }
        said |= {plain.attribute_map.get(name, name): size for name, size in sizes.items()}
        said |= {family.units: max(self.intermediate)} | family.said(self.extra, self.pooled_size)
        if self.plain:
            return plain(**said)
        ours = {
            "embedding_size": self.embedding_size,
            "head_size": self.head_size,
            "layer_heads": list(self.heads),
            "layer_intermediate_sizes": list(self.intermediate),
            "attention_of": list(self.attention_of),
            "ffn_of": list(self.ffn_of),
            "ranks": dict(self.ranks),
            "pooled_size": self.pooled_size,
            "quantization": asdict(self.quantization) if self.quantization else None,
        }
        said |= {fields[name]: value for name, value in ours.items()}
        said |= {name: self.extra.get(name) for name in family.extra_fields}
        return compact(**said)


def plain_config(family: Family) -> type[PreTrainedConfig]:
    """A family's own config class."""
    return getattr(transformers, f"{family.prefix}Config")


def check_family(config: PreTrainedConfig) -> Family:
    """The family of an encoder, plain or compressed.

    Raises:
        InputError: surgery does not know it.
    """
    name = family_name(config.model_type)
    if name not in COMPACT_FAMILIES:
        known = ", ".join(COMPACT_FAMILIES)
        raise InputError(f"model family '{name}' is not one of {known}: its shape cannot be changed here")
    family = COMPACT_FAMILIES[name]
    fault = family.check(config.to_dict())
    if fault is not None:
        raise InputError(f"model family '{name}': {fault}")
    return family
