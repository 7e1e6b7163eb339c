"""How a compressed model's numbers are rounded, as its config states it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from stillhouse.errors import InputError


@dataclass(frozen=True)
class Quantization:
    """How a model's numbers are rounded: its linear layers', and, where `embeddings` says so, its word vectors.

    weights: int8 | float8, with a scale a row.
    embeddings: whether the word vectors are in it.
    activations: of int8, dynamic (each tensor by its own range) | static (by calibrated ranges); None of float8.
    """

    weights: str
    embeddings: bool
    activations: str | None

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> "Quantization":
        """What a config states.

        Raises:
            InputError: a field too many or too few.
        """
        names = [each.name for each in fields(cls)]
        if set(stated) != set(names):
            raise InputError(f"quantization states {', '.join(sorted(stated))}: it takes {', '.join(names)}")
        return cls(**stated)

    def check(self) -> None:
        """Whether there is such a model.

        Raises:
            InputError: an unknown name, or activations that do not go with the weights.
        """
        if self.weights not in ("int8", "float8"):
            raise InputError(f"quantization: weights = '{self.weights}' is not one of int8, float8")
        known = ("dynamic", "static") if self.weights == "int8" else (None,)
        if self.activations not in known:
            names = " or ".join(map(str, known))
            raise InputError(f"quantization: activations = '{self.activations}' of {self.weights}: use {names}")
