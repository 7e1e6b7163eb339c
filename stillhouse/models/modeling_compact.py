"""Tells transformers' Auto classes of the compressed encoders, without importing them.

This file is imported while transformers imports its table of models, which may be in the middle of importing BERT
itself. So what is registered are names: each finds its class, in `stillhouse.models.compact`, when it is asked for a
model.
"""

import importlib
from typing import Any

from transformers.models.auto import modeling_auto

from stillhouse.families.find import COMPACT_FAMILIES
from stillhouse.models.configuration_compact import COMPACT_CONFIGS

HEADS = {
    "Model": modeling_auto.AutoModel,
    "ForSequenceClassification": modeling_auto.AutoModelForSequenceClassification,
    "ForTokenClassification": modeling_auto.AutoModelForTokenClassification,
    "ForQuestionAnswering": modeling_auto.AutoModelForQuestionAnswering,
    "ForMaskedLM": modeling_auto.AutoModelForMaskedLM,
}


class _OnDemand:
    """Stands for the class of the same name."""

    @classmethod
    def from_pretrained(cls, *given: Any, **named: Any) -> Any:
        """That class's own."""
        return _class(cls.__name__).from_pretrained(*given, **named)

    @classmethod
    def _from_config(cls, *given: Any, **named: Any) -> Any:
        return _class(cls.__name__)._from_config(*given, **named)


def _class(name: str) -> Any:
    return getattr(importlib.import_module("stillhouse.models.compact"), name)


for _name, _family in COMPACT_FAMILIES.items():
    _config = COMPACT_CONFIGS[_name]
    for _head, _auto in HEADS.items():
        _auto.register(_config, type(f"Compact{_family.prefix}{_head}", (_OnDemand,), {"config_class": _config}))
