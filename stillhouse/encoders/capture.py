"""What an encoder computes and does not give: attention scores before the softmax, and queries, keys and values.

`output_attentions=True` gives probabilities, and under SDPA nothing at all. Where a family goes through transformers'
AttentionInterface, the model is switched to an attention function (`stillhouse/training/attention.py`) that keeps the
raw scores of the layers that were asked for; a family that does not has its own way. Queries, keys and values are what
the family's own matrices give, before they are cut into heads or turned by positions.

Shapes: B sentences, h heads, L tokens, d width of all heads together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.families.find import family_of


class ScoreCapture:
    """Keeps the attention scores of some layers of a model, anew at each forward pass.

    Args:
        model: watched for good; its outputs stay the same.
        layers: indices of the layers whose scores are kept, from 0.

    Raises:
        InputError: the model's family is not known.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self.scores: dict[int, Tensor] = {}  # layer: (B, h, L, L), QKᵀ/√d_h for most families, padding not masked
        family_of(model).watch_scores(model, list(layers), self.scores)

    def release(self) -> None:
        """Forget the scores of the last pass, so that they do not outlive the step that read them."""
        self.scores.clear()


@dataclass(frozen=True)
class Projections:
    """Queries, keys and values of one layer, those of all its heads side by side: (B, L, d) each."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class ProjectionCapture:
    """Keeps queries, keys and values of some layers of a model, anew at each forward pass.

    Args:
        model: gets a hook on the modules that compute them; its outputs stay the same.
        layers: indices of the layers that are kept, from 0.

    Raises:
        InputError: the model's family is not known.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self._kept: dict[int, dict[str, Tensor]] = {}
        family_of(model).watch_projections(model, list(layers), self._keep)

    def _keep(self, index: int, name: str, states: Tensor) -> None:
        self._kept.setdefault(index, {})[name] = states

    def taken(self) -> dict[int, Projections]:
        """Those of the last pass by layer; they are forgotten here, so that they do not outlive what reads them."""
        found = {index: Projections(**parts) for index, parts in self._kept.items()}
        self._kept.clear()
        return found
