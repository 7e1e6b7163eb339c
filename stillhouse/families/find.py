"""Families by name. A new one is its file, and its line here, by which a stage knows that it runs it."""

from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError
from stillhouse.families import albert, bert, deberta_v2, distilbert, electra, modernbert, mpnet, roberta
from stillhouse.families.contract import Family
from stillhouse.families.names import family_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        bert.FAMILY,
        roberta.FAMILY,
        roberta.XLM,
        electra.FAMILY,
        roberta.CAMEMBERT,
        distilbert.FAMILY,
        mpnet.FAMILY,
        deberta_v2.FAMILY,
        modernbert.FAMILY,
        albert.FAMILY,
    )
}
COMPACT_FAMILIES = {name: family for name, family in FAMILIES.items() if family.prefix}


def unknown(model_type: str) -> str | None:
    """The line for a model that is of no known family; None for one that is."""
    name = family_name(model_type)
    if name in FAMILIES:
        return None
    return f"model family '{name}' is not one of {', '.join(FAMILIES)}: use an encoder of one of these"


def family_of(model: "PreTrainedModel") -> Family:
    """A model's family.

    Raises:
        InputError: it is not known.
    """
    return find_family(model.config)


def find_family(config: Any) -> Family:
    """The family of a config, plain or compressed.

    Raises:
        InputError: it is not known.
    """
    line = unknown(config.model_type)
    if line is not None:
        raise InputError(line)
    return FAMILIES[family_name(config.model_type)]
