"""ELECTRA (Clark et al. 2020, arXiv 2003.10555): embeddings may be narrower than the layers. No compressed shapes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillhouse.families.contract import Family

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Electra(Family):
    """Its masked LM has a head in two parts."""

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """(N, d) to (N, V)."""
        parts: Any = model
        return parts.generator_lm_head(parts.generator_predictions(hidden))


FAMILY = Electra("electra", None, decoder="generator_lm_head", decoder_bias=None)
